public import ArgumentParser
import Attention
import Backends
import Canvas
import Formats
import Glibc
import Sessions

/// The flags that say how a file is to be read; each overrides one guess.
///
/// Example: `attnscope info x.npz --layout bhnd --batch 2`. Shared by every command that takes
/// dumps, so that a file which one of them understands is understood by all. `info` prints every
/// guess with the flag that overrides it.
///
/// The catch: without FILE and without `--q` the bundled sample is meant.
struct DumpArguments: ParsableArguments {
  /// Empty and no `--q`: the bundled sample.
  @Argument(
    help: "Dump files or folders: .safetensors, .npz, .npy, .pt, .pkl, .csv; a file a layer is one."
  )
  var files: [String] = []

  @Option(
    name: .customLong("q"),
    help: ArgumentHelp("Q from a file of its own; needs --k.", valueName: "file"))
  var query: String?

  @Option(
    name: .customLong("k"), help: ArgumentHelp("K from a file of its own.", valueName: "file"))
  var key: String?

  @Option(
    name: .customLong("v"), help: ArgumentHelp("V from a file of its own.", valueName: "file"))
  var value: String?

  @Option(
    help:
      """
      Axes, outermost first: b batch, l layer, h head, n position, d dim; maps: q, k. E.g. bhnd, \
      lhqk.
      """
  )
  var layout: String?

  /// Nil: found out from names, shapes and values.
  @Option(help: "What the arrays are: qkv, pattern, scores or mask.")
  var kind: DumpKind?

  /// Nil: what the file says, else a guess that is said.
  @Flag(inversion: .prefixedNo, help: "Whether a query sees only keys up to its own position.")
  var causal: Bool?

  @Option(
    parsing: .unconditional, help: "Position of query 0 among the keys (default: keys - queries).")
  var queryOffset: Int?

  /// Finite and above 0; `validate` refuses others.
  @Option(help: "Factor of Q K^T (default: 1/sqrt(d)).")
  var scale: Double?

  /// Index from 0; nil is right for files of one sequence.
  @Option(help: "Which sequence of a batch.")
  var batch: Int?

  @Flag(inversion: .prefixedNo, help: "Read two-byte integers of npy as bfloat16.")
  var bf16: Bool = false

  /// In tokens; nil: the file's, else a guess that is said.
  @Option(help: "Of a stored block mask: query rows x keys of a block.")
  var maskTile: TileSides?

  /// Nil: what the file says of itself.
  @Option(help: "Of a stored block mask: whether 1 means kept or skipped.")
  var maskOnes: MaskOnes?

  @OptionGroup var choice: ChoiceArguments

  /// What a 1 in a stored mask says; our own files say skipped, boolean masks elsewhere say
  /// kept.
  enum MaskOnes: String, ExpressibleByArgument, CaseIterable { case kept, skipped }

  /// The flags as the reader of dumps takes them; nil stays nil and means: find out.
  func options(tokens: String?) -> DumpOptions {
    var options = choice.options
    (options.layout, options.kind, options.causal, options.tokens) = (layout, kind, causal, tokens)
    (options.queryOffset, options.scale, options.batch) = (queryOffset, scale, batch)
    options.bfloat16 = bf16
    options.onesAreKept = maskOnes.map { $0 == .kept }
    options.maskTile = maskTile.map { ($0.rows, $0.keys) }
    return options
  }

  /// Refuses what contradicts itself before any file is opened. Throws `ValidationError`,
  /// which is bad usage (exit code 2).
  func validate() throws {
    if (query == nil) != (key == nil) { throw ValidationError("--q and --k go together.") }
    if query != nil, !files.isEmpty {
      throw ValidationError("Give either FILE or --q and --k, not both.")
    }
    if let scale, !(scale.isFinite && scale > 0) {
      throw ValidationError("--scale must be a positive number.")
    }
    if let queryOffset, !(-(1 << 30)...1 << 30).contains(queryOffset) {
      throw ValidationError("--query-offset \(queryOffset) is absurd.")
    }
  }

  /// Refuses to write over what is read: the dump would be gone, and with it what it was to show.
  /// Throws `exists`.
  func refuse(writingTo outputs: [String?]) throws(FormatError) {
    let inputs = (files + [query, key, value].compactMap { $0 }).compactMap(Self.identity)
    for output in outputs.compactMap({ $0 }) {
      guard let found = Self.identity(output), inputs.contains(where: { $0 == found }) else {
        continue
      }
      throw FormatError(
        .exists, "this is the file that is read; write to another name", file: output)
    }
  }

  /// What tells one file from another, whatever its names; nil where there is none.
  private static func identity(_ path: String) -> (UInt64, UInt64)? {
    var status = stat()
    return stat(path, &status) == 0 ? (UInt64(status.st_dev), UInt64(status.st_ino)) : nil
  }

  /// More than one dump was named; files that are its parts are one.
  var areSeveral: Bool { files.count > 1 && !Dump.areParts(files) }

  /// Nothing was named, so the bundled sample is meant.
  var isSample: Bool { files.isEmpty && query == nil }

  /// Every dump named; the bundled sample when none is. A recording is opened as its first
  /// part, with a word on standard error. Throws what opening throws.
  func open(_ texts: TokenArguments? = nil) throws -> [Dump] {
    try open(options(tokens: texts?.tokens))
  }

