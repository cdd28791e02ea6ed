import Tensors

extension Dump {
  /// Opens a dump and finds out what it holds, from names, shapes and a look at the values;
  /// the flags in `options` win over guesses.
  ///
  /// Example: `let dump = try Dump.open("qk.safetensors"); print(dump.guesses)`. Reads the
  /// directory of the file and a few rows of a map; arrays stay on disk. Throws what opening
  /// the archive throws, `mismatch` when no array is recognised or shapes disagree, `empty`
  /// for an array without elements, `unsupported` for an unknown layout.
  public static func open(_ path: String, options: DumpOptions = .init()) throws(FormatError)
    -> Dump
  {
    let archive = try openArchive(path, options: ArchiveOptions(bfloat16: options.bfloat16))
    var reader = try DumpReader(options, path: path, format: archive.format)
    for note in archive.notes { reader.guesses.append(Guess(note, flag: "--no-bf16")) }
    reader.remarks = archive.remarks
    try reader.take(archive)
    return try reader.finish(archive)
  }

  /// Opens q, k and v (v may be missing) from three separate files.
  ///
  /// Each file holds one array; they become layer 0 unless the layout has a layer axis.
  /// Throws as the other `open` does, and `mismatch` when a file holds several arrays.
  public static func open(
    query: String, key: String, value: String?, options: DumpOptions = .init()
  ) throws(FormatError) -> Dump {
    var reader = try DumpReader(options, path: query, format: "npy")
    let files: [(ArrayRole, String?)] = [(.query, query), (.key, key), (.value, value)]
    var first: (any TensorArchive)?
    for (role, path) in files {
      guard let path else { continue }
      let archive = try openArchive(path, options: ArchiveOptions(bfloat16: options.bfloat16))
      guard archive.entries.count == 1 else {
        throw FormatError(
          .mismatch,
          "holds \(archive.entries.count) arrays where one \(role.rawValue) array was expected",
          file: path)
      }
      first = first ?? archive
      reader.format = archive.format
      reader.remarks += archive.remarks
      try reader.add(role, archive.entries[0], archive, layer: nil)
    }
    return try reader.finish(first!)
  }
}

/// Collects arrays by role and layer, then turns them into canonical layers.
///
/// Made for one dump: `take` or `add` what there is, then `finish` once. Every decision that
/// a flag could overrule leaves a `Guess`.
struct DumpReader {
  /// An array whose role is known and whose axes are not yet.
  struct Found {
    let entry: ArrayEntry
    let archive: any TensorArchive
    /// The layer number in its name, if there is one.
    let layer: Int?
    /// What its name says about the kind of map; nil when only the values can tell.
    let hint: DumpKind?
  }

  let options: DumpOptions
  let path: String
  /// Where the arrays came from, for the dump to repeat.
  var format: String
  var guesses: [Guess] = []
  /// What was not done while reading, and why, in sentences.
  var remarks: [String] = []
  /// q, k, v, blocks and margins, in the order of the file.
  var found: [ArrayRole: [Found]] = [:]
  /// Arrays that are maps of some kind.
  var maps: [Found] = []

  /// Throws `unsupported` when the layout in `options` is no layout.
  init(_ options: DumpOptions, path: String, format: String) throws(FormatError) {
    (self.options, self.path, self.format) = (options, path, format)
    if let layout = options.layout { try AxisOrder.check(layout, file: path) }
  }

  /// Sorts the arrays of a file by name. Vectors and scalars are left out: no role has fewer
  /// than two axes.
  mutating func take(_ archive: any TensorArchive) throws(FormatError) {
    for entry in archive.entries {
      guard let name = ArrayName(entry.name), entry.shape.rank >= 2 else { continue }
      let item = Found(entry: entry, archive: archive, layer: name.layer, hint: nil)
      switch name.family {
      case .query: found[.query, default: []].append(item)
      case .key: found[.key, default: []].append(item)
      case .value: found[.value, default: []].append(item)
      case .blocks: found[.blocks, default: []].append(item)
      case .margins: found[.margins, default: []].append(item)
      case .selected: found[.selected, default: []].append(item)
      case .indexScores: found[.indexScores, default: []].append(item)
      case .beta: found[.beta, default: []].append(item)
      case .weights(let role): found[role, default: []].append(item)
      case .map(let kind):
        maps.append(Found(entry: entry, archive: archive, layer: name.layer, hint: kind))
      }
    }
  }

  /// Gives an array a role that a flag names, whatever the array itself is called. Throws
  /// `mismatch` when it has fewer than two axes.
  mutating func add(
    _ role: ArrayRole, _ entry: ArrayEntry, _ archive: any TensorArchive, layer: Int?
  ) throws(FormatError) {
    guard entry.shape.rank >= 2 else {
      throw FormatError(
        .mismatch,
        """
        a \(role.rawValue) array needs at least two axes (positions, head dim) and has shape \
        \(entry.shape)
        """,
        file: archive.path)
    }
    found[role, default: []].append(Found(entry: entry, archive: archive, layer: layer, hint: nil))
  }

