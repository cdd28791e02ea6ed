import Sessions
import Analysis
import Attention
import Canvas

/// Right of the map: the head, what BLASST does to it, and why, for the block under the cursor.
///
/// The same panel beside the text of a dump. With another method than that of block tables, its
/// numbers stand where BLASST's would.
struct SidePanel {
  private let look: Look
  private let paint: Paint

  /// Of the block under the cursor; nothing before the table is there.
  /// Reads the look.
  init(_ look: Look) {
    self.look = look
    paint = Paint(look)
  }

  /// From the top: head, method, curve and minimap where there is room, the block under the cursor.
  /// Where the curve stands; nil without one.
  @discardableResult
  func draw(in rect: Rect, on grid: inout Grid) -> Rect? {
    guard !rect.isEmpty else { return nil }
    var curve: Rect?
    Panel(
      "Head",
      right:
        "L\(look.layerNumber) H\(look.chosenHeadNumber)\(look.doubt(look.viewpoint.head))",
      style: paint.dim,
      unicode: paint.unicode
    )
    .draw(in: rect, on: &grid)
    var lines = Lines(rect, paint)
    let reason = reasonLines(lines.width)
    head(&lines, &grid)
    if look.isByTable {
      lines.rule(
        "BLASST" + look.doubt(look.viewpoint.head), right: look.viewpoint.spec.description,
        on: &grid)
      blasst(&lines, &grid)
    } else {
      let room = max(4, lines.end - lines.y - reason.count - 2)
      MethodNumbers(look).draw(&lines, room: room, on: &grid)
    }
    var spare = rect.maxY - 1 - lines.y - reason.count - 1
    // Beside a curve of its least height.
    let minimap = spare >= Minimap.lines + (look.isByTable ? 3 : 0) ? Minimap(look) : nil
    if minimap != nil { spare -= Minimap.lines }
    if spare >= 3, look.isByTable {
      let height = min(spare, 14)
      let place = Rect(x: rect.x + 1, y: lines.y, width: rect.width - 2, height: height)
      CurvePlot(look).draw(in: place, on: &grid)
      lines.y += height
      curve = place
    }
    minimap?.draw(&lines, on: &grid)
    lines.rule("Under the cursor", on: &grid)
    for (text, style) in reason { lines.put(text, style, on: &grid) }
    return curve
  }

  /// Pattern, sink and entropy of the head, or why they are not there.
  private func head(_ lines: inout Lines, _ grid: inout Grid) {
    guard let summary = look.summary(look.viewpoint.head) else {
      let why =
        look.refusal(.summary(look.viewpoint.head))
        ?? (look.isStopped ? "stopped" : "computing…")
      lines.wrap(why, paint.dim, on: &grid)
      return
    }
    let label = summary.label
    lines.field(
      "pattern", label.text { Numbers.fixed($0, 2) }, paint.strong, on: &grid)
    if let shape = look.assigned(look.viewpoint.head) {
      let verdict = look.agrees(look.viewpoint.head) == true ? "the same" : "another"
      lines.field("assigned", [" \(shape.words): \(verdict)", " \(shape.label)"], on: &grid)
    }
    let others = label.candidates.map {
      "\($0.name == .hybrid ? "∪" : $0.name.short) \(Numbers.fixed($0.recall, 2))"
    }.joined(
      separator: " ")
    if lines.width >= 38 {
      lines.field("at \(Int(label.budget * 100)) %", others, paint.dim, on: &grid)
    } else {
      let percents = label.candidates.map {
        "\($0.name == .hybrid ? "∪" : $0.name.short) \(Numbers.fixed(100 * $0.recall, 0))"
      }.joined(separator: " ")
      lines.put(percents + " %", paint.dim, on: &grid)
    }
    let token = look.token(summary.sink.position).map { " \"\($0)\"" } ?? ""
    let mass = Numbers.percent(summary.sink.mass)
    let sink = "\(mass) on \(summary.sink.position)"
    lines.field("sink", [sink + token, sink, mass], on: &grid)
    let entropy = "\(Numbers.fixed(summary.entropy, 2)) nats"
    let keys = "\(entropy) ~\(Numbers.short(summary.effectiveTokens))"
    lines.field("entropy", [keys + " keys", keys, entropy], on: &grid)
    if let texts = look.learnedSinkTexts { lines.field("learned", texts, on: &grid) }
    if !look.stripTexts.isEmpty { lines.field("row", look.stripTexts, on: &grid) }
    selected(&lines, &grid)
    if let rows = summary.sampledRows {
      lines.field("sampled", "\(rows) rows", paint.dim, on: &grid)
    }
  }

