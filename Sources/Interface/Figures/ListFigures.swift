import Analysis
import Attention
import Canvas
import Pictures
import Sessions

/// All heads as thumbnails, a line a layer where that fits.
///
/// Means and not maxima, as on the screen: shapes are compared, not sizes.
struct HeadsFigure {
  private let figure: Figure

  /// Reads the figure's look.
  init(_ figure: Figure) { self.figure = figure }

  /// The page: up to sixteen heads of a layer in one line.
  var picture: Picture {
    let look = figure.look, ink = figure.ink
    var sheet = Sheet(ink)
    let heads = HeadsLayout(look).order, wide = figure.width - 48 - 60
    let columns =
      look.viewpoint.sort == .layer && look.source.heads <= 16
      ? look.source.heads : max(1, min(heads.count, 9))
    let step = wide / Double(columns), side = step - 10
    sheet.text("Heads: \(look.source.name)", 24, 26, size: 15, bold: true)
    for (index, head) in heads.enumerated() {
      let x = 24 + Double(index % columns) * step
      let y = 52 + Double(index / columns) * (side + 24)
      draw(head, Area(x: x, y: y + 6, width: side, height: side), &sheet)
    }
    if !heads.isEmpty {
      let isLog = look.viewpoint.scale == .log
      sheet.colorBar(
        Area(x: figure.width - 70, y: 58, width: 10, height: max(side, 60).clamped(60, 180)),
        low: isLog ? "least" : "0", high: "most", title: ""
      ) {
        look.viewpoint.colors.tone(Float($0), ink)
      }
    }
    let rows = (heads.count + columns - 1) / columns
    let end = 52 + Double(rows) * (side + 24) + 16
    let words = figure.looks.replacing("pooling max", with: "pooling mean")
    let text =
      (heads.isEmpty
        ? look.noHeads
        : "Every head on a scale of its own: layer.head, and the share of blocks skipped.")
      + " "
      + figure.caption([words, "by \(look.viewpoint.sort.rawValue)"], byTable: look.isByTable)
    let y = sheet.paragraph(text, 24, end, width: wide)
    return figure.page(sheet, height: y + 8, title: "Heads: \(look.source.name)", summary: text)
  }

  /// One head: name, skipped share, picture.
  private func draw(_ head: HeadID, _ area: Area, _ sheet: inout Sheet) {
    let look = figure.look, ink = figure.ink
    let isChosen = head == look.viewpoint.head
    sheet.text(
      "\(look.source.layers[head.layer]).\(look.source.headNumber(head.head))", area.x, area.y - 4,
      size: 9.5, .start,
      isChosen ? ink.accent : ink.text, bold: isChosen)
    if let share = look.sparsity(head), area.width > 44 {
      sheet.text(
        Numbers.fixed(100 * share, 0) + " %", area.maxX, area.y - 4, size: 9.5, .end, ink.dim)
    }
    sheet.rect(area, fill: ink.absent)
    guard let map = look.map(figure.thumbnailQuestion(head)) else { return }
    var shape = look.viewpoint
    shape.pooling = .mean
    let scale = HeatScale(map, shape)
    sheet.add(
      .cells(
        x: area.x, y: area.y, width: area.width, height: area.height, columns: scale.columns,
        rows: scale.rows,
        colors: scale.values.map { $0.isNaN ? nil : shape.colors.tone($0, ink) },
        id: "head-\(look.source.layers[head.layer])-\(look.source.headNumber(head.head))"))
    // Around the cells and not over them: a first column may be all there is.
    sheet.rect(
      area.outset(isChosen ? 2 : 1), stroke: isChosen ? ink.accent : ink.grid,
      width: isChosen ? 2 : 0.5)
  }
}

/// Mass on the first token by layer and head, and the heaviest keys of the chosen head.
///
/// Heads above the threshold are bold, so that a print in grey tells them as well.
struct SinksFigure {
  private let figure: Figure

  /// Reads the figure's look.
  init(_ figure: Figure) { self.figure = figure }

