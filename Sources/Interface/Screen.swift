import Sessions
import Analysis
import Attention
public import Canvas

/// The picture of a model: a pure function.
/// Example: `view(model).lines` is the screen as text. It may be called at any time and any number
/// of times; questions are not asked here but in `Needs`.
public func view(_ model: Model) -> Grid { Screen(model).grid }

/// Header, footer, caption, and the view between them.
///
/// Views fill `layout.main`; what is common to all of them is drawn after, and overlays last.
struct Screen {
  /// What is drawn.
  let model: Model
  /// What views read of it.
  let look: Look
  /// Colours and glyphs of this terminal.
  let paint: Paint
  /// Who gets which rectangle.
  let layout: ScreenLayout

  /// Lays the screen out.
  init(_ model: Model) {
    self.model = model
    look = model.look
    paint = Paint(look)
    layout = ScreenLayout(look)
  }

  /// The whole screen; below the least size, only what size is needed.
  var grid: Grid {
    var grid = Grid(width: model.display.width, height: model.display.height)
    let least = ScreenLayout.minimum
    guard model.display.width >= least.width, model.display.height >= least.height else {
      let whole =
        """
        attnscope needs \(least.width)x\(least.height); this is \
        \(model.display.width)x\(model.display.height)
        """
      let text =
        model.display.width >= whole.count ? whole : "\(least.width)x\(least.height) needed"
      grid.put(text, 0, model.display.height / 2)
      return grid
    }
    switch model.viewpoint.view {
    case .map:
      MapScreen(look).draw(on: &grid)
      SidePanel(look).draw(in: layout.side, on: &grid)
      RowPanel(look).draw(in: layout.row, on: &grid)
    case .heads where look.viewpoint.gallery != nil:
      GalleryScreen(look).draw(in: layout.main, on: &grid)
    case .heads where look.viewpoint.costs != .off:
      CostScreen(look).draw(in: layout.main, on: &grid)
    case .heads: HeadsScreen(look).draw(in: layout.main, on: &grid)
    case .blocks where look.isByTable: BlocksScreen(look).draw(in: layout.main, on: &grid)
    case .blocks: MethodScreen(look).draw(in: layout.main, on: &grid)
    case .sinks: SinksScreen(look).draw(in: layout.main, on: &grid)
    case .tokens:
      TokensScreen(look).draw(layout, on: &grid)
      if !layout.strip.isEmpty, let strip = look.tokenStrip, let setting = look.methodInForce {
        FindingView(look, setting).draw(strip, in: layout.strip, on: &grid)
      }
    case .compare: CompareScreen(look).draw(on: &grid)
    }
    LessonPanel(model).draw(in: layout.lesson, on: &grid)
    drawHeader(&grid)
    ViewBar(in: layout.tabs).draw(look, model.keymap, on: &grid)
    drawCaption(&grid)
    drawFooter(&grid)
    drawOverlay(&grid)
    if model.display.presents { drawPressed(&grid) }
    return paint.unicode ? grid : grid.inASCII
  }

  /// What is looked at on the left, and how far it is on the right, which is never cut.
  private func drawHeader(_ grid: inout Grid) {
    let source = model.source
    grid.fill(layout.header, Cell(" ", paint.bar))
    var head = "L\(look.layerNumber) H\(look.chosenHeadNumber)/\(source.heads)"
    if source.kvHeads < source.heads {
      head += " (kv \(look.keyHeadName))"
    }
    let size = model.display.width >= 64 ? ["\(source.queries)x\(source.keys)"] : []
    if model.display.width < 64 { head = "L\(look.layerNumber) H\(look.chosenHeadNumber)" }
    var parts = [head] + size + [state]
    if let meter = model.meter {
      parts.insert("\(Numbers.short(meter.perSecond / 1000)) kB/s", at: 0)
    }
    let right = parts.joined(separator: "  ")
    let room = model.display.width - Width.of(right) - 2
    var at = grid.put(" attnscope", 0, 0, Style(bold: true, reverse: true), limit: room)
    at = grid.put("  \(source.name)", at, 0, paint.bar, limit: max(0, room - at))
    if let name = source.model, at + Width.of(name) + 2 <= room {
      grid.put("  \(name)", at, 0, paint.bar)
    }
    grid.put(endingAt: model.display.width - 1, right, 0, paint.bar)
  }

  /// Whether everything that was asked for is there.
  private var state: String {
    if let live = model.live { return liveState(live) }
    if model.isStopped { return paint.unicode ? "■ stopped" : "stopped" }
    if look.isLong {
      let sign = paint.unicode ? "◐" : "~"
      if let working = look.workingNow {
        return "\(sign) \(look.workingName) \(Numbers.fixed(100 * working.state.share, 0)) %"
      }
      let missing = Needs(look).foreground.first { !look.isKnown($0) }
      if let missing, !model.isWhole { return "\(sign) \(missing.name)" }
    }
    let (done, total) = look.progress
    if done >= total || model.isWhole {
      // What is on the screen may be more than what is kept of every head.
      let missing = model.isWhole ? nil : Needs(look).foreground.first { !look.isKnown($0) }
      if let missing { return "\(paint.unicode ? "◐" : "~") \(missing.name)" }
      return paint.unicode ? "● exact" : "exact"
    }
    let eighth = total == 0 ? 0 : done * 6 / total
    let bar =
      String(repeating: paint.unicode ? "█" : "#", count: eighth)
      + String(repeating: paint.unicode ? "░" : ".", count: 6 - eighth)
    return "\(bar) \(done)/\(total)"
  }

