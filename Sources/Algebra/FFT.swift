import RealModule

/// The discrete Fourier transform of one length, a power of two: X_k = Σ x_j exp(-2πi jk / size).
///
/// Example: `FFT(atLeast: signal.count).forward(signal)`. Radix two, in place (Cooley and Tukey,
/// 1965); 2 n log2 n multiplications. Signals that are shorter are padded with zeros.
public struct FFT: Sendable {
  /// Complex numbers as two lists of one length.
  public struct Spectrum: Sendable, Equatable {
    /// `[size]`
    public var real: [Double]
    /// `[size]`
    public var imaginary: [Double]

    /// Both parts, of one length: `[size]` each.
    public init(real: [Double], imaginary: [Double]) {
      precondition(real.count == imaginary.count, "real and imaginary parts of one length")
      (self.real, self.imaginary) = (real, imaginary)
    }

    /// The product of each pair, `[size]`: what convolution becomes.
    public func multiplied(by other: Spectrum) -> Spectrum {
      precondition(real.count == other.real.count, "spectra of one length")
      var result = self
      for k in real.indices {
        let (a, b, c, d) = (real[k], imaginary[k], other.real[k], other.imaginary[k])
        result.real[k] = a * c - b * d
        result.imaginary[k] = a * d + b * c
      }
      return result
    }
  }

  /// A power of two, 1 at least: how many numbers go in and come out.
  public let size: Int
  /// cos and sin of 2π k / size: `[size / 2]` each, every one from its own angle.
  private let cosines: [Double], sines: [Double]

  /// The smallest power of two that is not below `count`.
  public init(atLeast count: Int) {
    var size = 1
    while size < count { size *= 2 }
    self.size = size
    let angles = (0..<size / 2).map { 2 * Double.pi * Double($0) / Double(size) }
    (cosines, sines) = (angles.map { Double.cos($0) }, angles.map { Double.sin($0) })
  }

  /// The transform `[size]` of a real signal of at most `size` numbers.
  public func forward(_ signal: [Double]) -> Spectrum {
    forward(Spectrum(real: signal, imaginary: [Double](repeating: 0, count: signal.count)))
  }

  /// The transform `[size]` of a complex signal of at most `size` numbers.
  public func forward(_ signal: Spectrum) -> Spectrum {
    var work = padded(signal)
    transform(&work.real, &work.imaginary)
    return work
  }

  /// The signal `[size]` of a spectrum: x_j = 1 / size · Σ X_k exp(2πi jk / size).
  public func inverse(_ spectrum: Spectrum) -> Spectrum {
    // With real and imaginary parts exchanged, before and after, the forward transform is the
    // inverse.
    var work = padded(spectrum)
    transform(&work.imaginary, &work.real)
    let scale = 1 / Double(size)
    return Spectrum(
      real: work.real.map { $0 * scale }, imaginary: work.imaginary.map { $0 * scale })
  }

  /// The whole linear convolution, Σ a_j b_{i-j}: `[a.count + b.count - 1]`, empty when one of them
  /// is.
  ///
  /// The error is about 1e-15 · ‖a‖ ‖b‖, the same for every element, the small ones too.
  public static func convolve(_ a: [Double], _ b: [Double]) -> [Double] {
    guard !a.isEmpty && !b.isEmpty else { return [] }
    let count = a.count + b.count - 1
    let plan = FFT(atLeast: count)
    return Array(plan.inverse(plan.forward(a).multiplied(by: plan.forward(b))).real.prefix(count))
  }

  /// The signal with zeros at its end: `[size]`.
  private func padded(_ signal: Spectrum) -> Spectrum {
    precondition(signal.real.count <= size, "a signal longer than the transform")
    let zeros = [Double](repeating: 0, count: size - signal.real.count)
    return Spectrum(real: signal.real + zeros, imaginary: signal.imaginary + zeros)
  }

  /// Forward, in place: log2 size rounds over all pairs.
  private func transform(_ real: inout [Double], _ imaginary: inout [Double]) {
    real.withUnsafeMutableBufferPointer { re in
      imaginary.withUnsafeMutableBufferPointer { im in
        reorder(re, im)
        var half = 1
        while half < size {
          for start in stride(from: 0, to: size, by: 2 * half) { butterflies(re, im, start, half) }
          half *= 2
        }
      }
    }
  }

  /// Each element goes to the place whose number has its bits in reverse.
  private func reorder(
    _ re: UnsafeMutableBufferPointer<Double>, _ im: UnsafeMutableBufferPointer<Double>
  ) {
    var mirror = 0
    for index in 0..<size {
      if index < mirror {
        re.swapAt(index, mirror)
        im.swapAt(index, mirror)
      }
      var bit = size / 2
      while bit > 0 && mirror & bit != 0 {
        mirror ^= bit
        bit /= 2
      }
      mirror |= bit
    }
  }

  /// The pairs of one group of a round: elements `start..<start + half` with those `half` further
  /// on.
  private func butterflies(
    _ re: UnsafeMutableBufferPointer<Double>, _ im: UnsafeMutableBufferPointer<Double>,
    _ start: Int, _ half: Int
  ) {
    let step = size / (2 * half)
    for k in 0..<half {
      let (c, s) = (cosines[k * step], sines[k * step])
      let i = start + k, j = i + half
      let x = re[j] * c + im[j] * s, y = im[j] * c - re[j] * s
      (re[j], im[j]) = (re[i] - x, im[i] - y)
      re[i] += x
      im[i] += y
    }
  }
}
