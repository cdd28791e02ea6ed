import Analysis
import Attention
import Canvas
import Sessions

/// Which methods stand side by side, as it is typed: `family:kernel`, `variants:soft`, ids with
/// knobs, or several of them with commas between.
///
/// Example: `MethodGallery("family:solvers,lucid:strength=0.5", source)`. Kept as text, so that
/// state files and bookmarks hold it; which methods that are is asked of the source.
struct MethodGallery: Sendable, Hashable {
  /// As it was typed.
  let text: String
  /// What stands between its commas.
  private let parts: [String]

  /// Throws `SettingError` for a family, an id or a knob that there is not.
  init(_ text: String, _ source: SourceDescription) throws(SettingError) {
    self.text = text
    parts = MethodSetting.texts(of: text)
    guard !parts.isEmpty else {
      throw SettingError("a gallery is like family:\(Self.families(source).first ?? "NAME")")
    }
    for part in parts where try Self.settings(part, source).isEmpty {
      throw SettingError("\(part) has no method with a map")
    }
  }

  /// Families with a map to show, in the order of the library.
  static func families(_ source: SourceDescription) -> [String] {
    source.methods.filter { $0.mainField != nil }.map(\.family).reduce(into: []) {
      if !$0.contains($1) { $0.append($1) }
    }
  }

  /// The gallery that needs no choice: the family of a method, else the largest.
  static func standard(_ method: MethodSetting?, _ source: SourceDescription) -> String? {
    let card = method.flatMap { source.card($0.id) }
    let shown = source.methods.filter { $0.mainField != nil }
    let sizes = Dictionary(shown.map { ($0.family, 1) }, uniquingKeysWith: +)
    if let family = card?.family, (sizes[family] ?? 0) > 1 { return "family:\(family)" }
    let largest = families(source).max { sizes[$0]! < sizes[$1]! }
    return largest.map { "family:\($0)" }
  }

  /// The methods of one part, those without a map left out.
  private static func settings(_ part: String, _ source: SourceDescription)
    throws(SettingError) -> [MethodSetting]
  {
    let words = part.split(separator: ":", maxSplits: 1).map(String.init)
    if words.count == 2, words[0] == "family" {
      guard source.methods.contains(where: { $0.family == words[1] }) else {
        throw SettingError(
          "there is no family '\(words[1])': \(families(source).joined(separator: ", "))")
      }
      return source.methods.filter { $0.family == words[1] && $0.mainField != nil }.map {
        MethodSetting($0.id)
      }
    }
    if words.count == 2, words[0] == "variants" {
      guard let card = source.card(words[1]) else {
        throw SettingError("there is no method '\(words[1])'")
      }
      guard card.mainField != nil else { return [] }
      return ([card.id] + card.variants.keys.sorted()).map { MethodSetting($0) }
    }
    let setting = try MethodChoice.read(part, source)
    let id = setting?.id ?? part
    return source.card(id)?.mainField == nil ? [] : [setting ?? MethodSetting(id)]
  }

  /// Every method it shows, each once; the one in force with the knobs that it has.
  func settings(_ look: Look) -> [MethodSetting] {
    parts.reduce(into: []) { all, part in
      for setting in (try? Self.settings(part, look.source)) ?? [] {
        let inForce = look.viewpoint.method
        let own = inForce?.id == setting.id && setting.knobs.isEmpty ? inForce! : setting
        if !all.contains(where: { $0 == own }) { all.append(own) }
      }
    }
  }
}

/// A gallery on a screen or a page: what stands in it, and in which colours.
///
/// The first picture is the source's own pattern, which the others are held against: all share one
/// scale, whose end is the largest value of that picture. What is larger has the last colour.
struct GalleryLook {
  /// What it reads.
  let look: Look
  /// Nil: the source's own pattern.
  let items: [MethodSetting?]

  /// Empty without a gallery.
  init(_ look: Look) {
    self.look = look
    let gallery = look.viewpoint.gallery.flatMap { try? MethodGallery($0, look.source) }
    items = gallery.map { [nil] + $0.settings(look) } ?? []
  }