  /// Decides the kind, splits the arrays into layers, checks that they agree, and collects
  /// the facts around them. Throws `mismatch` or `malformed` when no complete layer comes
  /// out.
  mutating func finish(_ archive: any TensorArchive) throws(FormatError) -> Dump {
    let kind = try chooseKind(archive)
    var layers: [Int: LayerArrays] = [:]
    switch kind {
    case .qkv: try addProjections(&layers)
    case .mask where found[.blocks] != nil: try addBlocks(&layers)
    default: try addMaps(&layers, kind: kind)
    }
    if kind != .mask, found[.blocks] != nil { try addBlocks(&layers, onlyKnown: true) }
    if kind != .mask {
      try addSelections(&layers)
      try addWeights(&layers)
    }
    guard !layers.isEmpty else {
      throw FormatError(.malformed, "no layer could be read from it", file: path)
    }
    let metadata = DumpMetadata(archive.metadata, path: path)
    if kind == .mask, found[.blocks] == nil, options.onesAreKept == nil {
      guesses.append(Guess("1 in the mask taken as kept", flag: "--mask-ones"))
    }
    let ordered = layers.values.sorted { $0.layer < $1.layer }
    try checkAgreement(ordered)
    let tile = options.maskTile ?? metadata.tile
    try checkSizes(ordered, tile: kind == .mask ? tile ?? (128, 128) : (1, 1))
    let causal = try chooseCausal(ordered, kind: kind, metadata)
    let shape = ordered[0].positions
    let tokens = try chooseTokens(archive, metadata, keys: shape.keys)
    var dump = Dump(
      path: path, format: format, kind: kind, layers: ordered, model: metadata.model,
      tokens: tokens,
      tokenIDs: tokenIDs(archive), causal: causal,
      queryOffset: options.queryOffset ?? metadata.queryOffset,
      scale: options.scale ?? metadata.scale, tile: tile, onesAreKept: chooseOnes(kind),
      guesses: guesses, remarks: remarks)
    dump.extras = try extras(archive)
    return dump
  }

  /// Arrays of the whole dump that some methods ask for.
  private func extras(_ archive: any TensorArchive) throws(FormatError) -> [String: Tensor] {
    let known = [
      ("residuals", 3, "[sources, tokens, width]"), ("token_probabilities", 1, "[tokens]"),
      ("token_losses", 1, "[tokens]"),
    ]
    var found: [String: Tensor] = [:]
    for (name, rank, axes) in known {
      guard let entry = archive.entries.first(where: { $0.name == name }) else { continue }
      guard entry.shape.rank == rank else {
        throw FormatError(
          .mismatch, "\(name) are \(axes) and have shape \(entry.shape)", file: path, place: name)
      }
      found[name] = try archive.tensor(entry.name)
    }
    return found
  }

  /// Q and K win over maps: everything else can be computed from them.
  private mutating func chooseKind(_ archive: any TensorArchive) throws(FormatError) -> DumpKind {
    if let kind = options.kind { return kind }
    if found[.query] != nil, found[.key] != nil { return .qkv }
    if let map = maps.first {
      if let hint = maps.compactMap(\.hint).first { return hint }
      let content = try MapContent(map.archive, map.entry)
      guard let kind = content.kind else {
        throw FormatError(
          .mismatch,
          """
          holds whole numbers from \(Int(content.range.lowerBound)) to \
          \(Int(content.range.upperBound)): a mask has 0 and 1 (255: not visible), a pattern \
          shares that sum to 1; --kind pattern, scores or mask says what they are
          """,
          file: path, place: map.entry.name)
      }
      guesses.append(Guess("read as \(kind.words) from a look at its values", flag: "--kind"))
      return kind
    }
    if found[.blocks] != nil { return .mask }
    if let chosen = found[.selected]?.first {
      throw FormatError(
        .mismatch,
        """
        has chosen keys (\"\(chosen.entry.name)\") and nothing that they were chosen of; save Q \
        and K, or a map, beside them
        """,
        file: path)
    }
    if !archive.entries.isEmpty, archive.entries.allSatisfy({ $0.shape.rank < 2 }) {
      let shapes = archive.entries.prefix(4).map { "\($0.shape)" }.joined(separator: ", ")
      throw FormatError(
        .mismatch,
        """
        holds no attention, only vectors (\(shapes)): it has two axes at least, queries and keys
        """,
        file: path)
    }
    let names = archive.entries.prefix(4).map { "\"\($0.name)\"" }.joined(separator: ", ")
    if let half = found[.query] ?? found[.key] {
      throw FormatError(
        .mismatch, "has \"\(half[0].entry.name)\" but not its partner; Q and K are both needed",
        file: path)
    }
    throw FormatError(
      .mismatch,
      """
      holds no attention that is recognised (arrays: \(names.isEmpty ? "none" : names)); name them \
      layers.0.q, layers.0.k, layers.0.v or attention
      """,
      file: path)
  }

  /// A 1 means kept in the boolean masks of other tools, and skipped in our own
  /// `blocks`.
  private func chooseOnes(_ kind: DumpKind) -> Bool {
    options.onesAreKept ?? (kind == .mask && found[.blocks] == nil)
  }

  /// A damaged list of numbers is treated as absent, since the maps are readable without it.
  private func tokenIDs(_ archive: any TensorArchive) -> [Int]? {
    guard
      let entry = archive.entries.first(where: { ["token_ids", "input_ids"].contains($0.name) }),
      let tensor = try? archive.tensor(entry.name), tensor.count < 1 << 24
    else { return nil }
    return tensor.floats().map { abs($0) < 1e15 ? Int($0) : 0 }
  }
}

extension DumpKind {
  /// For a sentence.
  public var words: String {
    switch self {
    case .qkv: "Q, K, V"
    case .pattern: "attention patterns (softmaxed)"
    case .scores: "attention scores (before softmax)"
    case .mask: "block masks"
    }
  }
}

extension LayerArrays {
  /// Queries, keys and query heads, from whichever array tells; tiles instead of positions
  /// for a block mask without Q and K.
  public var positions: (queries: Int, keys: Int, heads: Int) {
    if let q = arrays[.query], let k = arrays[.key] { return (q.shape[1], k.shape[1], q.shape[0]) }
    let map = arrays[.pattern] ?? arrays[.scores] ?? arrays[.blocks]!
    return (map.shape[1], map.shape[2], map.shape[0])
  }
}
