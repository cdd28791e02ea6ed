import Attention
import Backends
import Foundation
import Models
import Sessions
import Support
import Synchronization
import Tensors
import Testing

#if DEBUG
  @testable import Backends
#endif

/// A small model whose text has no end of its own.
enum SmallModel {
  static let prompt = (0..<20).map { 20 + $0 * 7 % 90 }

  static func with<R>(_ body: (LanguageModel) async throws -> R) async throws -> R {
    let path = FileManager.default.temporaryDirectory.appending(path: "loop-\(UUID()).gguf").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    var tiny = TinyModel("llama", .q8_0, seed: 4)
    tiny.gguf.set("tokenizer.ggml.eos_token_id", .u32(.max))
    tiny.gguf.set(
      "tokenizer.ggml.token_type", .i32s([Int32](repeating: 1, count: tiny.vocabulary)))
    try Data(tiny.bytes).write(to: URL(filePath: path))
    return try await body(try LanguageModel(path))
  }
}

/// Stands where a backend would: a control, and everything that the loop told.
private final class Desk: StepSink {
  struct Told: Sendable {
    var control: RunControl
    var taken: [RunControl.Taken] = []
    var standings: [Standing] = []
    var said: [String] = []
    /// Pauses by itself once so many tokens were taken.
    var pausesAt = Int.max
  }

  let told: Mutex<Told>

  init(startsPaused: Bool, _ choice: AttentionChoice = RunControlTests.dense) {
    told = Mutex(
      Told(control: RunControl(attention: choice, layers: 2, startsPaused: startsPaused)))
  }

  var now: Told { told.withLock { $0 } }

  func send(_ commands: Command...) {
    told.withLock { told in
      for command in commands {
        if let why = told.control.take(command) { told.said.append(why) }
      }
    }
  }

  func stands(_ order: RunControl.Order) -> Bool { told.withLock { $0.control.stands(order) } }

  func tell(_ event: RunControl.Event) {
    told.withLock { told in
      if case .took(let taken) = event { told.taken.append(taken) }
      if let sentence = told.control.hear(event) { told.said.append(sentence) }
      if told.taken.count == told.pausesAt { _ = told.control.take(.pause) }
    }
  }

  func tell(_ standing: Standing) { told.withLock { $0.standings.append(standing) } }
  func saved(_ lengths: [Int]) {}
  func say(_ sentence: String) { told.withLock { $0.said.append(sentence) } }

  /// Gives the loop one order after another until there is none.
  func drive(_ loop: EngineLoop) async throws {
    try await ComputeThreads.shared.value { [self] in
      while let order = told.withLock({ $0.control.next() }) { loop.obey(order, self) }
    }
  }
}

