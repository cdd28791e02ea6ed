import FoundationEssentials
import Glibc
import Tensors

/// e to the power of x.
func powerOfE(_ x: Double) -> Double { exp(x) }

/// Softcap, windows, packed sequences and biases, from metadata, arrays and flags; and whether Q
/// and K make the pattern that is stored beside them.
extension DumpReader {
  /// What the file and the flags say, with a remark for each. Throws what reading throws.
  mutating func rules(_ archive: any TensorArchive, _ metadata: DumpMetadata) throws(FormatError)
    -> AttentionRules
  {
    var rules = AttentionRules()
    guard found[.query] != nil, found[.key] != nil else { return rules }
    // No wider than there are positions, so that a sum with one is no overflow.
    rules.window = (options.window ?? metadata.window).map { min($0, 1 << 30) }
    rules.softcap = options.softcap ?? metadata.softcap
    // What differs from layer to layer is said where the layers are known: `LayerRules`.
    let isByLayer = LayerRules.speak(archive.metadata)
    if let window = rules.window, !isByLayer {
      remarks.append("keys outside of a window of \(window) are hidden (--window)")
    }
    if let softcap = rules.softcap, !isByLayer {
      remarks.append("scores are bent by a softcap of \(softcap) (--softcap)")
    }
    for entry in archive.entries {
      let words = nameParts(entry.name).filter { Int($0) == nil }
      if rules.segments == nil { rules.segments = try segments(words, entry, archive) }
      // Whether it fits, `Dump.addedBiases` says: heads and positions are not known yet.
      if Self.isBias(entry), rules.biases[biasLayer(entry.name)] == nil {
        rules.biases[biasLayer(entry.name)] = Self.threeAxes(try archive.tensor(entry.name))
      }
      if LayerRules.isSinks(entry.name) {
        remarks.append(
          """
          \(entry.name): a learned sink takes a share of every row in the model (the number \
          learned_sink); maps and rows of Q and K or scores are shown with its part taken off; \
          margins, in which no sink takes part, dropped mass and entropy are of what goes to keys
          """)
      }
    }
    if let starts = metadata.boundaries { rules.segments = segments(starts) ?? rules.segments }
    if let segments = rules.segments {
      let count = Set(segments).count
      remarks.append("\(count) packed sequences: no query sees another sequence")
    }
    return rules
  }

  /// Whether an array is added to scores, by its name: `alibi`, `layers.3.attention_bias`.
  private static func isBias(_ entry: ArrayEntry) -> Bool {
    let words = nameParts(entry.name).filter { Int($0) == nil }
    let isNamed =
      words.last == "alibi"
      || ["attention", "attn", "position", "score"].contains(words.dropLast().last ?? "")
        && words.last == "bias"
    return isNamed && entry.dtype.isFloat && (2...4).contains(entry.shape.rank)
      && entry.shape.count > 0
  }

  /// `[h, q, k]` of `[q, k]`, `[h, q, k]` or `[1, h, q, k]`; nil for others.
  private static func threeAxes(_ tensor: Tensor) -> Tensor? {
    switch tensor.shape.rank {
    case 2: return AxisOrder.insertOne(tensor, at: 0)
    case 3: return tensor
    case 4 where tensor.shape[0] == 1: return tensor[0]
    default: return nil
    }
  }

  /// The most numbers that are read of packed sequences.
  private static let mostPositions = 1 << 24

  /// Which sequence each position is of, from `cu_seqlens` or `segment_ids`; nil for other arrays.
  private func segments(
    _ words: [String], _ entry: ArrayEntry, _ archive: any TensorArchive
  ) throws(FormatError) -> [Int]? {
    let last = words.dropLast().last ?? ""
    let isStarts = words.first == "cu" && (words.contains("seqlens") || words.contains("lens"))
    let isIDs = words.last == "ids" && ["segment", "sequence", "document"].contains(last)
    guard isStarts || isIDs, !entry.dtype.isFloat, entry.shape.count <= Self.mostPositions,
      entry.shape.rank == 1 || entry.shape.rank == 2 && entry.shape[0] == 1
    else { return nil }
    let numbers = try archive.tensor(entry.name).integers()
    return isStarts ? segments(numbers) : numbers
  }

  /// `[0, 3, 7]`: positions 0 to 2 are sequence 0, 3 to 6 sequence 1. Nil for what does not rise
  /// from 0. Positions that no array of keys is long enough for are left out.
  private func segments(_ starts: [Int]) -> [Int]? {
    guard starts.first == 0, starts.count > 1,
      zip(starts, starts.dropFirst()).allSatisfy({ $0 <= $1 })
    else { return nil }
    let most = found[.key]?.first?.entry.shape.axes.max() ?? 0
    return zip(starts, starts.dropFirst()).enumerated().flatMap { index, pair in
      [Int](repeating: index, count: min(pair.1, most) - min(pair.0, most))
    }
  }

