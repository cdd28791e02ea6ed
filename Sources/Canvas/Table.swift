/// Named columns and rows of cells: one value for every printer of columns, whatever the form.
///
/// Example: `Table(["layer", "head"], rows: [["12", "6"]]).text`. Numbers stand to the right, words
/// (`leftAligned`) to the left. A row may end early: its last cell then runs on over the columns
/// that are left, and makes none of them wider. `Numbers.column` gives the numbers of a column one
/// number of digits.
///
/// The catch: the text form lines columns up by the widest cell, so that it needs all rows at once;
/// `csv` does not.
public struct Table: Sendable {
  /// Headings, from the left.
  public var columns: [String]
  /// Columns whose cells begin at the left.
  public var leftAligned: Set<String>
  /// `[rows][columns]`, or fewer cells where a row ends early.
  public var rows: [[String]]
  /// Blanks before every line of the text.
  public var indent = 0
  /// Blanks between two columns of the text.
  public var gap = 2
  /// The headings are a line of the text.
  private let hasHeading: Bool

  /// At most as many cells in every row as there are columns.
  public init(
    _ columns: [String], leftAligned: Set<String> = [], rows: [[String]] = [], indent: Int = 0
  ) {
    (self.columns, self.leftAligned, self.rows) = (columns, leftAligned, rows)
    (self.indent, hasHeading) = (indent, true)
  }

  /// Words in columns without a heading, such as names and what stands behind them.
  ///
  /// Example: `Table(listing: [["file", path], ["heads", "9"]], gap: 3).text`. Every row has the
  /// same number of cells, or ends early.
  public init(listing rows: [[String]], indent: Int = 0, gap: Int = 2) {
    columns = (0..<(rows.map(\.count).max() ?? 0)).map { "\($0 + 1)" }
    (leftAligned, self.rows, hasHeading) = (Set(columns), rows, false)
    (self.indent, self.gap) = (indent, gap)
  }

  /// Aligned columns, for a person; a line a row, the last without its end, none with blanks there.
  public var text: String {
    let lines = ((hasHeading ? [columns] : []) + rows).map { $0.map(Printable.text) }
    let widths = columns.indices.map { column in
      lines.map { line in
        let isWhole = line.count == columns.count || column < line.count - 1
        return isWhole ? Width.of(line[column]) : 0
      }.max() ?? 0
    }
    return lines.map { line($0, widths) }.joined(separator: "\n")
  }

  /// A line of the text. A last cell that begins at the left, or runs on, is not filled up.
  private func line(_ cells: [String], _ widths: [Int]) -> String {
    let padded = cells.indices.map { index -> String in
      let isLast = index == cells.count - 1, runsOn = isLast && cells.count < columns.count
      let pad = String(repeating: " ", count: max(0, widths[index] - Width.of(cells[index])))
      guard runsOn || leftAligned.contains(columns[index]) else { return pad + cells[index] }
      return cells[index] + (isLast ? "" : pad)
    }
    return String(repeating: " ", count: indent)
      + padded.joined(separator: String(repeating: " ", count: gap))
  }

  /// A table of GitHub Flavored Markdown, with its heading.
  public var markdown: String {
    func line(_ cells: [String]) -> String {
      "| " + cells.map(Self.cell).joined(separator: " | ") + " |"
    }
    return ([line(columns), line(columns.map { _ in "---" })] + rows.map(line))
      .joined(separator: "\n")
  }

  /// A cell of Markdown: it neither ends early nor begins a tag.
  private static func cell(_ text: String) -> String {
    untagged(Printable.text(text).replacing("\\", with: "\\\\").replacing("|", with: "\\|"))
  }

  /// Text around a table of Markdown, in which nothing begins a tag.
  public static func untagged(_ text: String) -> String { text.replacing("<", with: "&lt;") }

  /// Rows alone, as RFC 4180 has them; the heading is `csvHeading`.
  public var csv: String {
    rows.map { $0.map(Self.field).joined(separator: ",") }.joined(separator: "\n")
  }

  /// The first line of a CSV file.
  public var csvHeading: String { columns.map(Self.field).joined(separator: ",") }

  /// A field, in quotes where it must be. A text that a spreadsheet would take for a formula has a
  /// `'` before it, as one types it there; numbers have none.
  private static func field(_ text: String) -> String {
    var safe = Printable.field(text)
    if let first = safe.first, "=+-@".contains(first), safe.count > 1, Double(safe) == nil {
      safe = "'" + safe
    }
    return safe.contains(where: { $0 == "," || $0 == "\"" || $0.isNewline })
      ? "\"" + safe.replacing("\"", with: "\"\"") + "\"" : safe
  }
}
