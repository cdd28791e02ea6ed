import Attention
import Backends
import Foundation
import Methods
import Models
import Sessions
import Support
import Tensors
import Testing

/// Says what it was given.
private struct Wide: AttentionMethod {
  static let card = MethodCard(
    id: "wide", title: "Wide", family: "tests", idea: "Counts what it is shown.",
    source: "Nobody, 2026", scope: .model, knobs: [], fidelity: .exact)

  init(knobs: Knobs) throws(KnobError) { _ = try CheckedKnobs(knobs, for: Self.card) }

  func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    var findings = Findings()
    findings.number("layers", Double(subject.layers.count), .count)
    findings.number("heads", Double(subject.layers.map(\.count).min() ?? 0), .count)
    findings.number("focus", Double(subject.numbers[subject.focus.layer].value), .count)
    findings.number("rows", Double(subject.head.queries), .count)
    return findings
  }
}

/// What methods that look beyond a head are given of a run.
@Suite(.timeLimit(.minutes(5))) struct LiveSubjectTests {
  private static let depth = MethodSetting("attention-residuals", ["query": .word("self")])

  /// A run of twenty tokens of a prompt and so many more, paused.
  private static func with(
    steps: Int = 0, residualBudget: Int = ResidualRecord.standardBudget,
    _ body: (LocalBackend, LanguageModel, LiveStatus) async throws -> Void
  ) async throws {
    try await SmallModel.with { model in
      let backend = try LocalBackend(
        model, prompt: SmallModel.prompt,
        RunOptions(
          attention: RunControlTests.dense, startsPaused: true, residualBudget: residualBudget),
        registry: Registry(Registry.standard.methods + [Wide.self]))
      backend.start()
      if steps > 0 { backend.send(.step(steps)) }
      for await moment in backend.moments {
        guard case .live(let status) = moment, status.phase == .paused,
          status.frame.tokens == 20 + steps
        else { continue }
        try await body(backend, model, status)
        break
      }
      await backend.finish()
    }
  }

  private static func findings(_ backend: LocalBackend, _ setting: MethodSetting, _ frame: Frame)
    async throws -> Findings
  {
    let question = Question.findings(HeadID(layer: 1, head: 2), setting, beside: nil)
    let answer = try await backend.answer(question, at: frame)
    guard case .findings(let findings) = answer else {
      throw KnobError("no findings but \(answer)")
    }
    return findings
  }

  @Test func aMethodOfTheWholeModelSeesEveryLayer() async throws {
    try await Self.with(steps: 2) { backend, _, status in
      let found = try await Self.findings(backend, MethodSetting("wide"), status.frame)
      #expect(found["layers"]?.number == 2 && found["heads"]?.number == 4)
      #expect(found["focus"]?.number == 1 && found["rows"]?.number == 22)
      let before = try await Self.findings(backend, MethodSetting("wide"), Frame(tokens: 9))
      #expect(before["layers"]?.number == 2 && before["rows"]?.number == 9)
    }
  }

  /// The same numbers as those of `capture --residuals`, and on from there token by token.
  @Test func depthIsReadOffTheRun() async throws {
    try await Self.with(steps: 3) { backend, model, status in
      #expect(backend.describe().holds.contains(.residuals))
      let record = ResidualRecord(model.config, beside: QueryRecord(model.config))
      let state = RunState(model)
      let plan = try RunControlTests.dense.plan()
      model.prefill(SmallModel.prompt, state, plan, observer: record)
      let tensor = try #require(record.tensor(tokens: 20))
      #expect(tensor.shape.axes == [5, 20, TinyModel.width])
      let q = Tensor([Float](repeating: 0, count: 4), shape: [1, 4])
      let subject = Subject(layers: [[Head(query: q, key: q, value: nil, causal: true)]]) { _, _ in
        tensor
      }
      let method = try Registry.standard.make(Self.depth)
      let captured = try method.examine(subject, MethodRun())
      let live = try await Self.findings(backend, Self.depth, Frame(tokens: 20))
      for name in ["depth_entropy", "weight_embedding", "growth_standard", "cosine"] {
        #expect(live[name]?.number == captured[name]?.number, "\(name)")
      }
      #expect(live.field("depth")?.field.rows.count == 5)

      // Tokens that were decoded have theirs, too: what a prompt of all tokens would say, about.
      guard case .steps(_, let steps) = try await backend.answer(.steps(branch: 0, 20..<23))
      else { throw KnobError("no steps") }
      let whole = ResidualRecord(model.config, beside: QueryRecord(model.config))
      model.prefill(
        SmallModel.prompt + steps.map(\.token), RunState(model), plan, observer: whole)
      let all = try #require(whole.tensor(tokens: 23))
      var last = Self.depth
      last.knobs["token"] = .number(22)
      let there = try Registry.standard.make(last).examine(
        Subject(layers: [[Head(query: q, key: q, value: nil, causal: true)]]) { _, _ in all },
        MethodRun())
      let decoded = try await Self.findings(backend, last, status.frame)
      for name in ["depth_entropy", "weight_embedding", "growth_standard", "cosine"] {
        let (a, b) = try (#require(decoded[name]?.number), #require(there[name]?.number))
        #expect(abs(a - b) < 0.02 * max(1, abs(b)), "\(name): \(a), \(b)")
      }
    }
  }

  @Test func aBranchHasItsOwn() async throws {
    try await Self.with(steps: 6) { backend, _, _ in
      let frame = Frame(branch: 0, tokens: 24)
      let trunk = try await Self.findings(backend, Self.depth, frame)
      backend.send(.branch(from: frame, RunControlTests.sparse))
      for await moment in backend.moments {
        if case .live(let status) = moment, status.phase == .paused, status.lengths.count == 2 {
          break
        }
      }
      let shared = try await Self.findings(backend, Self.depth, Frame(branch: 1, tokens: 22))
      let same = try await Self.findings(backend, Self.depth, Frame(branch: 0, tokens: 22))
      #expect(shared["depth_entropy"]?.number == same["depth_entropy"]?.number)
      let own = try await Self.findings(backend, Self.depth, Frame(branch: 1, tokens: 30))
      #expect(own["depth_entropy"]?.number?.isFinite == true)
      // What the trunk said of itself stays.
      let again = try await Self.findings(backend, Self.depth, frame)
      #expect(again["depth_entropy"]?.number == trunk["depth_entropy"]?.number)
    }
  }

  /// What cannot be kept says so in a sentence, with the way to it.
  @Test(arguments: [
    (0, "needs residuals: capture --residuals"),
    (
      4 * 5 * TinyModel.width * 21,
      "needs residuals: they were let go, for a long text or other branches; capture --residuals"
    ),
  ]) func withoutResidualsItSaysWhatWouldHelp(_ budget: Int, _ sentence: String) async throws {
    try await Self.with(steps: 3, residualBudget: budget) { backend, _, status in
      #expect(backend.describe().holds.contains(.residuals) == (budget > 0))
      let question = Question.findings(HeadID(layer: 0, head: 0), Self.depth, beside: nil)
      let answer = try await backend.answer(question, at: status.frame)
      guard case .unavailable(let why) = answer else {
        Issue.record("\(answer)")
        return
      }
      #expect(why == sentence)
    }
  }
}
