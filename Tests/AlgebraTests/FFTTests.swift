import Algebra
import Glibc
import Testing

@Suite struct FFTTests {
  static func signal(_ count: Int, seed: UInt64) -> [Double] {
    var random = SplitMix64(seed)
    return random.gaussians(count)
  }

  @Test(arguments: [1, 2, 4, 8, 64]) func theTransformIsTheSum(_ n: Int) {
    let x = FFT.Spectrum(real: Self.signal(n, seed: 1), imaginary: Self.signal(n, seed: 2))
    var direct = FFT.Spectrum(
      real: [Double](repeating: 0, count: n), imaginary: [Double](repeating: 0, count: n))
    for k in 0..<n {
      for j in 0..<n {
        let angle = -2 * Double.pi * Double(j * k % n) / Double(n)
        direct.real[k] += x.real[j] * cos(angle) - x.imaginary[j] * sin(angle)
        direct.imaginary[k] += x.real[j] * sin(angle) + x.imaginary[j] * cos(angle)
      }
    }
    let plan = FFT(atLeast: n)
    #expect(plan.size == n)
    let found = plan.forward(x)
    #expect(difference(found.real, direct.real) < 1e-12)
    #expect(difference(found.imaginary, direct.imaginary) < 1e-12)
    let back = plan.inverse(found)
    #expect(difference(back.real, x.real) < 1e-12)
    #expect(difference(back.imaginary, x.imaginary) < 1e-12)
  }

  @Test func shorterSignalsArePadded() {
    let x = Self.signal(5, seed: 3), plan = FFT(atLeast: 5)
    #expect(plan.size == 8)
    #expect(plan.forward(x) == plan.forward(x + [0, 0, 0]))
    #expect(difference(plan.inverse(plan.forward(x)).real, x + [0, 0, 0]) < 1e-12)
    #expect(plan.forward([]).real == [Double](repeating: 0, count: 8))
    #expect(FFT(atLeast: 0).size == 1)
  }

  @Test func energyIsKept() {
    let x = Self.signal(1024, seed: 4)
    let spectrum = FFT(atLeast: 1024).forward(x)
    let energy = zip(spectrum.real, spectrum.imaginary).reduce(0) { $0 + $1.0 * $1.0 + $1.1 * $1.1 }
    #expect(abs(energy / 1024 / x.reduce(0) { $0 + $1 * $1 } - 1) < 1e-12)
  }

  @Test(arguments: [(1, 1), (1, 9), (3, 2), (17, 30), (64, 65)])
  func convolutionIsTheSum(_ left: Int, _ right: Int) {
    let a = Self.signal(left, seed: 5), b = Self.signal(right, seed: 6)
    var direct = [Double](repeating: 0, count: left + right - 1)
    for i in 0..<left { for j in 0..<right { direct[i + j] += a[i] * b[j] } }
    #expect(difference(FFT.convolve(a, b), direct) < 1e-12)
    #expect(difference(FFT.convolve(b, a), direct) < 1e-12)
  }

  @Test func nothingConvolvedIsNothing() {
    #expect(FFT.convolve([], [1, 2]).isEmpty && FFT.convolve([1], []).isEmpty)
  }
}
