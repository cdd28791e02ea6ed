import Attention
import Canvas
import Sessions

/// The command palette.
///
/// Actions, bookmarks, files and methods are chosen in the same box with the same keys.
enum PaletteBox {
  /// Names to choose from.
  static func draw(
    _ model: Model, list: Prompt.List, _ text: String, _ choice: Int, on grid: inout Grid
  ) {
    let hits = Palettes.best(text, model.names(list)) { $0 }
    let chosen = list == .library && hits.indices.contains(choice) ? card(model, hits[choice]) : nil
    draw(
      model, list.rawValue, text, choice,
      hits.map { ($0, list == .library ? note(model, $0) : "") },
      empty: ["no name is like this"],
      about: chosen.map { (fidelity(model, $0), model.source.family(of: $0)) }, on: &grid)
  }

  /// The card of a line of the library.
  private static func card(_ model: Model, _ name: String) -> MethodCard? {
    model.source.card(name.split(separator: " ").first.map(String.init) ?? name)
  }

  /// What the word at the right of a method means, in a sentence.
  private static func fidelity(_ model: Model, _ card: MethodCard) -> String {
    if let need = model.look.unmet(card) { return "\(Missing(need))" }
    let sentence = card.fidelity.sentence
    return "\(card.fidelity.tag): "
      + (sentence.isEmpty ? "the paper's result on this head, nothing stands in" : sentence)
  }

  /// Of a method: what it needs that is not here, or how near it is to what was published.
  private static func note(_ model: Model, _ name: String) -> String {
    guard let card = card(model, name) else { return "" }
    if let need = model.look.unmet(card) { return "needs " + Fitted.cut(need.rawValue, 24) }
    return card.fidelity.tag
  }

  /// Actions and commands for what is typed, each with its key or what it takes.
  static func draw(_ model: Model, _ text: String, _ choice: Int, on grid: inout Grid) {
    let hits = Palettes.hits(text, model.keymap.bindings)
    draw(
      model, "Command", text, choice, hits.map { ($0.text, $0.note) },
      empty: ["no action and no command is like this"], on: &grid)
  }

  /// Lines below the hits, as many for every family, so that the list stays where it is while the
  /// choice moves; none on a low screen.
  private static func familyLines(_ model: Model, _ width: Int) -> Int {
    let most = model.source.families.map { Printable.lines($0.paragraph, width: width - 4).count }
    let lines = 1 + (most.max() ?? 0)
    return lines + 8 > model.display.height - 4 ? 0 : lines
  }

  /// The box itself: the text, the hits with the chosen one in sight, and what to say when there is
  /// none. What the family of the chosen one is stands below, where at least four lines of hits
  /// stay.
  private static func draw(
    _ model: Model, _ title: String, _ text: String, _ choice: Int,
    _ hits: [(name: String, key: String)], empty: [String],
    about: (fidelity: String, family: MethodFamily?)? = nil,
    on grid: inout Grid
  ) {
    let paint = Paint(model.look)
    let width = min(model.display.width - 4, 78)
    let below = about == nil ? 0 : familyLines(model, width)
    let height = min(
      model.display.height - 4, max(hits.count, hits.isEmpty ? empty.count : 1) + 4 + below,
      16 + below)
    let box = Rect(x: (model.display.width - width) / 2, y: 2, width: width, height: max(height, 5))
    grid.fill(box, .blank)
    Panel(title, right: "Enter runs, Esc closes", style: paint.accent, unicode: paint.unicode)
      .draw(in: box, on: &grid)
    let end = grid.put(": \(text)", box.x + 2, box.y + 1, paint.strong, limit: width - 5)
    grid[end, box.y + 1] = Cell("_", paint.accent)
    let room = box.height - 4 - below
    if let about, below > 0 {
      var lines = Lines(box, paint)
      lines.y = box.maxY - 1 - below
      lines.rule(about.family?.title ?? "", on: &grid)
      lines.wrap(about.family?.paragraph ?? "", paint.dim, on: &grid)
    }
    let first = max(0, choice - room + 1)
    for (index, hit) in hits.dropFirst(first).prefix(room).enumerated() {
      let y = box.y + 3 + index, isChosen = first + index == choice
      if isChosen {
        grid.fill(Rect(x: box.x + 1, y: y, width: width - 2, height: 1), Cell(" ", paint.bar))
      }
      let style = isChosen ? paint.bar : Style.plain
      // What it does may be long: its own words come first.
      let name = min(Width.of(hit.name), width - 6 - min(Width.of(hit.key), width / 3))
      grid.put(hit.name, box.x + 2, y, style, limit: name)
      let note = Fitted.cut(hit.key, width - 6 - name)
      grid.put(endingAt: box.maxX - 2, note, y, isChosen ? paint.bar : paint.accent)
    }
    if let about {
      grid.put(" \(Fitted.cut(about.fidelity, width - 6)) ", box.x + 2, box.maxY - 1, paint.dim)
    }
    guard hits.isEmpty else { return }
    for (line, text) in empty.prefix(max(1, room)).enumerated() {
      grid.put(
        text, box.x + 2, box.y + 3 + line, line == 0 ? paint.dim : .plain, limit: width - 4)
    }
  }
}