  /// How far the last row of Q and K's own pattern is from the stored one, in words, where that is
  /// more than rounding; nil where they agree or there is nothing to compare. Throws what reading
  /// throws.
  mutating func disagreement(
    _ kind: DumpKind, _ layers: [Int: LayerArrays], _ rules: AttentionRules,
    _ byLayer: LayerRules, _ metadata: DumpMetadata
  ) throws(FormatError) -> String? {
    guard kind == .qkv, options.kind == nil, options.array == nil, let map = maps.first,
      map.hint == .pattern || (try? MapContent(map.archive, map.entry))?.kind == .pattern
    else { return nil }
    var other = self, stored: [Int: LayerArrays] = [:]
    // A map that cannot be read is no reason to refuse Q and K.
    do { try other.addMaps(&stored, kind: .pattern) } catch { return nil }
    guard let number = stored.keys.sorted().first(where: { layers[$0] != nil }),
      let pattern = stored[number]?.arrays[.pattern], let q = layers[number]?.arrays[.query],
      let k = layers[number]?.arrays[.key], k.shape[0] > 0, q.shape[0] % k.shape[0] == 0,
      pattern.shape.axes == [q.shape[0], q.shape[1], k.shape[1]], q.shape[2] == k.shape[2]
    else { return nil }
    let row = q.shape[1] - 1, head = q.shape[0] - 1
    let scale = options.scale ?? metadata.scale ?? 1 / Double(max(q.shape[2], 1)).squareRoot()
    let query = q[head][row].floats(), keys = k[k.shape[0] - 1].floats(), dim = q.shape[2]
    var scores = (0..<k.shape[1]).map { key in
      Float(scale) * (0..<dim).reduce(Float(0)) { $0 + query[$1] * keys[key * dim + $1] }
    }
    let offset = k.shape[1] - q.shape[1]
    let bias = (rules.biases[number] ?? rules.biases[-1]).flatMap {
      BiasFit($0, queries: row + 1, keys: k.shape[1], heads: head + 1, offset: offset).tensor
    }
    byLayer.rules(rules, layer: number).apply(
      to: &scores, position: row + offset,
      causal: options.causal ?? metadata.causal ?? true,
      bias: bias.map { $0[$0.shape[0] - 1][$0.shape[1] - 1].floats() })
    let top = scores.max() ?? 0
    let weights = scores.map { powerOfE(Double($0 - top)) }, sum = weights.reduce(0, +)
    let want = pattern[head][row].floats(), total = Double(want.reduce(0, +))
    let gap = zip(weights, want).map { abs($0 / sum - Double($1) / max(total, 1e-9)) }.max() ?? 0
    guard gap > 0.02 else { return nil }
    return "row \(row) of layer \(number) head \(head) differs by \((gap * 1000).rounded() / 1000)"
  }

  /// Every array of the file, with what it is used as.
  func arrays(of archive: any TensorArchive, _ dump: Dump) -> [ArrayUse] {
    var uses: [String: String] = [:]
    for (role, items) in found where dump.kind == .qkv || ![.query, .key, .value].contains(role) {
      for item in items { uses[item.entry.name] = role.rawValue }
    }
    if dump.kind != .qkv { for map in maps { uses[map.entry.name] = dump.kind.rawValue } }
    for name in dump.extras.keys { uses[name] = name }
    if dump.tokenIDs != nil { uses["token_ids"] = "token numbers" }
    if usesMask { uses["attention_mask"] = "padding" }
    for entry in archive.entries where dump.kind == .qkv {
      if Self.isBias(entry) { uses[entry.name] = Dump.biasUse }
      if LayerRules.isSinks(entry.name) { uses[entry.name] = "learned sink" }
    }
    return archive.entries.map {
      ArrayUse(name: $0.name, dtype: $0.dtype, shape: $0.shape, use: uses[$0.name])
    }
  }
}

extension DumpReader {
  /// FlexAttention's BlockMask as a mask `[heads, query blocks, key blocks]`: how many key blocks
  /// each row of blocks has, and which, in whole blocks and in partial ones.
  mutating func takeBlockMask(_ archive: any TensorArchive) {
    guard let order = archive.entry("kv_indices"), order.shape.rank == 4, order.shape.count > 0,
      order.shape.count < 1 << 24,
      let count = archive.entry("kv_num_blocks"),
      count.shape.axes == Array(order.shape.axes.dropLast()), maps.isEmpty
    else { return }
    let rows = order.shape[2], columns = order.shape[3], heads = order.shape[1]
    var mask = [Float](repeating: 0, count: heads * rows * columns)
    for prefix in ["", "full_"] {
      guard let counts = try? archive.tensor(prefix + "kv_num_blocks").integers(),
        let indices = try? archive.tensor(prefix + "kv_indices").integers(),
        counts.count >= heads * rows, indices.count >= mask.count
      else { continue }
      for row in 0..<heads * rows {
        for slot in 0..<min(max(counts[row], 0), columns) {
          let column = indices[row * columns + slot]
          if (0..<columns).contains(column) { mask[row * columns + column] = 1 }
        }
      }
    }
    let made = MadeArchive(
      path: path, name: "kv_indices", Tensor(mask, shape: [heads, rows, columns]))
    maps.append(
      Found(
        entry: made.entries[0], archive: made, name: ArrayName("block_mask"), hint: .mask))
  }
}

/// One array that was made of others.
struct MadeArchive: TensorArchive {
  let path: String
  let entries: [ArrayEntry]
  private let array: Tensor

  var format: String { "made" }
  var metadata: [String: String] { [:] }

  /// `array` under a name.
  init(path: String, name: String, _ array: Tensor) {
    self.path = path
    entries = [ArrayEntry(name: name, dtype: array.dtype, shape: array.shape)]
    self.array = array
  }

  func tensor(_ name: String) -> Tensor { array }

  func sample(_ name: String, elements: Int) -> [Float] { firstElements(of: array, elements) }
}
