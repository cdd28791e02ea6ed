import Algebra
import Analysis
import Attention

/// Softmax regression on the rows of a head: f(x) = softmax(A x) with A = K_{≤i} / √d, in double
/// precision. Rows are `[keys]`, 0 beyond what their query sees.
///
/// Example: `let shift = RowShift(head); shift.gradient(3, shift.query(3), b)`. Keys are used as
/// the head scales its scores, so that f(q_i) is its row of attention. Cost n d for everything but
/// the spectral norm.
struct RowShift: Sendable {
  /// What one step of one row comes to.
  struct Facts: Sendable {
    /// f(x) and f(x⁺), `[keys]`.
    let before, after: [Double]
    /// ½ ‖f - b‖² before and after.
    let lossBefore, lossAfter: Double
    /// ‖∇_x L‖, ‖x⁺ - x‖ and ‖x‖.
    let gradient, step, size: Double
    /// ‖b̃ - b‖.
    let dataShift: Double
    /// ‖A⁺ - A‖_F; nil for x = 0, which no weight can move.
    let weightShift: Double?
    /// |‖f(x⁺) - b‖ - ‖f(x) - b̃‖|.
    let dataGap: Double
    /// The largest |A⁺ x - A x⁺|; nil for x = 0.
    let weightGap: Double?
  }

  private let rows: DoubleRows

  /// Reads Q and K.
  init(_ head: Head) { rows = DoubleRows(head) }

  /// Keys that a query sees.
  func limit(_ row: Int) -> Int { rows.head.visibility.limit(row: row) }

  /// x, `[d]`.
  func query(_ row: Int) -> [Double] {
    Array(rows.query[row * rows.dim..<(row + 1) * rows.dim])
  }

  /// A x, `[limit]`.
  func logits(_ row: Int, _ x: [Double]) -> [Double] {
    (0..<limit(row)).map { LensRows.dot(x, 0, rows.key, $0, rows.dim) * rows.head.scale }
  }

  /// f(x), `[keys]`.
  func weights(_ row: Int, _ x: [Double]) -> [Double] {
    let none = [Double](repeating: 0, count: rows.head.keys - limit(row))
    return Elementary.softmax(logits(row, x)) + none
  }

  /// g = (diag f - f fᵀ)(f - b), `[limit]`.
  func slope(_ f: [Double], _ b: [Double], _ limit: Int) -> [Double] {
    var mean = 0.0
    for j in 0..<limit { mean += f[j] * (f[j] - b[j]) }
    return (0..<limit).map { f[$0] * (f[$0] - b[$0] - mean) }
  }

  /// Aᵀ g, `[d]`.
  private func gathered(_ g: [Double]) -> [Double] {
    let d = rows.dim
    var out = [Double](repeating: 0, count: d)
    rows.key.withUnsafeBufferPointer { k in
      for j in g.indices where g[j] != 0 {
        let share = g[j] * rows.head.scale
        for c in 0..<d { out[c] += share * k[j * d + c] }
      }
    }
    return out
  }

  /// ∇_x L, `[d]`.
  func gradient(_ row: Int, _ x: [Double], _ b: [Double]) -> [Double] {
    gathered(slope(weights(row, x), b, limit(row)))
  }

  /// x⁺, `[d]`.
  func step(_ row: Int, _ x: [Double], _ b: [Double], _ eta: Double) -> [Double] {
    Self.step(x, gradient(row, x, b), eta)
  }

  /// x - η g, `[d]`.
  private static func step(_ x: [Double], _ gradient: [Double], _ eta: Double) -> [Double] {
    zip(x, gradient).map { $0 - eta * $1 }
  }

  /// ½ ‖f - b‖².
  func loss(_ f: [Double], _ b: [Double]) -> Double {
    zip(f, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } / 2
  }

  /// One step of a row, and both ways to say it.
  func facts(_ row: Int, _ b: [Double], _ eta: Double) -> Facts {
    let x = query(row), before = weights(row, x)
    let gradient = gathered(slope(before, b, limit(row))), next = Self.step(x, gradient, eta)
    let moved = zip(next, x).map { $0 - $1 }, after = weights(row, next)
    let target = b.indices.map { b[$0] - (after[$0] - before[$0]) }
    func distance(_ a: [Double], _ b: [Double]) -> Double {
      LensRows.norm(zip(a, b).map { $0 - $1 })
    }
    let size = LensRows.norm(x), drift = logits(row, moved)
    var weightGap: Double?
    if size > 0 {
      // A⁺ x = A x + (A Δx) xᵀx / ‖x‖², rounded as it is written.
      let whole = x.reduce(0) { $0 + $1 * $1 } / (size * size)
      let (old, new) = (logits(row, x), logits(row, next))
      let shifted = zip(old, drift).map { $0 + $1 * whole }
      weightGap = zip(shifted, new).reduce(0) { max($0, ($1.0 - $1.1).magnitude) }
    }
    return Facts(
      before: before, after: after, lossBefore: loss(before, b), lossAfter: loss(after, b),
      gradient: LensRows.norm(gradient), step: LensRows.norm(moved), size: size,
      dataShift: distance(target, b),
      weightShift: size > 0 ? LensRows.norm(drift) / size : nil,
      dataGap: (distance(after, b) - distance(before, target)).magnitude, weightGap: weightGap)
  }

  /// ‖A‖₂ of a row; nil where its singular values do not converge. Cost n d².
  func spectralNorm(_ row: Int) -> Double? {
    let d = rows.dim, limit = limit(row)
    let matrix = Matrix(
      rows: limit, columns: d, elements: rows.key.prefix(limit * d).map { $0 * rows.head.scale })
    return (try? SingularValues(matrix)).map { $0.values.first ?? 0 }
  }

  /// The losses before and after each of 50 steps, `[51]`: on x, or with x fixed on A, whose step
  /// moves A x by -η ‖x‖² g.
  func descent(_ row: Int, _ b: [Double], _ eta: Double, onWeights: Bool) -> [Double] {
    var x = query(row), moving = logits(row, x)
    let squares = x.reduce(0) { $0 + $1 * $1 }
    let none = [Double](repeating: 0, count: rows.head.keys - limit(row))
    return (0...50).map { _ in
      let f = Elementary.softmax(moving) + none, g = slope(f, b, limit(row))
      if onWeights {
        for j in moving.indices { moving[j] -= eta * squares * g[j] }
      } else {
        x = Self.step(x, gathered(g), eta)
        moving = logits(row, x)
      }
      return loss(f, b)
    }
  }
}