  /// Files that are parts of one dump, a layer each, are one; any others are one dump each.
  func open(_ options: DumpOptions) throws -> [Dump] {
    if let query, let key {
      return [try Dump.open(query: query, key: key, value: value, options: options)]
    }
    if Dump.areParts(files) { return [try Dump.open(files: files, options: options)] }
    return try (files.isEmpty ? [try Sample.path()] : files).map { file in
      if SafetensorsStream.isWire(file) {
        throw FormatError(
          .unsupported, "this is what a stream brought: attnscope open shows it", file: file)
      }
      if SafetensorsStream.isRecording(file) {
        say(
          """
          \(Printable.text(file)) is a recording: its prompt alone is read here; attnscope open \
          shows every step
          """
        )
      }
      return try Dump.open(file, options: options)
    }
  }

  /// The only dump, for commands that cannot take two. Throws `ValidationError` when several
  /// are named.
  func one(_ texts: TokenArguments? = nil) throws -> Dump {
    try one(options(tokens: texts?.tokens))
  }

  /// The only dump, read as `options` say.
  func one(_ options: DumpOptions) throws -> Dump {
    guard !areSeveral else { throw ValidationError("Give one FILE.") }
    return try open(options)[0]
  }

  /// What answers questions about a dump, with tables kept on disk.
  func backend(_ dump: Dump) -> FileBackend { FileBackend(dump, tables: .standard) }
}

/// How a computation may go faster with the same results. A group of its own, so that
/// commands which only read tables do not offer it.
struct ScreenArguments: ParsableArguments {
  @Option(
    help:
      """
      none, or int8: skip blocks on the word of an int8 bound, before their scores are known. \
      Nothing else changes, to the bit.
      """
  )
  var screen: Screening = .none
}

/// `128x64`, rows before keys, or the name of a preset, which is remembered because its
/// decode tile differs from its prefill tile.
struct TileSides: ExpressibleByArgument {
  /// Query rows that vote together, in tokens.
  let rows: Int
  /// Keys of a block, in tokens.
  let keys: Int
  /// The name that was given; nil for two numbers.
  let preset: String?

  /// Nil for anything else; the parser then prints the help of the flag.
  init?(argument: String) {
    if let preset = TilePreset.all.first(where: { $0.name == argument.lowercased() }) {
      (rows, keys, self.preset) = (preset.prefill.rows, preset.prefill.keys, preset.name)
      return
    }
    guard let sides = TileSpec.sides(argument) else { return nil }
    (rows, keys, preset) = (sides.rows, sides.keys, nil)
  }
}

/// `0-3,7`: numbers and closed ranges.
///
/// Order and repetition stay as they were typed; ranges of more than 65536 are refused as
/// slips of the finger.
struct NumberList: ExpressibleByArgument {
  /// All of them, ranges spelled out.
  let numbers: [Int]
  /// Of ranges, some numbers may be missing from a file; single ones must be there.
  private(set) var single: Set<Int> = []

  /// Nil unless every part is a number or an ascending range.
  init?(argument: String) {
    var numbers: [Int] = []
    for part in argument.split(separator: ",") {
      let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      guard let low = ends.first ?? nil, let high = ends.last ?? nil, ends.count <= 2, low >= 0,
        low <= high,
        high - low < 1 << 16
      else { return nil }
      numbers += low...high
      if low == high { single.insert(low) }
    }
    guard !numbers.isEmpty else { return nil }
    self.numbers = numbers
  }

  /// The places of its numbers among those of some layers, each once and in the order in which they
  /// were typed, and the number that is missing: a single one, or the first where none is there.
  func layers(among layers: [LayerNumber]) -> (indices: [LayerIndex], missing: LayerNumber?) {
    var seen: Set<Int> = []
    let indices = numbers.filter { seen.insert($0).inserted }
      .compactMap { layers.index(of: LayerNumber($0)) }
    let missing = numbers.first { single.contains($0) && layers.index(of: LayerNumber($0)) == nil }
    return (indices, (missing ?? (indices.isEmpty ? numbers[0] : nil)).map { LayerNumber($0) })
  }

  /// The numbers as one range without gaps below `count`; nil when they are none.
  func range(below count: Int) -> Range<Int>? {
    guard let low = numbers.min(), let high = numbers.max(), high < count else { return nil }
    let range = low..<high + 1
    return range.count == numbers.count ? range : nil
  }
}

extension DumpKind: ExpressibleByArgument {}
extension LayerNumber: ExpressibleByArgument {}
extension Vote: ExpressibleByArgument {}
extension Order: ExpressibleByArgument {}
extension Criterion: ExpressibleByArgument {}
extension Screening: ExpressibleByArgument {}

extension SourceDescription {
  /// The place of a layer number, or a sentence that names those there are. Throws
  /// `mismatch`; `file` is only for that sentence.
  func layerIndex(_ number: LayerNumber, file: String) throws(FormatError) -> LayerIndex {
    if let index = index(of: number) { return index }
    throw FormatError(.mismatch, "has no layer \(number); it has \(layerNames)", file: file)
  }

  /// Places of all numbers of a list. Throws `mismatch` when one is missing, or all.
  func layerIndices(_ list: NumberList, file: String) throws(FormatError) -> [LayerIndex] {
    let (indices, missing) = list.layers(among: layers)
    if let missing { _ = try layerIndex(missing, file: file) }
    return indices
  }

  /// The place of a head number, once it is known to exist. Throws `mismatch` otherwise.
  func headIndex(_ number: Int, file: String) throws(FormatError) -> Int {
    if let head = head(numbered: number) { return head }
    throw FormatError(.mismatch, "has no head \(number); heads are \(headNames)", file: file)
  }
}
