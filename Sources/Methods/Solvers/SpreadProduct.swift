import Algebra
import Analysis
import Attention

extension Matrix {
  /// A B on the threads of a run, 32 rows of A at a time: `[rows][columns]`, with the bits of
  /// `multiplied(by:)`. Throws `CancellationError`.
  func multiplied(by other: Matrix, _ run: MethodRun) throws -> Matrix {
    let elements = try RowPicks.spread(rows, by: 32, run) { part -> [Double] in
      let mine = Array(self.elements[part.lowerBound * columns..<part.upperBound * columns])
      return Matrix(rows: part.count, columns: columns, elements: mine)
        .multiplied(by: other).elements
    }
    return Matrix(rows: rows, columns: other.columns, elements: elements)
  }
}