  /// Index of the one in force; the pattern's own when it is none of them.
  var chosen: Int {
    look.viewpoint.method.flatMap { method in items.firstIndex { $0 == method } } ?? 0
  }

  /// Where its pictures stand on a screen: for drawing, asking and moving.
  var grid: ThumbGrid {
    let area = ScreenLayout(look).main.inset()
    let above = Rect(x: area.x, y: area.y, width: area.width, height: max(1, area.height - 1))
    return ThumbGrid(items.count, chosen: chosen, in: above)
  }

  /// What is on the screen: the pattern first, whose scale all share, then the others.
  var questions: [Question] {
    let grid = grid, (rows, columns) = (2 * grid.thumbHeight, grid.thumbWidth)
    return ([nil] + grid.visible.map { items[$0] }).flatMap {
      questions($0, rows: rows, columns: columns)
    }
  }

  /// What a method says, and the picture of its map at so many cells, as far as it can be asked.
  func questions(_ item: MethodSetting?, rows: Int, columns: Int) -> [Question] {
    let picture = picture(item, rows: rows, columns: columns)
    guard let item else { return [picture].compactMap { $0 } }
    return [look.findingsQuestion(look.viewpoint.head, item), picture].compactMap { $0 }
  }

  /// The whole map of an item pooled to cells; nil before its findings are there, and for fields
  /// that are no map of queries and keys.
  func picture(_ item: MethodSetting?, rows: Int, columns: Int) -> Question? {
    let head = look.viewpoint.head
    guard let name = mapName(item) else { return nil }
    let whole = MapWindow(queries: 0..<look.source.queries, keys: 0..<look.source.keys)
    return .picture(
      item.map { FieldID(head, method: $0, name: name) } ?? .pattern(head),
      PictureRequest(
        whole, rows: min(rows, look.source.queries), columns: min(columns, look.source.keys),
        perCell: look.isLong ? 4 : nil))
  }

  /// The field that stands for an item; nil where it has none over queries and keys.
  func mapName(_ item: MethodSetting?) -> String? {
    guard let item else { return "pattern" }
    guard let name = look.source.card(item.id)?.mainField,
      let (field, _) = look.findings(look.viewpoint.head, item)?.field(name),
      field.rows.isText, field.columns.isText
    else { return nil }
    return name
  }

  /// How the field of an item asks to be looked at; nil before that is known.
  private func fieldLook(_ item: MethodSetting?) -> FieldLook? {
    guard let item else { return .weights }
    return mapName(item).flatMap { look.findings(look.viewpoint.head, item)?.field($0)?.look }
  }

  /// Some map has values of either sign: all are then drawn on colours centred on 0.
  var isSigned: Bool { items.contains { $0 != nil && fieldLook($0) == .signed } }

  /// The end of the scale: the largest mean of the pattern's picture.
  func top(rows: Int, columns: Int) -> Float? {
    picture(nil, rows: rows, columns: columns).flatMap { look.map($0) }.map { map in
      map.mean.reduce(0) { $1.isFinite ? max($0, $1) : $0 }
    }
  }

  /// A picture in the colours of all; nil while it is missing.
  func shade(_ item: MethodSetting?, rows: Int, columns: Int) -> FieldShade? {
    guard let question = picture(item, rows: rows, columns: columns),
      let map = look.map(question), let kind = fieldLook(item)
    else { return nil }
    // Means show shape where a largest value over so many entries is bright everywhere.
    var shape = look.viewpoint
    shape.pooling = .mean
    let top = top(rows: rows, columns: columns)
    if isSigned, [.weights, .signed].contains(kind) {
      return FieldShade(map, signedTo: top ?? 1, shape.scale)
    }
    return FieldShade(map, kind, shape)
  }

  /// Why there is no picture.
  func reason(_ item: MethodSetting?, rows: Int, columns: Int) -> String {
    let head = look.viewpoint.head
    let asked = questions(item, rows: rows, columns: columns)
    if let why = asked.lazy.compactMap({ look.refusal($0) }).first { return why }
    if let item, look.findings(head, item) != nil, mapName(item) == nil { return "no map" }
    return look.isStopped ? "stopped" : "…"
  }

