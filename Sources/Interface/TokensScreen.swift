import Analysis
import Attention
import Canvas
import Sessions

/// View 5: the text. Of a live model with its timeline and, once there are branches, the other
/// branch's text below.
///
/// Of a saved dump it is the text with the weights of one query; of a run, how likely each token
/// was.
struct TokensScreen {
  private let look: Look
  private let paint: Paint

  /// Reads the look.
  init(_ look: Look) {
    self.look = look
    paint = Paint(look)
  }

  /// Text in the middle, the token beside it, the timeline below.
  func draw(_ layout: ScreenLayout, on grid: inout Grid) {
    if look.live == nil {
      drawDump(in: layout.main, on: &grid)
      SidePanel(look).draw(in: layout.side, on: &grid)
      return
    }
    StepPanel(look).draw(in: layout.side, on: &grid)
    TimelinePanel(look).draw(in: layout.row, on: &grid)
    let (mine, other) = Self.halves(look, layout.main)
    drawBranch(look.frame.branch, in: mine, on: &grid)
    if let branch = look.otherBranch, !other.isEmpty {
      drawBranch(branch, in: other, on: &grid)
    }
  }

  /// The text's own rectangle and, where there is another branch, that one's.
  static func halves(_ look: Look, _ rect: Rect) -> (Rect, Rect) {
    guard look.otherBranch != nil, rect.height >= 6 else {
      return (rect, Rect(x: 0, y: 0, width: 0, height: 0))
    }
    return rect.splitTop((rect.height + 1) / 2)
  }

  // MARK: A branch

  /// One branch's text with its attention in the title; tokens after the frame are faint.
  private func drawBranch(_ id: Int, in rect: Rect, on grid: inout Grid) {
    guard let live = look.live, live.branches.indices.contains(id) else {
      Panel("Text", style: paint.dim, unicode: paint.unicode).draw(in: rect, on: &grid)
      grid.put(
        "The prompt is being read…", rect.x + 2, rect.y + 1, paint.dim, limit: rect.width - 4)
      return
    }
    let line = look.known.steps(of: id)
    let isMine = id == look.frame.branch
    let title = live.branches.count == 1 ? "Text" : "Branch \(id)"
    let attention = line.last { !$0.isPrompt }?.attention ?? live.branches[id].attention
    let left = title + (isMine || live.branches.count == 1 ? "" : " (x goes there)")
    // Where branches part is kept before how they attend.
    let differs = look.otherBranch.flatMap { look.divergence(look.frame.branch, $0) }
    let parted = differs.map { ["\(attention), ≠ \($0)", "≠ \($0)"] } ?? []
    let room = rect.width - 8 - Width.of(left)
    let rights = [attention + compared(id, differs)] + (isMine ? parted : []) + [attention]
    Panel(
      left, right: rights.first { Width.of($0) <= room } ?? "",
      style: isMine ? paint.dim : paint.faint, unicode: paint.unicode
    ).draw(in: rect, on: &grid)
    let flow = TextFlow(
      line.map(\.text), in: rect.inset(2, 1), cursor: isMine ? look.frame.tokens - 1 : focus(id))
    if isMine, live.length > live.promptTokens {
      drawLegend(Legend("100 %", "1 %", " chance of the token, or less", " chance"), rect, &grid)
    }
    for place in flow.places {
      let shade = style(line[place.token], isMine: isMine, differs: differs)
      grid.put(
        place.text, place.x, place.y,
        isMine && look.isFound(place.token) ? paint.found(shade) : shade,
        limit: rect.maxX - 1 - place.x)
    }
  }

  /// Keeps the other branch's text at the same token.
  private func focus(_ id: Int) -> Int {
    min(look.frame.tokens, look.known.steps(of: id).count) - 1
  }

  /// What the title says about the other branch: where it differs, or for how long it does not.
  private func compared(_ id: Int, _ differs: Int?) -> String {
    guard id == look.frame.branch, let other = look.otherBranch, let live = look.live else {
      return ""
    }
    if let differs { return ", differs from token \(differs) on" }
    let fork = max(live.branches[id].fork, live.branches[other].fork)
    let both = min(
      look.known.steps(of: id).count, look.known.steps(of: other).count)
    let count = max(0, both - fork)
    return ", the same for \(count) token\(count == 1 ? "" : "s")"
  }

