import Analysis
public import Attention
import Tensors

/// AS-ViT: a patch stays while the class token's attention to it, weighted by the importance of
/// heads, lies above a learned threshold, so that the number kept depends on the image.
///
///     π_hj = ‖o_hj‖ / (Σ over h of ‖o_hj‖ + 1e-8),  o_hj = row j of A_h V_h
///     z_j = Σ over h of A_h,class,j π_hj,  patch j stays iff z_j > θ of the stage
///
/// Paper: "Adaptive Sparse ViT", 2022, arXiv 2209.13802; numbers of its released code.
///
/// Scores are exact. Thresholds are trained: the standards are those that training starts from,
/// which prune nothing where attention is even. Each stage's scores come from the layer before it;
/// here the layer looked at stands for all three. The class token is token 0.
///
/// Findings: `score` `[keys]`, NaN off the image; fields `patches` (z) and `stage_patches` (how
/// many stages a patch survives) `[rows, columns]`, `survivors` `[stages, keys]`; curve `sorted`
/// with a mark at each θ; numbers `kept_N` (tokens, the class token among them), `theta_N`,
/// `kept_mass_N` (share of the class token's mass on patches) of stage N, `flops` (token layers
/// left of all), `spread` (over images: unknown with one).
///
/// Throws `Missing(.imageGrid)`, `Missing(.values)`, and `Missing(.layer)` where the rows of the
/// class token or of a patch are not there. Cost: a forward pass of every head of the layer.
public struct ASViT: AttentionMethod {
  /// θ of the first stage.
  static let theta1 = Knob(
    "theta1", "threshold of the first stage", 0...1, standard: 0.001, step: .multiply(1.25),
    isMain: true, aliases: ["theta"])
  /// θ of the second.
  static let theta2 = Knob(
    "theta2", "threshold of the second stage", 0...1, standard: 0.002, step: .multiply(1.25))
  /// θ of the third.
  static let theta3 = Knob(
    "theta3", "threshold of the third stage", 0...1, standard: 0.003, step: .multiply(1.25))
  /// L, for the work that is left.
  static let blocks = Knob("blocks", "blocks of the transformer", 1...1024, standard: 12)

