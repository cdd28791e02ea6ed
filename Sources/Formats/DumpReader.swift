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
    try open(
      try openArchive(
        path, options: ArchiveOptions(bfloat16: options.bfloat16, request: options.batch)),
      options: options)
  }

  /// Opens several files as one dump: a file a layer, for instance.
  ///
  /// Example: `try Dump.open(files: ["attn_layer_0.npy", "attn_layer_1.npy"])`. Names of files are
  /// then what names of arrays are elsewhere. Throws as the other `open` does.
  public static func open(files: [String], options: DumpOptions = .init()) throws(FormatError)
    -> Dump
  {
    let archive = try FolderArchive(
      files, path: files.first ?? "", options: ArchiveOptions(bfloat16: options.bfloat16))
    return try open(archive, options: options)
  }

  /// Whether several files are parts of one dump: their names are the same but for numbers, and one
  /// word says that a number counts layers, heads or steps.
  public static func areParts(_ files: [String]) -> Bool {
    guard files.count > 1, !files.contains(where: FolderArchive.isFolder) else { return false }
    let names = files.map { nameParts(FolderArchive.stem($0)) }
    let words = Set(names.map { $0.filter { Int($0) == nil } })
    let numbers = names.map(NameNumbers.init)
    return words.count == 1 && Set(names).count == names.count
      && numbers.allSatisfy { $0.saysLayer || $0.head != nil || $0.step != nil }
  }

  private static func open(_ archive: any TensorArchive, options: DumpOptions) throws(FormatError)
    -> Dump
  {
    var reader = try DumpReader(options, path: archive.path, format: archive.format)
    for note in archive.notes { reader.guesses.append(Guess(note, flag: "--no-bf16")) }
    reader.remarks = archive.remarks + archive.leftOut.prefix(8).map(\.description)
    if archive.leftOut.count > 8 {
      reader.remarks.append("and \(archive.leftOut.count - 8) more were left out")
    }
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
    let name: ArrayName
    /// Nil for a map.
    var role: ArrayRole?
    /// The layer number in its name, if there is one.
    var layer: Int?
    /// What its name says about the kind of map; nil when only the values can tell.
    var hint: DumpKind?

    /// The same as another layer.
    func numbered(_ layer: Int) -> Found {
      var other = self
      other.layer = layer
      return other
    }

    /// The same as a map, of a kind if that is known.
    func taken(for kind: DumpKind?) -> Found {
      var other = self
      (other.hint, other.role) = (kind, nil)
      return other
    }
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
  /// Arrays whose names say nothing.
  var unknown: [Found] = []
  /// Q without K, or K without Q.
  var halves: [[Found]] = []
  /// How many keys there were before padding at the end was cut away; nil: none was.
  var trimmed: Int?
  /// An `attention_mask` told where padding is.
  var usesMask = false
  /// What could be shown, once it is chosen among.
  var choices: [ArrayChoice] = []

  /// Throws `unsupported` when the layout in `options` is no layout.
  init(_ options: DumpOptions, path: String, format: String) throws(FormatError) {
    (self.options, self.path, self.format) = (options, path, format)
    if let layout = options.layout { try AxisOrder.check(layout, file: path) }
  }

  /// Sorts the arrays of a file by name. Vectors and scalars are left out: no role has fewer
  /// than two axes.
  mutating func take(_ archive: any TensorArchive) throws(FormatError) {
    for entry in archive.entries where entry.shape.rank >= 2 {
      let name = ArrayName(entry.name)
      var item = Found(entry: entry, archive: archive, name: name, layer: name.layer)
      // A plain npy is called arr_0 by nobody but numpy.
      if entry.name == "arr_0" { item.layer = nil }
      func add(_ role: ArrayRole) {
        item.role = role
        found[role, default: []].append(item)
      }
      switch name.family {
      case .query: add(.query)
      case .key: add(.key)
      case .value: add(.value)
      case .blocks: add(.blocks)
      case .margins: add(.margins)
      case .selected: add(.selected)
      case .indexScores: add(.indexScores)
      case .beta: add(.beta)
      case .probed: add(.probed)
      case .weights(let role): add(role)
      case .map(let kind): maps.append(item.taken(for: kind))
      case .unknown: unknown.append(item)
      case .none: break
      }
    }
    takeBlockMask(archive)
    try choose()
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
    found[role, default: []].append(
      Found(
        entry: entry, archive: archive, name: ArrayName(entry.name), role: role, layer: layer))
  }

  /// Decides the kind, splits the arrays into layers, checks that they agree, and collects
  /// the facts around them. Throws `mismatch` or `malformed` when no complete layer comes
  /// out.
  mutating func finish(_ archive: any TensorArchive) throws(FormatError) -> Dump {
    let metadata = DumpMetadata(archive.metadata, path: path)
    var rules = try rules(archive, metadata)
    var kind = try chooseKind(archive)
    var layers = try layers(of: kind)
    let byLayer = LayerRules(archive, rules, layers: layers.keys.sorted())
    if let gap = try disagreement(kind, layers, rules, byLayer, metadata) {
      kind = .pattern
      layers = try self.layers(of: kind)
      guesses.append(
        Guess("the stored pattern is shown: Q and K give another one (\(gap))", flag: "--kind qkv"))
    }
    if kind == .mask, found[.blocks] == nil, options.onesAreKept == nil {
      guesses.append(Guess("1 in the mask taken as kept", flag: "--mask-ones"))
    }
    var ordered = alignedKeys(layers.values.sorted { $0.layer < $1.layer }, kind)
    try checkAgreement(ordered)
    let tile = options.maskTile ?? metadata.tile
    try checkSizes(ordered, tile: kind == .mask ? tile ?? (128, 128) : (1, 1))
    if kind == .mask { try checkMasks(ordered) }
    rules.padding = try trim(&ordered, kind: kind, archive)
    let probe = kind == .qkv ? try addProbe(&ordered, archive.metadata) : nil
    let causal = try chooseCausal(ordered, kind: kind, metadata, padding: rules.padding)
    let shape = ordered[0].positions
    let tokens = try chooseTokens(archive, metadata, keys: shape.keys)
    var dump = Dump(
      path: path, format: format, kind: kind, layers: ordered, model: metadata.model,
      tokens: tokens,
      tokenIDs: tokenIDs(archive), causal: causal,
      queryOffset: options.queryOffset ?? metadata.queryOffset,
      scale: options.scale ?? metadata.scale, tile: tile, onesAreKept: chooseOnes(kind),
      guesses: guesses, remarks: remarks + DumpMetadata.ignored(archive.metadata))
    (dump.rules, dump.probe) = (rules, probe)
    if kind == .qkv || rules.window != nil { dump.layerRules = byLayer }
    if metadata.headNumbers?.count == shape.heads { dump.headNumbers = metadata.headNumbers }
    (dump.choices, dump.arrays) = (choices, arrays(of: archive, dump))
    dump.extras = try extras(archive)
    return dump
  }

  /// The arrays of a kind as layers, with what lies beside them. Throws what reading throws, and
  /// `malformed` where no layer is whole.
  private mutating func layers(of kind: DumpKind) throws(FormatError) -> [Int: LayerArrays] {
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
    return layers
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
