import Attention
import Tensors

/// A segment that stands twice, and the heads that have read it.
struct RepeatedSegment: Sendable {
  /// For a note.
  let name: String
  /// `[layers][heads]`
  let layers: [[Head]]
  /// `[layers]`
  let numbers: [LayerNumber]
  /// Where the copies begin, in tokens; they do not overlap.
  let first, second: Int
  /// m, tokens of each.
  let length: Int

  /// The share of m - 1 rows whose largest weight lies on the token that comes next. Throws
  /// `Missing(.repetition)` where rows are not there, and `CancellationError`.
  func score(_ head: Head, _ run: MethodRun) throws -> Double {
    try run.checkCancellation()
    let from = second - head.visibility.offset, to = from + length - 1
    guard from >= 0, to <= head.queries else {
      throw Missing(.repetition, hint: "the queries of its second copy are not there")
    }
    var copied = 0
    run.pattern(head).withRows(from..<to) { row, p, _ in
      var best = 0
      for j in p.indices where p[j] > p[best] { best = j }
      if best == target(row, head) { copied += 1 }
    }
    return Double(copied) / Double(length - 1)
  }

  /// The scores of all heads, `[layers][heads]`. Throws as above.
  func scores(_ run: MethodRun) throws -> [[Double]] {
    try layers.map { heads in try heads.map { try score($0, run) } }
  }

  /// The key that a row of the second copy would copy from.
  private func target(_ row: Int, _ head: Head) -> Int {
    first + head.visibility.position(row: row) - second + 1
  }

  /// 1 on the keys that would copy, `[queries, keys]`; NaN after a causal query.
  func needle(_ head: Head) -> RuleField {
    let part = self
    return RuleField(rows: Axis(.query, head.queries), columns: Axis(.key, head.keys)) { row, out in
      let limit = head.visibility.limit(row: row), at = head.visibility.position(row: row)
      let isCopy = (part.second..<part.second + part.length - 1).contains(at)
      let key = part.target(row, head)
      for j in out.indices { out[j] = j >= limit ? .nan : isCopy && j == key ? 1 : 0 }
    }
  }

  /// The longest segment of two tokens or more that stands twice without overlap, the first of
  /// equal ones; nil where none does. Cost n² of the tokens, of which the first 8192 are looked at.
  static func longest(_ texts: [String]) -> (first: Int, second: Int, length: Int)? {
    var ids: [String: Int] = [:]
    let tokens = texts.prefix(8192).map { text -> Int in
      let id = ids[text] ?? ids.count
      ids[text] = id
      return id
    }
    var best = (first: 0, second: 0, length: 1)
    // before[j]: how far the runs that end before i and before j agree.
    var before = [Int](repeating: 0, count: tokens.count + 1)
    for i in tokens.indices {
      var now = [Int](repeating: 0, count: tokens.count + 1)
      for j in i + 1..<max(tokens.count, i + 1) where tokens[i] == tokens[j] {
        now[j + 1] = before[j] + 1
        let length = min(now[j + 1], j - i)
        if length > best.length {
          best = (i - length + 1, j - length + 1, length)
        }
      }
      before = now
    }
    return best.length > 1 ? best : nil
  }
}
