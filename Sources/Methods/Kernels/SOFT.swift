import Algebra
public import Analysis
public import Attention
import Tensors

/// SOFT: a Gaussian kernel in place of softmax, whole or by landmarks.
///
///     G_ij = exp(-½ ‖x_i - y_j‖²),   x = q / d^¼,   y = x (tied, the paper's K = Q) or k / d^¼
///     C = G(x, x̃) [n, m],  B = G(x̃, x̃) [m, m],  W = C B† Cᵀ
///     B†: X_0 = α P,  X ← 2 X - X P X,   P = B + 0.01 I,  α = 1.8 / (largest row sum of B)²
///     symmetric: B† becomes D^-½ B† D^-½,  D = diag(B 1)
///
/// Papers: Lu et al., "SOFT: Softmax-free Transformer with Linear Complexity", NeurIPS 2021, arXiv
/// 2110.11945; "Softmax-free Linear Transformers", IJCV 2024, arXiv 2207.03341. The full kernel is
/// exact. Trained landmarks (a strided convolution, LayerNorm and GELU) are replaced: `block-mean`
/// (U2) is the mean of each run of ⌈n/m⌉ tokens, of each rectangle where the tokens are patches of
/// an image; `block-first` (U0) the first token of each. The depthwise convolution of V (kernel 3)
/// is trained and no mixing matrix: it is left out, and a note says so.
///
/// Tied maps leave the head's own keys out, untied ones (ours) take them; landmarks are of tied
/// kernels alone. Causal maps are ours: the whole kernel is masked, the landmark map after it was
/// formed. `row_normalised` divides a row by its sum: untied, that is softmax(S_ij - ‖k_j‖² / 2√d).
/// `inverse` is `newton` as above, `newton-unshifted` (P = B, α = 2 / …², halved up to ten times
/// while ‖I - P X_0‖₁ > 1.01) or `exact`, by eigenvalues.
///
/// Findings: those of every map; fields `dense` (softmax) and, with landmarks, `kernel` (all of G
/// that is seen) and `difference` (W less G); series `landmarks` `[keys]` (1 where one begins),
/// `newton_residual` (‖I - P X‖ by iteration, largest entry) and `landmark_spectrum` (of B);
/// numbers `landmark_count`, `kernel_error` (‖W - G‖ / ‖G‖ before masking), `kernel_rank`,
/// `residual`, `spectral_norm` and `spectral_norm_symmetric` (of the unmasked map). Throws
/// `Missing(.queryKey)` for stored maps, and for tied maps of fewer queries than keys. Cost n² d;
/// with landmarks n m d + m³ an iteration, and n m a row.
public struct SOFT: MapMethod {
  /// Which tokens stand for all.
  enum Landmark: String, Sendable, CaseIterable {
    case none
    case mean = "block-mean"
    case first = "block-first"
  }

  /// What `[` and `]` move.
  static let landmarks = Knob(
    "landmarks", "none: the whole kernel", standard: Landmark.none, isMain: true)
  static let tied = Knob("tied", "keys are the queries, as in the paper", standard: true)
  static let rowNormalised = Knob(
    "row_normalised", "each row over its sum", standard: false, aliases: ["normalised"])
  /// m, in landmarks.
  static let count = Knob(
    "m", "landmarks; 0: 49 for images, else n / 8 within 8 to 64", 0...256, standard: 0,
    step: .multiply(2))
  static let inverse = Knob("inverse", "how B is inverted", standard: LandmarkInverse.newton)
  /// Turns of the iteration.
  static let iterations = Knob("iterations", "of Newton's method", 0...100, standard: 20)
  static let symmetric = Knob(
    "symmetric", "B scaled by its row sums, from both sides", standard: false)

