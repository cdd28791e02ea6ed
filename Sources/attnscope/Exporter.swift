import Canvas
import Formats
import Glibc
import Interface
import Pictures
import Sessions
import Tensors

/// The formats of pictures, by the ending of a name. SVG, PDF and HTML are exact at any size,
/// PNG is for documents that take nothing else, txt and ansi are the screen itself, csv and npy
/// the numbers behind it.
enum PictureFormat: String, CaseIterable {
  /// The raw value is the ending of a name.
  case svg, png, pdf, html, txt, ansi, csv, npy

  /// Nil for an ending that is none of them.
  init?(path: String) {
    let name = path.split(separator: "/").last.map(String.init) ?? path
    guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return nil }
    self.init(rawValue: name[name.index(after: dot)...].lowercased())
  }

  /// Every ending, for messages.
  static var list: String { allCases.map { "." + $0.rawValue }.joined(separator: " ") }
}

/// Writes a figure, or the numbers behind it, in any format; nothing is replaced unless told so.
///
/// Example: `try FigureFile(path: "map.svg", format: .svg).write(figure)`. A picture and its
/// numbers come from one figure, so that what a `.csv` holds is what the `.svg` beside it shows;
/// text formats are drawn from the screen's cells and not from here.
struct FigureFile {
  /// Where it is written.
  let path: String
  /// What is written, whatever the path ends in.
  let format: PictureFormat
  /// Replaces a file that is there.
  var force = false
  /// Device pixels to a point, of PNG.
  var scale = 2.0

  /// Draws and writes. `table` is made for a page alone, since it may ask about every head.
  /// Throws `exists` or `unreadable` from the file, and `unsupported` for text, and for
  /// numbers of a figure that has none.
  func write(_ figure: Figure, table: @autoclosure () throws -> String = "") throws {
    switch format {
    case .svg: try writeText(figure.picture.svg, to: path, force: force)
    case .png:
      let picture = figure.picture
      try writeBytes(
        try picture.pixels(scale: scale).png(dpi: 96 * scale, title: picture.title), to: path,
        force: force)
    case .pdf: try writeBytes(try figure.picture.pdf(), to: path, force: force)
    case .html: try writeText(Page.html(figure, table: try table()), to: path, force: force)
    case .csv:
      let data = try data(figure)
      let table = Table(data.columns, rows: data.rows)
      let lines = table.rows.isEmpty ? [table.csvHeading] : [table.csvHeading, table.csv]
      try writeText(lines.map { $0 + "\n" }.joined(), to: path, force: force)
    case .npy:
      guard let matrix = try data(figure).matrix else {
        throw FormatError(
          .unsupported, "this figure is no array; a .csv holds its table", file: path)
      }
      try writeNpy(
        ArrayToWrite("figure", floats: matrix.values, shape: matrix.shape), to: path, force: force)
    case .txt, .ansi: throw FormatError(.unsupported, "text is drawn from the screen", file: path)
    }
  }

  /// The numbers behind a figure. Throws `unsupported` when there are none.
  private func data(_ figure: Figure) throws -> FigureData {
    let data = figure.data
    guard !data.columns.isEmpty else {
      throw FormatError(.unsupported, "there are no numbers behind this figure", file: path)
    }
    return data
  }
}

/// A page of its own: the figure, and the numbers of every head. One file without scripts,
/// fonts or links, so it opens anywhere and years later.
enum Page {
  /// The page as text, in the figure's own light or dark colours.
  static func html(_ figure: Figure, table: String) -> String {
    let picture = figure.picture
    let svg = picture.svg
    // The XML declaration stands in files, not in pages.
    let body = svg.firstRange(of: "?>").map { String(svg[$0.upperBound...]) } ?? svg
    let (page, text, line) =
      figure.isDark ? ("#14161a", "#e8e8e6", "#4a4f58") : ("#ffffff", "#1b1d21", "#d5d8dd")
    return """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <title>\(escaped(picture.title))</title>
      <style>
      body { background: \(page); color: \(text); font: 14px/1.5 Inter, Helvetica, Arial, \
      sans-serif; margin: 2em auto; max-width: \(Int(picture.width) + 40)px; padding: 0 1em }
      svg { max-width: 100%; height: auto }
      table { border-collapse: collapse; font-size: 13px } th, td { padding: 3px 10px; \
      border-bottom: 1px solid \(line); text-align: right }
      </style>
      </head>
      <body>
      \(body)
      \(table)
      </body>
      </html>

      """
  }

