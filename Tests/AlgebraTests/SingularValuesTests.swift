import Algebra
import Glibc
import Support
import Testing

@Suite struct SingularValuesTests {
  @Test(arguments: [(12, 12), (30, 12), (12, 31), (13, 12), (12, 14)])
  func plantedValuesAreFound(_ rows: Int, _ columns: Int) throws {
    let planted = (0..<12).map { 3 - Double($0) / 4 }
    let found = try SingularValues(Made.withSingularValues(planted, rows, columns))
    #expect(difference(found.values, planted) < 1e-12, "\(found.values)")
    #expect(found.numericalRank() == 12)
    #expect(abs(found.conditionNumber - 12) < 1e-11)
  }

  /// Four equal values, and none: the count of zeros is the count of what is missing.
  @Test func aRankDeficientMatrixSaysSo() throws {
    let planted = [2, 2, 2, 2] + [Double](repeating: 0, count: 16)
    let found = try SingularValues(Made.withSingularValues([2, 2, 2, 2], 20, 24))
    #expect(difference(found.values, planted) < 1e-12)
    #expect(found.numericalRank() == 4)
    #expect(abs(found.effectiveRank - 4) < 1e-10)
    #expect(found.conditionNumber > 1e12)
  }

  @Test func valuesDoNotChangeWithTheOrderOfRowsOrWithASign() throws {
    let a = Made.gaussian(17, 17)
    let values = try SingularValues(a).values
    let turned = Matrix(rows: 17, columns: 17) { (i, j) in -a[(i * 5) % 17, 16 - j] }
    #expect(difference(try SingularValues(turned).values, values) < 1e-12)
    #expect(difference(try SingularValues(a.transposed()).values, values) < 1e-12)
    let squares = values.reduce(0) { $0 + $1 * $1 }
    #expect(abs(squares.squareRoot() - a.frobeniusNorm) < 1e-12)
  }

  /// Condition numbers of Hilbert matrices, from 60 digits.
  @Test(arguments: [(2, 19.281470067903971), (4, 15513.738738932588), (8, 15257575741.646943)])
  func hilbertMatricesHaveTheirConditionNumbers(_ n: Int, _ known: Double) throws {
    let found = try SingularValues(Made.hilbert(n)).conditionNumber
    #expect(abs(found / known - 1) < 1e-15 * known, "\(found)")
  }

  /// A bidiagonal matrix is not changed by reflections, so small values keep their digits,
  /// whichever end they are at; from 80 digits.
  @Test(arguments: [false, true]) func smallValuesOfABidiagonalMatrixKeepTheirDigits(
    _ turned: Bool
  ) throws {
    var diagonal = [1, 1e-4, 1e-8, 1e-12], above = [1, 1e-4, 1e-8]
    if turned {
      diagonal.reverse()
      above.reverse()
    }
    let matrix = Matrix(rows: 4, columns: 4) { i, j in
      i == j ? diagonal[i] : j == i + 1 ? above[i] : 0
    }
    let known = [
      1.41421356414086201, 0.00012247448725823133, 1.15470053906084561e-8, 4.99999998593749987e-13,
    ]
    let values = try SingularValues(matrix).values
    let ratios = zip(values, known).map { $0 / $1 }
    #expect(difference(ratios, [1, 1, 1, 1]) < 1e-14, "\(values)")
  }

  /// Diagonals with zeros in every place, which ask for sweeps without a shift.
  @Test(arguments: 0..<6) func zerosOnTheDiagonalOfABidiagonalMatrix(_ place: Int) throws {
    let n = 6
    let matrix = Matrix(rows: n, columns: n) { i, j in
      j == i + 1 ? 1 : i == j && i != place ? Double(i + 1) : 0
    }
    let found = try SingularValues(matrix)
    #expect(found.values[5] < 1e-15 && found.numericalRank() == 5, "\(found.values)")
    let eigen = try SymmetricEigen(matrix.gram()).values.map { max($0, 0).squareRoot() }
    #expect(difference(Array(found.values.prefix(5)), Array(eigen.prefix(5))) < 1e-12)
  }

