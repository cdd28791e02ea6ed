import RealModule

extension Bidiagonal {
  /// Sweeps allowed for each singular value; two are usual.
  static let sweepsAValue = 40

  /// The singular values, largest first: implicit-shift QR that keeps small values to their
  /// relative precision (Demmel and Kahan, "Accurate singular values of bidiagonal matrices",
  /// 1990).
  ///
  /// Throws `AlgebraError.notConverged` after 40 sweeps a value.
  func singularValues() throws(AlgebraError) -> [Double] {
    var work = self
    var hi = diagonal.count - 1, known = 0..<0, sweeps = 0
    let bound = Self.sweepsAValue * diagonal.count
    let floor = Self.least(work)
    while hi > 0 {
      let lo = work.blockStart(hi, floor)
      if lo == hi {
        hi -= 1
        continue
      }
      // A block that is new: its large end first, as bulges are chased downwards.
      if !known.contains(lo) || !known.contains(hi) {
        known = lo..<hi + 1
        if work.diagonal[lo].magnitude < work.diagonal[hi].magnitude { work.turn(lo, hi) }
      }
      if hi - lo == 1 {
        work.closePair(lo)
        hi -= 1
        continue
      }
      if work.deflate(lo, hi) { continue }
      guard sweeps < bound else { throw .notConverged(what: "singular values", steps: sweeps) }
      sweeps += 1
      let shift = work.shift(lo, hi)
      if shift == 0 { work.sweep(lo, hi) } else { work.sweep(lo, hi, shift: shift) }
    }
    return work.diagonal.map(\.magnitude).sorted(by: >)
  }

  /// What counts as zero whatever stands beside it: ε² of the largest element.
  private static func least(_ b: Bidiagonal) -> Double {
    let largest = (b.diagonal + b.above).reduce(0) { max($0, $1.magnitude) }
    return largest * Double.ulpOfOne * Double.ulpOfOne
  }

  /// The first row of the unreduced block that ends at `hi`; the element that parts it becomes
  /// zero.
  private mutating func blockStart(_ hi: Int, _ floor: Double) -> Int {
    var lo = hi
    while lo > 0 {
      if !(above[lo - 1].magnitude > floor) {
        above[lo - 1] = 0
        return lo
      }
      lo -= 1
    }
    return lo
  }

  /// Reversed, a bidiagonal matrix is its own transpose with rows and columns turned round: the
  /// values stay.
  private mutating func turn(_ lo: Int, _ hi: Int) {
    diagonal[lo...hi].reverse()
    above[lo..<hi].reverse()
  }

  /// The values of the upper 2 x 2 matrix (f, g; 0, h), smallest last.
  static func pair(_ f: Double, _ g: Double, _ h: Double) -> (Double, Double) {
    let (a, b) = (max(f.magnitude, h.magnitude), min(f.magnitude, h.magnitude))
    let largest = (Double.hypot(a + b, g) + Double.hypot(a - b, g)) / 2
    return largest > 0 ? (largest, a / largest * b) : (0, 0)
  }

  /// The 2 x 2 block at `lo` becomes its two values.
  private mutating func closePair(_ lo: Int) {
    (diagonal[lo], diagonal[lo + 1]) = Self.pair(diagonal[lo], above[lo], diagonal[lo + 1])
    above[lo] = 0
  }

  /// Puts zeros where an element is too small to change a value; whether there was one.
  private mutating func deflate(_ lo: Int, _ hi: Int) -> Bool {
    let tolerance = 8 * Double.ulpOfOne
    if above[hi - 1].magnitude <= tolerance * diagonal[hi].magnitude {
      above[hi - 1] = 0
      return true
    }
    var bound = diagonal[lo].magnitude
    for i in lo..<hi {
      if above[i].magnitude <= tolerance * bound {
        above[i] = 0
        return true
      }
      bound = diagonal[i + 1].magnitude * (bound / (bound + above[i].magnitude))
    }
    return false
  }

  /// The shift of the last 2 x 2; zero where a shift would cost the small values their precision,
  /// by the bound of Demmel and Kahan on the smallest value.
  private func shift(_ lo: Int, _ hi: Int) -> Double {
    var bound = diagonal[lo].magnitude, smallest = bound, largest = bound
    for i in lo..<hi {
      let next = diagonal[i + 1].magnitude
      bound = bound > 0 ? next * (bound / (bound + above[i].magnitude)) : 0
      smallest = min(smallest, bound)
      largest = max(largest, next, above[i].magnitude)
    }
    let tolerance = 8 * Double.ulpOfOne
    if Double(hi - lo + 1) * tolerance * (smallest / largest) <= Double.ulpOfOne { return 0 }
    let shift = Self.pair(diagonal[hi - 1], above[hi - 1], diagonal[hi]).1
    let share = shift / diagonal[lo].magnitude
    return share * share < Double.ulpOfOne ? 0 : shift
  }

  /// One step of QR with a shift on the block `lo...hi`: a bulge is chased down by rotations from
  /// both sides.
  private mutating func sweep(_ lo: Int, _ hi: Int, shift: Double) {
    let first = diagonal[lo]
    var f = (first.magnitude - shift) * ((first < 0 ? -1 : 1) + shift / first)
    var g = above[lo]
    for i in lo..<hi {
      let right = Rotation(f, g)
      if i > lo { above[i - 1] = right.r }
      f = right.c * diagonal[i] + right.s * above[i]
      above[i] = right.c * above[i] - right.s * diagonal[i]
      g = right.s * diagonal[i + 1]
      diagonal[i + 1] *= right.c
      let left = Rotation(f, g)
      diagonal[i] = left.r
      f = left.c * above[i] + left.s * diagonal[i + 1]
      diagonal[i + 1] = left.c * diagonal[i + 1] - left.s * above[i]
      if i + 1 < hi {
        g = left.s * above[i + 1]
        above[i + 1] *= left.c
      }
    }
    above[hi - 1] = f
  }

  /// One step of QR without a shift, in which nothing is subtracted, so that each value keeps its
  /// relative precision.
  private mutating func sweep(_ lo: Int, _ hi: Int) {
    var c = 1.0, old = Rotation(1, 0)
    for i in lo..<hi {
      let right = Rotation(diagonal[i] * c, above[i])
      if i > lo { above[i - 1] = old.s * right.r }
      old = Rotation(old.c * right.r, diagonal[i + 1] * right.s)
      diagonal[i] = old.r
      c = right.c
    }
    let last = diagonal[hi] * c
    diagonal[hi] = last * old.c
    above[hi - 1] = last * old.s
  }
}