  /// The page.
  var picture: Picture {
    let look = figure.look, ink = figure.ink
    var sheet = Sheet(ink)
    let title = "Attention sinks: \(look.source.name)"
    sheet.text(title, 66, 26, size: 15, bold: true)
    let heads = look.source.heads, layers = look.source.layers.count
    let wide = (figure.width - 100) / Double(max(heads, 1))
    let high = min(wide, 34)
    for layer in 0..<layers {
      let y = 66 + Double(layer) * high
      sheet.text("L\(look.source.layers[layer])", 58, y + high / 2 + 4, size: 10, .end, ink.dim)
      for head in 0..<heads {
        let id = HeadID(layer: LayerIndex(layer), head: head, source: look.source.index)
        if layer == 0 {
          sheet.text(
            "\(head)", 66 + (Double(head) + 0.5) * wide, 58, size: 10, .middle, ink.dim)
        }
        guard let alpha = look.summary(id)?.importance.first else { continue }
        let color = look.viewpoint.colors.tone(alpha, ink)
        let place = Area(x: 66 + Double(head) * wide, y: y, width: wide - 1, height: high - 1)
        sheet.rect(
          place, fill: color, stroke: id == look.viewpoint.head ? ink.accent : nil, width: 2)
        if wide > 22 {
          sheet.text(
            Numbers.fixed(100 * Double(alpha), 0), place.x + place.width / 2,
            place.y + place.height / 2 + 4, size: 10, .middle, ink.over(color),
            bold: Double(alpha) > SinksScreen.threshold)
        }
      }
    }
    let top = 66 + Double(layers) * high + 44
    let end = drawKeys(&sheet, from: top)
    let text =
      """
      Above: mean attention on the first token, in percent; bold above \
      \(Int(100 * SinksScreen.threshold)). Below: the keys that take most of \(figure.headName).
      """
      + " " + figure.caption()
    let y = sheet.paragraph(text, 66, end + 18, width: figure.width - 100)
    return figure.page(sheet, height: y + 8, title: title, summary: text)
  }

  /// The twelve heaviest keys with bars; the y below them.
  private func drawKeys(_ sheet: inout Sheet, from top: Double) -> Double {
    let look = figure.look, ink = figure.ink
    sheet.text("Heaviest keys of \(figure.headName)", 66, top - 12, size: 11, bold: true)
    guard let summary = look.summary(look.viewpoint.head) else { return top }
    let most = summary.sink.mass, keys = summary.heaviest.prefix(12)
    for (line, key) in keys.enumerated() {
      let y = top + Double(line) * 18 + 10, mass = Double(summary.columnMass[key])
      let name = Sheet.clipped(look.token(key) ?? "", width: 90, size: 10)
      sheet.text("\(key)", 96, y, size: 10, .end, ink.dim)
      sheet.text("\"\(name)\"", 104, y, size: 10)
      let room = figure.width - 220 - 90
      sheet.rect(
        Area(x: 220, y: y - 9, width: max(1, room * mass / max(most, 1e-9)), height: 11),
        fill: ink.accent)
      sheet.text(
        Numbers.percent(mass), 226 + room * mass / max(most, 1e-9), y, size: 10, ink.dim)
    }
    return top + Double(keys.count) * 18
  }
}

/// What one query reads: its text, each token shaded by its weight, and the heaviest keys.
///
/// Text is shaded by the logarithm of the weight, relative to the row's largest.
struct RowFigure {
  fileprivate let figure: Figure

  /// Reads the figure's look.
  init(_ figure: Figure) { self.figure = figure }

