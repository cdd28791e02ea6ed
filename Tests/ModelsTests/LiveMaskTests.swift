import Analysis
import Attention
import Methods
import Models
import Support
import Synchronization
import Tensors
import Testing

/// Passes everything on to a mask, and notes what each row kept: rows are told apart by their
/// position and query.
private struct Spy: EngineMethod {
  static let card = MethodCard(
    id: "spy", title: "Spy", family: "tests", idea: "Notes what another keeps.",
    source: "Nobody, 2026", knobs: [], fidelity: .exact)

  final class Notes: Sendable {
    struct Row: Hashable {
      let position: Int
      let query: [Float]
    }
    let kept = Mutex<[Row: [UInt8]]>([:])
    /// Heads whose sets were not those of `keep` for the same head.
    let wrong = Mutex<Int>(0)
  }

  let method: any MaskMethod
  let notes = Notes()

  init(knobs: Knobs) throws(KnobError) { throw KnobError("made by hand") }

  init(_ setting: String) throws {
    let setting = try MethodSetting(parsing: setting)
    method = try #require(try Registry.standard.makeEngine(setting) as? any MaskMethod)
  }

  var isRemembering: Bool { method.memory(prompt: 1) != nil }
  var rowsTogether: Int { method.rowsTogether }
  func memory(prompt: Int) -> (any RowMemory)? { method.memory(prompt: prompt) }

  func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    try method.examine(subject, run)
  }

  func attend(_ group: HeadGroup, state: inout AttentionState, trace: inout Trace) -> [[Float]]? {
    let outputs = method.attend(group, state: &state, trace: &trace)
    for (head, set) in zip(group.heads, trace.keptSets) {
      let told = isRemembering ? head.recorded : head
      guard let (query, _) = told.queryAndKey else { continue }
      for row in 0..<head.queries {
        let key = Notes.Row(
          position: head.visibility.position(row: row), query: query[row].floats())
        let flags = set.row(row, head.visibility)
        notes.kept.withLock { $0[key] = flags }
      }
      guard !isRemembering else { continue }
      var aside = Aside()
      let run = MethodRun(AttentionState(threads: .callerOnly, precision: .float))
      if (try? method.keep(head, run, &aside)) != set { notes.wrong.withLock { $0 += 1 } }
    }
    return outputs
  }
}

/// Masks in the engine: each row is decided from the past, as over a dump of the same run.
@Suite struct LiveMaskTests {
  private static let dense = AttentionPlan(
    prefill: try! Dense(knobs: [:]), decode: try! Dense(knobs: [:]))
  private static let tokens = (0..<60).map { 3 + $0 * 31 % 250 }

  /// Each row by itself, or by what the rows before left.
  private static let byRow = [
    "window:window=20", "sink-window:sinks=2,window=12", "dilated:window=9,dilation=3",
    "quest:pages=3,page=8", "moba:k=2,block=16", "top-k:k=9", "top-p:p=0.7",
    "natten:window=11", "natten:window=11,stride=4", "natten:window=6,stride=2,dilation=2",
    "h2o:cache=24", "tova:cache=24", "key-norm:cache=24,recent=4",
    "keydiff:cache=24,recent=4", "snapkv:cache=24,window=8,prompt=60",
    "still:chunk=8,window=8,ratio=0.25",
  ]

  /// By the rows that come together.
  private static let byPart = [
    "hip:mask_k=8,bq=4,bk=2,window=8", "a-shape:initial=2,local=9",
    "vertical-slash:vertical=4,slash=8,forced_v=1,forced_s=4,floor_v=1,floor_s=1",
    "block-sparse:count=2,block=8", "block-top-k:k=2,block=8",
  ]

  private static func with(
    _ seed: UInt64 = 3, _ body: (LanguageModel) throws -> Void
  ) throws {
    try TinyGGUF.with(TinyModel("llama", .f32, seed: seed).bytes) {
      try body(try LanguageModel($0, precision: .float))
    }
  }

  private static func plan(_ setting: String) throws -> AttentionPlan {
    let method = try Registry.standard.makeEngine(try MethodSetting(parsing: setting))
    return AttentionPlan(prefill: method, decode: method)
  }

