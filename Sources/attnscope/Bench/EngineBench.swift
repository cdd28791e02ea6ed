import Attention
import Kernels
import Methods
import Models
import Tensors

/// How fast the engine reads prompts and decodes, beside the memory bandwidth that bounds it.
///
/// Dense attention, so that the figures can be compared with other engines. A token's weights
/// are read once: bandwidth over weight bytes is the ceiling of decoding.
struct EngineBench {
  /// Weights in memory.
  let model: LanguageModel
  /// Turns of each figure.
  let repeats: Int
  /// Takes turns with prompts and decoding; nil for none.
  let baseline: Baseline?

  /// Measures nothing yet.
  init(_ model: LanguageModel, repeats: Int, baseline: Baseline?) {
    (self.model, self.repeats, self.baseline) = (model, repeats, baseline)
  }

  /// Tokens of the prompt, and of the text that is decoded.
  private static let prompt = 512
  /// Tokens that are decoded after the prompt.
  private static let decoded = 128

  /// Bytes first, then speeds.
  func figures() -> [BenchFigure] {
    let bandwidth = Ceilings.bandwidth(repeats: repeats)
    var out = [
      count("a token", "weights read", Double(model.weightBytes) / 1e6, "MB"),
      count(
        "a position", "cache", Double(RunState.cacheBytesPerToken(model.config)) / 1e3, "KB"),
      count(
        "a position", "queries recorded",
        Double(QueryRecord.bytesPerPosition(model.config)) / 1e3, "KB"),
      BenchFigure(
        suite: "engine", name: "memory", metric: "read", values: bandwidth, unit: "GB/s"),
    ]
    let best = bandwidth.sorted()[bandwidth.count / 2]
    out.append(prefill())
    for context in [0, 1024] { out.append(decode(after: context, bandwidth: best)) }
    return out
  }

  /// A figure that is counted and not measured.
  private func count(_ name: String, _ metric: String, _ value: Double, _ unit: String)
    -> BenchFigure
  {
    BenchFigure(
      suite: "engine", name: name, metric: metric, values: [value], unit: unit)
  }

  /// Seconds that `body` takes.
  private func timed(_ body: () -> Void) -> Double { Ceilings.timed(body) }

  /// One turn of the baseline, if there is one and it can.
  private func theirs(_ name: String, _ tokens: Int, context: Int) -> Double? {
    baseline?.seconds(
      .object([
        ("suite", .string("engine")), ("case", .string(name)), ("tokens", .integer(tokens)),
        ("context", .integer(context)), ("threads", .integer(ComputeThreads.shared.count)),
      ]))
  }

  /// Dense in both phases.
  private func plan() -> AttentionPlan {
    AttentionPlan(prefill: try! Dense(knobs: [:]), decode: try! Dense(knobs: [:]))
  }

  /// Tokens that mean nothing and repeat for a long time: speed does not depend on the text.
  private func tokens(_ count: Int) -> [Int] {
    (0..<count).map { 1000 + $0 * 7919 % (model.config.vocabulary / 2) }
  }

  /// Tokens a second over a whole prompt. One unmeasured run brings the weights into memory.
  private func prefill() -> BenchFigure {
    let tokens = tokens(Self.prompt)
    _ = state(tokens)
    var ratios: [Double] = []
    let speeds = (0..<repeats).map { _ in
      let seconds = timed { _ = state(tokens) }
      if let other = theirs("prefill", tokens.count, context: 0) { ratios.append(other / seconds) }
      return Double(tokens.count) / seconds
    }
    return BenchFigure(
      suite: "engine", name: "prefill \(tokens.count)", metric: "speed", values: speeds,
      unit: "tokens/s", against: ratios.isEmpty ? nil : baseline?.name, ratios: ratios)
  }

  /// A state that has read `tokens`.
  private func state(_ tokens: [Int]) -> RunState {
    let state = RunState(model)
    model.prefill(tokens, state, plan())
    return state
  }

  /// Tokens a second behind a context. Every token reads all weights, and the keys and values
  /// of all positions before it; the ceiling takes the middle of the text for those.
  private func decode(after context: Int, bandwidth: Double) -> BenchFigure {
    let start = max(context, 4), plan = plan()
    var ratios: [Double] = []
    let speeds = (0..<repeats).map { _ in
      let state = state(tokens(start))
      let seconds = timed {
        state.team.run {
          for token in tokens(Self.decoded) { model.decode(token, state, plan) }
        }
      }
      if let other = theirs("decode", Self.decoded, context: start) {
        ratios.append(other / seconds)
      }
      return Double(Self.decoded) / seconds
    }
    let positions = Double(start + Self.decoded / 2)
    let bytes =
      Double(model.weightBytes) + positions * Double(RunState.cacheBytesPerToken(model.config))
    return BenchFigure(
      suite: "engine", name: "decode \(Self.decoded) after \(start)", metric: "speed",
      values: speeds, unit: "tokens/s", ceiling: bandwidth * 1e9 / bytes,
      against: ratios.isEmpty ? nil : baseline?.name, ratios: ratios)
  }
}