  /// By what matters most: the cursor, where branches part, then how surprising the token was.
  private func style(_ step: Step, isMine: Bool, differs: Int?) -> Style {
    let isCursor = isMine && step.position == look.frame.tokens - 1
    if isCursor { return Style(bold: true, reverse: true) }
    if step.position == differs {
      var style = paint.warning
      style.underline = true
      return style
    }
    if step.isPrompt { return paint.dim }
    var style = Style(underline: differs.map { step.position > $0 } ?? false)
    if isMine, step.position >= look.frame.tokens { return paint.faint }
    guard let logProbability = step.logProbability else { return style }
    // One in a hundred is as dark as it gets.
    let surprise = Float(min(1, -logProbability / 4.6))
    guard surprise > 0.15 else { return style }
    if paint.colors.hasRamps {
      style = paint.text(on: surprise, style)
    } else {
      style.bold = surprise > 0.5
    }
    return style
  }

  // MARK: A dump

  /// The tokens of a saved dump, shaded by what the query under the cursor gives them.
  private func drawDump(in rect: Rect, on grid: inout Grid) {
    Panel(
      "Text", right: "query \(look.viewpoint.query) reads", style: paint.dim,
      unicode: paint.unicode
    ).draw(in: rect, on: &grid)
    guard !look.source.tokens.isEmpty else {
      grid.put(
        "This file has no token texts; --tokens FILE gives them.", rect.x + 2, rect.y + 1,
        paint.dim, limit: rect.width - 4)
      return
    }
    let cursor = look.source.visibility.position(row: look.viewpoint.query)
    let row = look.row(look.viewpoint.query)
    let top = max(row?.max() ?? 0, 1e-9)
    let flow = TextFlow(look.source.tokens, in: rect.inset(2, 1), cursor: cursor)
    let rows = RowPanel(look)
    for place in flow.places {
      let isPast = place.token < look.source.visibility.limit(row: look.viewpoint.query)
      let weight = row.flatMap { $0.indices.contains(place.token) ? $0[place.token] / top : nil }
      var style =
        place.token == cursor
        ? Style(bold: true, reverse: true)
        : rows.style(weight ?? 0, isPast: isPast, isCursor: false)
      if look.isSelected(place.token) { style = paint.selected(style) }
      let shown = look.isFound(place.token) ? paint.found(style) : style
      grid.put(place.text, place.x, place.y, shown, limit: rect.maxX - 1 - place.x)
    }
    guard row != nil else { return }
    let ends = (Numbers.short(Double(top) * 1e-4), Numbers.short(Double(top)))
    let words = (" of query \(look.viewpoint.query)'s attention", " of the row")
    drawLegend(Legend("≤\(ends.0)", ends.1, words.0, words.1), rect, &grid)
  }

  /// On the lower edge of a frame: what the shades of its text stand for.
  private func drawLegend(_ legend: Legend, _ rect: Rect, _ grid: inout Grid) {
    guard rect.height >= 4 else { return }
    let y = rect.maxY - 1, x = rect.x + 2
    let end = legend.draw(paint, x + 1, y, end: rect.maxX - 3, on: &grid)
    guard end > x + 1 else { return }
    grid[x, y] = .blank
    grid[end, y] = .blank
  }
}

/// Beside the text: the token under the cursor and what its pass did.
///
/// Chances are computed from the logits that were kept: the sum over the vocabulary follows from
/// the chosen token's own.
struct StepPanel {
  private let look: Look
  private let paint: Paint

  init(_ look: Look) {
    self.look = look
    paint = Paint(look)
  }

  /// The token, what might have come instead, what its pass skipped, and what dense attention says.
  func draw(in rect: Rect, on grid: inout Grid) {
    guard !rect.isEmpty else { return }
    Panel(
      "Token", right: "\(max(0, look.frame.tokens - 1)) of \(look.length)", style: paint.dim,
      unicode: paint.unicode
    ).draw(in: rect, on: &grid)
    var lines = Lines(rect, paint)
    guard let step = look.step else {
      lines.put("nothing yet", paint.dim, on: &grid)
      return
    }
    let name = "\"\(Printable.text(step.text))\""
    lines.field("token", "\(name) id \(step.token)", paint.strong, on: &grid)
    if step.isPrompt {
      lines.wrap("of the prompt: nothing was chosen here", paint.dim, on: &grid)
    } else {
      choice(step, &lines, &grid)
    }
    lines.rule("Pruned", right: step.attention, on: &grid)
    pruned(step, &lines, &grid)
    lines.rule("Dense beside it", on: &grid)
    shadow(step, &lines, &grid)
  }

