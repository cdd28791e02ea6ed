import Algebra
public import Analysis
public import Attention

/// LUCID: attention with its keys' overlap undone.
///
/// With A = softmax(Q Kᵀ / √d) `[n, m]` and keys brought to one length, k̂_i = √d k_i / ‖k_i‖:
///
///     G_ij = exp(k̂_i · k̂_j / √d - √d)      over visible pairs; 0 < G ≤ 1, diagonal 1, `[m, m]`
///     W = A G⁻¹                             rows need not sum to 1, entries may be negative
///
/// Look-alike keys share softmax mass between them; dividing by their Gram matrix undoes the
/// sharing. Paper: "LUCID", 2026, arXiv 2602.10410. The scores themselves keep the raw keys; the
/// size of keys plays no part in G.
///
/// Exact for causal heads: G is then lower triangular with a unit diagonal, each row of W is solved
/// by back substitution, and the first row is that of softmax. Ours, not the paper's: `strength` t
/// blends W_t = A (I + t (G - I))⁻¹, from softmax at 0 to the paper's form at 1; for bidirectional
/// heads G + εI is factored by Cholesky, which a note says. A key of zeros counts as orthogonal to
/// every other and keeps its 1 on the diagonal.
///
/// Findings: those of every map (`map`, `output`, `error`, `negative_mass`, row sums and the
/// others); the field `gram` `[keys, keys]`; `duplicates`, pairs of keys with G > 0.9; `condition`,
/// σ_max / σ_min of the matrix inverted, up to 512 keys.
///
/// Needs Q and K: throws `Missing(.queryKey)` for stored maps. Above 1024 tokens causal rows are
/// solved as they are looked at, and bidirectional heads throw `Missing(.length)`. Cost: m² d / 2
/// for G, then m² / 2 a row; without a stored G, m² d / 2 a row. All in double precision, as
/// near-duplicate keys make G ill-conditioned.
public struct LUCID: MapMethod {
  /// t, without a unit; what `[` and `]` move.
  static let strength = Knob(
    "strength", "0 is softmax, 1 the paper's form", 0...1, standard: 1.0, step: .add(0.1),
    isMain: true, aliases: ["t"])
  /// ε, added to the diagonal of G, whose entries are 1.
  static let ridge = Knob(
    "ridge", "ε of bidirectional maps", 0...1, standard: 1e-6, step: .multiply(10),
    aliases: ["ridge_bidirectional"])

  /// Ranked by how far the output is from that of softmax; a model trained with softmax shows
  /// disagreement there, not quality.
  public static let card = MethodCard(
    id: "lucid", title: "LUCID", family: "solvers",
    idea:
      """
      Multiply softmax weights by the inverse of the keys' Gram matrix, so that look-alike keys \
      share no mass.
      """,
    source: "LUCID, preconditioned attention, 2026, arXiv 2602.10410",
    needs: [.queryKey], knobs: [strength.facts, ridge.facts], wholeMap: 1024, mainField: "map",
    mainNumber: "error", variants: ["lucid-half": ["strength": .number(0.5)]])

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// W of a head, `[queries, keys]`, a row at a time.
  ///
  /// Throws `Missing(.queryKey)`, `Missing(.length)`, and `AlgebraError.notPositive` where the
  /// ridge does not make a bidirectional G positive definite.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    guard head.queryAndKey != nil else { throw Missing(.queryKey) }
    let rows = DoubleRows(head), gram = KeyGram(rows, strength: knobs[Self.strength])
    let axes = (Axis(.query, head.queries), Axis(.key, head.keys))
    aside.findings.field(
      "gram",
      RuleField(rows: Axis(.key, head.keys), columns: axes.1) { key, out in
        gram.fill(key, out, head.visibility.causal)
      }, .magnitude(.none), title: "Gram matrix of the keys")
    if head.keys <= Self.card.wholeMap, run.wantsNumbers { try overlap(gram, head, &aside) }
    let weights: @Sendable (Int) -> [Double] = { rows.weights($0) }
    guard !head.visibility.causal else {
      return RuleField(rows: axes.0, columns: axes.1) { row, out in
        let limit = head.visibility.limit(row: row)
        let solved = gram.solve(weights(row), limit)
        for key in 0..<head.keys { out[key] = key < limit ? Float(solved[key]) : .nan }
      }
    }
    aside.findings.note("bidirectional: ours, with ridge \(knobs[Self.ridge])")
    guard head.keys <= Self.card.wholeMap else {
      throw Missing(
        .length, hint: "a bidirectional map is solved whole, up to \(Self.card.wholeMap) tokens")
    }
    let factor = try Cholesky(gram.matrix(causal: false), ridge: knobs[Self.ridge])
    return RuleField(rows: axes.0, columns: axes.1) { row, out in
      let solved = factor.solve(weights(row))
      for key in 0..<head.keys { out[key] = Float(solved[key]) }
    }
  }

  /// Near-duplicate keys, and how ill-conditioned the matrix is that is inverted (with its ridge,
  /// where one is used). Cost m² d / 2, and m³ up to 512 keys.
  private func overlap(_ gram: KeyGram, _ head: Head, _ aside: inout Aside) throws {
    let causal = head.visibility.causal
    var duplicates = 0
    for key in 0..<head.keys {
      for other in 0..<key where gram.pair(key, other) > 0.9 { duplicates += 1 }
    }
    aside.findings.number("duplicates", Double(duplicates), .count, title: "key pairs with G > 0.9")
    guard head.keys <= MapNumbers.rankTokens else { return }
    var matrix = gram.matrix(causal: causal)
    if !causal { for key in 0..<head.keys { matrix[key, key] += knobs[Self.ridge] } }
    let singular = try? SingularValues(matrix)
    aside.findings.number("condition", singular?.conditionNumber, title: "condition number")
  }
}

