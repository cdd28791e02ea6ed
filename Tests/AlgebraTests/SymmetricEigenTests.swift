import Algebra
import Glibc
import Support
import Testing

@Suite struct SymmetricEigenTests {
  @Test(arguments: [1, 2, 3, 8, 31]) func vectorsAreOrthonormalAndMultiplyBack(_ n: Int) throws {
    let planted = (0..<n).map { 2 - Double($0) / 3 }
    let matrix = Made.withEigenvalues(planted)
    let eigen = try SymmetricEigen(matrix, vectors: true)
    #expect(difference(eigen.values, planted) < 1e-12)
    let v = try #require(eigen.vectors)
    #expect(difference(v.multiplied(by: v.transposed()), Matrix.identity(n)) < 1e-12)
    let scaled = Matrix(rows: n, columns: n) { eigen.values[$0] * v[$0, $1] }
    #expect(difference(v.transposed().multiplied(by: scaled), matrix) < 1e-12)
    #expect(difference(try SymmetricEigen(matrix).values, eigen.values) < 1e-12)
  }

  /// Second differences: 2 - 2 cos(kπ / (n + 1)).
  @Test func secondDifferencesHaveTheirEigenvalues() throws {
    let n = 40
    let matrix = Matrix(rows: n, columns: n) { $0 == $1 ? 2 : abs($0 - $1) == 1 ? -1 : 0 }
    let known = (1...n).map { 2 - 2 * cos(Double($0) * .pi / Double(n + 1)) }
    #expect(difference(try SymmetricEigen(matrix).values, known.sorted(by: >)) < 1e-12)
  }

  @Test func repeatedAndZeroEigenvalues() throws {
    let planted: [Double] = [5, 5, 5, 0, 0, 0, 0, -1]
    let matrix = Made.withEigenvalues(planted)
    let eigen = try SymmetricEigen(matrix, vectors: true)
    #expect(difference(eigen.values, planted) < 1e-12)
    let v = try #require(eigen.vectors)
    #expect(difference(v.multiplied(by: v.transposed()), Matrix.identity(8)) < 1e-12)
  }

  @Test func degenerateMatrices() throws {
    let none = try SymmetricEigen(Matrix(rows: 0, columns: 0), vectors: true)
    #expect(none.values.isEmpty && none.vectors == Matrix(rows: 0, columns: 0))
    let one = try SymmetricEigen(Matrix(rows: 1, columns: 1, elements: [-4]), vectors: true)
    #expect(one.values == [-4] && one.vectors?.elements == [1])
    let zero = try SymmetricEigen(Matrix(rows: 5, columns: 5), vectors: true)
    #expect(zero.values == [0, 0, 0, 0, 0])
    #expect(zero.vectors?.gram() == Matrix.identity(5))
    let ones = try SymmetricEigen(Matrix(rows: 6, columns: 6, repeating: 1))
    #expect(difference(ones.values, [6, 0, 0, 0, 0, 0]) < 1e-13)
    #expect(ones.vectors == nil)
  }

  @Test func onlyTheLowerTriangleIsReadButAllMustBeFinite() throws {
    let matrix = Made.withEigenvalues([3, 2, 1])
    let half = Matrix(rows: 3, columns: 3) { $0 >= $1 ? matrix[$0, $1] : 99 }
    #expect(try SymmetricEigen(half).values == (try SymmetricEigen(matrix).values))
    var broken = matrix
    broken[2, 1] = .nan
    let named = AlgebraError.notFinite(row: 2, column: 1)
    #expect(failure { () throws(AlgebraError) in try SymmetricEigen(broken) } == named)
  }

  @Test(arguments: [1e-300, 1e300]) func sizeDoesNotMatter(_ unit: Double) throws {
    let matrix = Made.withEigenvalues([3, 2, -1])
    let scaled = Matrix(rows: 3, columns: 3, elements: matrix.elements.map { $0 * unit })
    #expect(difference(try SymmetricEigen(scaled).values.map { $0 / unit }, [3, 2, -1]) < 1e-12)
  }

  @Test(.enabled(if: isRelease)) func order512WithVectorsTakesLessThanTwoSeconds() throws {
    let gram = Made.gaussian(600, 512).gram()
    let clock = ContinuousClock()
    #expect(try clock.measure { _ = try SymmetricEigen(gram) } < .seconds(1))
    #expect(try clock.measure { _ = try SymmetricEigen(gram, vectors: true) } < .seconds(2))
  }
}

@Suite struct PowerIterationTests {
  @Test func theLargestPairIsFound() throws {
    let matrix = Made.withEigenvalues([-4, 3, 1, 0.5])
    let found = PowerIteration(of: matrix, tolerance: 1e-12)
    #expect(found.converged && found.residual <= 4e-12)
    #expect(abs(found.value + 4) < 1e-12)
    let image = matrix.multiplied(by: found.vector)
    #expect(difference(image, found.vector.map { -4 * $0 }) < 1e-11)
    #expect(abs(found.vector.reduce(0) { $0 + $1 * $1 } - 1) < 1e-12)
  }

  /// Rows that sum to one: the largest eigenvalue is one, with equal numbers, though the matrix is
  /// not symmetric.
  @Test func aRowStochasticMapHasTheEigenvalueOne() {
    let map = Matrix(rows: 9, columns: 9) { i, j in j <= i ? 1 / Double(i + 1) : 0 }
    let found = PowerIteration(of: map)
    #expect(found.converged && abs(found.value - 1) < 1e-9)
    #expect(found.vector.allSatisfy { abs(abs($0) - 1.0 / 3) < 1e-8 })
  }

  @Test func oneSeedOneAnswer() {
    let matrix = Made.withEigenvalues([2, 1.9, 1])
    let first = PowerIteration(of: matrix), again = PowerIteration(of: matrix)
    #expect(first.vector == again.vector && first.steps == again.steps)
  }

  /// A quarter turn has no real eigenvalue; 1 and -1 tie: both end at the bound and say so.
  @Test(arguments: [[0, -1, 1, 0], [0, 1, 1, 0], [2, 0, 0, -2]] as [[Double]])
  func whatDoesNotSettleSaysSo(_ elements: [Double]) {
    let found = PowerIteration(of: Matrix(rows: 2, columns: 2, elements: elements), limit: 50)
    #expect(!found.converged && found.steps == 50)
  }

  @Test func degenerateMatrices() {
    let none = PowerIteration(of: Matrix(rows: 0, columns: 0))
    #expect(none.converged && none.vector.isEmpty && none.steps == 0)
    let one = PowerIteration(of: Matrix(rows: 1, columns: 1, elements: [-3]))
    #expect(one.converged && one.value == -3 && one.steps == 1)
    let zero = PowerIteration(of: Matrix(rows: 3, columns: 3))
    #expect(zero.converged && zero.value == 0 && zero.steps == 1)
    let broken = PowerIteration(of: Matrix(rows: 2, columns: 2, repeating: .nan))
    #expect(!broken.converged && broken.steps == 1)
    let nilpotent = PowerIteration(of: Matrix(rows: 2, columns: 2, elements: [0, 1, 0, 0]))
    #expect(!nilpotent.converged || nilpotent.value == 0)
  }
}
