/// The same picture in fewer bytes: a change of colour costs about eleven bytes over the wire, a
/// glyph three.
///
/// A cell of two pixels can be drawn as an upper half in one colour on the other, or as a lower
/// half the other way round; a cell of one colour as a blank on it, or as a full block of it. For
/// each cell that is chosen which shares more colours with the cell before it. What a blank would
/// write with is invisible, so it keeps what was set.
///
/// Example: `Economy.row(cells)` looks the same on the screen and needs fewer colour changes. The
/// catch: a choice is made cell by cell, with the one before it in mind and not the next.
public enum Economy {
  /// `unicode`: block glyphs may be used at all.
  /// A row is taken to begin in the plain style.
  public static func row(_ cells: [Cell], unicode: Bool = true) -> [Cell] {
    guard unicode else { return cells }
    var last = Style.plain
    return cells.map { cell in
      let best = choices(cell, after: last).min { cost($0.style, last) < cost($1.style, last) }!
      last = best.style
      return best
    }
  }

  /// The ways of drawing a cell that look alike; only the cell itself where attributes matter.
  private static func choices(_ cell: Cell, after last: Style) -> [Cell] {
    let style = cell.style
    guard !style.reverse, !style.bold, !style.dim, !style.underline else { return [cell] }
    if style.background == .standard {
      guard cell.glyph == " ", last.foreground != .standard else { return [cell] }
      return [Cell(" ", Style(last.foreground))]
    }
    var swapped = style
    (swapped.foreground, swapped.background) = (style.background, style.foreground)
    switch cell.glyph {
    case "▀" where style.foreground != .standard: return [cell, Cell("▄", swapped)]
    case "▄" where style.foreground != .standard: return [cell, Cell("▀", swapped)]
    case " ":
      var kept = style
      if last.foreground != .standard { kept.foreground = last.foreground }
      var full = Style(style.background)
      full.background = last.background
      // A full block is no blank where the font leaves gaps: only when it saves a change.
      return last.foreground == style.background && last.background != .standard
        ? [Cell(" ", kept), Cell("█", full)] : [Cell(" ", kept)]
    default: return [cell]
    }
  }

  /// Colours that must be set: 0, 1 or 2.
  private static func cost(_ style: Style, _ last: Style) -> Int {
    (style.foreground == last.foreground ? 0 : 1) + (style.background == last.background ? 0 : 1)
  }
}