/// The engine's loop with a sink that is no backend.
@Suite(.timeLimit(.minutes(5))) struct EngineLoopTests {
  private static func with(
    startsPaused: Bool = true, most: Int = .max, memory: BranchMemory = BranchMemory(),
    _ body: (EngineLoop, Desk) async throws -> Void
  ) async throws {
    try await SmallModel.with { model in
      var options = RunOptions(attention: RunControlTests.dense, maxTokens: most)
      options.memory = memory
      let loop = try EngineLoop(model, prompt: SmallModel.prompt, options)
      try await body(loop, Desk(startsPaused: startsPaused))
    }
  }

  @Test func itTellsWhatItDid() async throws {
    try await Self.with { loop, desk in
      try await desk.drive(loop)
      #expect(desk.now.control.phase == .paused && desk.now.taken.isEmpty)
      #expect(desk.now.standings.last?.frame == Frame(branch: 0, tokens: 20))
      #expect(desk.now.standings.contains { $0.frame.revision == 2 }, "two layers were told")
      desk.send(.step(3))
      try await desk.drive(loop)
      #expect(desk.now.taken.map(\.step.position) == [20, 21, 22])
      #expect(desk.now.standings.last?.lengths == [23])
      #expect(desk.now.standings.last?.tokensPerSecond ?? 0 > 0)
      #expect(desk.now.said.isEmpty)
    }
  }

  /// It asks after every token: a pause takes effect at the next one, not at the end of a turn.
  @Test func aPauseComesBetweenTwoTokens() async throws {
    try await Self.with { loop, desk in
      desk.told.withLock { $0.pausesAt = 2 }
      desk.send(.run)
      try await desk.drive(loop)
      #expect(desk.now.taken.count == 2 && desk.now.control.phase == .paused)
      #expect(desk.now.standings.last?.lengths == [22])
    }
  }

  @Test func aStopKeepsThePromptFromBeingRead() async throws {
    try await Self.with(startsPaused: false) { loop, desk in
      desk.send(.stop)
      try await desk.drive(loop)
      #expect(desk.now.control.phase == .ended("stopped while the prompt was read"))
      #expect(desk.now.taken.isEmpty && desk.now.standings.last?.lengths == [20])
    }
  }

  @Test func theEndIsToldAndBranchesGoOn() async throws {
    try await Self.with(startsPaused: false, most: 30) { loop, desk in
      try await desk.drive(loop)
      #expect(desk.now.control.phase == .ended("30 tokens, as asked"))
      #expect(desk.now.taken.count == 30)
      desk.send(.branch(from: Frame(branch: 0, tokens: 26), RunControlTests.sparse))
      try await desk.drive(loop)
      // It caught up with the fifty tokens of the trunk, where it may end, and began at its fork.
      #expect(desk.now.standings.last?.lengths == [50, 50])
      #expect(desk.now.taken[30].step.position == 25)
      #expect(desk.now.taken[30].step.attention == RunControlTests.sparse.description)
      #expect(desk.now.standings.last?.frame == Frame(branch: 1, tokens: 50))
      desk.send(.select(0))
      try await desk.drive(loop)
      #expect(desk.now.control.phase == .paused && desk.now.taken.count == 55)
      #expect(desk.now.standings.last?.frame == Frame(branch: 0, tokens: 50))
      desk.send(.run)
      try await desk.drive(loop)
      #expect(desk.now.control.phase == .ended("30 tokens, as asked"))
    }
  }

  /// A cache that evicts: every step is compared, a branch from an earlier frame knows who was
  /// alive there, and another method can come in and go.
  @Test func masksThatRememberStepBackAndBranch() async throws {
    try await SmallModel.with { model in
      var choice = RunControlTests.dense
      choice.method = try MethodSetting(parsing: "h2o:cache=8")
      let loop = try EngineLoop(
        model, prompt: SmallModel.prompt, RunOptions(attention: choice, hasShadow: true))
      let desk = Desk(startsPaused: true, choice)
      try await desk.drive(loop)
      desk.send(.step(12))
      try await desk.drive(loop)
      let trunk = desk.now.taken.map(\.step)
      #expect(trunk.count == 12 && trunk.allSatisfy { $0.divergence != nil })
      #expect(trunk.contains { $0.divergence! > 0 })
      desk.send(.branch(from: Frame(branch: 0, tokens: 26), choice))
      try await desk.drive(loop)
      let branch = desk.now.taken.dropFirst(12).map(\.step)
      #expect(branch.first?.position == 25)
      #expect(branch.prefix(7).map(\.token) == trunk.dropFirst(5).map(\.token))
      #expect(branch.prefix(7).map(\.divergence) == trunk.dropFirst(5).map(\.divergence))
      let before = desk.now.taken.count
      desk.send(.attend(RunControlTests.dense), .step(1))
      try await desk.drive(loop)
      desk.send(.attend(choice), .step(1))
      try await desk.drive(loop)
      #expect(desk.now.taken.count == before + 2 && desk.now.said.isEmpty, "\(desk.now.said)")
      #expect(desk.now.taken.last?.step.attention == choice.description)
    }
  }

  @Test func eightBranchesAreTheMost() async throws {
    try await Self.with { loop, desk in
      desk.send(.step(1))
      try await desk.drive(loop)
      for _ in 0..<8 {
        desk.send(.branch(from: Frame(branch: 0, tokens: 21), RunControlTests.sparse))
        try await desk.drive(loop)
      }
      #expect(desk.now.standings.last?.lengths.count == 8)
      #expect(desk.now.said == ["Eight branches are the most."])
    }
  }

  /// Bytes of a token of the small model, in a cache of keys and values.
  private static let cached = 4 * 2 * TinyModel.kvHeads * 2 * TinyModel.dim

  /// A branch whose cache would pass the bound is not begun, and it is said why.
  @Test func cachesHaveABound() async throws {
    var memory = BranchMemory()
    memory.caches = 45 * Self.cached
    try await Self.with(memory: memory) { loop, desk in
      desk.send(.step(1))
      try await desk.drive(loop)
      for _ in 0..<2 {
        desk.send(.branch(from: Frame(branch: 0, tokens: 21), RunControlTests.sparse))
        try await desk.drive(loop)
      }
      #expect(desk.now.standings.last?.lengths.count == 2)
      #expect(desk.now.said.count == 1 && desk.now.said[0].contains("No more branches here"))
    }
  }

  #if DEBUG
    /// Records of all branches together have a bound: what decoded longest ago lets go first, and
    /// it is said; what decodes now keeps all it has.
    @Test func recordsHaveABound() async throws {
      var memory = BranchMemory()
      memory.residuals = 4 * 5 * TinyModel.width * 100
      memory.queries = 2 * 2 * TinyModel.heads * TinyModel.dim * 130
      try await Self.with(memory: memory) { loop, desk in
        desk.send(.step(1))
        try await desk.drive(loop)
        var last = 0
        for turn in 1...4 {
          desk.send(.branch(from: Frame(branch: last, tokens: 21), RunControlTests.sparse))
          try await desk.drive(loop)
          last = turn
        }
        let stores = try #require(desk.now.standings.last?.stores)
        #expect(stores.count == 5)
        #expect(stores.reduce(0) { $0 + $1.residuals!.bytes } <= memory.residuals)
        #expect(stores.reduce(0) { $0 + $1.queries.bytes } <= memory.queries)
        #expect(stores[0].residuals!.bytes == 0 && stores[0].queries.bytes == 0)
        #expect(stores[4].residuals!.bytes > 0 && stores[4].queries.bytes > 0)
        #expect(desk.now.said.contains { $0.contains("residual stream at most: that of branch 0") })
        #expect(desk.now.said.contains { $0.contains("queries at most: those of branch 0") })
        // The branch without records goes on, and is recorded from here.
        desk.send(.select(0), .step(3))
        try await desk.drive(loop)
        let trunk = try #require(desk.now.standings.last?.stores[0])
        #expect(trunk.available(0, tokens: trunk.count) == 21..<24)
        #expect(trunk.residuals?.bytes == 0)
      }
    }

    /// Less is known of one layer than of another while a prompt is read, and once queries were let
    /// go: then their masks do not lie side by side.
    @Test func layersThatAreKnownInPart() async throws {
      try await Self.with { loop, desk in
        try await desk.drive(loop)
        let standing = try #require(desk.now.standings.last), store = standing.stores[0]
        let answers = LiveAnswers(layers: [0, 1], heads: TinyModel.heads)
        func ask(_ along: OverlapRequest.Along) throws -> Answer {
          let request = OverlapRequest(along, MethodSetting("sink-window"))
          return try answers.answer(
            .overlap(HeadID(layer: 0, head: 0), request), at: standing.frame, store)
        }
        for along in [OverlapRequest.Along.layers, .heads, .steps] {
          guard case .findings = try ask(along) else {
            Issue.record("\(along): \(try ask(along))")
            continue
          }
        }
        // The eleventh position comes again: all behind it are gone.
        let row = [Float](repeating: 0.5, count: TinyModel.heads * TinyModel.dim)
        store.queries.queries(1, 10..<11, row)
        guard case .unavailable(let why) = try ask(.layers), case .findings = try ask(.heads) else {
          Issue.record("\(try ask(.layers)), \(try ask(.heads))")
          return
        }
        #expect(why == "the prompt is being read")
      }
    }
  #endif
}
