import Attention
import Canvas

/// One sentence under each view, for somebody who has never seen it.
///
/// It names only what can be done here: a dump cannot be run on, a recording cannot be branched,
/// and what a run decodes next hears of lambda at once. From long to short: narrow screens get the
/// shorter one, never half of the longer.
extension Look {
  /// What is looked at, as far as hints are concerned.
  enum Sort { case dump, recording, live }

  /// Saved, replayed, or decoding.
  var sort: Sort { live.map { $0.isReplay ? .recording : .live } ?? .dump }

  /// The longest of the hints.
  var caption: String { hints[0] }

  /// From long to short, never empty.
  var hints: [String] {
    if viewpoint.budget != nil {
      return [
        "Every method at one share of 64x64 tiles; ~: not reached. [ ] move the budget.",
        "All methods at one budget. [ ] move it.",
      ]
    }
    if let along = viewpoint.overlap, [.sinks, .compare].contains(viewpoint.view) {
      return [overlapCaption(along)]
    }
    return methodHints ?? viewHints
  }

  /// Where another method, number or field changes what the view is about.
  private var methodHints: [String]? {
    switch viewpoint.view {
    case .blocks where !isByTable:
      let title = card?.title ?? "A method"
      return [
        "\(title): what it found on this head. \(moves(", "))L: the library.",
        "\(title) on this head. L: the library.",
      ]
    case .heads where viewpoint.gallery != nil:
      return [
        "One head, many methods, each with its output error. Enter: its map, Esc: heads.",
        "One head, many methods. Enter: its map, Esc: heads.",
      ]
    case .heads where viewpoint.costs != .off:
      return [
        "What is skipped and what it costs. C: list, map, pictures. \(moves(", "))"
          + "Enter opens a head.",
        "C: list, map, pictures. \(moves(", "))Enter opens.", "C: list, map, pictures.",
      ]
    case .heads where !isByTable || !hasLambda:
      return [
        "Every head as a small map. Arrows choose, Enter opens, S sorts. \(moves("."))",
        "Arrows choose, Enter opens, S sorts. \(moves("."))",
      ]
    case .blocks where !hasLambda:
      return [
        "The blocks that the file says were skipped: it holds no margins, lambda changes nothing.",
        "Blocks as stored; lambda changes nothing.",
      ]
    case .sinks where scoreName != nil:
      return [
        "A number of every head, layers down, heads across; :score NAME takes another.",
        "A number of every head; :score NAME takes another.",
      ]
    case .map where viewpoint.field != nil:
      return [
        "A map of \(card?.title ?? "the method"). y turns to the next one, and to the pattern.",
        "y: the next map of the method.",
      ]
    default: return nil
    }
  }

  /// By view, and by what kind of source it shows.
  private var viewHints: [String] {
    switch (viewpoint.view, sort) {
    case (.map, .dump) where !hasBlocksOnMap:
      [
        "Row: a query token. Column: a key it may read. Bright: more attention. P: one head",
        "Rows: queries. Columns: keys. Bright: more. P: one head",
      ]
    case (.map, .dump):
      [
        "Row: a query token. Column: a key it may read. Bright: more attention. × pruned",
        "Rows: queries. Columns: keys. Bright: more. × pruned",
      ]
    case (.map, .recording):
      [
        "The map as of the token looked at: 5 and ← → step through what was recorded.",
        "As of the token looked at; 5 and ← → step.",
      ]
    case (.map, .live):
      [
        "The map as of the token looked at. Space runs and pauses, 5 and ← → step.",
        "As of the token looked at. Space runs, 5 steps.",
      ]
    case (.heads, _):
      [
        "Every head as a small map. Arrows choose, Enter opens, S sorts, [ ] move lambda.",
        "Arrows choose, Enter opens, S sorts, [ ] lambda.",
      ]
    case (.blocks, .live):
      [
        "A block whose margin lies under ln lambda is skipped. [ ] lambda, from the next token on.",
        "Margin under ln lambda: skipped. [ ] move lambda.",
      ]
    case (.blocks, _):
      [
        "A block whose margin lies under ln lambda is skipped. [ ] move lambda.",
        "Margin under ln lambda: skipped. [ ] move lambda.",
      ]
    case (.sinks, _):
      [
        "How much of its attention each head spends on the first token; Enter opens one.",
        "Attention on the first token. Enter opens a head.",
      ]
    case (.tokens, .dump):
      [
        "Shaded: what the chosen token reads, by weight. Arrows choose another, / finds one.",
        "Shaded: what the chosen token reads. / finds.",
      ]
    case (.tokens, .recording):
      [
        "Shaded: how unlikely each token was. ← → step through what was recorded, x: branches.",
        "Shaded: how unlikely. ← → step, x: branches.",
      ]
    case (.tokens, .live):
      [
        "Shaded: how unlikely. ← → step (at the end: one more). Space runs, B branches.",
        "Shaded: how unlikely. ← → step, Space runs.",
      ]
    case (.compare, _):
      [
        "Two heads, layers, files or methods. ( ) other head, x swaps, :compare 12.3",
        "( ) other head, x swaps, :compare 12.3",
      ]
    }
  }

  /// The clause about `[` and `]`, where they move something.
  private func moves(_ end: String) -> String {
    knobInForce.map { "[ ] move \($0)\(end)" } ?? ""
  }
}
