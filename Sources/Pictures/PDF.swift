extension Picture {
  /// The file: PDF 1.4, one page of the picture's size, the same bytes for the same picture.
  ///
  /// Lines and letters are strokes, sharp at any size, and need no font; grids of cells are images
  /// of a pixel a cell. Throws `PictureError.encoding` when an image could not be packed.
  /// The catch: words are drawn and cannot be searched; title and summary are in the file's facts.
  public func pdf() throws -> [UInt8] {
    var page = PDFPage(width: width, height: height)
    if let background {
      page.rect(0, 0, width, height, fill: background, stroke: nil, strokeWidth: 0)
    }
    for shape in shapes { try page.draw(shape) }
    return page.file(title: title, summary: summary)
  }
}

/// The content of a page while it is drawn, in hundredths of a point from the upper left, so that
/// every number of it is whole.
struct PDFPage {
  /// In points.
  private let width, height: Double
  /// Operators, a line each.
  private var content = ""
  /// Images in the order in which they are drawn.
  private var images: [PDFImage] = []

  /// An empty page, sizes in points.
  init(width: Double, height: Double) { (self.width, self.height) = (width, height) }

  // MARK: Shapes

  /// One shape over what is there; one that cannot be drawn is left out. Throws what packing an
  /// image throws.
  mutating func draw(_ shape: Shape) throws {
    switch shape {
    case .rect(let x, let y, let width, let height, let fill, let stroke, let strokeWidth):
      guard Shape.areNumbers(x, y, width, height), width >= 0, height >= 0 else { return }
      rect(x, y, width, height, fill: fill, stroke: stroke, strokeWidth: strokeWidth)
    case .cells(let x, let y, let width, let height, let columns, let rows, let colors, _):
      let grid = CellGrid(
        x: x, y: y, width: width, height: height, columns: columns, rows: rows, colors: colors)
      if let grid { try cells(grid) }
    case .crosses(let marks, let color, let halo, _):
      crosses(CrossPen(marks), color, halo)
    case .line(let x1, let y1, let x2, let y2, let color, let width, let dash):
      guard Shape.areNumbers(x1, y1, x2, y2), width > 0 else { return }
      let dashes = dash.map { $0 > 0 ? "[\(Self.whole($0))] 0 d" : "[] 0 d" } ?? "[] 0 d"
      line("\(Self.stroke(color)) \(Self.whole(width)) w 0 J \(dashes)")
      path([(x1, y1), (x2, y2)])
      line("S [] 0 d")
    case .polyline(let points, let color, let width):
      let kept = points.filter { Shape.areNumbers($0.x, $0.y) }
      guard width > 0, !kept.isEmpty else { return }
      pen(color, width)
      path(kept)
      line("S")
    case .text(let text, let x, let y, let size, let anchor, let color, let bold, let rotation):
      guard Shape.areNumbers(x, y, size, rotation), size > 0 else { return }
      let place = TextPlace(
        x: x * 100, y: y * 100, size: size * 100, anchor: anchor, bold: bold, rotation: rotation)
      for stroke in place.strokes(text) {
        pen(color, place.pen(stroke) / 100)
        path(stroke.map { ($0.x / 100, $0.y / 100) })
        line("S")
      }
    }
  }

  /// A box, filled, framed or both.
  mutating func rect(
    _ x: Double, _ y: Double, _ width: Double, _ height: Double, fill: RGB?, stroke: RGB?,
    strokeWidth: Double
  ) {
    let box = [x, y, width, height].map(Self.whole).joined(separator: " ") + " re"
    if let fill { line("\(Self.fill(fill)) \(box) f") }
    guard let stroke, strokeWidth > 0 else { return }
    line("\(Self.stroke(stroke)) \(Self.whole(strokeWidth)) w 0 J 0 j \(box) S")
  }

  /// An image of a pixel a cell, stretched over the grid.
  private mutating func cells(_ grid: CellGrid) throws {
    guard grid.rows > 0 else { return }
    images.append(try PDFImage(grid))
    let bottom = grid.top(grid.rows)
    let matrix = [grid.width, 0, 0, grid.y - bottom, grid.x, bottom].map(Self.whole)
    line("q \(matrix.joined(separator: " ")) cm /Im\(images.count) Do Q")
  }

  /// All rims first, then all crosses.
  private mutating func crosses(_ cross: CrossPen, _ color: RGB, _ halo: RGB?) {
    for (color, width) in [(halo, cross.haloWidth), (color, cross.width)] {
      guard let color, !cross.marks.isEmpty else { continue }
      pen(color, width)
      for arm in cross.marks.flatMap(cross.arms) { path([(arm.x1, arm.y1), (arm.x2, arm.y2)]) }
      line("S")
    }
  }

  // MARK: Operators

  /// A round pen.
  private mutating func pen(_ color: RGB, _ width: Double) {
    line("\(Self.stroke(color)) \(Self.whole(width)) w 1 J 1 j")
  }

  /// A path through points; a single one is a dot.
  private mutating func path(_ points: [(x: Double, y: Double)]) {
    for (index, point) in (points.count == 1 ? points + points : points).enumerated() {
      line("\(Self.whole(point.x)) \(Self.whole(point.y)) \(index == 0 ? "m" : "l")")
    }
  }

  /// Appends a line of operators.
  private mutating func line(_ text: String) { content += text + "\n" }

  /// A length in hundredths of a point.
  private static func whole(_ value: Double) -> String { "\(XML.hundredths(value))" }

  /// The colour of areas.
  private static func fill(_ color: RGB) -> String { parts(color) + " rg" }

  /// The colour of lines.
  private static func stroke(_ color: RGB) -> String { parts(color) + " RG" }