  /// The next tokens of a generator, the likeliest each.
  private static func say(_ generator: Generator, _ count: Int) -> [Int] {
    (0..<count).map { _ in
      let token = generator.choose()!.token
      generator.feed(token)
      return token
    }
  }

  @Test func everythingKeptIsDense() throws {
    try Self.with { model in
      let trunk = Generator(model, Self.dense)
      trunk.prefill(Self.tokens)
      let expected = Self.say(trunk, 12)
      for type in Registry.standard.methods {
        guard let type = type as? any EngineMethod.Type,
          try type.init(knobs: [:]).engineRefusal == nil
        else { continue }
        let all = try type.init(knobs: try #require(type.card.denseKnobs))
        let generator = Generator(
          model, AttentionPlan(prefill: all, decode: all), dense: Self.dense)
        generator.prefill(Self.tokens)
        #expect(Self.say(generator, 12) == expected, "\(type.card.id)")
        #expect(try #require(generator.choose()?.divergence) < 1e-6, "\(type.card.id)")
      }
    }
  }

  @Test(arguments: byRow) func aRowKeepsWhatADumpOfTheRunKeeps(_ setting: String) throws {
    try Self.with { model in
      let spy = try Spy(setting), config = model.config
      let record = QueryRecord(config, exact: !spy.isRemembering)
      let generator = Generator(
        model, AttentionPlan(prefill: spy, decode: spy), dense: Self.dense)
      generator.observer = record
      generator.prefill(Self.tokens)
      _ = Self.say(generator, 20)
      let last = Self.tokens.count + 19
      var skipped = 0, dropped = 0
      for layer in 0..<config.layers {
        for head in 0..<config.heads {
          let query = try #require(record.tensor(LayerIndex(layer), head: head, 0..<last + 1))
          let whole = Head(
            query: query,
            cached: generator.state.caches[layer][head / config.groupSize].snapshot)
          var aside = Aside()
          let set = try spy.method.keep(
            whole, MethodRun(precision: .float, wantsNumbers: false), &aside)
          for row in 0...last {
            let kept = Array(set.row(row, whole.visibility)[...row])
            let key = Spy.Notes.Row(position: row, query: query[row].floats())
            let live = try #require(spy.notes.kept.withLock { $0[key] })
            #expect(Array(live[...row]) == kept, "\(setting), \(layer).\(head), row \(row)")
            dropped += kept.count { $0 == 0 }
            guard row == last else { continue }
            skipped += stride(from: 0, through: row, by: 64).count { start in
              !kept[start..<min(start + 64, row + 1)].contains(1)
            }
          }
        }
      }
      #expect(dropped > 0 && spy.notes.wrong.withLock { $0 } == 0)
      #expect(generator.lastPass.counts.totalSkipped == skipped)
      #expect(try #require(generator.choose()?.divergence) > 0)
    }
  }

  @Test(arguments: byPart) func aPartKeepsWhatTheMaskSaysOfIt(_ setting: String) throws {
    try Self.with { model in
      let spy = try Spy(setting)
      let generator = Generator(
        model, AttentionPlan(prefill: spy, decode: spy), dense: Self.dense)
      generator.prefill(Self.tokens)
      _ = Self.say(generator, 8)
      #expect(spy.notes.wrong.withLock { $0 } == 0)
      #expect(spy.notes.kept.withLock { $0.values.contains { $0.contains(0) } })
      #expect(try #require(generator.choose()?.divergence) > 0)
    }
  }

  /// What a branch remembers is replayed, to the bits of the trunk; so is what a method that comes
  /// in later should know.
  @Test(arguments: [
    "h2o:cache=24", "tova:cache=24", "key-norm:cache=24", "keydiff:cache=24",
    "snapkv:cache=24,window=8", "still:chunk=8,window=8", "quest:pages=3,page=8",
  ])
  func branchesAndReturnsRememberTheSame(_ setting: String) throws {
    try Self.with { model in
      let plan = try Self.plan(setting), record = QueryRecord(model.config)
      let trunk = Generator(model, plan)
      trunk.observer = record
      trunk.prefill(Self.tokens)
      let said = Self.say(trunk, 16), fork = Self.tokens.count + 4
      let branch = try Generator(branching: trunk, at: fork - 1, plan: plan, record: record)
      branch.feed(said[3])
      #expect(Self.say(branch, 12) == Array(said[4...]))
      #expect(branch.state.logits == trunk.state.logits)
      // Out and in again, with nothing read between: nothing is forgotten.
      try trunk.attend(Self.dense)
      try trunk.attend(plan, record: record)
      #expect(Self.say(trunk, 6) == Self.say(branch, 6))
      #expect(branch.state.logits == trunk.state.logits)
    }
  }

  /// Two methods of which one or both remember: each keeps what it keeps over a dump of the run,
  /// whoever attended the rows between.
  @Test(arguments: [
    ("h2o:cache=24", "dense"), ("dense", "tova:cache=24"), ("h2o:cache=24", "tova:cache=20"),
    ("snapkv:cache=24,window=8,prompt=60", "quest:pages=3,page=8"),
    ("blasst:lambda=0.001", "keydiff:cache=24,recent=4"), ("h2o:cache=24", "h2o:cache=12"),
  ])
  func twoMethodsRememberApart(_ first: String, _ second: String) throws {
    try Self.with { model in
      let record = QueryRecord(model.config)
      let engines = try [first, second].map {
        try Registry.standard.makeEngine(try MethodSetting(parsing: $0))
      }
      let spies = try zip(engines, [first, second]).map { engine, setting in
        engine is any MaskMethod ? try Spy(setting) : nil
      }
      let plan = AttentionPlan(
        prefill: spies[0] ?? engines[0], decode: spies[1] ?? engines[1])
      let generator = Generator(model, plan)
      generator.observer = record
      generator.prefill(Self.tokens)
      _ = Self.say(generator, 12)
      generator.prefill(Self.tokens.prefix(9))
      _ = Self.say(generator, 3)
      let decoded = Set([Array(60..<72), Array(81..<84)].joined())
      for (spy, rows) in zip(spies, [Set(0..<84).subtracting(decoded), decoded]) {
        guard let spy, spy.isRemembering else { continue }
        try Self.expect(spy, rows.sorted(), generator, record)
      }
    }
  }

  /// What a spy noted of some rows is what its method keeps of them over a dump.
  private static func expect(
    _ spy: Spy, _ rows: [Int], _ generator: Generator, _ record: QueryRecord
  ) throws {
    let config = generator.model.config
    for layer in 0..<config.layers {
      for head in 0..<config.heads {
        let query = try #require(
          record.tensor(LayerIndex(layer), head: head, 0..<generator.state.count))
        let whole = Head(
          query: query, cached: generator.state.caches[layer][head / config.groupSize].snapshot)
        var aside = Aside()
        let set = try spy.method.keep(
          whole, MethodRun(precision: .float, wantsNumbers: false), &aside)
        for row in rows {
          let key = Spy.Notes.Row(position: row, query: query[row].floats())
          let live = try #require(spy.notes.kept.withLock { $0[key] })
          #expect(
            live[...row] == set.row(row, whole.visibility)[...row], "\(layer).\(head), row \(row)")
        }
      }
    }
  }

  @Test func whoIsAliveIsNotGuessed() throws {
    try Self.with { model in
      let generator = Generator(model, Self.dense)
      generator.prefill(Self.tokens)
      let said = Self.say(generator, 1)
      #expect(throws: ModelError.self) { try generator.attend(try Self.plan("h2o:cache=24")) }
      // The old way stays.
      #expect(Self.say(generator, 2).count == 2 && said.count == 1)
    }
  }

  @Test func aCancelledPromptIsForgotten() throws {
    try Self.with { model in
      let plan = try Self.plan("h2o:cache=24"), asked = Mutex(0)
      let state = RunState(model)
      // Stops before the second layer.
      let done = model.prefill(
        Self.tokens, state, plan,
        isCancelled: {
          asked.withLock {
            $0 += 1
            return $0 > 1
          }
        })
      #expect(!done && state.count == 0)
      model.prefill(Self.tokens, state, plan)
      let fresh = RunState(model)
      model.prefill(Self.tokens, fresh, plan)
      #expect(state.logits == fresh.logits)
    }
  }
}