  /// Its chance, and those of its rivals, in per cent with bars.
  private func choice(_ step: Step, _ lines: inout Lines, _ grid: inout Grid) {
    guard let logProbability = step.logProbability else { return }
    lines.field("chance", Numbers.percent(Scale.exp(logProbability)), on: &grid)
    // The sum over the vocabulary follows from the token's own logit and probability.
    guard let own = step.top.first(where: { $0.token == step.token }) else { return }
    let total = Double(own.logit) - logProbability
    for candidate in step.top {
      let share = Scale.exp(Double(candidate.logit) - total)
      let text = "\"\(Printable.text(candidate.piece))\""
      let y = lines.y
      lines.put(
        "  " + Fitted.cut(text, 14), candidate.token == step.token ? paint.strong : .plain,
        on: &grid)
      guard y < lines.end else { continue }
      grid.put(Numbers.percent(share), lines.x + 18, y, paint.dim)
      Bar(share, style: paint.accent, unicode: paint.unicode).draw(
        in: Rect(x: lines.x + 26, y: y, width: max(0, lines.width - 26), height: 1), on: &grid)
    }
  }

  /// Blocks of the pass over all heads, by layer, and the chosen head's own row.
  private func pruned(_ step: Step, _ lines: inout Lines, _ grid: inout Grid) {
    guard let sparsity = step.sparsity else {
      lines.wrap("prompt rows are pruned in tiles: see the Map", paint.dim, on: &grid)
      return
    }
    let share = Numbers.percent(sparsity)
    lines.field(
      "pruned", ["\(share)  \(step.skippedBlocks)/\(step.visibleBlocks) blocks", share],
      paint.pruned, on: &grid)
    if let detail = look.detail, !detail.visible.isEmpty {
      layers(detail, &lines, &grid)
    } else {
      lines.put("by layer …", paint.dim, on: &grid)
    }
    row(step, &lines, &grid)
    lines.field("time", "\(Numbers.fixed(step.milliseconds, 2)) ms", on: &grid)
  }

  /// Sparsity of each layer as a line of bars, and the mass on key 0.
  private func layers(_ detail: StepDetail, _ lines: inout Lines, _ grid: inout Grid) {
    let shares = (0..<detail.layers).map { layer -> Double in
      let heads = layer * detail.heads..<(layer + 1) * detail.heads
      let seen = heads.reduce(0) { $0 + Int(detail.visible[$1]) }
      return seen == 0 ? 0 : Double(heads.reduce(0) { $0 + Int(detail.skipped[$1]) }) / Double(seen)
    }
    lines.field("by layer", "", on: &grid)
    guard lines.y <= lines.end else { return }
    Sparkline(shares, style: paint.pruned, unicode: paint.unicode).draw(
      in: Rect(
        x: lines.x + 9, y: lines.y - 1, width: min(detail.layers, lines.width - 9), height: 1),
      on: &grid)
    let known = detail.sink.filter { !$0.isNaN }
    guard !known.isEmpty else { return }
    let here = look.viewpoint.head
    let mine = detail.sink[here.layer.value * detail.heads + here.head]
    let mean = known.reduce(0, +) / Float(known.count)
    lines.field(
      "sink",
      "\(Numbers.percent(Double(mean))), here \(mine.isNaN ? "?" : Numbers.percent(Double(mine)))",
      on: &grid)
  }

  /// The blocks of the chosen head's newest row, first key left.
  private func row(_ step: Step, _ lines: inout Lines, _ grid: inout Grid) {
    let head = "L\(look.layerNumber) H\(look.chosenHeadNumber)"
    guard let lambda = step.lambda, let exact = try? Lambda(lambda) else {
      lines.field(head, "decided without margins", paint.dim, on: &grid)
      return
    }
    guard let table = look.rowTable else {
      lines.field(head, "…", paint.dim, on: &grid)
      return
    }
    let mask = table.mask(exact)
    lines.field(head, "", on: &grid)
    guard lines.y <= lines.end else { return }
    let room = lines.width - 9
    for j in 0..<min(table.keyTiles, room) {
      let isSkipped = mask[0, j] == .skipped
      grid[lines.x + 9 + j, lines.y - 1] =
        isSkipped
        ? Cell(paint.cross, paint.pruned) : Cell(paint.unicode ? "■" : "#", paint.accent)
    }
  }

