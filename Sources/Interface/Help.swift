import Attention
import Sessions
import Canvas

/// The help, made from the key table: the current view's keys first.
///
/// Nothing here names a key: a key that the user has bound anew is shown as bound.
enum Help {
  /// Everything there is to scroll through: this view's keys, the others by group, commands, the
  /// mouse.
  private static func lines(_ model: Model) -> [(key: String, text: String)] {
    let view = model.viewpoint.view
    var lines: [(String, String)] = [("", view.title + ": " + model.look.caption), ("", "")]
    let mine = model.keymap.bindings.filter { $0.views?.contains(view) ?? false }
    let others = model.keymap.bindings.filter { !($0.views?.contains(view) ?? false) }
    for (title, bindings) in [("This view", mine), ("", others)] where !bindings.isEmpty {
      var group = ""
      for binding in bindings {
        let heading = title.isEmpty ? binding.group : title
        if heading != group {
          if !group.isEmpty { lines.append(("", "")) }
          lines.append(("", heading))
          group = heading
        }
        let keys = binding.keys.map(\.name).joined(separator: " ")
        lines.append((keys.isEmpty ? "-" : keys, binding.name))
      }
      lines.append(("", ""))
    }
    lines.append(("", "After :"))
    lines += KeyTable.commands.map { ($0.text, $0.what) }
    return lines + [("", "")] + closing(model)
  }

  /// Counts, the mouse, and what was guessed about the file.
  private static func closing(_ model: Model) -> [(key: String, text: String)] {
    var lines = [
      (
        "Counts",
        """
        digits before a move or g are its count: 20j, 3k, 700G. A step is a cell of the map, a \
        block in view 3, a head or a token elsewhere. A digit alone shows its view; Alt or F and \
        the digit do so at once.
        """
      ),
      (
        "Patterns",
        """
        find takes characters, . for any, [a-z] and [^a-z], \\w \\d \\s (word, digit, blank) and \
        \\W \\D \\S, ( ) | * + ? {2,5}, ^ $ for the ends of a token and \\b for those of a word. \
        Case is ignored; \\ takes a sign for itself. What is no pattern is plain text.
        """
      ),
      (
        "Mouse",
        """
        a click moves the cursor, shows a view, sets lambda on the curve, chooses a token or a \
        head; the wheel zooms, dragging pans. Hold Shift to select text for copying.
        """
      ),
    ]
    if !model.source.guesses.isEmpty {
      lines += [("", ""), ("", "Guessed about this file")]
      lines += model.source.guesses.map { ("-", $0) }
    }
    return lines.map { (key: $0.0, text: $0.1) }
  }

  /// The lines for the screen: texts broken where the box ends; of a search those that hold it.
  private static func shown(_ model: Model, _ find: String?) -> [(key: String, text: String)] {
    let width = box(model).width
    var all: [(key: String, text: String)] = []
    let wanted = (find ?? "").lowercased()
    for line in lines(model) {
      let isHeading = line.key.isEmpty
      if !wanted.isEmpty {
        guard "\(line.key) \(line.text)".lowercased().contains(wanted) else { continue }
      }
      let room = isHeading ? width - 4 : width - 2 - max(17, Width.of(line.key) + 4)
      for (index, text) in Printable.lines(line.text, width: max(12, room)).enumerated() {
        all.append((isHeading ? "" : (index == 0 ? line.key : " "), text))
      }
    }
    return all
  }

  /// A column narrower than the screen on either side, 88 at most.
  private static func box(_ model: Model) -> Rect {
    let width = min(model.display.width - 2, 88), height = model.display.height - 2
    return Rect(x: (model.display.width - width) / 2, y: 1, width: width, height: height)
  }

  /// The scroll at which the last line stands at the bottom.
  static func lastScroll(_ model: Model, _ find: String? = nil) -> Int {
    max(0, shown(model, find).count - (box(model).height - 2))
  }

  /// The box over whatever is on the screen, from line `scroll` on.
  static func draw(_ model: Model, _ scroll: Int, _ find: String?, on grid: inout Grid) {
    let box = box(model), paint = Paint(model.look), all = shown(model, find)
    let room = box.height - 2
    grid.fill(box, .blank)
    let place = "\(min(all.count, scroll + 1))-\(min(all.count, scroll + room)) of \(all.count)"
    let rights = [
      "↑↓ scroll  / finds  Esc closes  \(place)", "/ finds  \(place)", place,
    ]
    let typing = ["type to find  ↑↓ scroll  Esc ends  \(place)", "Esc ends  \(place)", place]
    let title = find.map { "Help: \($0)_" } ?? "Help"
    let right = Fitted.text(find == nil ? rights : typing, box.width - 6 - Width.of(title))
    Panel(title, right: right, style: paint.accent, unicode: paint.unicode)
      .draw(in: box, on: &grid)
    if all.isEmpty {
      grid.put("nothing here holds this", box.x + 2, box.y + 1, paint.dim, limit: box.width - 4)
    }
    for (index, line) in all.dropFirst(scroll).prefix(room).enumerated() {
      let y = box.y + 1 + index
      if line.key.isEmpty {
        grid.put(line.text, box.x + 2, y, paint.strong, limit: box.width - 4)
      } else {
        let end = grid.put(line.key, box.x + 3, y, paint.accent, limit: box.width - 6)
        let x = max(box.x + 17, end + 1)
        grid.put(line.text, x, y, limit: box.maxX - 2 - x)
      }
    }
  }
}