  /// The page: a profile over all keys, then the text.
  var picture: Picture {
    let look = figure.look, ink = figure.ink, query = look.viewpoint.query
    var sheet = Sheet(ink)
    let name = look.queryToken(query).map { " \"\(Printable.text($0))\"" } ?? ""
    let title = "What query \(query)\(name) reads: \(figure.title)"
    sheet.text(
      Sheet.clipped(title, width: figure.width - 60, size: 15), 24, 26, size: 15, bold: true)
    guard let row = look.row(query) else {
      return figure.page(sheet, height: 100, title: title, summary: "")
    }
    var y =
      drawProfile(row, Area(x: 66, y: 66, width: figure.width - 100, height: 120), &sheet) + 40
    y = drawText(row, from: y, &sheet)
    let best = row.indices.sorted { row[$0] > row[$1] }.prefix(8).map { key in
      "\(key)\(look.token(key).map { " \"\($0)\"" } ?? "") \(Numbers.short(Double(row[key])))"
    }
    let text =
      """
      Weight of each key for query \(query), \(figure.headName). Most: \
      \(best.joined(separator: ", ")).
      """
      + " " + figure.caption()
    y = sheet.paragraph(text, 24, y + 16, width: figure.width - 48)
    return figure.page(sheet, height: y + 8, title: title, summary: text)
  }

  /// The largest probability under each point, six decades on a log scale; the y below it.
  private func drawProfile(_ row: [Float], _ area: Area, _ sheet: inout Sheet) -> Double {
    let ink = figure.ink, cells = min(row.count, Int(area.width))
    let edges = PooledMap.edges(0..<row.count, cells: max(1, cells))
    sheet.rect(area, stroke: ink.grid, width: 0.75)
    for (index, (a, b)) in zip(edges, edges.dropFirst()).enumerated() {
      let p = Double(row[a..<max(b, a + 1)].max() ?? 0)
      guard p > 1e-6 else { continue }
      let tall = (1 + Scale.log10(p) / 6).clamped(0, 1) * area.height
      sheet.rect(
        Area(
          x: area.x + Double(index) / Double(cells) * area.width, y: area.maxY - tall,
          width: max(0.8, area.width / Double(cells) - 0.2), height: tall), fill: ink.accent)
    }
    for exponent in stride(from: -6.0, through: 0, by: 2) {
      let y = area.maxY - (1 + exponent / 6) * area.height
      sheet.text(
        exponent == 0 ? "1" : "1e\(Int(exponent))", area.x - 6, y + 4, size: 10, .end, ink.dim)
    }
    for key in Ticks.of(0..<row.count, most: 9) {
      sheet.text(
        "\(key)", area.x + Double(key) / Double(row.count) * area.width, area.maxY + 15, size: 10,
        .middle, ink.dim)
    }
    sheet.text("probability by key (log)", area.x, area.y - 10, size: 11)
    return area.maxY
  }

  /// At most forty lines around the key under the cursor.
  private func drawText(_ row: [Float], from top: Double, _ sheet: inout Sheet) -> Double {
    let look = figure.look, ink = figure.ink
    guard !look.source.tokens.isEmpty else { return top }
    let most = max(row.max() ?? 0, 1e-9), right = figure.width - 24, size = 11.0
    let room = 2200
    let first = max(0, min(look.viewpoint.key - room / 3, look.source.tokens.count - room))
    var x = 24.0, y = top
    for key in first..<min(row.count, look.source.tokens.count, first + room) {
      let raw = look.source.tokens[key]
      // A line break breaks the line, and is not drawn.
      if raw.contains("\n"), x > 24 { (x, y) = (24, y + 19) }
      var text = Printable.text(raw.filter { $0 != "\n" })
      if text.isEmpty { continue }
      // A word stays whole: its later tokens begin with no blank.
      if text.first == " ", x + word(from: key, size) > right {
        (x, y) = (24, y + 19)
        text.removeFirst()
      }
      let wide = Strokes.width(text, size: size, bold: false)
      if x + wide > right { (x, y) = (24, y + 19) }
      let isPast = key < look.source.visibility.limit(row: look.viewpoint.query)
      let weight = Double(row[key] / Float(most))
      let t = weight <= 1e-4 ? 0 : 1 + Scale.log10(weight) / 4
      var color = isPast ? ink.text : ink.grid
      if isPast, t > 0.1 {
        let tone = look.viewpoint.colors.tone(Float(t), ink)
        sheet.rect(Area(x: x, y: y - 12, width: wide, height: 16), fill: tone)
        color = ink.over(tone)
      }
      sheet.text(text, x, y, size: size, .start, color, bold: key == look.viewpoint.key)
      x += wide
    }
    return y + 14
  }
}

extension RowFigure {
  /// How wide the word is that begins with a token.
  fileprivate func word(from key: Int, _ size: Double) -> Double {
    let tokens = figure.look.source.tokens
    var end = key + 1
    while end < tokens.count, end < key + 12, tokens[end].first?.isWhitespace == false { end += 1 }
    return Strokes.width(
      Printable.text(tokens[key..<end].joined()), size: size, bold: false)
  }
}

/// Two maps and their difference, and the numbers of both.
///
/// All three pictures have the scale of the screen; the difference is symmetric about zero, orange
/// for more on the left.
struct CompareFigure {
  private let figure: Figure

