import Analysis
import Attention
import Backends
import Canvas
import Formats
import Foundation
import Interface
import Models
import Sessions
import Support
import Synchronization
import Tensors
import Testing

enum Real {
  static var sample: String { checkout() + "/samples/smollm2-log-832.safetensors" }
  /// The four-layer dump of 2048 tokens beside the checkout; nil where it is not there.
  static let long = sharedData("smollm2-log-2k.safetensors")
  static let noLong: Comment = "the dump of 2048 tokens is not beside the checkout"
  static let slow: Comment = "without optimisation this takes minutes: swift test -c release"

  /// The model that samples/get-model.sh brings; nil where it is not there.
  static var model: String? {
    let environment = ProcessInfo.processInfo.environment
    let path =
      environment["ATTNSCOPE_TEST_MODEL"]
      ?? (environment["XDG_CACHE_HOME"] ?? NSHomeDirectory() + "/.cache")
      + "/attnscope/SmolLM2-135M-Instruct.Q4_1.gguf"
    return FileManager.default.isReadableFile(atPath: path) ? path : nil
  }

  static func text() throws -> [UInt8] {
    Array(try Data(contentsOf: URL(filePath: checkout() + "/samples/tarn-point-log.txt")))
  }
}

@Suite struct RealDumpTests {
  @Test func theSampleIsWhatTheReadmeSays() throws {
    let dump = try Dump.open(Real.sample)
    #expect(
      dump.kind == .qkv && dump.layers.map(\.layer) == [0, 12, 18] && dump.tokens?.count == 832
        && dump.guesses.isEmpty)
    let bytes = try FileManager.default.attributesOfItem(atPath: Real.sample)[.size] as? Int
    #expect((bytes ?? .max) < 5_000_000)
  }

  /// Real Q, K, V against double precision: masks equal away from the threshold, outputs within
  /// 2e-5.
  @Test(
    .enabled(if: isRelease, Real.slow),
    arguments: [
      TileSpec(rows: 128, keys: 128),
      TileSpec(rows: 64, keys: 256, vote: .group, order: .descending),
      TileSpec(rows: 100, keys: 37),
    ]) func realHeadsAgreeWithTheReference(_ spec: TileSpec) throws
  {
    let heads = DumpHeads(try Dump.open(Real.sample))
    let group = try #require(heads.group(1, containing: 6)).0
    for lambda in [0.03, 1] {
      let reference = ReferenceAttention(group).run(spec, lambda: lambda)
      let pass = TilePass(group, keysPerTile: spec.keys, withValues: true)
      let tables = try #require(pass.tables(spec))
      let outputs = try #require(pass.forward(spec, .blasst(lambda: lambda)))
      for head in group.heads.indices {
        let unit = spec.vote == .head ? head : 0
        let mask = tables[head].mask(try Lambda(lambda))
        for (block, margin) in reference.margins[unit].enumerated()
        where abs(margin - Double(try Lambda(lambda).threshold)) > 1e-4 {
          #expect(
            mask.verdicts[block] == reference.verdicts[unit][block],
            "block \(block), margin \(margin), \(spec)")
        }
        let worst = zip(outputs[head].values, reference.outputs[head]).map { abs(Double($0) - $1) }
          .max()!
        #expect(worst < 2e-5, "output off by \(worst), \(spec), lambda \(lambda)")
      }
    }
  }

  /// Over all heads of the real dump the int8 bound decides most skipped blocks, and nothing else
  /// changes, to the bit.
  @Test(.enabled(if: isRelease, Real.slow)) func theBoundDecidesMostBlocks() throws {
    try decide(Real.sample)
  }

  @Test(.enabled(if: isRelease, Real.slow), .enabled(if: Real.long != nil, Real.noLong))
  func theBoundDecidesMostBlocksOfALongDump() throws { try decide(try #require(Real.long)) }

  private func decide(_ path: String) throws {
    let heads = DumpHeads(try Dump.open(path))
    let spec = TileSpec(rows: 128, keys: 128)
    for (lambda, least) in [(0.01, 0.85), (0.1, 0.9)] {
      var (skipped, decided) = (0, 0)
      for layer in heads.layers.layerIndices {
        for number in 0..<heads.heads(layer) {
          let head = try #require(heads.head(layer, number))
          let pass = TilePass(
            HeadGroup([head]), keysPerTile: 128, withValues: true, precision: .float)
          let plain = try #require(pass.forward(spec, .blasst(lambda: lambda)))[0]
          let screened = try #require(
            pass.forward(spec, .blasst(lambda: lambda), screen: .int8))[0]
          #expect(plain.mask == screened.mask, "layer \(heads.layers[layer]) head \(number)")
          #expect(plain.values.map(\.bitPattern) == screened.values.map(\.bitPattern))
          skipped += plain.mask.verdicts.filter { $0 == .skipped }.count
          decided += screened.decidedByBound
        }
      }
      print("lambda \(lambda): the bound decides \(decided) of \(skipped) skipped blocks")
      #expect(Double(decided) >= least * Double(skipped))
    }
  }

  /// Plain float32 is the yardstick: the fast float path may be at most twice as far from double
  /// precision.
  @Test func theFastFloatPathIsAsGoodAsPlainFloat() throws {
    let one = Case(
      heads: 1, queries: 120, keys: 120, dim: 64, TileSpec(rows: 32, keys: 32), lambda: 0)
    let group = one.group(seed: 77)
    let reference = ReferenceAttention(group).run(one.spec, lambda: 0).outputs[0]
    func distance(_ isa: InstructionSet) throws -> Double {
      let pass = TilePass(group, keysPerTile: 32, withValues: true, precision: .float, isa: isa)
      let output = try #require(pass.forward(one.spec, .blasst(lambda: 0)))[0].values
      return zip(output, reference).map { abs(Double($0) - $1) }.max()!
    }
    let plain = try distance(.plain)
    for isa in InstructionSet.allCases where isa.isAvailable {
      #expect(try distance(isa) < max(2 * plain, 1e-6), "\(isa.name)")
    }
  }

  @Test(arguments: InstructionSet.allCases.filter(\.isAvailable)) func hugeLogitsKeepTheirDecisions(
    _ isa: InstructionSet
  ) throws {
    var one = Case(
      heads: 2, queries: 64, keys: 64, dim: 32, TileSpec(rows: 16, keys: 16, vote: .group),
      lambda: 0.5)
    one.scale = 42  // logits reach +-1e4
    let group = one.group(seed: 99)
    let reference = ReferenceAttention(group).run(one.spec, lambda: one.lambda)
    let pass = TilePass(group, keysPerTile: 16, withValues: true, isa: isa)
    #expect(pass.isDouble)
    let mask = try #require(pass.tables(one.spec))[0].mask(try Lambda(one.lambda))
    for (block, margin) in reference.margins[0].enumerated()
    where abs(margin - Double(try Lambda(one.lambda).threshold)) > 1e-4 {
      #expect(mask.verdicts[block] == reference.verdicts[0][block])
    }
    let outputs = try #require(pass.forward(one.spec, .blasst(lambda: one.lambda)))
    for head in 0..<2 {
      let worst = zip(outputs[head].values, reference.outputs[head]).map { abs(Double($0) - $1) }
        .max()!
      #expect(worst < 5e-3)
    }
  }
}

