extension Picture {
  /// The complete file: standalone SVG 1.1, UTF-8, the same bytes for the same picture.
  public var svg: String {
    let (w, h) = (XML.number(max(0, width)), XML.number(max(0, height)))
    var out = """
      <?xml version="1.0" encoding="UTF-8"?>
      <svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" \
      version="1.1" width="\(w)" height="\(h)" \
      viewBox="0 0 \(w) \(h)" role="img" font-family="Inter, Helvetica, Arial, sans-serif" \
      xml:space="preserve">
      <title>\(XML.text(title))</title>
      <desc>\(XML.text(summary))</desc>

      """
    if let background {
      out += "<rect width=\"\(w)\" height=\"\(h)\" fill=\"\(background.hex)\"/>\n"
    }
    for shape in shapes { out += shape.svg }
    return out + "</svg>\n"
  }
}

extension Shape {
  /// The element, with a line break after it; nothing for a shape that cannot be drawn.
  var svg: String {
    switch self {
    case .rect(let x, let y, let width, let height, let fill, let stroke, let strokeWidth):
      guard Self.areNumbers(x, y, width, height), width >= 0, height >= 0 else { return "" }
      let line =
        stroke.map { " stroke=\"\($0.hex)\" stroke-width=\"\(XML.number(max(0, strokeWidth)))\"" }
      return "<rect" + Self.box(x, y, x + width, y + height)
        + " fill=\"\(fill?.hex ?? "none")\"\(line ?? "") shape-rendering=\"crispEdges\"/>\n"
    case .cells(let x, let y, let width, let height, let columns, let rows, let colors, let id):
      return CellGrid(
        x: x, y: y, width: width, height: height, columns: columns, rows: rows, colors: colors
      )?.svg(id: id) ?? ""
    case .crosses(let marks, let color, let halo, let id):
      return CrossPen(marks).svg(color: color, halo: halo, id: id)
    case .line(let x1, let y1, let x2, let y2, let color, let width, let dash):
      guard Self.areNumbers(x1, y1, x2, y2) else { return "" }
      let dashes = dash.map { $0 > 0 ? " stroke-dasharray=\"\(XML.number($0))\"" : "" } ?? ""
      return "<line x1=\"\(XML.number(x1))\" y1=\"\(XML.number(y1))\" x2=\"\(XML.number(x2))\""
        + " y2=\"\(XML.number(y2))\" stroke=\"\(color.hex)\""
        + " stroke-width=\"\(XML.number(max(0, width)))\"\(dashes)/>\n"
    case .polyline(let points, let color, let width):
      let kept = points.filter { Self.areNumbers($0.x, $0.y) }
      guard !kept.isEmpty else { return "" }
      let list = kept.map { XML.number($0.x) + "," + XML.number($0.y) }.joined(separator: " ")
      return "<polyline points=\"\(list)\" fill=\"none\" stroke=\"\(color.hex)\""
        + " stroke-width=\"\(XML.number(max(0, width)))\""
        + " stroke-linecap=\"round\" stroke-linejoin=\"round\"/>\n"
    case .text(let text, let x, let y, let size, let anchor, let color, let bold, let rotation):
      guard Self.areNumbers(x, y, size, rotation), size > 0 else { return "" }
      return Self.text(text, x, y, size, anchor, color, bold, rotation)
    }
  }

  /// True when none is NaN or infinite: what every shape is asked before it is drawn.
  static func areNumbers(_ values: Double...) -> Bool { values.allSatisfy(\.isFinite) }

