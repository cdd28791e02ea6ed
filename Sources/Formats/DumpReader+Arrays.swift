import Tensors

extension DumpReader {
  /// Adds q, k and v to the layers; a layer without q or k is dropped. All three share one
  /// axis order, told by the first query and key. Throws `mismatch` when q or k is missing or its
  /// rank is not understood.
  mutating func addProjections(_ layers: inout [Int: LayerArrays]) throws(FormatError) {
    guard let keys = found[.key], let queries = found[.query] else {
      throw FormatError(.mismatch, "--kind qkv needs arrays named q and k", file: path)
    }
    let flat = try flatHeads(queries[0], keys[0])
    // Tools whose arrays always have positions before heads.
    let name = keys[0].entry.name, lens = name.contains("hook_") || name.hasPrefix("flashinfer.")
    guard
      let (order, guess) = options.layout.map({ (AxisOrder($0), nil) })
        ?? flat.map({ (AxisOrder($0.order), $0.guess) })
        ?? ownOrder(keys[0].entry)
        ?? AxisOrder.guessProjections(
          keys[0].entry.shape, query: queries[0].entry.shape, transformerLens: lens,
          named: keys[0].layer != nil && keys[0].name.saysLayer)
    else { throw rank(keys[0], "2 to 4") }
    if let guess { guesses.append(guess) }
    for (role, items) in [(ArrayRole.query, queries), (.key, keys), (.value, found[.value] ?? [])] {
      try add(role, items, order: order, to: &layers, dim: flat?.dim)
    }
    layers = layers.filter { $0.value.arrays[.query] != nil && $0.value.arrays[.key] != nil }
    noteRotation(queries[0].entry.name)
  }

  /// Q and K of a model with rotary positions are not what its attention sees until they are
  /// rotated, and names may tell that they are not.
  private mutating func noteRotation(_ name: String) {
    let isProjection = nameParts(name).last == "proj"
    guard name.contains("hook_q") || isProjection else { return }
    remarks.append(
      """
      \(name) is before rotary positions: of a model that has them the maps are not its own; save \
      \(isProjection ? "Q and K after the rotation" : "hook_rot_q and hook_rot_k, or hook_pattern")
      """)
  }

  /// Adds the maps whose name fits `kind`, or all of them when a flag names the kind. Throws
  /// `mismatch` when none fits.
  mutating func addMaps(_ layers: inout [Int: LayerArrays], kind: DumpKind) throws(FormatError) {
    let role: ArrayRole = kind == .scores ? .scores : (kind == .mask ? .blocks : .pattern)
    let mine = maps.filter { $0.hint == nil || $0.hint == kind || options.kind != nil }
    guard let first = mine.first else {
      throw FormatError(.mismatch, "holds no array that could be \(kind.words)", file: path)
    }
    let isNamed =
      isOwnName(first.entry.name) || mine.count > 1
      || first.name.saysLayer && (first.name.head != nil || first.entry.shape.rank == 4)
    guard
      let (order, guess) = options.layout.map({ (AxisOrder($0), nil) })
        ?? otherOrder(first, kind: kind, isNamed: isNamed)
        ?? ownMapOrder(first.entry)
        ?? AxisOrder.guessMap(first.entry.shape, named: isNamed)
    else { throw rank(first, "2 to 5") }
    if let guess { guesses.append(guess) }
    try add(role, mine, order: order, to: &layers)
  }

  /// Adds block masks and their margins, which only our own files have and whose order is
  /// therefore known. With `onlyKnown` they may join layers and not make new ones: masks
  /// beside q and k are a comparison, not the dump's content.
  mutating func addBlocks(_ layers: inout [Int: LayerArrays], onlyKnown: Bool = false)
    throws(FormatError)
  {
    var all: [Int: LayerArrays] = [:]
    for role in [ArrayRole.blocks, .margins] {
      try add(role, found[role] ?? [], order: AxisOrder("hqk"), to: &all)
    }
    for (number, layer) in all where !onlyKnown || layers[number] != nil {
      layers[number, default: LayerArrays(layer: number, arrays: [:])].arrays.merge(layer.arrays) {
        a, _ in a
      }
    }
    if !onlyKnown { layers = layers.filter { $0.value.arrays[.blocks] != nil } }
  }

