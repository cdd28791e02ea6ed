import Analysis
import Attention

/// Which tokens of a source are an image's, which are text, which are padding: what methods that
/// prune an image's tokens stand on.
///
/// Roles say it where there are any; otherwise the patches of the grid are the image's, and all
/// other tokens text.
///
/// Example: `try ImageTokens(subject.tokens, keys: head.keys).visual`. The catch: a score is
/// `[visual]` here, and becomes `[keys]` or a picture by `strip` and `image`.
struct ImageTokens: Sendable {
  /// `[visual]` places among the keys, ascending.
  private(set) var visual: [Int]
  /// `[text]` places among the keys, ascending.
  let text: [Int]
  /// Tokens that are padding.
  let padding: Set<Int>
  /// The image's patches, where they are known; they lie within the keys.
  let grid: TokenFacts.Grid?
  /// All tokens.
  let keys: Int

  /// Throws `Missing(.roles)` where nothing is known or no token is an image's, and
  /// `Missing(.imageGrid)` for a grid that does not lie within the `keys` tokens.
  init(_ facts: TokenFacts, keys: Int) throws {
    self.keys = keys
    grid = facts.grid
    let patches = try facts.grid.map { grid in
      guard let patches = grid.tokens(of: keys) else {
        throw Missing(.imageGrid, hint: "\(grid) does not lie within the \(keys) tokens")
      }
      return patches
    }
    if facts.roles.isEmpty {
      guard let patches else { throw Missing(.roles) }
      visual = Array(patches)
      text = (0..<keys).filter { !patches.contains($0) }
      padding = []
      return
    }
    guard facts.roles.count == keys else {
      throw Missing(.roles, hint: "there are \(facts.roles.count) for \(keys) tokens")
    }
    visual = (0..<keys).filter { facts.roles[$0] == .visual }
    text = (0..<keys).filter { facts.roles[$0] == .text }
    padding = Set((0..<keys).filter { facts.roles[$0] == .padding })
    guard !visual.isEmpty else { throw Missing(.roles, hint: "no token is an image's") }
  }

  /// The same with the image's own padding among its tokens: all patches, or what lies between the
  /// first and the last token of the image and is no text.
  var withPadding: ImageTokens {
    var all = self
    let span = grid?.tokens(of: keys) ?? (visual.first ?? 0)..<(visual.last ?? -1) + 1
    all.visual = Set(visual).union(padding.filter(span.contains)).sorted()
    return all
  }

  /// The query rows of a head that stand at some tokens, ascending; tokens without a row are left
  /// out.
  static func rows(_ tokens: some Sequence<Int>, _ head: Head) -> [Int] {
    tokens.map { $0 - head.visibility.offset }.filter { (0..<head.queries).contains($0) }
  }

  /// `[keys]` sums of the pattern's columns over some rows, in double. Cost: the pattern of those.
  static func sums(_ pattern: PatternRows, _ rows: [Int]) -> [Double] {
    var sums = [Double](repeating: 0, count: pattern.head.keys)
    for run in TopPicks.runs(rows) {
      pattern.withRows(run) { _, p, _ in
        for key in sums.indices { sums[key] += Double(p[key]) }
      }
    }
    return sums
  }

  /// Indices of the `count` largest, largest first, ties to the lower index. Cost: a sort.
  static func best(_ count: Int, _ scores: [Double]) -> [Int] {
    let order = scores.indices.sorted {
      scores[$0] != scores[$1] ? scores[$0] > scores[$1] : $0 < $1
    }
    return Array(order.prefix(count))
  }

  /// How many members two choices of equal purpose share, over the size of the larger; nil when
  /// both are empty.
  static func overlap(_ a: [Int], _ b: [Int]) -> Double? {
    let size = max(a.count, b.count)
    return size == 0 ? nil : Double(Set(a).intersection(b).count) / Double(size)
  }

  /// Values of some tokens as `[keys]`, NaN elsewhere.
  func spread(_ values: [Double], on tokens: [Int]) -> [Float] {
    var all = [Float](repeating: .nan, count: keys)
    for (token, value) in zip(tokens, values) { all[token] = Float(value) }
    return all
  }

  /// Adds a series over all tokens; `values` is `[visual]`.
  func strip(
    _ name: String, _ values: [Double], _ unit: Unit = .none, title: String,
    to findings: inout Findings
  ) {
    findings.series(name, Axis(.key, keys), spread(values, on: visual), unit, title: title)
  }

  /// Adds a field over the image, `[rows, columns]`, where there is a grid; `values` is `[visual]`.
  func image(
    _ name: String, _ values: [Double], _ look: Look, title: String, to findings: inout Findings
  ) {
    guard let grid, let patches = grid.tokens(of: keys) else { return }
    findings.field(
      name,
      WholeField(
        rows: Axis(.row, grid.rows), columns: Axis(.column, grid.columns),
        values: Array(spread(values, on: visual)[patches])), look, title: title)
  }

  /// Adds a film strip, `[stages, keys]`: 1 where a stage keeps a token of the image, 0 where not,
  /// NaN for others. `kept` are indices into `visual`.
  func film(
    _ name: String, _ kept: [[Int]], stages: [String], title: String, to findings: inout Findings
  ) {
    let rows = kept.map { stage in
      var flags = [Double](repeating: 0, count: visual.count)
      for index in stage { flags[index] = 1 }
      return spread(flags, on: visual)
    }
    findings.field(
      name,
      WholeField(
        rows: Axis(.step, stages.count, labels: stages), columns: Axis(.key, keys),
        values: rows.flatMap { $0 }), .kept, title: title)
  }
}