  /// Rows do not sum to 1, so that the error is large before anything is trained.
  public static let card = MethodCard(
    id: "soft", title: "SOFT", family: "kernel",
    idea: "A Gaussian kernel of queries in place of softmax, which a few landmarks can stand for.",
    source: "Lu et al., SOFT: Softmax-free Transformer, NeurIPS 2021, arXiv 2110.11945",
    needs: [.queryKey],
    knobs: [
      landmarks.facts, tied.facts, rowNormalised.facts, count.facts, inverse.facts,
      iterations.facts, symmetric.facts,
    ], wholeMap: 2048, mainField: "map", mainNumber: "error",
    variants: [
      "soft-tied": ["tied": .word("true")], "soft-untied": ["tied": .word("false")],
      "soft-untied-normalised": ["tied": .word("false"), "row_normalised": .word("true")],
      "soft-nystrom": ["landmarks": .word("block-mean")],
      "soft-nystrom-symmetric": [
        "landmarks": .word("block-mean"), "symmetric": .word("true"),
      ],
    ],
    knobFidelity: { knobs in
      guard let plain = try? plain(knobs) else { return nil }
      return switch plain["landmarks"] {
      case .word(Landmark.mean.rawValue): .surrogate(.U2, meanLandmarks)
      case .word(Landmark.first.rawValue): .surrogate(.U0, firstLandmarks)
      default: nil
      }
    })

  /// What stands for the layer's own landmarks.
  private static let meanLandmarks =
    "landmarks are means of tokens, in place of a trained convolution"
  private static let firstLandmarks = "landmarks are tokens, in place of a trained convolution"

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob, a value outside its range, and landmarks of an untied
  /// kernel.
  public init(knobs: Knobs) throws(KnobError) {
    let checked = try CheckedKnobs(Self.plain(knobs), for: Self.card)
    guard checked[Self.tied] || checked[Self.landmarks] == .none else {
      throw KnobError("soft: landmarks are queries, so they need tied=true or landmarks=none")
    }
    self.knobs = checked
  }

  /// The same from the words of the paper's settings: `landmarks=block mean`, `m=default`, and
  /// `inverse=newton 20` for `inverse=newton,iterations=20`. Throws `KnobError` where iterations
  /// are given twice.
  private static func plain(_ knobs: Knobs) throws(KnobError) -> Knobs {
    var knobs = knobs
    if case .word(let text)? = knobs["landmarks"] {
      knobs["landmarks"] = .word(text.split(separator: " ").joined(separator: "-"))
    }
    if case .word(let text)? = knobs["m"], text.lowercased() == "default" {
      knobs["m"] = count.facts.standard
    }
    guard case .word(let text)? = knobs["inverse"] else { return knobs }
    let words = text.split(separator: " ")
    guard words.count == 2, let turns = Double(words[1]), words[0].lowercased() != "exact" else {
      return knobs
    }
    if let given = knobs["iterations"], given != .number(turns) {
      throw KnobError("soft: inverse=\(text) says its iterations, and iterations is \(given)")
    }
    knobs["inverse"] = .word(String(words[0]))
    knobs["iterations"] = .number(turns)
    return knobs
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)`, `AlgebraError`,
  /// `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let isTied = knobs[Self.tied], isNormalised = knobs[Self.rowNormalised]
    let rows = DoubleRows(head)
    let kernel = try GaussianKernel(rows, isTied: isTied)
    KernelRows.addDense(rows, to: &aside.findings)
    if head.visibility.causal { aside.findings.note("ours: the causal mask; the paper has none") }
    aside.findings.note("left out: the layer's depthwise convolution of V, which is trained")
    aside.findings.note(
      isTied
        ? "keys are the queries: the head's own keys play no part"
        : "ours: keys are the head's own; the paper ties them to the queries")
    guard knobs[Self.landmarks] != .none else {
      return KernelRows.field(head) { row in
        isNormalised
          ? Elementary.softmax(kernel.exponents(row), limit: head.visibility.limit(row: row))
          : kernel.values(row)
      }
    }
    let low = try landmarkMap(kernel, run, &aside)
    aside.findings.field(
      "kernel", KernelRows.field(head) { kernel.values($0) }, .signed, title: "all of the kernel")
    aside.findings.field(
      "difference",
      KernelRows.field(head) { row in zip(low.row(row), kernel.values(row)).map { $0 - $1 } },
      .signed, title: "landmark map less the kernel")
    if run.wantsNumbers {
      let facts = LandmarkFacts(map: low, kernel: kernel)
      try facts.add(run, whole: Self.card.wholeMap, to: &aside.findings)
    }
    return KernelRows.field(head) { query in
      var values = low.row(query)
      if isNormalised { KernelRows.normalise(&values, limit: head.visibility.limit(row: query)) }
      return values
    }
  }

  /// C B† Cᵀ of the head's landmarks. Throws `AlgebraError`, `CancellationError`.
  private func landmarkMap(_ kernel: GaussianKernel, _ run: MethodRun, _ aside: inout Aside) throws
    -> LandmarkMap
  {
    let isMean = knobs[Self.landmarks] == .mean
    let chosen = Landmarks(
      kernel.queries, count: knobs[Self.count], isMean: isMean, grid: run.tokens.grid)
    aside.findings.note(isMean ? "U2: \(Self.meanLandmarks)" : "U0: \(Self.firstLandmarks)")
    if chosen.isImage { aside.findings.note("landmarks of the patches of the image alone") }
    return try LandmarkMap(
      kernel.queries, chosen, knobs[Self.inverse], iterations: knobs[Self.iterations],
      isSymmetric: knobs[Self.symmetric], run)
  }
}