  @Test func degenerateMatrices() throws {
    for (rows, columns) in [(0, 0), (0, 3), (3, 0)] {
      let none = try SingularValues(Matrix(rows: rows, columns: columns))
      #expect(none.values.isEmpty && none.effectiveRank == 0 && none.numericalRank() == 0)
      #expect(none.conditionNumber == 1)
    }
    let one = try SingularValues(Matrix(rows: 1, columns: 1, elements: [-3]))
    #expect(one.values == [3] && one.effectiveRank == 1 && one.conditionNumber == 1)
    let zero = try SingularValues(Matrix(rows: 4, columns: 3))
    #expect(zero.values == [0, 0, 0] && zero.effectiveRank == 0 && zero.numericalRank() == 0)
    #expect(zero.conditionNumber == .infinity)
    let row = try SingularValues(Matrix(rows: 1, columns: 3, elements: [1, 2, 2]))
    #expect(difference(row.values, [3]) < 1e-14)
    let ones = try SingularValues(Matrix(rows: 9, columns: 9, repeating: 1))
    #expect(difference(ones.values, [9] + [Double](repeating: 0, count: 8)) < 1e-13)
    let same = try SingularValues(Matrix.identity(9))
    #expect(same.values == [Double](repeating: 1, count: 9) && abs(same.effectiveRank - 9) < 1e-12)
  }

  @Test(arguments: [1e-300, 1e-150, 1e150, 1e300]) func sizeDoesNotMatter(_ unit: Double) throws {
    let planted = [2, 1, 0.5, 0.25]
    let matrix = Made.withSingularValues(planted, 5, 4)
    let scaled = Matrix(rows: 5, columns: 4, elements: matrix.elements.map { $0 * unit })
    let found = try SingularValues(scaled)
    #expect(difference(found.values.map { $0 / unit }, planted) < 1e-12)
    #expect(abs(found.conditionNumber - 8) < 1e-11)
  }

  @Test(arguments: [Double.nan, .infinity]) func whatIsNotFiniteIsNamed(_ value: Double) {
    var matrix = Made.gaussian(6, 4)
    matrix[5, 2] = value
    let named = AlgebraError.notFinite(row: 5, column: 2)
    #expect(failure { () throws(AlgebraError) in try SingularValues(matrix) } == named)
    let good = Made.gaussian(3, 4)
    #expect(
      failure { () throws(AlgebraError) in try SingularValues(product: good, transposed: matrix) }
        == named)
    #expect(named.description.contains("(5, 2)"))
  }

  @Test(arguments: [(9, 4, 7), (3, 8, 9), (3, 8, 5), (6, 6, 6), (5, 0, 4)])
  func aFactoredProductHasTheValuesOfTheProduct(_ rows: Int, _ inner: Int, _ columns: Int) throws {
    let f = Made.gaussian(rows, inner), g = Made.gaussian(columns, inner, seed: 9)
    let direct = try SingularValues(f.multiplied(by: g.transposed())).values
    let factored = try SingularValues(product: f, transposed: g).values
    let grams = try SingularValues(grams: f.gram(), g.gram()).values
    #expect(grams.count == inner)
    for k in 0..<min(rows, inner, columns) {
      #expect(abs(factored[k] - direct[k]) < 1e-12 && abs(grams[k] - direct[k]) < 1e-7)
    }
    for list in [factored, direct, grams] {
      #expect(list.dropFirst(min(rows, inner, columns)).allSatisfy { $0 < 1e-6 }, "\(list)")
    }
  }

  @Test(.enabled(if: isRelease)) func aHeadOf512TakesLessThanASecond() throws {
    let matrix = Made.gaussian(512, 512)
    let clock = ContinuousClock()
    var found = SingularValues(values: [])
    let time = try clock.measure { found = try SingularValues(matrix) }
    #expect(time < .seconds(1), "\(time)")
    let squares = found.values.reduce(0) { $0 + $1 * $1 }
    #expect(abs(squares.squareRoot() / matrix.frobeniusNorm - 1) < 1e-12)
    let low = Made.gaussian(512, 40).multiplied(by: Made.gaussian(40, 512, seed: 8))
    #expect(try clock.measure { found = try SingularValues(low) } < .seconds(1))
    #expect(found.numericalRank() == 40)
  }
}