  /// A CSV-like table as HTML; empty when it has no columns.
  static func table(_ columns: [String], _ rows: [[String]]) -> String {
    guard !columns.isEmpty else { return "" }
    func line(_ cells: [String], _ tag: String) -> String {
      "<tr>" + cells.map { "<\(tag)>\(escaped($0))</\(tag)>" }.joined() + "</tr>\n"
    }
    return "<table>\n<thead>" + line(columns, "th") + "</thead>\n<tbody>\n"
      + rows.map { line($0, "td") }.joined() + "</tbody>\n</table>"
  }

  /// Text for HTML: printable, and without anything that would be a tag.
  static func escaped(_ text: String) -> String {
    Printable.text(text).replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(
      ">", with: "&gt;"
    ).replacing("\"", with: "&quot;")
  }
}

/// `e` and `:export`: what is on the screen, in the format that the ending of the name says.
///
/// The figure asks for what the screen has not computed at full detail; text is the screen as
/// it stands.
enum Exporter {
  /// Writes, and returns the sentence that the screen then shows, whether it went well or
  /// not. Stops when its task is cancelled.
  @Sendable static func write(
    _ wanted: String, _ model: Model, _ ask: @escaping Surroundings.Ask
  ) async -> String {
    guard let format = PictureFormat(path: wanted) else {
      return "The name ends in one of \(PictureFormat.list)."
    }
    let path = await Disk.value { free(wanted, format) }
    do {
      if format == .txt || format == .ansi {
        let grid = view(model)
        let text = format == .ansi ? grid.ansi : grid.lines.joined(separator: "\n") + "\n"
        try await Disk.value { try writeText(text, to: path, force: false) }
      } else {
        try await Disk.value { try checkWritable(path, force: false) }
        var figure = Figure(model, isDark: !model.viewpoint.light)
        try await figure.complete(ask)
        let done = figure
        let table = format == .html ? try await Self.heads(done, ask) : ""
        // Painting takes long enough to keep it off Swift's pool.
        try await ComputeThreads.shared.value {
          try FigureFile(path: path, format: format).write(done, table: table)
        }
      }
      return "Written to \(path)."
    } catch is CancellationError {
      return "Export was stopped."
    } catch {
      return "Not written: \(error)"
    }
  }

  /// The name, or with a number when there is a file of this name: nothing is ever replaced.
  private static func free(_ path: String, _ format: PictureFormat) -> String {
    let stem = path.dropLast(format.rawValue.count + 1)
    for number in 1...999 {
      let name = number == 1 ? path : "\(stem)-\(number).\(format.rawValue)"
      if access(name, F_OK) != 0 { return name }
    }
    return path
  }

  /// The report table under a figure in a page; under a gallery the numbers of its methods.
  static func heads(_ figure: Figure, _ ask: (Question) async throws -> Answer) async throws
    -> String
  {
    // Below methods side by side stand their own numbers.
    let isOfMethods = [.budget, .gallery].contains(figure.kind)
    var all = figure.of(isOfMethods ? figure.kind : .heads)
    try await all.complete(ask)
    let data = all.data
    // For people: three digits. --data has them all.
    let rows = data.rows.map { row in
      row.map { cell in
        cell.contains(".") ? Double(cell).map(Numbers.short) ?? cell : cell
      }
    }
    return Page.table(data.columns.map { $0.replacing("_", with: " ") }, rows)
  }
}
