/// Named columns and rows of cells: one value for every printer of columns, whatever the form.
///
/// Example: `Table(["layer", "head"], rows: [["12", "6"]]).text`. Numbers stand to the right, words
/// (`leftAligned`) to the left.
///
/// The catch: the text and markdown forms line columns up by the widest cell, so that they need all
/// rows at once; `csv` does not.
public struct Table: Sendable {
  /// Headings, from the left.
  public var columns: [String]
  /// Columns whose cells begin at the left.
  public var leftAligned: Set<String>
  /// `[rows][columns]`
  public var rows: [[String]]

  /// As many cells in every row as there are columns.
  public init(_ columns: [String], leftAligned: Set<String> = [], rows: [[String]] = []) {
    (self.columns, self.leftAligned, self.rows) = (columns, leftAligned, rows)
  }

  /// Aligned columns, for a person; a line a row, the last without its end.
  public var text: String {
    let lines = [columns] + rows.map { $0.map(Printable.text) }
    let widths = columns.indices.map { column in lines.map { Width.of($0[column]) }.max() ?? 0 }
    return lines.map { cells in
      let padded = cells.indices.map { index -> String in
        let pad = String(repeating: " ", count: widths[index] - Width.of(cells[index]))
        return leftAligned.contains(columns[index]) ? cells[index] + pad : pad + cells[index]
      }
      return padded.joined(separator: "  ")
    }.joined(separator: "\n")
  }

  /// A table of GitHub Flavored Markdown, with its heading.
  public var markdown: String {
    func line(_ cells: [String]) -> String {
      "| " + cells.map { Printable.text($0).replacing("|", with: "\\|") }.joined(separator: " | ")
        + " |"
    }
    return ([line(columns), line(columns.map { _ in "---" })] + rows.map(line))
      .joined(separator: "\n")
  }

  /// Rows alone, as RFC 4180 has them; the heading is `csvHeading`.
  public var csv: String {
    rows.map { $0.map(Self.field).joined(separator: ",") }.joined(separator: "\n")
  }

  /// The first line of a CSV file.
  public var csvHeading: String { columns.map(Self.field).joined(separator: ",") }

  /// A field, in quotes where it must be.
  private static func field(_ text: String) -> String {
    let safe = Printable.text(text)
    return safe.contains(where: { $0 == "," || $0 == "\"" || $0.isNewline })
      ? "\"" + safe.replacing("\"", with: "\"\"") + "\"" : safe
  }
}
