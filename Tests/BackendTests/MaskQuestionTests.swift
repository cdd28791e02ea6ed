import Analysis
import Attention
import Backends
import Formats
import Foundation
import Methods
import Sessions
import Support
import Synchronization
import Testing

/// Questions about many masks at once, as a screen asks them.
@Suite struct MaskQuestionTests {
  /// Two layers of four query heads over two of keys.
  private static func backend(_ registry: Registry = .standard, seed: UInt64 = 11) throws
    -> FileBackend
  {
    var random = Seeded(seed)
    let n = 96, d = 8
    func draw(_ heads: Int) -> [Float] {
      (0..<heads * n * d).map { _ in Float(Double.random(in: -2...2, using: &random)) }
    }
    let path = FileManager.default.temporaryDirectory.appending(path: "masks-\(UUID()).safetensors")
      .path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let arrays = [0, 1].flatMap { layer in
      [("q", 4), ("k", 2), ("v", 2)].map { name, heads in
        ArrayToWrite("layers.\(layer).\(name)", floats: draw(heads), shape: [heads, n, d])
      }
    }
    try writeSafetensors(arrays, metadata: ["causal": "true"], to: path, force: true)
    return FileBackend(try Dump.open(path), registry: registry)
  }

  private static func findings(_ answer: Answer) throws -> Findings {
    guard case .findings(let found) = answer else {
      throw KnobError("no findings but \(answer)")
    }
    return found
  }

  private static func square(_ findings: Findings, _ name: String) throws -> [[Float]] {
    let field = try #require(findings.field(name)?.field, "no \(name)")
    return try (0..<field.rows.count).map { try field.row($0) }
  }

  /// Rows of kept keys, read entry by entry.
  private static func kept(_ backend: FileBackend, _ head: HeadID, _ setting: MethodSetting) throws
    -> [Set<Int>]
  {
    let field = try backend.field(FieldID(head, method: setting, name: "kept"))
    return try (0..<field.rows.count).map { row in
      let values = try field.row(row)
      return Set(values.indices.filter { values[$0] > 0 })
    }
  }

  private static func union(_ a: [Set<Int>], _ b: [Set<Int>]) -> (both: Int, either: Int) {
    zip(a, b).reduce((0, 0)) {
      ($0.0 + $1.0.intersection($1.1).count, $0.1 + $1.0.union($1.1).count)
    }
  }

  /// What a screen is told is what `report --overlap` prints.
  @Test(arguments: OverlapRequest.Along.allCases.filter { $0 != .methods })
  func aScreenHearsWhatTheReportSays(_ along: OverlapRequest.Along) async throws {
    let backend = try Self.backend(), setting = MethodSetting("top-k", ["k": .number(12)])
    let head = HeadID(layer: 1, head: 2)
    let heard = try Self.findings(
      try await backend.answer(.overlap(head, OverlapRequest(along, setting))))
    var request = ReuseRequest(
      along, settings: [setting], layers: along == .layers ? [0, 1] : [1],
      heads: along == .steps ? [2] : [0, 1, 2, 3])
    request.steps = 128
    let said = try backend.reuse(request)
    #expect(heard.all.map(\.name) == said.all.map(\.name))
    for finding in said.all {
      if case .field = finding.content {
        let a = try Self.square(heard, finding.name), b = try Self.square(said, finding.name)
        #expect(a == b, "\(finding.name)")
      } else if case .number(let value, _) = finding.content {
        #expect(heard[finding.name]?.number == value, "\(finding.name)")
      }
    }
    // Layer by layer, head by head, with sets.
    guard along == .layers else { return }
    let shares = try (0..<4).map { head -> Double in
      let masks = try [0, 1].map {
        try Self.kept(backend, HeadID(layer: LayerIndex($0), head: head), setting)
      }
      let found = Self.union(masks[0], masks[1])
      return Double(found.both) / Double(found.either)
    }
    let mean = shares.reduce(0, +) / 4
    #expect(abs(Double(try Self.square(heard, "overlap")[0][1]) - mean) < 1e-6)
  }