  /// Red, green and blue from 0 to 1.
  private static func parts(_ color: RGB) -> String {
    [color.r, color.g, color.b].map { part in
      let thousandths = (Int(part) * 1000 + 127) / 255
      guard thousandths < 1000 else { return "1" }
      let digits = "\(thousandths)"
      return thousandths == 0
        ? "0" : "." + String(repeating: "0", count: 3 - digits.count) + digits
    }.joined(separator: " ")
  }

  // MARK: File

  /// The whole file: catalogue, page, content, facts, images, and the table of their places.
  func file(title: String, summary: String) -> [UInt8] {
    // A CSS pixel is three quarters of a PDF point; y grows upwards there.
    let (wide, high) = (XML.number(max(0, width) * 0.75), XML.number(max(0, height) * 0.75))
    let drawing = "q .0075 0 0 -.0075 0 \(high) cm\n\(content)Q\n"
    let names = images.indices.map { "/Im\($0 + 1) \($0 + 6) 0 R" }.joined(separator: " ")
    var objects: [[UInt8]] = [
      Array("<< /Type /Catalog /Pages 2 0 R >>".utf8),
      Array("<< /Type /Pages /Kids [3 0 R] /Count 1 >>".utf8),
      Array(
        """
        << /Type /Page /Parent 2 0 R /MediaBox [0 0 \(wide) \(high)] /Contents 4 0 R \
        /Resources << /XObject << \(names) >> >> >>
        """.utf8),
      Self.stream("", Array(drawing.utf8)),
      Array(
        """
        << /Title \(Self.text(title)) /Subject \(Self.text(summary)) /Creator (attnscope) >>
        """.utf8),
    ]
    objects += images.map { Self.stream($0.facts, $0.data) }
    var out = Array("%PDF-1.4\n%\u{e2}\u{e3}\u{cf}\u{d3}\n".utf8), places: [Int] = []
    for (index, object) in objects.enumerated() {
      places.append(out.count)
      out += Array("\(index + 1) 0 obj\n".utf8) + object + Array("\nendobj\n".utf8)
    }
    let start = out.count
    var table = "xref\n0 \(objects.count + 1)\n0000000000 65535 f \n"
    for place in places {
      let digits = "\(place)"
      table += String(repeating: "0", count: max(0, 10 - digits.count)) + digits + " 00000 n \n"
    }
    table += "trailer\n<< /Size \(objects.count + 1) /Root 1 0 R /Info 5 0 R >>\n"
    table += "startxref\n\(start)\n%%EOF\n"
    return out + Array(table.utf8)
  }

  /// A stream with what is said of it.
  private static func stream(_ facts: String, _ data: [UInt8]) -> [UInt8] {
    Array("<< \(facts)/Length \(data.count) >>\nstream\n".utf8) + data + Array("\nendstream".utf8)
  }

  /// A text as UTF-16 in hexadecimal digits, whatever it holds.
  private static func text(_ text: String) -> String {
    let units = String(
      String.UnicodeScalarView(text.unicodeScalars.map { XML.isPlain($0) ? $0 : "\u{fffd}" })
    ).utf16
    return "<FEFF"
      + units.map { unit in
        let digits = String(unit, radix: 16, uppercase: true)
        return String(repeating: "0", count: 4 - digits.count) + digits
      }.joined() + ">"
  }
}

/// A grid of cells as an image of a pixel a cell. The packed rows are those of a PNG, which PDF
/// reads as they are; a colour that no cell has stands for cells that are not drawn.
struct PDFImage {
  /// What the stream's dictionary says of it.
  let facts: String
  /// The packed rows.
  let data: [UInt8]

  /// Throws `PictureError.encoding` when memory is short or libpng refuses.
  init(_ grid: CellGrid) throws {
    let used = Set(grid.colors.compactMap { $0 })
    let free =
      (0..<UInt32(used.count + 1)).lazy.map { RGB(hex: $0 &* 0x010307 & 0xffffff) }
      .first { !used.contains($0) } ?? RGB(0, 0, 0)
    let png = try grid.pixels(none: free).png(dpi: 0, title: "")
    data = Self.packed(png)
    let mask = [free.r, free.g, free.b].map { "\($0) \($0)" }.joined(separator: " ")
    facts = """
      /Type /XObject /Subtype /Image /Width \(grid.columns) /Height \(grid.rows) \
      /ColorSpace /DeviceRGB /BitsPerComponent 8 /Mask [\(mask)] /Filter /FlateDecode \
      /DecodeParms << /Predictor 15 /Colors 3 /BitsPerComponent 8 /Columns \(grid.columns) >>\u{20}
      """
  }

  /// The packed rows of a PNG: its IDAT chunks, one after another.
  private static func packed(_ png: [UInt8]) -> [UInt8] {
    var at = 8, out: [UInt8] = []
    while at + 12 <= png.count {
      let size = png[at..<at + 4].reduce(0) { $0 << 8 | Int($1) }
      if Array(png[at + 4..<at + 8]) == Array("IDAT".utf8) { out += png[at + 8..<at + 8 + size] }
      at += 12 + size
    }
    return out
  }
}

extension CellGrid {
  /// A pixel a cell, as far as there are rows with colours; cells that are not drawn have the
  /// colour `none`, or are transparent.
  func pixels(none: RGB? = nil) -> Raster {
    var rgba = [UInt8](repeating: 0, count: 4 * rows * columns)
    for cell in 0..<rows * columns {
      guard let color = (cell < colors.count ? colors[cell] : nil) ?? none else { continue }
      let at = 4 * cell
      (rgba[at], rgba[at + 1], rgba[at + 2], rgba[at + 3]) = (color.r, color.g, color.b, 255)
    }
    return Raster(width: columns, height: rows, rgba: rgba)
  }
}
