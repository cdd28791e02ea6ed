public import Attention

/// Dynamic blocked sparsity by softmax thresholding: skip softmax.
///
/// In the online softmax over key blocks, with m the running row maxima and t a block's row maxima:
///
///     skip block  <=>  max over the tile's rows of (t - m) < ln(lambda)
///
/// A skipped block changes neither m nor the sums nor O: no exp, no load of V, no P V. The first visited block is never
/// skipped. For lambda <= 1 the margins do not depend on lambda. Paper: "BLASST: Dynamic BLocked Attention Sparsity via
/// Softmax Thresholding", 2025, arXiv 2512.12087.
public struct BLASST: AttentionMethod {
  public static let card = MethodCard(
    id: "blasst", title: "BLASST (skip softmax)", family: "softmax",
    idea:
      "Skip a key block whose scores all lie more than ln(1/lambda) below the running row maxima.",
    citation:
      "BLASST: Dynamic BLocked Attention Sparsity via Softmax Thresholding, 2025, arXiv 2512.12087",
    knobs: [
      Knob("lambda", "threshold; 0 is dense", .number(0...1), standard: .number(0.01)),
      Knob(
        "rows", "query rows that vote together; 0: 128 in prefill, 1 in decode",
        .integer(0...1 << 20), standard: .number(0)),
      Knob("keys", "keys of a block", .integer(1...1 << 20), standard: .number(128)),
      Knob(
        "vote", "who decides", .words(["standard", "head", "group"]), standard: .word("standard")),
      Knob(
        "order", "of key blocks", .words(Order.allCases.map(\.rawValue)),
        standard: .word("ascending")),
      Knob(
        "criterion",
        "what a block's maxima are compared with: the running maximum, or the running log-sum-exp",
        .words(Criterion.allCases.map(\.rawValue)), standard: .word("max")),
      Knob(
        "splits", "split-K: runs of key blocks with a running maximum of their own",
        .integer(1...1 << 20), standard: .number(1)),
      Knob(
        "screen", "skip on the word of an int8 bound where it can tell; results stay the same bits",
        .words(Screening.allCases.map(\.rawValue)), standard: .word("none")),
    ], denseKnobs: ["lambda": .number(0)])

  private let knobs: CheckedKnobs

  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The knobs of a tile and a lambda.
  public static func knobs(_ spec: TileSpec, lambda: Double) -> Knobs {
    [
      "lambda": .number(max(0, min(1, lambda))), "rows": .number(Double(spec.rows)),
      "keys": .number(Double(spec.keys)), "vote": .word(spec.vote.rawValue),
      "order": .word(spec.order.rawValue), "criterion": .word(spec.criterion.rawValue),
      "splits": .number(Double(spec.splits)),
    ]
  }

  public var lambda: Double { knobs.number("lambda") }

  public func spec(queries: Int) -> TileSpec {
    var spec = TileSpec.standard(queries: queries)
    if knobs.integer("rows") > 0 { spec.rows = knobs.integer("rows") }
    spec.keys = knobs.integer("keys")
    if let vote = Vote(rawValue: knobs.word("vote")) { spec.vote = vote }
    spec.order = Order(rawValue: knobs.word("order")) ?? .ascending
    spec.criterion = Criterion(rawValue: knobs.word("criterion")) ?? .max
    spec.splits = knobs.integer("splits")
    return spec
  }

  private var screen: Screening { Screening(rawValue: knobs.word("screen")) ?? .none }

  public func attend(_ group: HeadGroup, state: inout AttentionState, trace: inout Trace)
    -> [[Float]]?
  {
    attendByTiles(
      group, spec(queries: group.queries), .blasst(lambda: lambda), state, &trace, screen: screen)
  }

  public func decode(
    _ query: UnsafePointer<Float>, _ keys: CachedKeys, _ row: DecodeRow,
    into output: UnsafeMutablePointer<Float>
  ) -> Bool {
    row.blasst(query, keys, spec(queries: 1), lambda: lambda, screen: screen, into: output)
  }
}