  /// The name of an item, and behind it how near it is to its paper.
  func name(_ item: MethodSetting?) -> (id: String, tag: String) {
    guard let item else { return ("pattern", "") }
    let fidelity = look.source.card(item.id)?.fidelity(of: item)
    guard case .surrogate(let level, _) = fidelity else { return (item.id, "") }
    return (item.id, level.rawValue)
  }

  /// Output error against softmax; nil before it is known, and where V is missing.
  func error(_ item: MethodSetting?) -> Double? {
    item.flatMap { look.findings(look.viewpoint.head, $0)?["error"]?.number }
  }

  /// The error as the corner of a picture says it; of the pattern nothing.
  func errorText(_ item: MethodSetting?) -> String {
    guard let item else { return "" }
    if look.findings(look.viewpoint.head, item) == nil { return "…" }
    return error(item).map { FindingText.number($0, .none) } ?? "-"
  }
}

/// View 2 with a gallery: one head under many methods.
struct GalleryScreen {
  private let look: Look
  private let paint: Paint
  private let gallery: GalleryLook

  /// Reads the look.
  init(_ look: Look) {
    self.look = look
    paint = Paint(look)
    gallery = GalleryLook(look)
  }

  /// Pictures, and a line with the scale below them.
  func draw(in rect: Rect, on grid: inout Grid) {
    let layout = gallery.grid
    let text = look.viewpoint.gallery ?? ""
    Panel(
      "Gallery \(text)", right: "L\(look.layerNumber) H\(look.chosenHeadNumber), error",
      style: paint.dim, unicode: paint.unicode
    ).draw(in: rect, on: &grid)
    for index in layout.visible { draw(index, layout, on: &grid) }
    let inner = rect.inset()
    let (rows, columns) = (2 * layout.thumbHeight, layout.thumbWidth)
    if let shade = gallery.shade(nil, rows: rows, columns: columns) {
      let end = shade.drawLegend(
        paint, inner.x, inner.maxY - 1, end: inner.maxX, on: &grid)
      grid.put(
        "  one scale, that of the pattern", end, inner.maxY - 1, paint.dim, limit: inner.maxX - end)
    }
    let below = layout.count - layout.visible.upperBound
    if below > 0 {
      grid.put(endingAt: rect.maxX - 2, " \(below) more below ", rect.maxY - 1, paint.dim)
    }
  }

  /// Name, error and picture of one, or why there is none.
  private func draw(_ index: Int, _ layout: ThumbGrid, on grid: inout Grid) {
    let item = gallery.items[index], rect = layout.rect(index)
    let isChosen = index == gallery.chosen
    if isChosen {
      grid.fill(
        Rect(x: rect.x, y: rect.y, width: rect.width, height: 1), Cell(" ", paint.bar))
    }
    let (id, tag) = gallery.name(item), error = gallery.errorText(item)
    let room = max(0, rect.width - Width.of(error) - (error.isEmpty ? 0 : 1))
    let at = grid.put(id, rect.x, rect.y, isChosen ? paint.bar : .plain, limit: room)
    if !tag.isEmpty, at + 1 + tag.count <= rect.x + room {
      grid.put(tag, at + 1, rect.y, isChosen ? paint.bar : paint.dim)
    }
    grid.put(endingAt: rect.maxX, error, rect.y, isChosen ? paint.bar : paint.dim)
    let plot = Rect(x: rect.x, y: rect.y + 1, width: rect.width, height: rect.height - 1)
    let (rows, columns) = (2 * layout.thumbHeight, layout.thumbWidth)
    guard let shade = gallery.shade(item, rows: rows, columns: columns) else {
      var lines = Lines(plot, paint)
      lines.wrap(gallery.reason(item, rows: rows, columns: columns), paint.dim, on: &grid)
      return
    }
    let two = paint.unicode && paint.colors.hasRamps
    shade.draw(paint, pixelsPerCell: two ? 2 : 1, in: plot, on: &grid)
  }
}