  /// The scope is a layer.
  public static let card = MethodCard(
    id: "as-vit", title: "Adaptive Sparse ViT", family: "images",
    idea: "A patch stays while the class token's weighted attention to it is above a threshold.",
    source: "Adaptive Sparse ViT, 2022, arXiv 2209.13802", scope: .layer,
    needs: [.imageGrid, .values],
    knobs: [theta1.facts, theta2.facts, theta3.facts, blocks.facts],
    promises: [.deterministic],
    fidelity: .surrogate(.U0, "thresholds are trained; these are what training starts from"),
    mainNumber: "kept_1")

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// Scores and stages of the layer looked at. Throws `Missing`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    guard subject.tokens.grid != nil else { throw Missing(.imageGrid) }
    let head = subject.head, tokens = try ImageTokens(subject.tokens, keys: head.keys)
    let rows = ImageTokens.rows([0] + tokens.visual, head)
    guard rows.count == tokens.visual.count + 1 else {
      throw Missing(.layer, hint: "the query rows of the class token and of every patch")
    }
    let layer = subject.layer, patches = Array(rows.dropFirst())
    let norms = try Self.norms(layer, patches, run)
    let looks = layer.map { head -> [Double] in
      let sums = ImageTokens.sums(run.pattern(head), [rows[0]])
      return tokens.visual.map { sums[$0] }
    }
    var score = [Double](repeating: 0, count: patches.count), mass = score
    for j in patches.indices {
      let sum = norms.reduce(0) { $0 + $1[j] } + 1e-8
      for h in layer.indices {
        score[j] += looks[h][j] * norms[h][j] / sum
        mass[j] += looks[h][j]
      }
    }
    var findings = Findings()
    addStages(score, mass, tokens, &findings)
    if head.visibility.causal {
      findings.note("a causal class token at place 0 sees itself alone: every score is 0")
    }
    if tokens.visual.contains(0) { findings.note("token 0, the class token, is a patch here") }
    findings.note("the scores of this layer stand for every stage")
    findings.note("how the number kept varies needs several images")
    findings.note(Self.card.fidelity.sentence)
    return findings
  }

  /// `[heads][rows]` lengths of output rows. Throws `Missing(.values)`, `CancellationError`.
  private static func norms(_ heads: [Head], _ rows: [Int], _ run: MethodRun) throws -> [[Double]] {
    let tile = TileSpec(rows: MaskNumbers.tile, keys: MaskNumbers.tile)
    let state = AttentionState(threads: run.threads, precision: run.precision)
    return try heads.map { head in
      guard head.value != nil else { throw Missing(.values) }
      try run.checkCancellation()
      var trace = Trace()
      guard
        let output = attendByTiles(HeadGroup([head]), tile, .blasst(lambda: 0), state, &trace)?[0]
      else { throw CancellationError() }
      let width = head.valueDim
      return rows.map { row in
        output[row * width..<(row + 1) * width].reduce(0) { $0 + Double($1) * Double($1) }
          .squareRoot()
      }
    }
  }

  /// Blocks before which tokens are dropped: published for 12, 16 and 20 blocks, else in
  /// proportion (ours).
  private var places: [Int] {
    let blocks = knobs[Self.blocks]
    switch blocks {
    case 16: return [5, 9, 13]
    case 20: return [6, 11, 16]
    default:
      return [4, 7, 10].map { Int((Double(blocks * $0) / 12).rounded()) }
    }
  }

  /// Everything about stages; `score` and `mass` (over heads, from the class token) are `[visual]`.
  private func addStages(
    _ score: [Double], _ mass: [Double], _ tokens: ImageTokens, _ findings: inout Findings
  ) {
    let thetas = [Self.theta1, Self.theta2, Self.theta3].map { knobs[$0] }
    let others = tokens.keys - tokens.visual.count, blocks = knobs[Self.blocks]
    var left = Array(score.indices), kept: [[Int]] = [], stays = score.map { _ in 0.0 }
    var work = Double(tokens.keys * places[0])
    let total = mass.reduce(0, +)
    for (stage, theta) in thetas.enumerated() {
      left = left.filter { score[$0] > theta }
      for index in left { stays[index] += 1 }
      kept.append(left)
      let end = stage + 1 < places.count ? places[stage + 1] : blocks
      work += Double((left.count + others) * (end - places[stage]))
      findings.number(
        "kept_\(stage + 1)", Double(left.count + others), .tokens,
        title: "tokens kept, stage \(stage + 1)")
      findings.number("theta_\(stage + 1)", theta, .setting, title: "threshold, stage \(stage + 1)")
      findings.number(
        "kept_mass_\(stage + 1)", total > 0 ? left.reduce(0) { $0 + mass[$1] } / total : nil,
        .share, title: "class token's mass kept, stage \(stage + 1)")
    }
    findings.number(
      "flops", work / Double(tokens.keys * blocks), .share, title: "work left, in token layers")
    findings.number("spread", nil, .tokens, title: "spread of kept tokens over images")
    tokens.image("patches", score, .magnitude(.share), title: "score, on the image", to: &findings)
    tokens.image(
      "stage_patches", stays,
      .labels(["dropped at stage 1", "dropped at stage 2", "dropped at stage 3", "kept"]),
      title: "stages survived, on the image", to: &findings)
    tokens.strip("score", score, .share, title: "score z", to: &findings)
    tokens.film(
      "survivors", kept, stages: places.map { "block \($0)" }, title: "kept by each stage",
      to: &findings)
    let sorted = score.sorted(by: >)
    findings.curve(
      "sorted",
      Curve(
        x: "patches", y: "score",
        points: sorted.enumerated().map { Curve.Point(Double($0 + 1), $1) },
        marks: thetas.map { theta in
          Curve.Mark("θ", x: Double(score.count { $0 > theta }), y: theta)
        }), title: "scores, sorted")
    if ![12, 16, 20].contains(blocks) {
      findings.note("stages of \(blocks) blocks in proportion to those of 12 (ours)")
    }
  }
}