  /// What falls on selected keys; where there is room, run by run.
  private func selected(_ lines: inout Lines, _ grid: inout Grid) {
    guard look.viewpoint.selection != nil else { return }
    lines.field("selected", look.selectedTexts.map { " " + $0 }, paint.accent, on: &grid)
    guard lines.rect.height >= 26 else { return }
    if let mass = look.selectedMass(look.viewpoint.head) {
      let most = "most \(Numbers.percent(mass.most)) of q \(mass.mostRow)"
      lines.field("", " " + most, paint.dim, on: &grid)
    }
    let runs = look.selectedRuns
    for run in runs.prefix(3) where runs.count > 1 {
      lines.field("", " k \(run.name): mean \(run.share)", paint.dim, on: &grid)
    }
    if runs.count > 3 { lines.field("", " and \(runs.count - 3) runs more", paint.dim, on: &grid) }
  }

  /// What the threshold does to this head: blocks, dropped mass, output error.
  private func blasst(_ lines: inout Lines, _ grid: inout Grid) {
    guard let table = look.table(look.viewpoint.head) else {
      let question = look.tableQuestion(look.viewpoint.head)
      lines.put(look.refusal(question) ?? look.waiting(question), paint.dim, on: &grid)
      return
    }
    let lambda = look.lambda
    lines.field(
      "lambda", table.isFixed ? "none: the mask was stored" : MapScreen.lambdaText(lambda.value),
      paint.strong, on: &grid)
    let share = Numbers.percent(table.sparsity(lambda))
    let count = "\(table.skippedBlocks(lambda))/\(table.visibleBlocks)"
    lines.field(
      "pruned", ["\(share)  \(count) blocks", "\(share)  \(count)", share], paint.pruned,
      on: &grid)
    if let dropped = table.droppedMass(lambda) {
      let (mean, worst) = (Numbers.short(dropped.mean), Numbers.short(dropped.max))
      lines.field("dropped", ["\(mean) worst \(worst)", "\(mean) … \(worst)", mean], on: &grid)
    } else {
      lines.field("dropped", "needs Q and K", paint.dim, on: &grid)
    }
    lines.field("error", errorText, on: &grid)
  }

  /// The relative output error; of long heads it is sampled, and says so.
  private var errorText: String {
    guard let findings = look.findings(look.viewpoint.head) else {
      return look.findingsQuestion(look.viewpoint.head).flatMap(look.refusal) ?? "…"
    }
    guard let error = findings["error"]?.number else { return "needs V" }
    return "\(Numbers.short(error)) \(look.isLong ? "sampled" : "rel L2")"
  }

  /// Why the block under the cursor is computed or skipped.
  private func reasonLines(_ width: Int) -> [(String, Style)] {
    let viewpoint = look.viewpoint
    let query = look.queryToken(viewpoint.query).map { " \"\($0)\"" } ?? ""
    let key = look.token(viewpoint.key).map { " \"\($0)\"" } ?? ""
    var lines: [(String, Style)] = [
      ("q \(viewpoint.query)\(query) → k \(viewpoint.key)\(key)", .plain)
    ]
    let visible = viewpoint.key < look.source.visibility.limit(row: viewpoint.query)
    if let (title, value) = look.cell, visible { lines.append(("\(title): \(value)", .plain)) }
    if look.rowField.method != nil, visible {
      if look.cell == nil { lines.append(("\(look.mapField.name) …", paint.dim)) }
    } else if let row = look.row(viewpoint.query), viewpoint.key < row.count, visible {
      let isMuted = viewpoint.key == look.mutedKey
      let value = "\(look.poolWord)p \(Numbers.short(Double(row[viewpoint.key])))"
      let p = isMuted ? "p muted: left out" : value
      lines.append((p, isMuted ? paint.dim : .plain))
    } else {
      lines.append((visible ? "p …" : "not visible: the key is later", paint.dim))
    }
    if look.isByTable, look.hasBlocksOnMap {
      lines += Reason(look).lines.map { line in
        // The verdict is what is asked for: it stays, whatever the width.
        let texts = [line.text, line.text.replacing(" ln λ", with: "")]
        return (Fitted.text(texts, width), line.isPruned ? paint.pruned : .plain)
      }
    }
    if let live = look.live, viewpoint.query >= live.promptTokens {
      lines.append(("decoded alone: view 5 has its blocks", paint.dim))
    }
    return lines
  }

}