  /// Attributes that would say the default are left out, so that files stay small.
  private static func text(
    _ text: String, _ x: Double, _ y: Double, _ size: Double, _ anchor: Anchor, _ color: RGB,
    _ bold: Bool, _ rotation: Double
  ) -> String {
    let (left, base) = (XML.number(x), XML.number(y))
    var out = "<text x=\"\(left)\" y=\"\(base)\" font-size=\"\(XML.number(size))\""
    switch anchor {
    case .start: break
    case .middle: out += " text-anchor=\"middle\""
    case .end: out += " text-anchor=\"end\""
    }
    out += " fill=\"\(color.hex)\""
    if bold { out += " font-weight=\"bold\"" }
    if rotation != 0 { out += " transform=\"rotate(\(XML.number(rotation)) \(left) \(base))\"" }
    return out + ">\(XML.text(text))</text>\n"
  }

  /// The four attributes of a box, from its edges: two boxes that share an edge share its digits,
  /// so no seam is between.
  static func box(_ left: Double, _ top: Double, _ right: Double, _ bottom: Double) -> String {
    let (x, y) = (XML.hundredths(left), XML.hundredths(top))
    let (w, h) = (XML.hundredths(right) - x, XML.hundredths(bottom) - y)
    return " x=\"\(XML.number(hundredths: x))\" y=\"\(XML.number(hundredths: y))\""
      + " width=\"\(XML.number(hundredths: w))\" height=\"\(XML.number(hundredths: h))\""
  }
}

extension CellGrid {
  /// From so many runs of cells on a grid is an image: a box for each run would be a large file.
  private static let mostRuns = 256

  /// An image of a pixel a cell, stretched over the grid; of few cells a drawing in units of cells,
  /// with one path a colour: a box for each run of it.
  func svg(id: String) -> String {
    let count = (0..<rows).reduce(0) { $0 + runs($1).count }
    if count > Self.mostRuns, let png = try? pixels().png(dpi: 0, title: "") {
      return "<image\(XML.id(id))" + Shape.box(x, y, x + width, top(rows))
        + " preserveAspectRatio=\"none\" image-rendering=\"optimizeSpeed\""
        + " style=\"image-rendering:pixelated\""
        + " xlink:href=\"data:image/png;base64,\(Base64.text(png))\"/>\n"
    }
    var out =
      "<svg\(XML.id(id))" + Shape.box(x, y, x + width, top(allRows))
      + " viewBox=\"0 0 \(columns) \(allRows)\" preserveAspectRatio=\"none\""
      + " shape-rendering=\"crispEdges\">\n"
    var paths: [RGB: String] = [:]
    var order: [RGB] = []
    for row in 0..<rows {
      for run in runs(row) {
        if paths[run.color] == nil { order.append(run.color) }
        let count = run.columns.count
        paths[run.color, default: ""] += "M\(run.columns.lowerBound) \(row)h\(count)v1h-\(count)z"
      }
    }
    for color in order { out += "<path fill=\"\(color.hex)\" d=\"\(paths[color]!)\"/>\n" }
    return out + "</svg>\n"
  }
}

extension CrossPen {
  /// The rims in one path, then a path for each mark, which says its row and column so that a
  /// program can read the mask.
  func svg(color: RGB, halo: RGB?, id: String) -> String {
    var out = ""
    if let halo, !marks.isEmpty {
      out += "<path fill=\"none\" stroke=\"\(halo.hex)\" stroke-width=\"\(XML.number(haloWidth))\""
      out += " stroke-linecap=\"round\" d=\"\(marks.map(path).joined())\"/>\n"
    }
    out += "<g\(XML.id(id)) fill=\"none\" stroke=\"\(color.hex)\""
    out += " stroke-width=\"\(XML.number(width))\" stroke-linecap=\"round\">\n"
    for mark in marks {
      out += "<path data-row=\"\(mark.row)\" data-column=\"\(mark.column)\" d=\"\(path(mark))\"/>\n"
    }
    return out + "</g>\n"
  }

  /// Two lines, one an arm.
  private func path(_ mark: Mark) -> String {
    arms(mark).map {
      "M\(XML.number($0.x1)) \(XML.number($0.y1))L\(XML.number($0.x2)) \(XML.number($0.y2))"
    }.joined()
  }
}