/// G of the keys of a head: stored up to 1024 keys (8 MB), otherwise entries on demand.
private struct KeyGram: Sendable {
  /// m, in tokens.
  let keys: Int
  /// d, width of a key.
  private let dim: Int
  /// `[keys * dim]`, each of norm d^(1/4), so that a dot product is k̂·k̂/√d; zero keys stay zero.
  private let scaled: [Double]
  /// √d, what the exponent is lowered by.
  private let root: Double
  /// t, in 0...1.
  private let strength: Double
  /// `[keys, keys]`, kept for maps that are wanted whole.
  private let whole: [Double]

  /// Scales the keys, and computes all pairs where that is not too much: m² d / 2.
  init(_ rows: DoubleRows, strength: Double) {
    (keys, dim, self.strength) = (rows.head.keys, rows.dim, strength)
    root = Double(dim).squareRoot()
    var scaled = rows.key
    for key in 0..<keys {
      let range = key * dim..<(key + 1) * dim
      let norm = scaled[range].reduce(0) { $0 + $1 * $1 }.squareRoot()
      guard norm > 0 else { continue }
      let factor = root.squareRoot() / norm
      for x in range { scaled[x] *= factor }
    }
    self.scaled = scaled
    guard keys <= LUCID.card.wholeMap else {
      whole = []
      return
    }
    var whole = [Double](repeating: 1, count: keys * keys)
    for i in 0..<keys {
      for j in 0..<i {
        let value = Self.pair(scaled, dim, root, i, j)
        (whole[i * keys + j], whole[j * keys + i]) = (value, value)
      }
    }
    self.whole = whole
  }

  /// G_ij of the paper, both i and j below `keys`; symmetric, so the mask is up to the caller.
  func pair(_ i: Int, _ j: Int) -> Double {
    if i == j { return 1 }
    return whole.isEmpty ? Self.pair(scaled, dim, root, i, j) : whole[i * keys + j]
  }

  /// exp(dot - √d) of two scaled keys; at most 1 up to rounding.
  private static func pair(_ scaled: [Double], _ dim: Int, _ root: Double, _ i: Int, _ j: Int)
    -> Double
  {
    var dot = 0.0
    scaled.withUnsafeBufferPointer { k in
      for x in 0..<dim { dot += k[i * dim + x] * k[j * dim + x] }
    }
    return exponential(dot - root)
  }

  /// One row of G, NaN beyond the diagonal when causal.
  func fill(_ i: Int, _ out: UnsafeMutableBufferPointer<Float>, _ causal: Bool) {
    for j in 0..<keys { out[j] = causal && j > i ? .nan : Float(pair(i, j)) }
  }

  /// I + t (G - I), `[keys, keys]`.
  func matrix(causal: Bool) -> Matrix {
    Matrix(rows: keys, columns: keys) { i, j in
      i == j ? 1 : (causal && j > i ? 0 : strength * pair(i, j))
    }
  }

  /// w with w (I + t (G - I)) = a over the first `limit` keys of a causal row, from the last key to
  /// the first: `[keys]`, what lies beyond `limit` as it was given.
  func solve(_ a: [Double], _ limit: Int) -> [Double] {
    var w = a
    for m in stride(from: limit - 1, to: 0, by: -1) where w[m] != 0 && strength != 0 {
      let known = w[m] * strength
      guard whole.isEmpty else {
        whole.withUnsafeBufferPointer { g in
          w.withUnsafeMutableBufferPointer { w in
            for j in 0..<m { w[j] -= known * g[m * keys + j] }
          }
        }
        continue
      }
      for j in 0..<m { w[j] -= known * pair(m, j) }
    }
    return w
  }
}
