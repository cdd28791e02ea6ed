import Algebra
import Testing

@Suite struct SplitMix64Tests {
  /// The outputs that the generator's authors' C program gives.
  @Test func theSequenceIsThePublishedOne() {
    var random = SplitMix64(1_234_567)
    let known: [UInt64] = [
      6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
      4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
    ]
    #expect(known.map { _ in random.next() } == known)
    var zero = SplitMix64(0)
    #expect(zero.next() == 16_294_208_416_658_607_535)
  }

  /// Worked out in another language from the same definition.
  @Test func uniformsAndPairsFollowTheirFormulas() {
    var random = SplitMix64(1_234_567)
    #expect(random.uniform() == 0.3500795420214081 && random.uniform() == 0.17364409667091263)
    var normal = SplitMix64(1_234_567)
    let known = [
      0.4284879007349292, 0.8235342802616957, 0.007685698515048663, 1.2326398530118996,
    ]
    #expect(difference(normal.gaussians(4), known) < 1e-14)
  }

  @Test func matricesAreFilledInTheOrderOfDrawing() {
    var pairs = SplitMix64(3), matrix = SplitMix64(3)
    let drawn = (0..<3).flatMap { _ in
      let pair = pairs.gaussianPair()
      return [pair.0, pair.1]
    }
    #expect(matrix.gaussianMatrix(rows: 2, columns: 3).elements == drawn)
    // An odd count drops the last pair's second number, and goes on with a fresh pair.
    var odd = SplitMix64(3)
    #expect(odd.gaussians(5) == Array(drawn.prefix(5)))
    #expect(odd.next() == pairs.next())
    var empty = SplitMix64(3)
    #expect(empty.gaussianMatrix(rows: 0, columns: 7).elements.isEmpty)
    var fresh = SplitMix64(3)
    #expect(empty.next() == fresh.next())
  }

  /// Moments of 40 000 numbers within five standard errors: mean 0, variance 1, skew 0, fourth
  /// moment 3, and no correlation within a pair.
  @Test(arguments: [1, 2, 99] as [UInt64]) func normalNumbersHaveTheirMoments(_ seed: UInt64) {
    var random = SplitMix64(seed)
    let n = 40_000, x = random.gaussians(n)
    func moment(_ power: Int) -> Double {
      x.reduce(0) { sum, value in sum + (0..<power).reduce(1) { p, _ in p * value } } / Double(n)
    }
    let error = 5 / Double(n).squareRoot()
    #expect(abs(moment(1)) < error)
    #expect(abs(moment(2) - 1) < error * 2.squareRoot())
    #expect(abs(moment(3)) < error * 15.squareRoot())
    #expect(abs(moment(4) - 3) < error * 96.squareRoot())
    let within = stride(from: 0, to: n, by: 2).reduce(0) { $0 + x[$1] * x[$1 + 1] }
    #expect(abs(within / Double(n / 2)) < error * 2.squareRoot())
    #expect(x.allSatisfy { $0.isFinite })
  }
}
