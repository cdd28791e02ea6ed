import Tensors

/// Positions that hold no token: caches of a fixed length, batches padded on a side.
extension DumpReader {
  /// Cuts away padding at the end and says how many positions at the start are padding.
  ///
  /// An `attention_mask` beside the arrays tells; without one the values of a map do: columns that
  /// are 0 in every row. What is cut is only the view, and every number is of what is left. Throws
  /// what reading throws.
  mutating func trim(
    _ layers: inout [LayerArrays], kind: DumpKind, _ archive: any TensorArchive
  ) throws(FormatError) -> Int {
    guard kind != .mask, options.padding else { return 0 }
    let (queries, keys, _) = layers[0].positions
    let told = try maskedEnds(archive, keys: keys)
    usesMask = told != nil
    var (before, after) = told ?? (0, 0)
    if told == nil, kind != .qkv {
      let ends = Self.emptyEnds(layers, kind == .pattern ? .pattern : .scores)
      (before, after) = (ends.before, ends.after)
    }
    let from = told == nil ? "zero in every row" : "by attention_mask"
    if after > 0, before + after < keys {
      let left = keys - after
      for index in layers.indices {
        cut(&layers[index], keys: left, queries: queries == keys ? left : queries)
      }
      trimmed = keys
      guesses.append(
        Guess(
          "keys \(left) to \(keys - 1) are padding (\(from)) and left out", flag: "--no-padding"))
    }
    if before > 0 {
      guesses.append(
        Guess(
          "positions 0 to \(before - 1) are padding on the left (\(from)): \(before) rows and keys "
            + "that are left out of every number", flag: "--no-padding"))
    }
    return before
  }

  /// The first positions of a layer, of every array that has them.
  private func cut(_ layer: inout LayerArrays, keys: Int, queries: Int) {
    for (role, tensor) in layer.arrays {
      switch role {
      case .query, .selected: layer.arrays[role] = tensor.slice(axis: 1, 0..<queries)
      case .key, .value, .beta: layer.arrays[role] = tensor.slice(axis: 1, 0..<keys)
      case .pattern, .scores, .indexScores:
        layer.arrays[role] = tensor.slice(axis: 1, 0..<queries).slice(axis: 2, 0..<keys)
      default: break
      }
    }
  }

  /// Zeros at both ends of the `attention_mask` of the sequence that is shown; nil where there is
  /// no such array of `[keys]` or `[batch, keys]`.
  private func maskedEnds(_ archive: any TensorArchive, keys: Int) throws(FormatError)
    -> (before: Int, after: Int)?
  {
    guard let entry = archive.entry("attention_mask"), (1...2).contains(entry.shape.rank),
      entry.shape[-1] == keys, entry.shape.count < 1 << 26
    else { return nil }
    let tensor = try archive.tensor(entry.name)
    let batch = options.batch ?? 0
    guard entry.shape.rank == 1 || (0..<entry.shape[0]).contains(batch) else { return nil }
    let row = (entry.shape.rank == 1 ? tensor : tensor[batch]).floats()
    guard let first = row.firstIndex(where: { $0 != 0 }),
      let last = row.lastIndex(where: { $0 != 0 })
    else { return nil }
    return (first, keys - 1 - last)
  }

  /// How many rows of a head are looked at.
  private static let rowsLooked = 256