/// The budgets of DESIGN.md section 6, with slack for a noisy machine. Alone, so that they measure
/// one thing at a time.
@Suite(.serialized, .enabled(if: isRelease, Real.slow)) struct BudgetTests {
  @Test func allBlockTablesOfTheRealLayers() throws { try tables(Real.sample) }

  @Test(.enabled(if: Real.long != nil, Real.noLong))
  func allBlockTablesOfALongDump() throws { try tables(try #require(Real.long)) }

  private func tables(_ path: String) throws {
    let heads = DumpHeads(try Dump.open(path))
    var best = Double.infinity
    for _ in 0..<3 {
      let start = ContinuousClock.now
      for layer in heads.layers.layerIndices {
        for first in stride(from: 0, to: heads.heads(layer), by: heads.groupSize(layer)) {
          let group = try #require(heads.group(layer, containing: first)).0
          _ = try #require(TilePass(group, keysPerTile: 128).tables(TileSpec(rows: 128, keys: 128)))
        }
      }
      best = min(best, (ContinuousClock.now - start).seconds)
    }
    print(
      """
      block tables of all heads of \(heads.layers.count) layers: \(Numbers.fixed(1000 * best, 0)) \
      ms, best of 3
      """
    )
    #expect(best < 0.5)
  }

  /// p95 of key press to presented frame while a real model decodes and its map is drawn anew all
  /// the time.
  @Test(.enabled(if: Real.model != nil, "samples/get-model.sh brings the model"))
  func keyToFrameWhileDecoding() async throws {
    let model = try LanguageModel(try #require(Real.model))
    let choice = AttentionChoice(
      lambda: 0.01, prefill: .standard(queries: 2), decode: .standard(queries: 1))
    let backend = try LocalBackend(
      model, prompt: model.tokenizer.encode(try Real.text()), .init(attention: choice))
    let terminal = VirtualTerminal(width: 120, height: 40)
    let app = App(backend, terminal: terminal)
    let running = Task { await app.run() }
    backend.start()
    func shows(_ text: String) -> Bool {
      terminal.lastGrid?.lines.contains { $0.contains(text) } ?? false
    }
    while !shows("tokens/s") { try await Task.sleep(for: .milliseconds(2)) }
    var times: [Double] = []
    for step in 0..<120 {
      // Half of the keys in the Map, half in the text.
      if step % 60 == 0 { terminal.press(.character(step == 0 ? "1" : "5")) }
      let start = ContinuousClock.now
      terminal.press(.character("s"))
      // Frames come by themselves here; the key's own frame says the new scale.
      let said = "Scale: \(["linear", "rank", "log"][step % 3])"
      while !shows(said) { try await Task.sleep(for: .microseconds(200)) }
      times.append((ContinuousClock.now - start).seconds)
      try await Task.sleep(for: .milliseconds(8))
    }
    let decoding = await app.model.live?.phase == .running
    terminal.send(.hangup)
    await running.value
    backend.send(.stop)
    let p95 = times.sorted()[114]
    print(
      """
      key to frame while decoding: p50 \(Numbers.fixed(1000 * times.sorted()[60], 2)) ms, p95 \
      \(Numbers.fixed(1000 * p95, 2)) ms
      """
    )
    #expect(decoding && p95 < 0.016)
  }

  /// p95 of key press to presented frame while every head is computed behind it.
  @Test func keyToFrameWhileKernelsRun() async throws { try await keyToFrame(Real.sample) }

  @Test(.enabled(if: Real.long != nil, Real.noLong))
  func keyToFrameWhileKernelsRunOverALongDump() async throws {
    try await keyToFrame(try #require(Real.long))
  }

  private func keyToFrame(_ path: String) async throws {
    let terminal = VirtualTerminal(width: 120, height: 40)
    let app = App(FileBackend(try Dump.open(path)), terminal: terminal)
    let running = Task { await app.run() }
    while terminal.frameCount == 0 { try await Task.sleep(for: .milliseconds(1)) }
    var times: [Double] = []
    var busy = 0
    for step in 0..<120 {
      let before = terminal.frameCount, start = ContinuousClock.now
      terminal.press(
        [.right, .character("]"), .up, .character("."), .left, .character("[")][step % 6])
      // The frame tells when it came: asking often would take the core from what is measured.
      while terminal.frameCount == before { try await Task.sleep(for: .microseconds(200)) }
      times.append((ContinuousClock.now - start).seconds)
      let progress = await app.model.progress
      if progress.done < progress.total { busy += 1 }
      try await Task.sleep(for: .milliseconds(5))
    }
    terminal.send(.hangup)
    await running.value
    let p95 = times.sorted()[114]
    print(
      """
      key to frame: p50 \(Numbers.fixed(1000 * times.sorted()[60], 2)) ms, p95 \
      \(Numbers.fixed(1000 * p95, 2)) ms; kernels ran at \(busy) of 120 keys
      """
    )
    #expect(p95 < 0.016)
    #expect(busy > 30, "the kernels were done too soon to measure anything")
  }

  /// One head of 131072 tokens from a mapped file: a picture at once, and little memory.
  @Test func aHeadOf131072Tokens() throws {
    let n = 131072, dim = 64, made = SyntheticHeads(tokens: n, dim: dim, pattern: .vertical)
    let path = FileManager.default.temporaryDirectory.appending(
      path: "\(UUID().uuidString).safetensors"
    ).path
    defer { try? FileManager.default.removeItem(atPath: path) }
    func array(_ name: String, _ make: @escaping @Sendable (Int, Range<Int>) -> [Float])
      -> ArrayToWrite
    {
      ArrayToWrite(name, shape: [1, n, dim], half: true, parts: 16) {
        make(0, $0 * n / 16..<($0 + 1) * n / 16)
      }
    }
    try writeSafetensors(
      [array("layers.0.q", made.queries), array("layers.0.k", made.keys)],
      metadata: ["causal": "true"], to: path, force: true)
    let before = anonymousMegabytes(), most = Mutex(before)
    let watch = Progress { _ in
      let now = anonymousMegabytes()
      most.withLock { $0 = max($0, now) }
    }
    let start = ContinuousClock.now
    let head = try #require(DumpHeads(try Dump.open(path)).head(0, 0))
    let pass = try #require(MapPass(head))
    let window = MapWindow(queries: 0..<n, keys: 0..<n)
    _ = try #require(
      PooledMap.of(head, pass: pass, window: window, rows: 70, columns: 100, sampled: 1))
    let first = (ContinuousClock.now - start).seconds
    _ = try #require(
      PooledMap.of(head, pass: pass, window: window, rows: 70, columns: 100, progress: watch))
    let exact = (ContinuousClock.now - start).seconds
    _ = try #require(pass.tables([TileSpec(rows: 128, keys: 128)], progress: watch))
    let megabytes = most.withLock { $0 } - before
    print(
      """
      131072 tokens, d 64: first picture \(Numbers.fixed(1000 * first, 0)) ms, exact after \
      \(Numbers.fixed(exact, 2)) s, \(Numbers.fixed(megabytes, 0)) MB beyond the file
      """
    )
    #expect(first < 0.2 && exact < 20 && megabytes < 256)
  }

  /// Memory that belongs to no file.
  private func anonymousMegabytes() -> Double {
    let text = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("RssAnon:") } ?? ""
    return line.split { !$0.isNumber }.first.flatMap { Double($0) }.map { $0 / 1024 } ?? 0
  }

  /// A lambda step over the table of 131072 tokens: 1024 x 1024 blocks.
  @Test func aLambdaStepIsAComparison() throws {
    let side = 1024
    var random = Seeded(4)
    let mask = (0..<side * side).map { index in index % side <= index / side ? UInt8(0) : 255 }
    let margins = (0..<side * side).map { index in
      index % side <= index / side ? -abs(random.normal()) * 6 : .nan
    }
    let table = BlockTable(
      storedMask: mask, margins: margins, spec: TileSpec(rows: 128, keys: 128), queries: side * 128,
      keys: side * 128)
    var times: [Double] = []
    for step in 1...20 {
      let lambda = try Lambda(1 / Double(step)), start = ContinuousClock.now
      let skipped = table.mask(lambda).verdicts.count { $0 == .skipped }
      #expect(skipped == table.skippedBlocks(lambda))
      _ = table.droppedMass(lambda)
      times.append((ContinuousClock.now - start).seconds)
    }
    print(
      "lambda step over \(side)x\(side) blocks: \(Numbers.fixed(1000 * times.sorted()[10], 1)) ms")
    #expect(times.sorted()[10] < 0.016)
  }
}