  /// Reads the figure's look.
  init(_ figure: Figure) { self.figure = figure }

  /// The page: two maps and the difference side by side, numbers below.
  var picture: Picture {
    let look = figure.look, ink = figure.ink
    var sheet = Sheet(ink)
    let comparison = Comparison(look), sides = [look.leftSide, look.rightSide]
    let title = "Left \(comparison.left), right \(comparison.right)"
    sheet.text(
      Sheet.clipped(title, width: figure.width - 48, size: 14), 24, 26, size: 14, bold: true)
    let step = (figure.width - 24) / 3, side = step - 46
    let maps = sides.map { $0.map(figure.mapQuestion($0)) }
    for (index, map) in maps.enumerated() {
      let area = Area(x: 24 + Double(index) * step + 26, y: 62, width: side, height: side)
      sheet.text(index == 0 ? "left" : "right", area.x, 54, size: 11, bold: true)
      guard let map else { continue }
      let scale = HeatScale(map, look.viewpoint, wholeTop: sides[index].wholeTop)
      plate(
        sides[index], area, scale.rows, scale.columns,
        scale.values.map { $0.isNaN ? nil : look.viewpoint.colors.tone($0, ink) },
        index == 0 ? sides[0].table(sides[0].viewpoint.head) : look.otherTable,
        index == 0 ? "left" : "right", &sheet)
      sheet.flatBar(
        Area(x: area.x, y: area.maxY + 22, width: side, height: 7),
        low: look.viewpoint.scale == .log ? "≤ \(Numbers.short(scale.low))" : "0",
        high: look.viewpoint.scale == .rank ? "top" : Numbers.short(scale.high)
      ) { look.viewpoint.colors.tone(Float($0), ink) }
    }
    if let a = maps[0], let b = maps[1],
      let difference = MapDifference(
        a, b, usesMean: look.viewpoint.pooling == .mean, look.source.visibility)
    {
      let scale = SignedScale(difference, look.viewpoint.scale)
      let area = Area(x: 24 + 2 * step + 26, y: 62, width: side, height: side)
      sheet.text("left - right, ±\(Numbers.short(scale.top))", area.x, 54, size: 11, bold: true)
      plate(
        sides[0], area, scale.rows, scale.columns,
        scale.values.map { $0.isNaN ? nil : DifferenceColors.tone($0, ink) }, nil, "difference",
        &sheet)
      sheet.flatBar(
        Area(x: area.x, y: area.maxY + 22, width: side, height: 7),
        low: "-\(Numbers.short(scale.top))", high: Numbers.short(scale.top)
      ) { DifferenceColors.tone(Float(2 * $0 - 1), ink) }
    }
    var y = 62 + side + 66
    // Numbers of methods have long names.
    let names = comparison.rows.map { Strokes.width($0.name, size: 10.5, bold: false) }
    let left = 50 + max(80, (names.max() ?? 0) + 12)
    for row in comparison.rows {
      sheet.text(row.name, 50, y, size: 10.5, ink.dim)
      sheet.text(row.left, left, y, size: 10.5, ink.text)
      if let right = row.right { sheet.text(right, left + step, y, size: 10.5, ink.text) }
      y += 17
    }
    let text =
      figure.caption([figure.looks]) + " Orange: more on the left; blue: more on the right."
    y = sheet.paragraph(text, 50, y + 14, width: figure.width - 80)
    return figure.page(sheet, height: y + 8, title: title, summary: text)
  }

  /// One of the three maps, with few ticks and no names.
  private func plate(
    _ side: Look, _ area: Area, _ rows: Int, _ columns: Int, _ colors: [RGB?],
    _ table: BlockTable?, _ name: String, _ sheet: inout Sheet
  ) {
    HeatPlate(
      look: side, area: area, rows: rows, columns: columns, colors: colors, table: table,
      crossID: "skipped-\(name)", cellID: name, labels: false
    ).draw(on: &sheet)
    for key in Ticks.of(side.viewpoint.window.keys, most: 4) {
      let keys = side.viewpoint.window.keys
      let at = area.x + Double(key - keys.lowerBound) / Double(keys.count) * area.width
      sheet.text("\(key)", at, area.maxY + 14, size: 9.5, .middle, sheet.ink.dim)
    }
  }
}