  /// How far the distribution is from the dense one; needs a run with a shadow.
  private func shadow(_ step: Step, _ lines: inout Lines, _ grid: inout Grid) {
    guard let divergence = step.divergence else {
      let why =
        look.live?.status.hasShadow == true
        ? "prompt tokens are not compared" : "run --shadow dense shows it"
      lines.wrap(why, paint.dim, on: &grid)
      return
    }
    lines.field("KL", "\(Numbers.short(divergence)) nats", on: &grid)
    lines.field(
      "top 1", step.agrees == true ? "the same" : "another token",
      step.agrees == true ? .plain : paint.warning, on: &grid)
  }
}

/// Under the text: every step so far, newest right.
///
/// Bars are scaled by track: sparsity and surprise by a fixed range, time and divergence by the
/// largest shown.
struct TimelinePanel {
  private let look: Look
  private let paint: Paint

  init(_ look: Look) {
    self.look = look
    paint = Paint(look)
  }

  /// As many of the last steps as fit, with the one under the cursor among them.
  func draw(in rect: Rect, on grid: inout Grid) {
    guard rect.height >= 3, let live = look.live else { return }
    let steps = look.known.steps(of: look.frame.branch).dropFirst(live.promptTokens)
    Panel(
      "Timeline", right: "\(steps.count) tokens decoded", style: paint.dim, unicode: paint.unicode
    ).draw(in: rect, on: &grid)
    let inner = rect.inset(2, 1), gutter = 10
    let room = inner.width - gutter
    guard room > 4, !steps.isEmpty else {
      grid.put(
        live.isReading ? "The prompt is being read…" : "Space runs the model.", inner.x, inner.y,
        paint.dim, limit: inner.width)
      return
    }
    // As many of the last steps as fit, the one under the cursor among them.
    let cursor = max(0, look.frame.tokens - 1 - live.promptTokens)
    let first = max(0, min(cursor - room / 2, steps.count - room))
    let shown = Array(steps.dropFirst(first).prefix(room))
    for (index, track) in tracks(shown).prefix(inner.height).enumerated() {
      let y = inner.y + index
      grid.put(track.name, inner.x, y, paint.dim, limit: gutter - 1)
      Sparkline(track.values, style: track.style, unicode: paint.unicode).draw(
        in: Rect(x: inner.x + gutter, y: y, width: shown.count, height: 1), on: &grid)
    }
    guard (0..<shown.count).contains(cursor - first) else { return }
    drawCursor(inner.x + gutter + cursor - first, in: rect, on: &grid)
  }

  /// A mark on the frame above and below the bars of the step under the cursor, and grey behind
  /// them: reversed, an empty bar would read as a full one.
  private func drawCursor(_ x: Int, in rect: Rect, on grid: inout Grid) {
    let above: Unicode.Scalar = paint.unicode ? "▼" : "v"
    let below: Unicode.Scalar = paint.unicode ? "▲" : "^"
    if grid[x, rect.y].glyph == (paint.unicode ? "─" : "-") {
      grid[x, rect.y] = Cell(above, paint.accent)
    }
    grid[x, rect.maxY - 1] = Cell(below, paint.accent)
    guard let behind = paint.behind else { return }
    for y in rect.y + 1..<rect.maxY - 1 { grid[x, y].style.background = behind }
  }

  /// One line each: pruned blocks, divergence where it is known, surprise, time.
  private func tracks(_ steps: [Step]) -> [(name: String, values: [Double], style: Style)] {
    let time = steps.map(\.milliseconds)
    let slowest = max(time.max() ?? 0, 1e-9)
    var tracks: [(name: String, values: [Double], style: Style)] = [
      ("pruned", steps.map { $0.sparsity ?? 0 }, paint.pruned),
      ("surprise", steps.map { min(1, -($0.logProbability ?? 0) / 4.6) }, paint.accent),
    ]
    if steps.contains(where: { $0.divergence != nil }) {
      let most = max(steps.compactMap(\.divergence).max() ?? 0, 1e-9)
      tracks.insert(("KL", steps.map { ($0.divergence ?? 0) / most }, paint.warning), at: 1)
    }
    tracks.append(("time", time.map { $0 / slowest }, paint.dim))
    return tracks
  }
}