/// The rule of blasst.md with this block's numbers in it.
///
/// The same words serve screens, sentences and lessons, since the numbers are those of the table
/// itself.
struct Reason {
  /// One or two short lines; `isPruned` asks for the colour that means skipped.
  let lines: [(text: String, isPruned: Bool)]

  init(_ look: Look) {
    guard let table = look.table(look.viewpoint.head) else {
      lines = []
      return
    }
    let i = look.viewpoint.query / table.spec.rows, j = look.viewpoint.key / table.spec.keys
    let margin = table.margins[i * table.keyTiles + j]
    let threshold = look.lambda.threshold
    let name = "block (\(i),\(j))"
    if margin.isNaN {
      lines = [(name, false), ("no row of it may see it", false)]
    } else if table.isFixed {
      lines = [
        (name, false), (margin > 0 ? "stored as computed" : "stored as skipped", margin < 0),
      ]
    } else if margin == .infinity {
      lines = [(name, false), ("first visited: computed", false)]
    } else if threshold == -.infinity {
      lines = [
        ("\(name) margin \(Numbers.fixed(Double(margin), 2))", false),
        ("λ = 0: everything is computed", false),
      ]
    } else {
      let pruned = margin < threshold
      let compare = pruned ? "<" : "≥"
      let numbers =
        "\(Numbers.fixed(Double(margin), 2)) \(compare) ln λ \(Numbers.fixed(Double(threshold), 2))"
      lines = [
        ("\(name) margin", false), ("\(numbers) → \(pruned ? "skipped" : "computed")", pruned),
      ]
    }
  }
}

/// Lines of text inside a frame, from the top down.
///
/// Whoever writes need not count rows: beyond the frame's end nothing is drawn, and `y` goes on.
struct Lines {
  /// The frame.
  let rect: Rect
  /// Colours and glyphs.
  let paint: Paint
  /// The row that comes next.
  var y: Int

  /// Begins under the frame's upper edge.
  init(_ rect: Rect, _ paint: Paint) {
    (self.rect, self.paint) = (rect, paint)
    y = rect.y + 1
  }

  /// Columns of text, two cells from either edge.
  var width: Int { rect.width - 4 }
  /// The column where text begins.
  var x: Int { rect.x + 2 }
  /// The first line below.
  var end: Int { rect.maxY - 1 }

  /// One line, cut at a word where the frame ends.
  mutating func put(_ text: String, _ style: Style = .plain, on grid: inout Grid) {
    if y < rect.maxY - 1 {
      grid.put(Fitted.cut(text, width), rect.x + 2, y, style, limit: width)
    }
    y += 1
  }

  /// A text over as many lines as it takes.
  mutating func wrap(_ text: String, _ style: Style = .plain, on grid: inout Grid) {
    for line in Printable.lines(text, width: width) { put(line, style, on: &grid) }
  }

  /// A name in eight columns, then its value.
  mutating func field(_ name: String, _ value: String, _ style: Style = .plain, on grid: inout Grid)
  {
    if y < rect.maxY - 1 {
      grid.put(name, rect.x + 2, y, paint.dim, limit: width)
      grid.put(Fitted.cut(value, width - 8), rect.x + 10, y, style, limit: width - 8)
    }
    y += 1
  }

  /// The same with the longest value that there is room for.
  mutating func field(
    _ name: String, _ values: [String], _ style: Style = .plain, on grid: inout Grid
  ) {
    field(name, Fitted.text(values, width - 8), style, on: &grid)
  }

  /// A line across the frame with a title in it.
  mutating func rule(_ title: String, right: String = "", on grid: inout Grid) {
    guard y < rect.maxY - 1 else { return }
    for x in rect.x + 1..<rect.maxX - 1 { grid[x, y] = Cell(paint.unicode ? "─" : "-", paint.dim) }
    if paint.unicode {
      grid[rect.x, y] = Cell("├", paint.dim)
      grid[rect.maxX - 1, y] = Cell("┤", paint.dim)
    }
    let end = grid.put(" \(title) ", rect.x + 1, y, paint.strong, limit: rect.width - 2)
    if !right.isEmpty, end + Width.of(right) + 2 < rect.maxX {
      grid.put(endingAt: rect.maxX - 1, " \(right) ", y, paint.dim)
    }
    y += 1
  }
}

/// One or two letters for shapes that have a usual abbreviation.
extension PatternLabel.Name {
  /// For places with little room.
  var short: String {
    switch self {
    case .aShape: "A"
    case .verticalSlash: "VS"
    case .blockSparse: "BS"
    case .hybrid: "hybrid"
    case .diffuse: "diffuse"
    }
  }
}