/// Rows of G.
struct GaussianKernel: Sendable {
  /// x `[queries][d]` and y `[keys][d]`, both times the root of the head's scale.
  let queries: Matrix, keys: Matrix

  /// Throws `Missing(.queryKey)` for stored maps, and where a tied key has no query.
  init(_ rows: DoubleRows, isTied: Bool) throws {
    let head = rows.head
    guard head.queryAndKey != nil else { throw Missing(.queryKey) }
    let isSquare = head.queries == head.keys && head.visibility.offset == 0
    guard !isTied || isSquare else {
      throw Missing(
        .queryKey, hint: "a query of every key, as keys are queries here; or tied=false")
    }
    // Of a negative scale the sign has no place in a distance.
    let factor = head.scale.magnitude.squareRoot()
    queries = KernelRows.matrix(rows.query, dim: rows.dim, times: factor)
    keys = isTied ? queries : KernelRows.matrix(rows.key, dim: rows.dim, times: factor)
  }

  /// -½ ‖x_i - y_j‖² of one row of `a` with all of `b`: `[b.rows]`, in nats.
  static func exponents(_ a: Matrix, _ row: Int, _ b: Matrix) -> [Double] {
    let d = a.columns
    return a.elements.withUnsafeBufferPointer { a in
      b.elements.withUnsafeBufferPointer { b in
        (0..<(d > 0 ? b.count / d : 0)).map { key in
          var sums = (0.0, 0.0, 0.0, 0.0), x = 0
          while x + 4 <= d {
            let (p, q) = (row * d + x, key * d + x)
            let (s, t) = (a[p] - b[q], a[p + 1] - b[q + 1])
            let (u, v) = (a[p + 2] - b[q + 2], a[p + 3] - b[q + 3])
            sums = (sums.0 + s * s, sums.1 + t * t, sums.2 + u * u, sums.3 + v * v)
            x += 4
          }
          while x < d {
            let off = a[row * d + x] - b[key * d + x]
            sums.0 += off * off
            x += 1
          }
          return -0.5 * ((sums.0 + sums.2) + (sums.1 + sums.3))
        }
      }
    }
  }

  /// Exponents of a query with every key, seen or not: `[keys]`.
  func exponents(_ row: Int) -> [Double] { Self.exponents(queries, row, keys) }

  /// G of a query, `[keys]`, seen or not.
  func values(_ row: Int) -> [Double] { exponents(row).map { exponential($0) } }

  /// G of every row of `a` with every row of `b`, on all threads: `[a.rows][b.rows]`. Throws
  /// `CancellationError`.
  static func matrix(_ a: Matrix, _ b: Matrix, _ run: MethodRun) throws -> Matrix {
    Matrix(
      rows: a.rows, columns: b.rows,
      elements: try RowPicks.spread(a.rows, by: 32, run) { part in
        part.flatMap { exponents(a, $0, b).map { exponential($0) } }
      })
  }
}
