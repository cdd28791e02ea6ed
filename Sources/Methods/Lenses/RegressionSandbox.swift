import Algebra
import Analysis

/// Prompts of linear regression, drawn with a seed, and who predicts the answer.
///
/// A prompt has β ~ N(0, I / d), x_l ~ N(0, I), x_q ~ N(0, I) and y_l = β·x_l + σ ε_l; Gaussians
/// are drawn in the order β, x_1 ... x_L, x_q, ε, prompt after prompt, from one SplitMix64.
struct RegressionSandbox: Sendable {
  /// Examples and a question.
  struct Prompt: Sendable {
    /// `[L * d]`.
    let x: [Double]
    /// `[L]`.
    let y: [Double]
    /// x_q `[d]`.
    let query: [Double]
    /// β·x_q.
    let truth: Double
  }

  /// Attention heads of one ω and μ each.
  struct Heads: Sendable {
    /// `[heads]`.
    let omegas, mus: [Double]

    /// The emergent solution: half of the heads at ω and the others at -ω, Σ μ = 0, and a slope
    /// Σ μ ω = η; one head alone has μ = η / ω.
    init(_ count: Int, omega: Double, eta: Double) {
      let up = (count + 1) / 2, down = count - up
      omegas = (0..<count).map { $0 < up ? omega : -omega }
      let size = eta / omega / (down == 0 ? 1 : 2)
      mus = (0..<count).map { $0 < up ? size / Double(up) : -size / Double(down) }
    }
  }

  /// `[prompts]`.
  let prompts: [Prompt]
  /// σ.
  let sigma: Double

  /// Draws all prompts.
  init(context: Int, dim: Int, sigma: Double, prompts: Int, seed: Int) {
    var random = SplitMix64(UInt64(seed))
    self.sigma = sigma
    self.prompts = (0..<prompts).map { _ in
      let beta = random.gaussians(dim).map { $0 / Double(dim).squareRoot() }
      let x = random.gaussians(context * dim), query = random.gaussians(dim)
      let noise = random.gaussians(context)
      let y = (0..<context).map { LensRows.dot(x, $0, beta, 0, dim) + sigma * noise[$0] }
      return Prompt(x: x, y: y, query: query, truth: LensRows.dot(beta, 0, query, 0, dim))
    }
  }
}

extension RegressionSandbox.Prompt {
  /// softmax_l(ω x_l·x_q), `[L]`.
  func row(_ omega: Double) -> [Double] {
    let d = query.count
    return Elementary.softmax(y.indices.map { omega * LensRows.dot(x, $0, query, 0, d) })
  }

  /// Σ_h μ_h softmax(ω_h x·x_q): what each y is multiplied by, `[L]`.
  func weights(_ heads: RegressionSandbox.Heads) -> [Double] {
    var sum = [Double](repeating: 0, count: y.count)
    for (omega, mu) in zip(heads.omegas, heads.mus) {
      for (l, weight) in row(omega).enumerated() { sum[l] += mu * weight }
    }
    return sum
  }

  /// ŷ of the heads.
  func prediction(_ heads: RegressionSandbox.Heads) -> Double {
    zip(weights(heads), y).reduce(0) { $0 + $1.0 * $1.1 }
  }

  /// η/L Σ (y_l - ȳ)(x_l - x̄)·x_q.
  func debiased(_ eta: Double) -> Double {
    let d = query.count, n = Double(y.count), mean = y.reduce(0, +) / n
    // Σ (y - ȳ) x̄ = 0.
    let sum = y.indices.reduce(0) { $0 + (y[$1] - mean) * LensRows.dot(x, $1, query, 0, d) }
    return eta * sum / n
  }

  /// x_q·(XᵀX + λ I)⁻¹ Xᵀ y; nil where that has no answer. A λ below rounding is raised to it.
  func ridge(_ lambda: Double) -> Double? {
    let d = query.count
    let gram = Matrix(rows: y.count, columns: d, elements: x).gram()
    let level = (0..<d).reduce(0) { $0 + gram[$1, $1] } / Double(d)
    let right = (0..<d).map { c in y.indices.reduce(0) { $0 + x[$1 * d + c] * y[$1] } }
    guard let factor = try? Cholesky(gram, ridge: max(lambda, 1e-12 * level)) else { return nil }
    return zip(factor.solve(right), query).reduce(0) { $0 + $1.0 * $1.1 }
  }
}
