public import ArgumentParser
public import Attention
import Backends
import Canvas
import Formats
import Sessions

/// What is known of the tokens, for files that do not say it: texts, roles, and which of them are
/// the patches of an image; and of the heads, which patterns they were assigned.
///
/// Example: `--tokens words.txt --grid 24x24@5 --roles roles.json`. Apart from `DumpArguments`,
/// because some commands never look at a token.
struct TokenArguments: ParsableArguments {
  /// A path; nil: the texts in the file, if it has any.
  @Option(help: ArgumentHelp("Token texts: one a line, or a JSON array.", valueName: "file"))
  var tokens: String?

  /// Nil: no image.
  @Option(
    help: ArgumentHelp(
      """
      Tokens that are an image's patches: rows x columns, and @ the first one's place (default: \
      the first visual token of --roles, or the last tokens).
      """,
      valueName: "RxC[@token]"))
  var grid: TokenFacts.Grid?

  /// A path; nil: no roles.
  @Option(
    help: ArgumentHelp(
      "What each token is, text, visual or padding: a word a line, or a JSON array.",
      valueName: "file"))
  var roles: String?

  /// A path; nil: no table.
  @Option(
    help: ArgumentHelp(
      "Patterns that heads were assigned, MInference's JSON, beside what they show.",
      valueName: "file"))
  var patterns: String?

  /// None was given.
  var areNone: Bool { grid == nil && roles == nil && tokens == nil && patterns == nil }

  /// Grid and roles; the texts are the dump's own matter. Throws what reading the file of roles
  /// throws, `malformed` for a word that is none and `mismatch` for a grid without visual tokens.
  func facts() throws -> TokenFacts {
    var facts = TokenFacts(roles: try roles.map(Self.read) ?? [], grid: grid)
    guard let grid, grid.first == nil, let roles else { return facts }
    guard let first = facts.roles.firstIndex(of: .visual) else {
      throw FormatError(
        .mismatch, "calls no token visual, and --grid \(grid) wants \(grid.patches) of them",
        file: roles)
    }
    facts.grid = TokenFacts.Grid(rows: grid.rows, columns: grid.columns, first: first)
    return facts
  }

  /// What answers questions about a dump, with tables kept on disk and with what was said of its
  /// tokens. Throws `mismatch` where that does not fit the number of its tokens, and what `facts`
  /// throws.
  func backend(_ dump: Dump) throws -> FileBackend {
    let backend = FileBackend(
      dump, tables: .standard, facts: try facts(),
      patterns: try patterns.map(AssignedPatterns.init))
    try check(backend.describe(), dump.path)
    try checkPatterns(backend, dump.path)
    return backend
  }

  /// The same of what a model has read just now, and can read again; nothing is kept on disk.
  /// Throws what `backend` throws.
  func backend(_ dump: Dump, reader: any ModelReader) throws -> FileBackend {
    let backend = FileBackend(
      dump, facts: try facts(), reader: reader, patterns: try patterns.map(AssignedPatterns.init))
    try check(backend.describe(), dump.path)
    try checkPatterns(backend, dump.path)
    return backend
  }

  /// A table of another model speaks of none of the heads, and is refused. Throws `mismatch`.
  private func checkPatterns(_ backend: FileBackend, _ path: String) throws(FormatError) {
    guard let patterns, let table = backend.patternTable, !backend.hasAssigned else { return }
    let about = backend.describe()
    throw FormatError(
      .mismatch,
      """
      is of \(table.count) layers and speaks of no head of \(path), which has layers \
      \(about.layerNames) and heads \(about.headNames); give the table of its model
      """,
      file: patterns)
  }

  /// Says what does not fit, in a sentence.
  private func check(_ about: SourceDescription, _ path: String) throws {
    let facts = about.facts, count = about.keys
    if let roles, facts.roles.count != count {
      throw FormatError(
        .mismatch,
        """
        has \(facts.roles.count) roles for the \(count) tokens of \(path); give each token one: \
        text, visual or padding
        """,
        file: roles)
    }
    guard let grid = facts.grid else { return }
    guard let tokens = grid.tokens(of: count) else {
      throw FormatError(
        .mismatch,
        """
        has \(count) tokens, and --grid \(grid) covers \
        \(grid.patches)\(grid.first.map { " from token \($0) on" } ?? ""); give a grid that fits
        """,
        file: path)
    }
    guard let roles, let other = tokens.first(where: { facts.roles[$0] != .visual }) else { return }
    throw FormatError(
      .mismatch,
      """
      calls token \(other) \(facts.roles[other].rawValue), and --grid \(grid) takes it for a \
      patch; say where the patches begin with @, or correct the file
      """,
      file: roles)
  }

  /// Roles of a file, `[tokens]`. The end of the last line is no role.
  private static func read(_ path: String) throws -> [TokenFacts.Role] {
    var words = try readTexts(path).map(\.trimmed)
    if words.last == "" { words.removeLast() }
    return try words.enumerated().map { index, word in
      guard let role = TokenFacts.Role(rawValue: word.lowercased()) else {
        throw FormatError(
          .malformed,
          """
          token \(index) is '\(Printable.text(String(word.prefix(40))))'; a role is text, visual \
          or padding
          """,
          file: path)
      }
      return role
    }
  }
}

extension TokenFacts.Grid: ExpressibleByArgument {
  /// Nil for anything else than `24x24` or `24x24@5`; the parser then prints the help of the flag.
  public init?(argument: String) { self.init(argument) }
}

extension TokenFacts {
  /// Grid and roles for a person, each with its name; nothing for what is not known. `count` is the
  /// number of tokens.
  func listing(of count: Int) -> [[String]] {
    var rows: [[String]] = []
    if let grid, let tokens = grid.tokens(of: count) {
      rows.append([
        "image",
        """
        \(grid.rows)x\(grid.columns) patches, tokens \(tokens.lowerBound) to \
        \(tokens.upperBound - 1)
        """,
      ])
    }
    if !roles.isEmpty {
      let counts = Role.allCases.map { role in "\(roles.count { $0 == role }) \(role.rawValue)" }
      rows.append(["roles", counts.joined(separator: ", ")])
    }
    return rows
  }
}
