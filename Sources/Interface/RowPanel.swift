import Attention
import Sessions
import Analysis
import Canvas

/// Under the map: the text, each token shaded by the weight that the query under the cursor gives
/// it.
///
/// Weights are shaded by their logarithm, four decades below the row's largest: a row's tail is
/// what one looks for here.
struct RowPanel {
  private let look: Look
  private let paint: Paint

  /// Reads the look.
  init(_ look: Look) {
    self.look = look
    paint = Paint(look)
  }

  /// The text around the cursor's key, and on the last line the heaviest keys.
  func draw(in rect: Rect, on grid: inout Grid) {
    guard rect.height >= 3 else { return }
    let query = look.viewpoint.query
    let name = look.queryToken(query).map { " \"\($0)\"" } ?? ""
    let whose = look.poolNames.last.map { ", \($0)" } ?? ""
    Panel(
      "Row", right: "query \(query)\(name) reads\(whose)", style: paint.dim,
      unicode: paint.unicode
    )
    .draw(in: rect, on: &grid)
    let inner = rect.inset(2, 1)
    guard let row = look.row(query) else {
      let why =
        look.refusal(look.rowOfMap(query))
        ?? (look.isStopped ? "stopped" : "computing…")
      grid.put(why, inner.x, inner.y, paint.dim, limit: inner.width)
      return
    }
    let (text, last) = inner.splitTop(max(1, inner.height - 1))
    if inner.height == 1 || look.source.tokens.isEmpty {
      drawTop(row, in: inner, on: &grid)
    } else {
      drawText(row, in: text, on: &grid)
      drawTop(row, in: last, on: &grid)
    }
  }

  /// Where tokens around the key under the cursor stand, over as many lines as there are.
  private func places(_ count: Int, in rect: Rect) -> [TextFlow.Place] {
    var places: [TextFlow.Place] = []
    var x = rect.x, y = rect.y
    var key = firstKey(room: rect.width * rect.height)
    while key < min(count, look.source.tokens.count), y < rect.maxY {
      var text = Printable.text(look.source.tokens[key])
      if key == look.viewpoint.key { text = "[\(text)]" }
      if x + Width.of(text) > rect.maxX {
        (x, y) = (rect.x, y + 1)
        if y >= rect.maxY { break }
        if text.first == " " { text.removeFirst() }
      }
      places.append(TextFlow.Place(token: key, x: x, y: y, text: text))
      x = min(x + Width.of(text), rect.maxX)
      key += 1
    }
    return places
  }

  /// The key whose token stands at a place of the screen; nil elsewhere in the panel.
  func key(x: Int, y: Int, in rect: Rect) -> Int? {
    guard rect.height >= 3, let row = look.row(look.viewpoint.query),
      !look.source.tokens.isEmpty
    else { return nil }
    let inner = rect.inset(2, 1), (text, _) = inner.splitTop(max(1, inner.height - 1))
    guard inner.height > 1 else { return nil }
    return places(row.count, in: text).first {
      $0.y == y && ($0.x..<$0.x + Width.of($0.text)).contains(x)
    }?.token
  }

  /// Tokens around the key under the cursor.
  private func drawText(_ row: [Float], in rect: Rect, on grid: inout Grid) {
    let top = max(row.max() ?? 0, 1e-9)
    for place in places(row.count, in: rect) {
      let key = place.token
      let isPast = key < look.source.visibility.limit(row: look.viewpoint.query)
      var shade = style(
        row[key] / top, isPast: isPast, isCursor: key == look.viewpoint.key)
      if look.isSelected(key) { shade = paint.selected(shade) }
      grid.put(
        place.text, place.x, place.y, look.isFound(key) ? paint.found(shade) : shade,
        limit: rect.maxX - place.x)
    }
  }

  /// The first key shown: the cursor's stands a third in.
  private func firstKey(room: Int) -> Int {
    var key = min(look.viewpoint.key, look.source.tokens.count - 1), used = 0
    while key > 0, used < room / 3 {
      key -= 1
      used += Width.of(look.source.tokens[key])
    }
    return max(key, 0)
  }

  /// The style of a token by its weight relative to the row's largest; keys after the query are
  /// dim.
  func style(_ weight: Float, isPast: Bool, isCursor: Bool) -> Style {
    guard isPast else { return paint.dim }
    var style = Style(bold: isCursor, underline: isCursor)
    let t = weight <= 1e-4 ? 0 : 1 + Float(Scale.log10(Double(weight))) / 4
    switch paint.colors {
    case .palette where t > 0.15, .direct where t > 0.15: style = paint.text(on: t, style)
    case .mono, .basic:
      style.reverse = t > 0.75
      style.bold = style.bold || t > 0.5
    default: break
    }
    return style
  }

  /// The heaviest keys of the row.
  private func drawTop(_ row: [Float], in rect: Rect, on grid: inout Grid) {
    var best: [Int] = []
    for key in row.indices where row[key] > 0 {
      if best.count < 12 || row[key] > row[best[best.count - 1]] {
        let at = best.firstIndex { row[$0] < row[key] } ?? best.count
        best.insert(key, at: at)
        if best.count > 12 { best.removeLast() }
      }
    }
    var start = "most: "
    if let sink = look.learnedSinkOfRow {
      let (a, b) = (Numbers.short(sink), Numbers.short(1 - sink))
      start = "learned sink \(a) + keys \(b); most: "
    }
    var x = grid.put(start, rect.x, rect.y, paint.dim, limit: rect.width)
    for key in best {
      let token = look.token(key).map { " \"\($0)\"" } ?? ""
      let item = "\(Numbers.short(Double(row[key]))) k\(key)\(token)"
      guard x + Width.of(item) <= rect.maxX else { break }
      x = grid.put(item, x, rect.y) + 2
    }
  }
}
