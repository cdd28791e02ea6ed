import Analysis
import Attention
import Canvas
import Pictures
import Sessions

/// All methods at one budget: a bar of recall each, sorted, and recall against what selecting cost.
///
/// The bar ends at the mean over rows and heads, the tick at the worst; bars of methods that do not
/// reach the budget are hollow. In the lower plot the way up and to the left is the way to go.
struct BudgetFigure {
  private let figure: Figure
  private let rows: [EqualBudget.Row]
  private let table: BudgetTable

  /// Reads the figure's look.
  init(_ figure: Figure) {
    self.figure = figure
    let answer = figure.look.budgetAnswer
    rows = answer?.rows ?? []
    table = BudgetTable(rows: rows, leftOut: answer?.leftOut ?? [])
  }

  /// Points of a row.
  private static let step = 17.0
  /// Columns that stand behind the bars, by their place in the table.
  private static let columns = [5, 6, 7, 1]

  /// The page.
  var picture: Picture {
    var sheet = Sheet(figure.ink)
    let share = Numbers.percent(figure.look.viewpoint.budget ?? 0)
    let title = "Methods at \(share) of 64x64 tiles: \(figure.title)"
    sheet.text(
      Sheet.clipped(title, width: figure.width - 48, size: 15), 24, 26, size: 15, bold: true)
    var y = bars(&sheet, from: 62) + 44
    y = dots(&sheet, Area(x: 66, y: y, width: figure.width - 100, height: 220)) + 20
    let text =
      """
      Every method that keeps entries, its main knob tuned until it touches \(share) of the 64x64 \
      tiles. Bars: recall, the share of the dense mass that is kept, mean over rows; the tick is \
      the worst row. Hollow and ~: the budget is not reached.
      """
      + " " + figure.caption()
    y = sheet.paragraph(text, 24, y + 12, width: figure.width - 48)
    let notes = table.notes.joined(separator: "; ")
    if !notes.isEmpty { y = sheet.paragraph(notes + ".", 24, y + 4, width: figure.width - 48) }
    return figure.page(sheet, height: y + 8, title: title, summary: text)
  }

  /// A line a method, the best first; the y below them.
  private func bars(_ sheet: inout Sheet, from top: Double) -> Double {
    let ink = figure.ink, names = 200.0, numbers = 62.0
    let wide = figure.width - names - 48 - numbers * Double(Self.columns.count)
    let left = 24 + names
    sheet.text("recall", left, top - 10, size: 10, ink.dim)
    for (place, column) in Self.columns.enumerated() {
      let x = left + wide + numbers * Double(place + 1)
      sheet.text(BudgetTable.columns[column], x, top - 10, size: 10, .end, ink.dim)
    }
    for (index, row) in rows.enumerated() {
      let y = top + Double(index) * Self.step
      let name = Sheet.clipped(BudgetTable.tuned(row), width: names - 10, size: 10)
      sheet.text(name, left - 6, y + 10, size: 10, .end)
      let recall = Numbers.unit(row.numbers["recall_mean"] ?? 0)
      let bar = Area(x: left, y: y, width: max(0.8, recall * wide), height: Self.step - 5)
      sheet.rect(bar, fill: row.isReached ? ink.accent : nil, stroke: ink.accent, width: 0.75)
      if let worst = row.numbers["recall_min"] {
        let x = left + Numbers.unit(worst) * wide
        sheet.line(x, y - 1, x, bar.maxY + 1, ink.pruned, width: 1.6)
      }
      for (place, column) in Self.columns.enumerated() {
        let x = left + wide + numbers * Double(place + 1)
        sheet.text(table.rows[index][column], x, y + 10, size: 10, .end, ink.dim)
      }
    }
    let end = top + Double(rows.count) * Self.step
    for tick in [0, 0.25, 0.5, 0.75, 1.0] {
      let x = left + tick * wide
      sheet.line(x, top - 4, x, end, ink.grid, width: 0.5, dash: 2)
      sheet.text("\(tick)", x, end + 12, size: 10, .middle, ink.dim)
    }
    return end + 14
  }

  /// Recall over the cost of selecting, a dot a method, named where there is room; the y below.
  /// The cost is on a log scale; what costs nothing stands on the left edge.
  private func dots(_ sheet: inout Sheet, _ area: Area) -> Double {
    let ink = figure.ink
    let all = rows.compactMap { row -> (row: EqualBudget.Row, cost: Double, recall: Double)? in
      guard let cost = row.numbers["selection"], let recall = row.numbers["recall_mean"] else {
        return nil
      }
      return (row, cost, recall)
    }
    sheet.text("recall over the cost of selecting", area.x, area.y - 8, size: 11)
    sheet.rect(area, stroke: ink.grid, width: 0.75)
    let costs = all.map(\.cost).filter { $0 > 0 }
    guard let least = costs.min(), let most = costs.max(), let low = all.map(\.recall).min() else {
      return area.maxY
    }
    // A tenth of the least stands for nothing.
    let from = Scale.log10(least) - 1, to = max(Scale.log10(most), from + 1.5)
    let floor = min(low, 0.95), tall = max(1 - floor, 1e-9)
    var taken: [Area] = []
    for item in all {
      let t = item.cost > 0 ? (Scale.log10(item.cost) - from) / (to - from) : 0
      let x = area.x + 8 + t * (area.width - 16)
      let y = area.maxY - 6 - (item.recall - floor) / tall * (area.height - 12)
      let dot = Area(x: x - 2.5, y: y - 2.5, width: 5, height: 5)
      sheet.rect(dot, fill: item.row.isReached ? ink.accent : ink.page, stroke: ink.accent)
      place(item.row.setting.id, beside: dot, in: area, &taken, &sheet)
    }
    sheet.text("0", area.x + 8, area.maxY + 13, size: 10, .middle, ink.dim)
    for cost in [least, most] {
      let x = area.x + 8 + (Scale.log10(cost) - from) / (to - from) * (area.width - 16)
      sheet.text(Numbers.short(cost), x, area.maxY + 13, size: 10, .middle, ink.dim)
    }
    sheet.text("1", area.x - 6, area.y + 10, size: 10, .end, ink.dim)
    sheet.text(Numbers.short(floor), area.x - 6, area.maxY - 3, size: 10, .end, ink.dim)
    return area.maxY + 16
  }

  /// A name on the right of its dot, or on its left; nowhere when another name is in the way.
  private func place(
    _ name: String, beside dot: Area, in area: Area, _ taken: inout [Area], _ sheet: inout Sheet
  ) {
    let wide = Strokes.width(name, size: 9, bold: false)
    let places = [dot.maxX + 3, dot.x - 3 - wide].map {
      Area(x: $0, y: dot.y - 3, width: wide, height: 11)
    }
    let free = places.first { place in
      place.x > area.x && place.maxX < area.maxX
        && !taken.contains {
          $0.x < place.maxX && place.x < $0.maxX && $0.y < place.maxY && place.y < $0.maxY
        }
    }
    taken.append(dot)
    guard let free else { return }
    taken.append(free)
    sheet.text(name, free.x, free.y + 8.5, size: 9, figure.ink.text)
  }
}

extension Figure {
  /// A row a method, with its numbers in full.
  var budget: FigureData {
    FigureData(
      columns: BudgetTable.dataColumns, rows: (look.budgetAnswer?.rows ?? []).map(BudgetTable.data),
      matrix: nil)
  }
}