  @Test func twoSidesAreCountedEntryByEntry() async throws {
    let backend = try Self.backend()
    let left = (HeadID(layer: 0, head: 1), MethodSetting("top-k", ["k": .number(20)]))
    let right = (HeadID(layer: 1, head: 3), MethodSetting("a-shape", ["local": .number(30)]))
    let request = OverlapRequest(.methods, left.1, other: .init(right.0, right.1))
    let found = try Self.findings(try await backend.answer(.overlap(left.0, request)))
    let a = try Self.kept(backend, left.0, left.1), b = try Self.kept(backend, right.0, right.1)
    let all = Self.union(a, b)
    let wanted = Double(all.both) / Double(all.either)
    let both = Double(all.both)
    #expect(found["overlap_sides"]?.number == wanted && wanted > 0 && wanted < 1)
    #expect(found["kept_left"]?.number == both / Double(a.reduce(0) { $0 + $1.count }))
    #expect(found["kept_right"]?.number == both / Double(b.reduce(0) { $0 + $1.count }))
    guard case .series(let axis, let rows, _) = found["overlap_rows"]?.content else {
      Issue.record("no strip by query")
      return
    }
    #expect(axis.kind == .query && rows.count == 96)
    for row in [0, 7, 50, 95] {
      let here = Self.union([a[row]], [b[row]])
      #expect(rows[row] == Float(Double(here.both) / Double(here.either)))
    }
  }

  /// The same head of two files: a table that one file's head gave is not the other's.
  @Test func twoFilesHaveTablesOfTheirOwn() async throws {
    let parts = try [Self.backend(), Self.backend(seed: 12)]
    let blasst = MethodSetting(
      "blasst", ["lambda": .number(1), "rows": .number(8), "keys": .number(8)])
    let left = HeadID(layer: 0, head: 1), right = HeadID(layer: 0, head: 1, source: 1)
    let request = OverlapRequest(.methods, blasst, other: .init(right, blasst))
    let found = try Self.findings(
      try await SeveralBackends(parts).answer(.overlap(left, request)))
    let all = Self.union(
      try Self.kept(parts[0], left, blasst), try Self.kept(parts[1], left, blasst))
    #expect(all.both < all.either)
    #expect(found["overlap_sides"]?.number == Double(all.both) / Double(all.either))
  }

  /// Methods that keep nothing of this head are said, and the rest are laid side by side.
  @Test func everyMethodIsThereOrLeftOut() async throws {
    let registry = Registry([Dense.self, TopK.self, SlidingWindow.self, SGL.self, TopP.self])
    let backend = try Self.backend(registry), head = HeadID(layer: 0, head: 0)
    let mine = MethodSetting("window", ["window": .number(9)])
    let found = try Self.findings(
      try await backend.answer(.overlap(head, OverlapRequest(.methods, mine))))
    let field = try #require(found.field("overlap")?.field)
    #expect(field.rows.labels == ["window:window=9", "top-k", "top-p"])
    let all = Self.union(
      try Self.kept(backend, head, mine), try Self.kept(backend, head, MethodSetting("top-k")))
    #expect(try field.row(0)[1] == Float(Double(all.both) / Double(all.either)))
    let none = try await backend.answer(
      .overlap(head, OverlapRequest(.methods, MethodSetting("dense"))))
    guard case .unavailable(let why) = none else {
      Issue.record("dense has a mask")
      return
    }
    #expect(why.contains("keeps no entries"))
  }

