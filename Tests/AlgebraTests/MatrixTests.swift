import Algebra
import Testing

@Suite struct MatrixTests {
  /// Sizes round the panels of the product (64 deep, 256 wide, four at a time), and empty ones.
  @Test(arguments: [
    (1, 1, 1), (3, 5, 2), (7, 64, 9), (4, 67, 259), (2, 130, 1), (0, 3, 4), (3, 0, 4), (3, 4, 0),
  ]) func theProductIsTheSumOfItsTerms(_ rows: Int, _ inner: Int, _ columns: Int) {
    let a = Made.gaussian(rows, inner), b = Made.gaussian(inner, columns, seed: 8)
    let direct = Matrix(rows: rows, columns: columns) { i, j in
      (0..<inner).reduce(0) { $0 + a[i, $1] * b[$1, j] }
    }
    #expect(difference(a.multiplied(by: b), direct) < 1e-12)
    let turned = b.transposed().multiplied(by: a.transposed()).transposed()
    #expect(difference(turned, direct) < 1e-12)
    for j in 0..<columns {
      let column = (0..<inner).map { b[$0, j] }
      #expect(difference(a.multiplied(by: column), (0..<rows).map { direct[$0, j] }) < 1e-12)
    }
  }

  @Test func elementsLieRowByRow() {
    var matrix = Matrix(rows: 2, columns: 3) { Double(10 * $0 + $1) }
    #expect(matrix.elements == [0, 1, 2, 10, 11, 12])
    #expect(matrix.row(1) == [10, 11, 12])
    matrix[1, 0] = -1
    #expect(matrix.transposed().elements == [0, -1, 1, 11, 2, 12])
    #expect(Matrix.identity(2).elements == [1, 0, 0, 1])
    #expect(Matrix(rows: 1, columns: 2, repeating: 3).elements == [3, 3])
  }

  @Test func tilesOfTheTransposeMeet() {
    let a = Made.gaussian(37, 18)
    #expect(a.transposed() == Matrix(rows: 18, columns: 37) { a[$1, $0] })
    #expect(a.transposed().transposed() == a)
  }

  @Test func aGramMatrixIsSymmetricToTheLastBit() {
    let gram = Made.gaussian(131, 17).gram()
    #expect(gram == gram.transposed())
  }

  @Test func aProductDoesNotDependOnItsNeighbours() {
    let a = Made.gaussian(9, 70), b = Made.gaussian(70, 300, seed: 8)
    let narrow = Matrix(rows: 70, columns: 1) { i, _ in b[i, 270] }
    let whole = a.multiplied(by: b), alone = a.multiplied(by: narrow)
    #expect((0..<9).allSatisfy { whole[$0, 270] == alone[$0, 0] })
  }

  @Test(arguments: [1, 1e200, 1e-200, Double.leastNonzeroMagnitude])
  func theNormNeitherOverflowsNorUnderflows(
    _ unit: Double
  ) {
    let norm = Matrix(rows: 1, columns: 2, elements: [3 * unit, 4 * unit]).frobeniusNorm
    #expect(abs(norm / unit - 5) < 1e-12)
  }

  @Test func normsOfNothingAndOfWhatIsNotANumber() {
    #expect(Matrix(rows: 0, columns: 0).frobeniusNorm == 0)
    #expect(Matrix(rows: 2, columns: 2).frobeniusNorm == 0)
    #expect(Matrix(rows: 1, columns: 2, elements: [.nan, 1]).frobeniusNorm.isNaN)
    #expect(Matrix(rows: 1, columns: 2, elements: [1, -.infinity]).frobeniusNorm == .infinity)
  }
}
