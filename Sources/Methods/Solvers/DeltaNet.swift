import Algebra
public import Analysis
public import Attention
import Tensors

/// DeltaNet as a map: a memory that corrects itself by one step of gradient descent a token.
///
///     S_t = S_(t-1) + β_t (v_t - S_(t-1) k̂_t) k̂_tᵀ         out_t = S_t q̂_t
///     W   = tril(Q̂ K̂ᵀ) (I + strictTril(diag β K̂ K̂ᵀ))⁻¹ diag β
///
/// with hats for vectors of length 1. A row needs no inverse: with p = q̂_i, from j = i down to 0,
///
///     W_ij = β_j k̂_j · p,     p ← p - W_ij k̂_j
///
/// so that a row costs i d and keeps d numbers. β = 1 replaces what a key held, β = 0.5 meets the
/// new value halfway. The form is that of "Test-time regression", JMLR 2026, arXiv 2501.12352; the
/// layer is that of Yang et al., "Parallelizing linear transformers with the delta rule over
/// sequence length", NeurIPS 2024, arXiv 2406.06484.
///
/// The layer learns β_t = σ(w · x_t). Where the file holds it (`layers.N.beta` `[heads, tokens]`)
/// and the knob `beta` is not given, each token has its own, and the map is the layer's; else one β
/// for all tokens stands for it (U0). w and hidden states, which would give it too, are not read.
/// Keys of zeros write nothing.
///
/// Findings: those of every map, `leverage`, `spectrum`, `recall_error`, `degrees_of_freedom`
/// (Σ β over keys that are not zero), cost of a token (`CostFacts`); with a β of each token the
/// series `beta` `[keys]`. Needs Q and K of a causal
/// head. Cost n² d, all in double precision; above 512 tokens rows are computed as they are looked
/// at.
public struct DeltaNet: Smoother {
  /// β, without a unit; what `[` and `]` move.
  static let beta = Knob(
    "beta", "step of a token, over what a file says: 1 replaces, 0 writes nothing", 0...2,
    standard: 1.0, step: .add(0.05), isMain: true)

  /// Ranked by the recall test: how well the last query finds what was stored. The scope is a
  /// layer, whose file says β by head.
  public static let card = MethodCard(
    id: "deltanet", title: "DeltaNet", family: "solvers",
    idea:
      """
      Every token first erases what its key already holds, then writes its value: one step of \
      gradient descent.
      """,
    source: "Test-time regression, JMLR 2026, arXiv 2501.12352; the layer: arXiv 2406.06484",
    scope: .layer, needs: [.queryKey], knobs: [beta.facts],
    fidelity: .surrogate(
      .U0, "one beta for all tokens, unless the file holds the one that the layer gave each"),
    wholeMap: 512,
    mainField: "map", mainNumber: "recall_error",
    variants: ["deltanet-half": ["beta": .number(0.5)]])

  private let knobs: CheckedKnobs
  /// β of each token `[keys]`, where the source has it.
  private var strengths: [Double]?

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The findings of a map, by the β of the source where there is one. Throws `Missing`,
  /// `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    var method = self
    method.strengths = try own(subject)
    return try method.examineHat(subject, run)
  }

  /// β of the head that is looked at, `[keys]`; nil where the knob is given, or nothing is known.
  /// Throws `Missing(.writeStrengths)` for what is no β of these heads.
  private func own(_ subject: Subject) throws -> [Double]? {
    guard !knobs.given.contains(Self.beta.facts.name),
      let all = try? subject.array(.writeStrengths, layer: subject.focus.layer)
    else { return nil }
    let heads = subject.layer.count
    guard all.shape.rank == 2, all.shape[1] == subject.head.keys, all.shape[0] > 0,
      heads % all.shape[0] == 0
    else {
      throw Missing(
        .writeStrengths, hint: "\(all.shape) is no [heads, tokens] of \(heads) heads; set beta")
    }
    let own = all[subject.focus.head / (heads / all.shape[0])].floats().map(Double.init)
    guard own.allSatisfy({ (0...2).contains($0) }) else {
      throw Missing(.writeStrengths, hint: "they are not all within 0 and 2; set beta")
    }
    return own
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)` for stored maps
  /// and bidirectional heads, and `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    try Missing.unlessCausal(head, "every token corrects what those before it wrote")
    let rows = try RegressionRows(head)
    let one = [Double](repeating: knobs[Self.beta], count: head.keys)
    let rule = DeltaRule(rows, beta: strengths ?? one)
    if let strengths {
      aside.findings.note("beta of each token is the file's: exact")
      aside.findings.series(
        "beta", Axis(.key, head.keys), strengths.map { Float($0) }, title: "step of each token")
    }
    try rule.addFacts(rows, run, upTo: Self.card.wholeMap, to: &aside.findings)
    if run.wantsNumbers {
      // Reading S k̂ before it is corrected comes on top of writing and of the answer.
      let read = 2 * head.dim * max(head.valueDim, 1)
      CostFacts(head, features: head.dim, isNormalised: false, extraFlops: Double(read))
        .add(to: &aside.findings)
    }
    return rule.map(rows)
  }
}

/// The delta rule, read backwards from a query.
struct DeltaRule: Regression {
  /// d.
  private let dim: Int
  /// `[keys * dim]` of length 1, or zero.
  private let keys: [Double]
  /// `[keys]`
  private let beta: [Double]

  /// `beta` `[keys]` is that of each token.
  init(_ rows: RegressionRows, beta: [Double]) {
    (dim, self.beta) = (rows.dim, beta)
    keys = KernelRows.unit(rows.key, dim: rows.dim).elements
  }

  /// One row, by the recurrence over keys from the last to the first.
  func weights(_ query: [Double], _ place: RowPlace) -> [Double] {
    var out = [Double](repeating: 0, count: place.limit)
    var left = KernelRows.unit(query, dim: dim).elements
    left.withUnsafeMutableBufferPointer { left in
      keys.withUnsafeBufferPointer { keys in
        guard let p = left.baseAddress, let all = keys.baseAddress else { return }
        for j in (0..<place.limit).reversed() {
          let key = all + j * dim, weight = beta[j] * Vectors.dot(key, p, dim)
          out[j] = weight
          for x in 0..<dim { p[x] -= weight * key[x] }
        }
      }
    }
    return out
  }
}