  /// The phase of a run, and where in it the screen looks when that is not the end.
  private func liveState(_ live: Live) -> String {
    let place =
      model.frame.tokens == look.length || model.frame.tokens == 0
      ? "" : " at \(model.frame.tokens)/\(look.length)"
    switch live.phase {
    case .prefill(let layer, let layers):
      let share = "\(live.newest.tokens)/\(live.promptTokens)"
      return "\(paint.unicode ? "►" : ">") prompt \(share) layer \(layer)/\(layers)"
    case .running:
      return
        """
        \(paint.unicode ? "►" : ">") \(Numbers.fixed(live.status.tokensPerSecond, 0)) \
        tokens/s\(place)
        """
    case .paused: return "\(paint.unicode ? "‖" : "||") paused\(place)"
    case .ended:
      return "\(paint.unicode ? "■" : "#") \(live.isReplay ? "recording" : "ended")\(place)"
    }
  }

  /// A message, or a doubt about a comparison or the data, or one sentence about the view: the
  /// first that there is.
  private func drawCaption(_ grid: inout Grid) {
    guard !layout.caption.isEmpty else { return }
    let width = layout.caption.width - 2
    func doubt(_ text: String) {
      grid.put(text, 1, layout.caption.y, paint.warning, limit: width)
    }
    let differ = model.viewpoint.view == .compare ? look.tokensDiffer : []
    if let message = model.message {
      doubt(message)
    } else if !differ.isEmpty {
      doubt(Fitted.text(differ.map { "! " + $0 }, width))
    } else if let badge = look.summary(model.viewpoint.head)?.quality.badges.first {
      doubt("! " + badge)
    } else {
      let caption = Fitted.text(look.hints, width)
      let tone = paint.light ? caption.replacing("Bright:", with: "Dark:") : caption
      grid.put(tone, 1, layout.caption.y, paint.dim)
    }
  }

  /// A prompt while something is typed; otherwise keys, as many as fit.
  private func drawFooter(_ grid: inout Grid) {
    grid.fill(layout.footer, Cell(" ", paint.bar))
    let y = layout.footer.y, strong = Style(bold: true, reverse: true)
    if case .ask(let ask, let text) = model.prompt.mode { return drawAsk(ask, text, &grid) }
    if layout.caption.isEmpty, let message = model.message {
      grid.put(message, 1, y, strong)
      return
    }
    grid.put(Self.notice(model, layout), 1, y, strong)
    for (place, item) in Self.footer(model, layout) { grid.put(item, place, y, paint.bar) }
  }

  /// What stands before the items of the footer: a lesson without room, or digits that wait.
  private static func notice(_ model: Model, _ layout: ScreenLayout) -> String {
    var text = ""
    if model.lesson != nil, layout.lesson.height < 6 {
      text = "the lesson needs a larger window  "
    }
    if let digits = model.prompt.digits {
      text += "\(digits.text): then a move, g or G; Esc forgets it  "
    }
    return text
  }

  /// Items of the footer that fit, and where each begins: drawing and the mouse read the same.
  static func footer(_ model: Model, _ layout: ScreenLayout) -> [(x: Int, item: String)] {
    var x = 1 + Width.of(notice(model, layout)), placed: [(x: Int, item: String)] = []
    let items = model.keymap.footer(
      model.viewpoint.view, isLive: model.live != nil, isReplay: model.live?.isReplay ?? false,
      knob: model.look.knobInForce)
    for item in items {
      guard x + Width.of(item) < layout.footer.maxX else { break }
      placed.append((x, item))
      x += Width.of(item) + 2
    }
    return placed
  }

  /// A question with what is typed; what is merely proposed stands apart, since the first letter
  /// takes its place.
  private func drawAsk(_ ask: Prompt.Ask, _ text: String, _ grid: inout Grid) {
    let y = layout.footer.y, strong = Style(bold: true, reverse: true)
    let start = grid.put("\(ask.rawValue): ", 1, y, paint.bar)
    let isProposed = model.prompt.isProposed
    let end = grid.put(
      text, start, y, isProposed ? Style(underline: true) : paint.bar,
      limit: layout.footer.width - start - 2)
    grid[end, y] = Cell("_", strong)
    let note = isProposed ? "Enter takes it, typing replaces it" : model.foundSoFar
    if !note.isEmpty, end + Width.of(note) + 4 < layout.footer.width {
      grid.put(note, end + 3, y, paint.bar)
    }
  }

  /// The last keys, large enough for the last row of a room.
  private func drawPressed(_ grid: inout Grid) {
    let text = model.prompt.pressed.map(\.name).joined(separator: "  ")
    guard !text.isEmpty else { return }
    let width = Width.of(text) + 6,
      rect = Rect(
        x: max(0, layout.main.maxX - width - 1), y: max(1, layout.main.maxY - 4), width: width,
        height: 3)
    grid.fill(rect, Cell(" ", paint.bar))
    grid.put(text, rect.x + 3, rect.y + 1, Style(bold: true, reverse: true))
  }

  /// Help, palette or list, over everything else.
  private func drawOverlay(_ grid: inout Grid) {
    BudgetBox(look).draw(on: &grid)
    switch model.prompt.mode {
    case .help(let scroll, let find): Help.draw(model, scroll, find, on: &grid)
    case .palette(let text, let choice): PaletteBox.draw(model, text, choice, on: &grid)
    case .list(let list, let text, let choice):
      PaletteBox.draw(model, list: list, text, choice, on: &grid)
    default: break
    }
  }
}
