import Algebra
import Glibc
import Testing

@Suite struct ElementaryTests {
  @Test(arguments: [-30, -2.5, -1e-9, 0, 1e-9, 0.5, 3, 30]) func formulasWhereTheyAreSafe(
    _ x: Double
  ) {
    #expect(abs(Elementary.elu1(x) - (x > 0 ? x + 1 : exp(x))) < 1e-15)
    #expect(abs(Elementary.softplus(x) - log(1 + exp(x))) < 1e-13)
    #expect(abs(Elementary.sigmoid(x) - 1 / (1 + exp(-x))) < 1e-15)
    #expect(abs(Elementary.sigmoid(x) + Elementary.sigmoid(-x) - 1) < 1e-15)
    #expect(abs(Elementary.softplus(x) - Elementary.softplus(-x) - x) < 1e-13)
  }

  @Test func farOutNothingOverflows() {
    #expect(Elementary.softplus(1000) == 1000 && Elementary.softplus(-1000) == 0)
    #expect(Elementary.softplus(.infinity) == .infinity && Elementary.softplus(-.infinity) == 0)
    #expect(Elementary.softplus(-50) > 0 && abs(Elementary.softplus(-50) / exp(-50) - 1) < 1e-14)
    #expect(Elementary.sigmoid(1000) == 1 && Elementary.sigmoid(-1000) == 0)
    #expect(abs(Elementary.sigmoid(-700) / exp(-700) - 1) < 1e-12)
    #expect(Elementary.elu1(-.infinity) == 0 && Elementary.elu1(1e300) == 1e300)
    #expect(
      Elementary.softplus(.nan).isNaN && Elementary.sigmoid(.nan).isNaN
        && Elementary.elu1(.nan).isNaN)
  }

  @Test func softmaxOfWhatARowSees() {
    let row = Elementary.softmax([1000, 1001, 5000, -1], limit: 2)
    #expect(difference(row, [1 / (1 + exp(1)), 1 / (1 + exp(-1)), 0, 0]) < 1e-15)
    #expect(difference(Elementary.softmax([0, 0, 0, 0]), [0.25, 0.25, 0.25, 0.25]) < 1e-15)
    #expect(Elementary.softmax([-.infinity, 3, -.infinity]) == [0, 1, 0])
    #expect(abs(Elementary.softmax(FFTTests.signal(99, seed: 1)).reduce(0, +) - 1) < 1e-14)
  }

  @Test func rowsThatSeeNothingAreZero() {
    #expect(Elementary.softmax([1, 2], limit: 0) == [0, 0])
    #expect(Elementary.softmax([1, 2], limit: -3) == [0, 0])
    #expect(Elementary.softmax([-.infinity, -.infinity]) == [0, 0])
    #expect(Elementary.softmax([]) == [])
    #expect(Elementary.softmax([1, 1], limit: 9) == [0.5, 0.5])
    #expect(Elementary.softmax([1, .nan, 2]).allSatisfy { $0.isNaN })
    #expect(Elementary.softmax([1, .nan], limit: 1) == [1, 0])
  }

  @Test func rowsOverTheirSums() {
    let matrix = Matrix(rows: 3, columns: 2, elements: [1, -3, 0, 0, 1e-14, 0])
    let found = Elementary.rowsNormalisedL1(matrix)
    #expect(difference(found.elements, [0.25, -0.75, 0, 0, 0.01, 0]) < 1e-15)
    var row = [2.0, 2, -4]
    let sum = row.withUnsafeMutableBufferPointer { Elementary.normaliseL1($0) }
    #expect(sum == 8 && row == [0.25, 0.25, -0.5])
    #expect(Elementary.rowsNormalisedL1(Matrix(rows: 2, columns: 0)).rows == 2)
  }
}
