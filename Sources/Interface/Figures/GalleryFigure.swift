import Attention
import Canvas
import Pictures
import Sessions

/// One head under many methods, side by side on one scale, each with its output error.
///
/// The same gallery as view 2; the sentence of every surrogate stands below, with its level.
struct GalleryFigure {
  private let figure: Figure
  private let gallery: GalleryLook

  /// Reads the figure's look.
  init(_ figure: Figure) {
    self.figure = figure
    gallery = GalleryLook(figure.look)
  }

  /// Cells on a side of a picture, at most.
  static let cells = 96

  /// The pattern first, whose scale all share; pictures of methods whose findings are there.
  static func questions(_ look: Look) -> [Question] {
    let gallery = GalleryLook(look)
    // Findings of those that found no room on the screen that the look was asked for.
    return gallery.items.flatMap { gallery.questions($0, rows: cells, columns: cells) }
  }

  /// The page: four pictures in a line on a page of the usual width.
  var picture: Picture {
    let ink = figure.ink
    var sheet = Sheet(ink)
    let title = "\(figure.look.viewpoint.gallery ?? "Gallery"): \(figure.title)"
    sheet.text(
      Sheet.clipped(title, width: figure.width - 48, size: 15), 24, 26, size: 15, bold: true)
    let wide = figure.width - 48 - 60, columns = max(3, Int(wide / 160))
    let step = wide / Double(columns), side = step - 14
    for (index, item) in gallery.items.enumerated() {
      let area = Area(
        x: 24 + Double(index % columns) * step,
        y: 62 + Double(index / columns) * (side + 30), width: side, height: side)
      draw(item, area, &sheet)
    }
    if let shade = gallery.shade(nil, rows: Self.cells, columns: Self.cells) {
      figure.colorBar(
        shade, Area(x: figure.width - 70, y: 62, width: 10, height: min(side, 180)),
        title: "\(FindingText.words(shade.look)), \(figure.look.viewpoint.scale.rawValue)",
        on: &sheet)
    }
    let lines = (gallery.items.count + columns - 1) / columns
    let end = 62 + Double(lines) * (side + 30) + 10
    let y = sheet.paragraph(caption, 24, end, width: figure.width - 48)
    return figure.page(sheet, height: y + 8, title: "Gallery: \(title)", summary: caption)
  }

  /// What is seen, how it was made, and what stands for something trained.
  private var caption: String {
    let words = figure.looks.replacing("pooling max", with: "pooling mean")
    var text =
      """
      One head under every method; above each its output error against softmax, \
      |W V - A V| / |A V|. One scale, that of the pattern; what is larger has its last colour.
      """
    text += " " + figure.caption([figure.headName, words]) + surrogates
    return text
  }

  /// Level and sentence of every surrogate among them.
  private var surrogates: String {
    gallery.items.compactMap { item -> String? in
      guard let item,
        case .surrogate(let level, let sentence) =
          figure.look.source.card(item.id)?.fidelity(of: item)
      else { return nil }
      return " \(item.id), \(level.rawValue): \(sentence)."
    }.joined()
  }

  /// Name, error and picture of one, or why there is none.
  private func draw(_ item: MethodSetting?, _ area: Area, _ sheet: inout Sheet) {
    let ink = figure.ink, (id, tag) = gallery.name(item), error = gallery.errorText(item)
    let isChosen = item != nil && item == figure.look.viewpoint.method
    let room = area.width - Strokes.width(error, size: 9.5, bold: false) - 8
    sheet.text(
      Sheet.clipped(tag.isEmpty ? id : "\(id) \(tag)", width: room, size: 9.5), area.x,
      area.y - 4, size: 9.5, .start, isChosen ? ink.accent : ink.text, bold: isChosen)
    sheet.text(error, area.maxX, area.y - 4, size: 9.5, .end, ink.dim)
    sheet.rect(area, fill: ink.absent)
    guard let shade = gallery.shade(item, rows: Self.cells, columns: Self.cells) else {
      sheet.paragraph(
        gallery.reason(item, rows: Self.cells, columns: Self.cells), area.x + 6, area.y + 18,
        width: area.width - 12, size: 9.5)
      return
    }
    sheet.add(
      .cells(
        x: area.x, y: area.y, width: area.width, height: area.height, columns: shade.columns,
        rows: shade.rows, colors: figure.colors(shade), id: "method-\(id)"))
    sheet.rect(
      area, stroke: isChosen ? ink.accent : ink.grid, width: isChosen ? 2 : 0.5)
  }

  // MARK: Numbers

  /// A row a method: its setting, how near it is to its paper, and every number that any says.
  var data: FigureData {
    let look = figure.look, methods = gallery.items.compactMap { $0 }
    let found = methods.map { look.findings(look.viewpoint.head, $0)?.all ?? [] }
    let names = found.joined().reduce(into: [String]()) { names, finding in
      if case .number = finding.content, !names.contains(finding.name) {
        names.append(finding.name)
      }
    }
    let rows = zip(methods, found).map { method, findings -> [String] in
      [
        method.description, look.source.card(method.id)?.title ?? method.id,
        look.source.card(method.id)?.fidelity(of: method).tag ?? "",
      ]
        + names.map { name in
          findings.first { $0.name == name }?.number.map { "\($0)" } ?? ""
        }
    }
    return FigureData(columns: ["method", "title", "fidelity"] + names, rows: rows, matrix: nil)
  }
}