  /// Reads every item in `order` and files its layers under their numbers. An item one rank
  /// short of an order with a batch axis is one without it. A stack of layers numbers itself;
  /// a single layer takes the number in its name. `dim` is the width of a head where several stand
  /// side by side in the last axis.
  private mutating func add(
    _ role: ArrayRole, _ items: [Found], order: AxisOrder, to layers: inout [Int: LayerArrays],
    dim: Int? = nil
  ) throws(FormatError) {
    var pieces: [Int: [Piece]] = [:]
    for item in items {
      guard item.entry.shape.count > 0 else {
        throw FormatError(
          .empty, "has no elements (shape \(item.entry.shape)); save it again", file: path,
          place: "array \"\(item.entry.name)\"")
      }
      let tensor = try split(try item.archive.tensor(item.entry.name), dim, item)
      let order = try fitting(order, tensor.shape, item)
      let parts = order.layers(tensor, batch: try chooseBatch(item, order, tensor.shape))
      for (index, part) in parts.enumerated() {
        let number = parts.count > 1 || order.letters.contains("l") ? index : item.layer ?? 0
        if let only = options.onlyLayers, !only.contains(number) { continue }
        pieces[number, default: []].append(
          Piece(
            tensor: part, head: item.name.head, step: item.name.step, name: item.entry.name))
      }
    }
    for (number, list) in pieces {
      layers[number, default: LayerArrays(layer: number, arrays: [:])].arrays[role] =
        try join(list, role)
    }
  }

  /// The order for an array of this shape: one rank short of an order with a batch axis, it is one
  /// without. Throws `mismatch` otherwise.
  private func fitting(_ order: AxisOrder, _ shape: Shape, _ item: Found) throws(FormatError)
    -> AxisOrder
  {
    guard shape.rank != order.letters.count else { return order }
    if shape.rank == order.letters.count - 1, order.letters.first == "b" {
      return AxisOrder(String(order.letters.dropFirst()))
    }
    throw FormatError(
      .mismatch,
      """
      has \(item.entry.shape.rank) axes (\(item.entry.shape)) and layout \(order.text) needs \
      \(order.letters.count); give --layout
      """,
      file: path, place: "array \"\(item.entry.name)\"")
  }

  /// The sequence that `--batch` picks, else the first, with a guess noted once. Throws
  /// `mismatch` beyond the axis.
  private mutating func chooseBatch(_ item: Found, _ order: AxisOrder, _ shape: Shape)
    throws(FormatError) -> Int
  {
    guard let axis = order.letters.firstIndex(of: "b") else { return 0 }
    let size = shape[axis], chosen = options.batch ?? 0
    guard chosen >= 0, chosen < size else {
      throw FormatError(
        .mismatch, "--batch \(chosen) does not exist; the batch axis has \(size)", file: path,
        place: "array \"\(item.entry.name)\"")
    }
    let guess = Guess("sequence 0 of a batch of \(size) is shown", flag: "--batch")
    if size > 1, options.batch == nil, !guesses.contains(guess) { guesses.append(guess) }
    return chosen
  }

  /// Our own layout needs no guess, however few the positions.
  private func ownOrder(_ entry: ArrayEntry) -> (AxisOrder, Guess?)? {
    isOwnName(entry.name) && entry.shape.rank == 3 ? (AxisOrder("hnd"), nil) : nil
  }

  /// The same of maps, which our own layout calls by these two names alone.
  private func ownMapOrder(_ entry: ArrayEntry) -> (AxisOrder, Guess?)? {
    let isOwn = entry.name.wholeMatch(of: /layers\.\d+\.(pattern|scores)/) != nil
    return isOwn && entry.shape.rank == 3 ? (AxisOrder("hqk"), nil) : nil
  }

  /// The prefix that this program writes itself.
  func isOwnName(_ name: String) -> Bool { name.hasPrefix("layers.") }

  /// The refusal for an array with too few or too many axes.
  func rank(_ item: Found, _ wanted: String) -> FormatError {
    FormatError(
      .mismatch,
      """
      has \(item.entry.shape.rank) axes (\(item.entry.shape)) and \(wanted) are understood; \
      reshape it or give --layout
      """,
      file: path, place: "array \"\(item.entry.name)\"")
  }
}
