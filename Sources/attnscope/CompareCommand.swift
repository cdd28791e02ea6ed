import Analysis
public import ArgumentParser
import Attention
import Backends
import Canvas
import Formats
import Interface
import Sessions

/// `attnscope compare 12.3 12.6` or `attnscope compare a.npz b.npz`: the comparison view of
/// the screen as a table of text or JSON.
///
/// It drives the same model of the screen and prints its table, so the two cannot differ. The
/// catch: a word that looks like a file (an ending, a slash, an `@`) is taken for one.
struct CompareCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Two heads, files, methods or tiles side by side, or all methods at one budget.",
    discussion: """
      A side is FILE, FILE@LAYER.HEAD, LAYER.HEAD, a method's name, or words as behind :compare, \
      such as "tile 64x64" or \
      desc; what the second side does not say is as in the first. Without a file the bundled \
      sample is meant.

      With --methods there is one side, and every method is tuned over its main knob until it \
      touches the same share of 64x64 tiles, --budget; the table is sorted by recall, those that \
      do not come within 5 % of the budget apart. --per entries tunes by kept entries instead. One \
      setting serves all heads that are chosen. A setting that names its main knob is taken as it \
      is.
      """)

  @Argument(help: "The first side.") var left: String?
  @Argument(help: "The second side.") var right: String?
  @OptionGroup var texts: TokenArguments
  @OptionGroup var tiles: TileArguments
  /// As the file calls it; nil: the middle one.
  @Option(help: "Layer number, where a side names none.") var layer: LayerNumber?
  /// Nil: 0.
  @Option(help: "Head number, where a side names none.") var head: Int?
  /// Nil: two sides are compared.
  @Option(
    help: ArgumentHelp(
      "Methods at one budget: all, or settings ID[:knob=value,..] joined by commas.",
      valueName: "all|list"))
  var methods: String?
  @Option(help: "With --methods: the share of 64x64 tiles that each may touch (default: 0.1).")
  var budget: Double?
  /// Nil: tiles.
  @Option(help: "With --methods: what the budget is a share of, tiles (default) or entries.")
  var per: EqualBudget.Measure?
  /// Nil: the one head.
  @Option(
    help: ArgumentHelp(
      "With --methods: head numbers, e.g. 0,4-8, or all of the file.", valueName: "all|list"))
  var heads: String?
  @Flag(help: "Print JSON.") var json = false
  @Flag(help: "With --methods: print CSV.") var csv = false

  /// Throws `ValidationError` for flags that do not go together.
  func validate() throws {
    guard methods != nil else {
      guard left != nil, right != nil else {
        throw ValidationError("Give two sides, or one and --methods.")
      }
      guard budget == nil, heads == nil, per == nil, !csv else {
        throw ValidationError("--budget, --per, --heads and --csv go with --methods.")
      }
      return
    }
    if right != nil { throw ValidationError("--methods takes one side.") }
    if let budget, !(budget > 0 && budget <= 1) {
      throw ValidationError("--budget is a share above 0, at most 1.")
    }
    if json, csv { throw ValidationError("Choose one of --json, --csv.") }
    if head != nil, heads != nil { throw ValidationError("Choose one of --head, --heads.") }
  }

  /// A side in parts: the file, and the words behind it that say where in the file.
  struct Side {
    /// Nil where the words speak of the file at hand.
    var file: String?
    /// As behind `:compare`; may be empty.
    var words: String

    /// Of files that hold arrays.
    private static let endings = [
      ".safetensors", ".npz", ".npy", ".pt", ".pth", ".pkl", ".pickle", ".csv", ".tsv",
    ]

    /// Splits at the first `@`. Without one, an ending or a slash makes the text a file; else
    /// all of it is words.
    init(_ text: String) {
      let parts = text.split(separator: "@", maxSplits: 1).map(String.init)
      let looksLikeFile =
        parts.count == 2 || Self.endings.contains { text.hasSuffix($0) } || text.contains("/")
      file = looksLikeFile && !text.hasPrefix("@") ? parts.first : nil
      words =
        looksLikeFile
        ? (text.hasPrefix("@") ? String(text.dropFirst()) : (parts.count == 2 ? parts[1] : ""))
        : text
    }
  }

  /// Opens one or two files, lets the words choose method, head and tile on both sides, and
  /// prints. Throws `ValidationError` when both sides come out the same.
  func run() async throws {
    if let methods { return try atOneBudget(methods) }
    let sides = (Side(left ?? ""), Side(right ?? ""))
    var options = DumpOptions()
    options.tokens = texts.tokens
    let first = try Dump.open(try sides.0.file ?? Sample.path(), options: options)
    var parts = [try texts.backend(first)]
    if let file = sides.1.file, file != sides.0.file {
      parts.append(try texts.backend(try Dump.open(file, options: options)))
    }
    let backend = SeveralBackends(parts)
    let about = backend.describe()
    var view = Viewpoint(about)
    view.view = .compare
    view.lambda = max(0, tiles.lambda)
    view.spec = about.storedTile ?? tiles.spec(queries: about.queries)
    let sources = [about] + about.others
    view.head.layer =
      try layer.map { try about.layerIndex($0, file: first.path) } ?? about.middleLayer
    view.head.head = try head.map { try about.headIndex($0, file: first.path) } ?? 0
    do {
      if !sides.0.words.isEmpty {
        let one = try Counterpart(sides.0.words, beside: view, sources)
        view.method = one.method
        view.head = one.head
        if let spec = one.spec { view.spec = spec }
      }
      let words = [parts.count > 1 ? "file 2" : "", sides.1.words].filter { !$0.isEmpty }
      let other = try Counterpart(words.joined(separator: " "), beside: view, sources)
      if other == Counterpart(view.head) { throw ValidationError("Both sides are the same.") }
      view.other = other
    } catch let error as SettingError {
      throw ValidationError("\(error)")
    }
    let chosen = view
    let model = try await Still.model(backend, width: 400, height: 300) { $0 = chosen }
    let numbers = ComparisonNumbers(model)
    if json {
      print(Self.json(numbers).text(pretty: true))
    } else {
      print(ComparisonTable(model).text, terminator: "")
    }
    if let warning = numbers.warning { say("note: " + Printable.text(warning)) }
  }

  /// A row has a value a side, or one for both; null is what cannot be known.
  private static func json(_ numbers: ComparisonNumbers) -> JSON {
    .object([
      ("left", .string(numbers.left)), ("right", .string(numbers.right)),
      ("warning", .optional(numbers.warning, JSON.string)),
      (
        "rows",
        .array(
          numbers.rows.map { row in
            let left = json(row.left), name = ("name", JSON.string(row.name))
            guard let right = row.right else { return .object([name, ("both", left)]) }
            return .object([name, ("left", left), ("right", json(right))])
          })
      ),
    ])
  }

  /// Unknown is null, never 0.
  private static func json(_ value: ComparisonNumbers.Value) -> JSON {
    switch value {
    case .number(let x): .number(x)
    case .integer(let x): .integer(x)
    case .word(let word): .string(word)
    case .unknown: .null
    }
  }
}

extension EqualBudget.Measure: ExpressibleByArgument {}
