import Analysis
import Attention
import Canvas
import Sessions

/// The overlay of all methods at one budget: a sorted table over whatever view there is.
///
/// Example: `BudgetBox(look).draw(on: &grid)` while `viewpoint.budget` says a share. Narrow screens
/// leave columns out, those that matter least first; methods without a row stand below the rows,
/// each with its reason.
struct BudgetBox {
  private let look: Look
  private let paint: Paint

  /// Reads the look.
  init(_ look: Look) {
    self.look = look
    paint = Paint(look)
  }

  /// Columns by their place in `BudgetTable.columns`, the most telling first.
  private static let order = [3, 5, 6, 7, 1, 4, 2]

  /// Two cells from either edge, as high as its lines ask for.
  private var box: Rect {
    let width = min(look.display.width - 4, 96)
    let height = min(look.display.height - 4, max(look.budgetLines, 1) + 5)
    return Rect(
      x: (look.display.width - width) / 2, y: 2, width: width, height: max(height, 6))
  }

  /// Lines of methods that the overlay shows at once.
  var room: Int { box.height - 5 }

  /// Nothing while the overlay is closed.
  func draw(on grid: inout Grid) {
    guard let budget = look.viewpoint.budget else { return }
    let box = box, inner = box.inset(2, 1)
    grid.fill(box, .blank)
    Panel(
      """
      Methods at \(Numbers.percent(budget)) of tiles, L\(look.layerNumber) \
      H\(look.chosenHeadNumber)
      """,
      right: "Enter takes, Esc closes", style: paint.accent, unicode: paint.unicode
    ).draw(in: box, on: &grid)
    guard let answer = look.budgetAnswer else {
      grid.put(look.budgetWaiting, inner.x, inner.y, paint.dim, limit: inner.width)
      return
    }
    let table = BudgetTable(answer), columns = Columns(table, width: inner.width)
    columns.draw(BudgetTable.columns, in: inner, inner.y, paint.strong, on: &grid)
    let choice = look.budgetChoice, first = max(0, choice - room + 1)
    for line in first..<min(first + room, look.budgetLines) {
      let y = inner.y + 1 + line - first, isChosen = line == choice
      if isChosen {
        grid.fill(Rect(x: box.x + 1, y: y, width: box.width - 2, height: 1), Cell(" ", paint.bar))
      }
      if line < table.rows.count {
        let cells = [BudgetTable.tuned(answer.rows[line])] + table.rows[line].dropFirst()
        columns.draw(cells, in: inner, y, isChosen ? paint.bar : .plain, on: &grid)
      } else {
        let out = answer.leftOut[line - table.rows.count]
        grid.put(
          "\(out.setting.id): \(out.reason)", inner.x, y, isChosen ? paint.bar : paint.dim,
          limit: inner.width)
      }
    }
    drawChoice(answer, inner, on: &grid)
  }

  /// The chosen method in words, on the last line.
  private func drawChoice(_ answer: BudgetAnswer, _ inner: Rect, on grid: inout Grid) {
    let choice = look.budgetChoice, y = inner.maxY - 1
    let below = look.budgetLines - max(room, choice + 1)
    let more = below > 0 ? "\(below) more" : ""
    grid.put(endingAt: inner.maxX, more, y, paint.dim)
    var text = "no method keeps entries here"
    if choice < answer.rows.count {
      let row = answer.rows[choice]
      text = BudgetTable.distance(row) ?? look.source.card(row.setting.id)?.idea ?? ""
    } else if answer.leftOut.indices.contains(choice - answer.rows.count) {
      let setting = answer.leftOut[choice - answer.rows.count].setting
      text = look.source.card(setting.id)?.idea ?? ""
    }
    grid.put(text, inner.x, y, paint.dim, limit: inner.width - Width.of(more) - 2)
  }

  /// Which columns find room, and how wide each is.
  private struct Columns {
    /// Cells of the first column.
    let name: Int
    /// Places in a row of cells, from the left, with their widths.
    let others: [(column: Int, width: Int)]

    /// At least sixteen cells for the method.
    init(_ table: BudgetTable, width: Int) {
      var left = width - 16
      var fitting: [(column: Int, width: Int)] = []
      for column in BudgetBox.order {
        let cells = [BudgetTable.columns[column]] + table.rows.map { $0[column] }
        let wide = (cells.map { Width.of($0) }.max() ?? 0) + 2
        guard wide <= left else { break }
        fitting.append((column, wide))
        left -= wide
      }
      others = fitting.sorted { $0.column < $1.column }
      name = width - fitting.reduce(0) { $0 + $1.width }
    }

    /// A row of cells, the method on the left and numbers to the right of their columns.
    func draw(_ cells: [String], in rect: Rect, _ y: Int, _ style: Style, on grid: inout Grid) {
      grid.put(cells[0], rect.x, y, style, limit: name - 1)
      var x = rect.x + name
      for (column, width) in others {
        x += width
        grid.put(endingAt: x, cells[column], y, style)
      }
    }
  }
}