  /// The overlay's rows are those of the command, and a head that is not there is said.
  @Test func aBudgetIsThatOfTheCommand() async throws {
    let backend = try Self.backend(Registry([TopK.self, SlidingWindow.self, BLASST.self]))
    let head = HeadID(layer: 1, head: 0)
    guard case .budget(let answer) = try await backend.answer(.budget(head, 0.7)) else {
      Issue.record("no rows")
      return
    }
    let said = try backend.equalBudget(BudgetRequest(0.7, heads: [head]))
    #expect(answer.rows.map(\.setting) == said.rows.map(\.setting) && answer.rows.count == 3)
    #expect(answer.rows.map(\.numbers) == said.rows.map(\.numbers))
    guard case .unavailable = try await backend.answer(.budget(HeadID(layer: 1, head: 9), 0.7))
    else {
      Issue.record("there is a tenth head")
      return
    }
  }

  /// How far it is comes while it is computed.
  @Test(.timeLimit(.minutes(2))) func progressIsTold() async throws {
    let backend = try Self.backend(Registry([Slow.self]))
    let question = Question.budget(HeadID(layer: 0, head: 0), 0.6)
    let listener = Task {
      for await moment in backend.moments {
        if case .progress(question, let share, _) = moment, share > 0.1, share < 1 { return true }
      }
      return false
    }
    _ = try await backend.answer(question)
    #expect(await listener.value)
  }

  /// Nobody waits any more: the search ends after the settings that it is at, on every thread.
  @Test func aSearchIsGivenUp() async throws {
    let backend = try Self.backend(Registry([Slower.self, SlowerToo.self]))
    let asked = Task { try await backend.answer(.budget(HeadID(layer: 0, head: 0), 0.63)) }
    while Slower.calls.load(ordering: .relaxed) == 0 { try await Task.sleep(for: .milliseconds(2)) }
    asked.cancel()
    let start = ContinuousClock.now
    await #expect(throws: CancellationError.self) { try await asked.value }
    // Each of them waits a minute for what it is never told.
    #expect(ContinuousClock.now - start < .seconds(50))
    #expect(Slower.calls.load(ordering: .relaxed) <= 3)
  }
}

/// A window that takes its time.
private struct Slow: MaskMethod {
  static let size = Knob(
    "window", "keys kept", 1...1 << 30, standard: 8, step: .multiply(2), isMain: true)
  static let card = MethodCard(
    id: "slow", title: "Slow window", family: "tests", idea: "Waits.", source: "Nobody, 2026",
    knobs: [size.facts], mainField: "kept", mainNumber: "recall_mean")
  private let inner: SlidingWindow

  init(knobs: Knobs) throws(KnobError) { inner = try SlidingWindow(knobs: knobs) }

  func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    usleep(60_000)
    return inner.keep(head, run, &aside)
  }
}

/// The same, counted, for one test alone.
private struct Slower: MaskMethod {
  static let calls = Atomic<Int>(0)
  static let card = MethodCard(
    id: "slower", title: "Slower window", family: "tests", idea: "Waits.", source: "Nobody, 2026",
    knobs: Slow.card.knobs, mainField: "kept", mainNumber: "recall_mean")
  private let inner: SlidingWindow

  init(knobs: Knobs) throws(KnobError) { inner = try SlidingWindow(knobs: knobs) }

  func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    Self.calls.wrappingAdd(1, ordering: .relaxed)
    // Until nobody waits for it: on a busy machine that may be long in coming.
    let end = ContinuousClock.now + .seconds(60)
    while !run.isCancelled(), ContinuousClock.now < end { usleep(2_000) }
    return inner.keep(head, run, &aside)
  }
}

/// Another, so that there is work for a second thread.
private struct SlowerToo: MaskMethod {
  static let card = MethodCard(
    id: "slower-too", title: "Slower window", family: "tests", idea: "Waits.",
    source: "Nobody, 2026", knobs: Slow.card.knobs, mainField: "kept", mainNumber: "recall_mean")
  private let inner: Slower

  init(knobs: Knobs) throws(KnobError) { inner = try Slower(knobs: knobs) }

  func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    try inner.keep(head, run, &aside)
  }
}
