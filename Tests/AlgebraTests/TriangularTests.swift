import Algebra
import Testing

@Suite struct TriangularTests {
  static let sizes = [0, 1, 2, 7, 33]

  @Test(arguments: sizes, [false, true]) func solutionsSolve(_ n: Int, _ unit: Bool) throws {
    let stored = Made.lower(n), lower = Made.lowerPart(stored, unit: unit)
    for columns in [0, 1, 5] {
      let b = Made.gaussian(n, columns, seed: 3)
      let x = try Triangular.solve(stored, b, unit: unit)
      #expect(difference(lower.multiplied(by: x), b) < 1e-12)
      let y = try Triangular.solveTransposed(stored, b, unit: unit)
      #expect(difference(lower.transposed().multiplied(by: y), b) < 1e-12)
      let rows = b.transposed()
      let z = try Triangular.solveRows(stored, rows, unit: unit)
      #expect(difference(z.multiplied(by: lower), rows) < 1e-12)
    }
  }

  /// W G = A with both causal: W is causal too, to the last bit. Rows are solved in groups of
  /// eight: 21 of them.
  @Test func aCausalSystemHasACausalSolution() throws {
    let g = Made.lower(21), a = Made.lowerPart(Made.gaussian(21, 21))
    let w = try Triangular.solveRows(g, a)
    #expect(Made.lowerPart(w) == w)
    #expect(difference(w.multiplied(by: Made.lowerPart(g)), a) < 1e-12)
  }

  @Test func rowsSolvedAloneAreRowsSolvedTogether() throws {
    let g = Made.lower(12), a = Made.gaussian(11, 12)
    let together = try Triangular.solveRows(g, a)
    for i in 0..<11 {
      var row = a.row(i)
      row.withUnsafeMutableBufferPointer { row in
        g.elements.withUnsafeBufferPointer { Triangular.backwardRows($0, order: 12, row) }
      }
      #expect(row == together.row(i))
    }
  }

  @Test(arguments: [0, Double.nan, .infinity]) func aDiagonalThatCannotDivideIsNamed(
    _ pivot: Double
  ) throws {
    var lower = Made.lower(4)
    lower[2, 2] = pivot
    let b = Made.gaussian(4, 4)
    for error in [
      failure { () throws(AlgebraError) in try Triangular.solve(lower, b) },
      failure { () throws(AlgebraError) in try Triangular.solveTransposed(lower, b) },
      failure { () throws(AlgebraError) in try Triangular.solveRows(lower, b) },
    ] {
      let text = try #require(error).description
      #expect(text.hasPrefix("pivot 2 of the triangular matrix is \(pivot)"), "\(text)")
    }
    #expect(
      failure { () throws(AlgebraError) in try Triangular.solve(lower, b, unit: true) } == nil)
  }
}

@Suite struct CholeskyTests {
  @Test(arguments: [0, 1, 2, 9, 40], [0, 0.5]) func theFactorMultipliesBack(
    _ n: Int, _ ridge: Double
  ) throws {
    let a = Made.withEigenvalues((0..<n).map { 1 + Double($0) / 4 })
    let factor = try Cholesky(a, ridge: ridge)
    let ridged = Matrix(rows: n, columns: n) { a[$0, $1] + ($0 == $1 ? ridge : 0) }
    let back = factor.lower.multiplied(by: factor.lower.transposed())
    #expect(difference(back, ridged) < 1e-12)
    #expect(Made.lowerPart(factor.lower) == factor.lower)
    let b = Made.gaussian(n, 3)
    #expect(difference(ridged.multiplied(by: factor.solve(b)), b) < 1e-12)
    let one = (0..<n).map { b[$0, 0] }
    #expect(difference(ridged.multiplied(by: factor.solve(one)), one) < 1e-12)
  }

  @Test func theUpperTriangleIsNotRead() throws {
    let a = Made.withEigenvalues([1, 2, 3])
    let half = Matrix(rows: 3, columns: 3) { $0 >= $1 ? a[$0, $1] : .nan }
    #expect(try Cholesky(half).lower == (try Cholesky(a).lower))
  }

  @Test func theDeterminantIsTheProductOfTheEigenvalues() throws {
    let factor = try Cholesky(Made.withEigenvalues([0.5, 1, 4, 8]))
    #expect(abs(factor.logDeterminant - 2.772588722239781) < 1e-12)
    #expect(try Cholesky(Matrix(rows: 0, columns: 0)).logDeterminant == 0)
  }

  /// Each is not positive definite, and the pivot says where that shows.
  @Test(
    arguments: [
      ([0, 0, 0, 0], 0), ([1, 2, 2, 1], 1), ([4, 2, 2, 1], 1), ([1, 0, 0, .nan], 1),
      ([.infinity, 0, 0, 1], 0), ([-1, 0, 0, 1], 0),
    ] as [([Double], Int)]) func aMatrixThatIsNotPositiveIsRefused(
      _ elements: [Double], _ pivot: Int
    ) throws
  {
    let matrix = Matrix(rows: 2, columns: 2, elements: elements)
    let error = try #require(failure { () throws(AlgebraError) in try Cholesky(matrix) })
    #expect(error.description.hasPrefix("pivot \(pivot) is "), "\(error)")
    #expect(error.description.contains("add a ridge"))
  }

  @Test func theSuggestedRidgeHelpsARankDeficientMatrix() throws {
    let gram = Made.gaussian(3, 8).gram()
    let error = failure { () throws(AlgebraError) in try Cholesky(gram, ridge: -1e-14) }
    guard case .notPositive(3, _, _, let suggestion) = try #require(error) else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(failure { () throws(AlgebraError) in try Cholesky(gram, ridge: suggestion) } == nil)
  }
}
