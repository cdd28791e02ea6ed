import Attention
import Formats
import Synchronization
import Tensors

/// Scores of heads whose model does more than scale: softcap, windows, packed sequences, biases.
///
/// The fast paths know products of Q and K alone. A head with other rules becomes one of stored
/// scores, made when it is first asked for, and so every map, margin and number follows the rules.
/// Cost: O(queries * keys * d) once; memory: `budget`, the least recently made go first.
final class RuledScores: Sendable {
  /// Bytes of scores that are kept.
  private static let budget = 512 << 20
  /// Entries of a map that is made at all, 256 MiB of float32.
  static let mostEntries = 1 << 26

  private struct Kept {
    var maps: [Int: Tensor] = [:]
    var order: [Int] = []
    var bytes = 0
  }

  private let kept = Mutex(Kept())

  /// The scores of a head `[queries, keys]`, made by `make` where they are not kept; `key` tells
  /// one head from another.
  func scores(_ key: Int, _ make: () -> Tensor) -> Tensor {
    if let ready = kept.withLock({ $0.maps[key] }) { return ready }
    let map = make()
    kept.withLock { kept in
      guard kept.maps.updateValue(map, forKey: key) == nil else { return }
      kept.order.append(key)
      kept.bytes += 4 * map.count
      while kept.bytes > Self.budget, kept.order.count > 1 {
        kept.bytes -= 4 * (kept.maps.removeValue(forKey: kept.order.removeFirst())?.count ?? 0)
      }
    }
    return map
  }

  /// Scaled products of queries `[queries, d]` and keys `[keys, d]` under the rules, `[queries,
  /// keys]`; `bias` is `[queries or 1, keys]`.
  static func make(
    query: Tensor, key: Tensor, scale: Double, rules: AttentionRules, bias: Tensor?,
    offset: Int, causal: Bool
  ) -> Tensor {
    let dim = query.shape[1], keys = key.shape[0], columns = key.permuted([1, 0]).floats()
    var out: [Float] = []
    out.reserveCapacity(query.shape[0] * keys)
    for row in 0..<query.shape[0] {
      let q = query[row].floats()
      var scores = [Float](repeating: 0, count: keys)
      // Channel by channel over all keys: the inner loop is one that compilers widen.
      scores.withUnsafeMutableBufferPointer { scores in
        columns.withUnsafeBufferPointer { columns in
          for x in 0..<dim {
            let weight = q[x] * Float(scale)
            for key in 0..<keys { scores[key] += weight * columns[x * keys + key] }
          }
        }
      }
      let added = bias.map { $0[$0.shape[0] > 1 ? row : 0].floats() }
      rules.apply(to: &scores, position: row + offset, causal: causal, bias: added)
      out += scores
    }
    return Tensor(out, shape: [query.shape[0], keys])
  }
}

extension AttentionRules {
  /// The first key of each row `[queries]`, as `Visibility` wants them; nil where all see key 0.
  func firsts(queries: Int, keys: Int, offset: Int, causal: Bool) -> [Int]? {
    guard window != nil || padding > 0 || segments != nil else { return nil }
    var starts: [Int] = []
    if let segments {
      var start = 0
      for index in segments.indices {
        if index > 0, segments[index] != segments[index - 1] { start = index }
        starts.append(start)
      }
    }
    var last = 0
    return (0..<queries).map { row in
      let position = row + offset
      if position < padding { return keys }
      let own = starts.indices.contains(position) ? starts[position] : 0
      let near = window.map { position - $0 + 1 } ?? 0
      last = max(last, max(padding, own, near))
      return last
    }
  }

  /// How many leading keys each row sees at most `[queries]`, as `Visibility` wants them; nil where
  /// causality says it, or all see the last key.
  func lasts(queries: Int, keys: Int, offset: Int, causal: Bool) -> [Int]? {
    guard !causal, window != nil || segments != nil else { return nil }
    var ends = [Int](repeating: keys, count: segments?.count ?? 0)
    for index in ends.indices.dropLast().reversed() {
      ends[index] = segments?[index] == segments?[index + 1] ? ends[index + 1] : index + 1
    }
    var last = 0
    return (0..<queries).map { row in
      let position = row + offset
      let own = ends.indices.contains(position) ? ends[position] : keys
      last = max(last, min(keys, own, window.map { position + $0 } ?? keys))
      return last
    }
  }
}
