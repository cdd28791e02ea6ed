import Kernels
import Tensors

extension DumpReader {
  /// Adds q, k and v to the layers; a layer without q or k is dropped. All three share one
  /// axis order, told by the first key array. Throws `mismatch` when q or k is missing or its
  /// rank is not understood.
  mutating func addProjections(_ layers: inout [Int: LayerArrays]) throws(FormatError) {
    guard let keys = found[.key], let queries = found[.query] else {
      throw FormatError(.mismatch, "--kind qkv needs arrays named q and k", file: path)
    }
    let lens = keys[0].entry.name.contains("hook_")
    guard
      let (order, guess) = options.layout.map({ (AxisOrder($0), nil) })
        ?? ownOrder(keys[0].entry)
        ?? AxisOrder.guessProjections(
          keys[0].entry.shape, query: queries[0].entry.shape, transformerLens: lens)
    else { throw rank(keys[0], "2 to 4") }
    if let guess { guesses.append(guess) }
    for (role, items) in [(ArrayRole.query, queries), (.key, keys), (.value, found[.value] ?? [])] {
      try add(role, items, order: order, to: &layers)
    }
    layers = layers.filter { $0.value.arrays[.query] != nil && $0.value.arrays[.key] != nil }
  }

  /// Adds the maps whose name fits `kind`, or all of them when a flag names the kind. Throws
  /// `mismatch` when none fits.
  mutating func addMaps(_ layers: inout [Int: LayerArrays], kind: DumpKind) throws(FormatError) {
    let role: ArrayRole = kind == .scores ? .scores : (kind == .mask ? .blocks : .pattern)
    let mine = maps.filter { $0.hint == nil || $0.hint == kind || options.kind != nil }
    guard let first = mine.first else {
      throw FormatError(.mismatch, "holds no array that could be \(kind.words)", file: path)
    }
    let numbered = mine.count > 1 || isOwnName(first.entry.name)
    guard
      let (order, guess) = options.layout.map({ (AxisOrder($0), nil) })
        ?? AxisOrder.guessMap(first.entry.shape, named: numbered)
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
  /// a single layer takes the number in its name.
  private mutating func add(
    _ role: ArrayRole, _ items: [Found], order: AxisOrder, to layers: inout [Int: LayerArrays]
  ) throws(FormatError) {
    for item in items {
      var order = order
      if item.entry.shape.rank != order.letters.count {
        guard item.entry.shape.rank == order.letters.count - 1, order.letters.first == "b" else {
          throw FormatError(
            .mismatch,
            """
            has \(item.entry.shape.rank) axes (\(item.entry.shape)) and layout \(order.text) needs \
            \(order.letters.count); give --layout
            """,
            file: path, place: "array \"\(item.entry.name)\"")
        }
        order = AxisOrder(String(order.letters.dropFirst()))
      }
      guard item.entry.shape.count > 0 else {
        throw FormatError(
          .empty, "has no elements (shape \(item.entry.shape)); save it again", file: path,
          place: "array \"\(item.entry.name)\"")
      }
      let batch = try chooseBatch(item, order)
      let tensor = try item.archive.tensor(item.entry.name)
      let parts = order.layers(tensor, batch: batch)
      for (index, part) in parts.enumerated() {
        let number = parts.count > 1 || order.letters.contains("l") ? index : item.layer ?? 0
        layers[number, default: LayerArrays(layer: number, arrays: [:])].arrays[role] = part
      }
    }
  }

  /// The sequence that `--batch` picks, else the first, with a guess noted once. Throws
  /// `mismatch` beyond the axis.
  private mutating func chooseBatch(_ item: Found, _ order: AxisOrder) throws(FormatError) -> Int {
    guard let axis = order.letters.firstIndex(of: "b") else { return 0 }
    let size = item.entry.shape[axis], chosen = options.batch ?? 0
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

  /// The prefix that this program writes itself.
  private func isOwnName(_ name: String) -> Bool { name.hasPrefix("layers.") }

  /// The refusal for an array with too few or too many axes.
  private func rank(_ item: Found, _ wanted: String) -> FormatError {
    FormatError(
      .mismatch,
      """
      has \(item.entry.shape.rank) axes (\(item.entry.shape)) and \(wanted) are understood; \
      reshape it or give --layout
      """,
      file: path, place: "array \"\(item.entry.name)\"")
  }

  /// Positions are counted in 32 bits by the kernels, and products of two of them in 64.
  private static let mostPositions = 1 << 30

  /// What is computed from the sizes of the arrays must fit a number, and a head a kernel's stack.
  func checkSizes(_ layers: [LayerArrays], tile: (rows: Int, keys: Int)) throws(FormatError) {
    for layer in layers {
      let place = "layer \(layer.layer)"
      for (role, tensor) in layer.arrays where [.query, .key, .value].contains(role) {
        guard tensor.shape[2] <= Int(AS_MOST_DIM) else {
          throw FormatError(
            .tooLarge,
            """
            \(role.rawValue) heads are \(tensor.shape[2]) wide; \(AS_MOST_DIM) are the most (or \
            give --layout)
            """,
            file: path, place: place)
        }
      }
      let (queries, keys, _) = layer.positions
      guard queries <= Self.mostPositions / tile.rows, keys <= Self.mostPositions / tile.keys else {
        let map = "\(queries) x \(keys)"
        throw FormatError(
          .tooLarge,
          tile == (1, 1)
            ? "a map of \(map) has too many positions; \(Self.mostPositions) a side are the most"
            : """
            \(map) blocks of \(tile.rows)x\(tile.keys) make too many positions; \
            \(Self.mostPositions) a side are the most (--mask-tile says the tile)
            """,
          file: path, place: place)
      }
    }
  }

  /// Heads must divide, head dims and positions must match, and all layers must be of one
  /// size: every view indexes them together. Throws `mismatch` with the layer and both sizes.
  func checkAgreement(_ layers: [LayerArrays]) throws(FormatError) {
    for layer in layers {
      guard let q = layer.arrays[.query], let k = layer.arrays[.key] else { continue }
      let place = "layer \(layer.layer)"
      guard q.shape[2] == k.shape[2] else {
        throw FormatError(
          .mismatch,
          "q has head dim \(q.shape[2]) and k \(k.shape[2]); they must be equal (or give --layout)",
          file: path,
          place: place)
      }
      guard k.shape[0] > 0, q.shape[0] % k.shape[0] == 0 else {
        throw FormatError(
          .mismatch,
          "\(q.shape[0]) query heads cannot share \(k.shape[0]) key heads evenly "
            + "(or give --layout)",
          file: path, place: place)
      }
      if let v = layer.arrays[.value], v.shape[0] != k.shape[0] || v.shape[1] != k.shape[1] {
        throw FormatError(
          .mismatch, "v is \(v.shape) and k is \(k.shape): heads and positions must be equal",
          file: path, place: place)
      }
    }
    guard Set(layers.map { $0.positions.queries }).count == 1,
      Set(layers.map { $0.positions.heads }).count == 1
    else {
      throw FormatError(
        .mismatch, "layers have different numbers of queries or heads; slice them apart", file: path
      )
    }
    let lengths = Set(layers.map { $0.positions.keys })
    guard lengths.count == 1 else {
      throw FormatError(
        .mismatch,
        """
        layers have different numbers of keys \
        (\(lengths.sorted().map(String.init).joined(separator: ", "))); slice them apart
        """,
        file: path)
    }
  }
}