  /// Columns at both ends that no row uses, in a few heads of the first and the last layer.
  ///
  /// At the end: every row reaches as far as a causal one, or as all others, and none further. At
  /// the start: the first row of a token sees itself alone. A window or a sink looks like neither,
  /// and rows before it that are causal among themselves are a sequence of their own.
  private static func emptyEnds(_ layers: [LayerArrays], _ role: ArrayRole)
    -> (before: Int, after: Int)
  {
    let maps = [layers[0], layers[layers.count - 1]].compactMap { $0.arrays[role] }
    let heads = maps.flatMap { map in
      Set([0, map.shape[0] / 3, map.shape[0] / 2, map.shape[0] - 1]).map { map[$0] }
    }
    guard let first = heads.first, first.shape[0] > 0, first.shape[1] > 2 else { return (0, 0) }
    let (queries, keys) = (first.shape[0], first.shape[1])
    var reach = 0, before = keys
    var looks: [[RowLook]] = []
    for head in heads {
      let step = max(1, (queries + rowsLooked - 1) / rowsLooked)
      let rows = Set(stride(from: 0, to: queries, by: step)).union([queries - 1]).sorted()
      let list = rows.map { RowLook($0, head[$0].floats(), isScores: role == .scores) }
      guard let last = list.last else { return (0, 0) }
      reach = max(reach, list.map(\.end).max() ?? keys)
      before = min(before, last.start)
      looks.append(list)
    }
    let after = reach >= 2 && looks.allSatisfy { isReached($0, reach, queries) } ? keys - reach : 0
    let isPadded =
      before > 0 && before < keys && queries == keys
      && heads.allSatisfy { isFirstToken(before, $0, role) }
      && looks.allSatisfy { $0.allSatisfy { $0.row < before || $0.start >= before } }
      && !(before > 1 && looks.allSatisfy { isCausal($0.filter { $0.row < before }) })
    return (isPadded ? before : 0, after)
  }

  /// One row: where its first and its last entry are that is not 0.
  private struct RowLook {
    let row: Int
    let start: Int
    let end: Int

    init(_ row: Int, _ values: [Float], isScores: Bool) {
      func isSeen(_ value: Float) -> Bool { isScores ? value > -1e4 : value != 0 }
      self.row = row
      start = values.firstIndex(where: isSeen) ?? values.count
      end = (values.lastIndex(where: isSeen) ?? -1) + 1
    }
  }

  /// Whether four rows in five end where a causal row does (below the padding), or at the reach.
  private static func isReached(_ rows: [RowLook], _ reach: Int, _ queries: Int) -> Bool {
    let tokens = rows.filter { $0.row < reach }
    let causal = tokens.count { $0.end == min($0.row + 1, reach) }
    let full = tokens.count { $0.end == reach }
    return max(causal, full) * 5 >= tokens.count * 4
  }

  /// Whether each row ends at its own position, as those of tokens do.
  private static func isCausal(_ rows: [RowLook]) -> Bool {
    rows.allSatisfy { $0.end == $0.row + 1 }
  }

  /// Whether the row at `at` of a square map sees itself alone.
  private static func isFirstToken(_ at: Int, _ head: Tensor, _ role: ArrayRole) -> Bool {
    let look = RowLook(at, head[at].floats(), isScores: role == .scores)
    return look.start == at && look.end == at + 1
  }

  /// Layers of decode rows that keep their last keys alone (windows) beside layers that keep all:
  /// the keys of a row end at the same token, so the shorter ones are filled up at the left. Only
  /// maps can be; other layers of different sizes stay as they are.
  mutating func alignedKeys(_ layers: [LayerArrays], _ kind: DumpKind) -> [LayerArrays] {
    let role: ArrayRole = kind == .scores ? .scores : .pattern
    let sizes = Set(layers.map { $0.positions.keys })
    let held = layers.reduce(0) { $0 + ($1.arrays[role]?.count ?? 0) }
    guard kind == .pattern || kind == .scores, sizes.count > 1, let keys = sizes.max(),
      Set(layers.map { [$0.positions.queries, $0.positions.heads] }).count == 1,
      let count = Shape(checked: [layers.count, keys], byteWidth: 4 * layers[0].positions.queries)?
        .count,
      count * layers[0].positions.heads * layers[0].positions.queries < min(64 * held, 1 << 28)
    else { return layers }
    let list = sizes.sorted().map(String.init).joined(separator: ", ")
    remarks.append(
      "layers have \(list) keys: where there are fewer they are taken for the last (a window)")
    return layers.map { layer in
      guard let map = layer.arrays[role], map.shape[2] < keys else { return layer }
      let fill: Float = role == .scores ? -.infinity : 0
      let rows = map.shape[0] * map.shape[1], width = map.shape[2], values = map.floats()
      var out = [Float](repeating: fill, count: rows * keys)
      for row in 0..<rows {
        let at = (row + 1) * keys - width
        out.replaceSubrange(at..<at + width, with: values[row * width..<(row + 1) * width])
      }
      var other = layer
      other.arrays[role] = Tensor(out, shape: [map.shape[0], map.shape[1], keys])
      return other
    }
  }
}
