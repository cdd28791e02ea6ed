import Analysis
import Attention
import Backends
import Formats
import Foundation
import Models
import Sessions
import Support
import Tensors
import Testing
import Wire

/// A run somewhere else: what comes, what is answered and by whom, what is told, and the end.
@Suite(.serialized, .timeLimit(.minutes(5))) struct StreamTests {
  private static let made = MadeStream()
  private static let head = HeadID(layer: 1, head: 3)

  /// A peer that has sent some frames, and its viewer.
  private static func with(
    _ frames: [[UInt8]], _ options: StreamBackend.Options = .init(),
    dial: DescriptorLink.Dial? = nil,
    _ body: (StreamPeer, StreamBackend) async throws -> Void
  ) async throws {
    let peer = StreamPeer(dial: dial)
    for frame in frames { peer.send(frame) }
    let backend = try StreamBackend(peer.link, name: "a test", options)
    try await peer.hears(.join(seq: 0, token: options.token))
    backend.start()
    defer { backend.close() }
    try await body(peer, backend)
  }

  private static func questions(_ spec: TileSpec = TileSpec(rows: 16, keys: 16)) -> [Question] {
    let n = MadeStream.tokens, all = MapWindow(queries: 0..<n, keys: 0..<n)
    return [
      .picture(.pattern(head), PictureRequest(all, rows: 12, columns: 10)),
      .row(.pattern(head), n - 2), .table(head, TableRequest(spec)), .summary(head),
      .table(head, TableRequest(TileSpec(rows: 1, keys: 16, vote: .group), .row(n - 1))),
      .findings(head, MethodSetting("top-k", ["k": .number(4)])),
      .overlap(head, OverlapRequest(.layers, MethodSetting("top-k", ["k": .number(4)]))),
    ]
  }

  private static let end = Frame(tokens: MadeStream.tokens)

  /// Bit by bit what the same arrays say as a file.
  @Test func qAndKAnswerAsAFileDoes() async throws {
    let file = FileBackend(try Self.made.dump())
    try await Self.with(Self.made.all) { _, stream in
      let there = await stream.status { $0.lengths == [MadeStream.tokens] }
      #expect(there?.frame == Self.end && there?.promptTokens == 30 && there?.phase == .running)
      for question in Self.questions() {
        try expectEqual(
          try await stream.answer(question, at: Self.end), try await file.answer(question),
          "\(question)")
      }
    }
  }

  @Test func stepsCanBeSteppedBackThrough() async throws {
    try await Self.with(Self.made.all) { _, stream in
      _ = await stream.status { $0.lengths == [MadeStream.tokens] }
      guard case .steps(0, let steps) = try await stream.answer(.steps(branch: 0, 0..<99)) else {
        Issue.record("no steps")
        return
      }
      #expect(steps.map(\.position) == Array(0..<MadeStream.tokens))
      #expect(steps[4].text == "p4 " && steps[4].isPrompt && steps[40].text == "s40 ")
      #expect(steps[40].sparsity == 1.0 / 3 && steps[40].lambda == 0.1)
      guard case .detail(let detail) = try await stream.answer(.detail, at: Frame(tokens: 41))
      else { return }
      #expect(detail.visible == [Int32](repeating: 3, count: 8) && detail.sink.count == 8)
      let row = try await stream.answer(.row(.pattern(Self.head), 40), at: Frame(tokens: 41))
      guard case .row(let weights) = row else {
        Issue.record("no row: \(row)")
        return
      }
      #expect(weights.count == 41 && abs(weights[0] - detail.sink[7]) < 1e-5)
      // An earlier frame is another head.
      let early = try await stream.answer(.row(.pattern(Self.head), 20), at: Frame(tokens: 21))
      guard case .row(let few) = early else { return }
      #expect(few.count == 21)
    }
  }

  @Test func withoutQAndKTheReasonIsSaid() async throws {
    let frames =
      [MadeStream.hello()] + (0..<9).map { Self.made.step($0, seq: $0 + 1) { $0.contains("3.") } }
    try await Self.with(frames) { _, stream in
      _ = await stream.status { $0.lengths == [9] }
      let frame = Frame(tokens: 9)
      let refused = try await stream.answer(.summary(Self.head), at: frame)
      guard case .unavailable(let why) = refused else {
        Issue.record("\(refused)")
        return
      }
      #expect(why == "the stream does not carry Q and K of layer 5")
      let known = try await stream.answer(.summary(HeadID(layer: 0, head: 0)), at: frame)
      if case .summary = known {} else { Issue.record("\(known)") }
    }
  }

  // MARK: The other end

  /// What hello answers is asked for there: a table of its own, a picture of its own, a refusal.
  @Test func theSenderIsAskedForWhatItAnswers() async throws {
    let answers = ["answers": "[\"picture\",\"table\",\"row\"]"]
    let spec = TileSpec(rows: 8, keys: 8)
    try await Self.with([MadeStream.hello(answers)] + Self.made.all.dropFirst()) { peer, stream in
      _ = await stream.status { $0.lengths == [MadeStream.tokens] }
      async let told = stream.answer(.table(Self.head, TableRequest(spec)), at: Self.end)
      guard case .ask(let number, let ask)? = try await peer.line() else { return }
      #expect((ask.what, ask.layer, ask.head, ask.frame) == ("table", 5, 3, [0, 48]))
      let table = BlockTable(
        storedMask: [UInt8](repeating: 0, count: 36),
        margins: (0..<36).map { -Float($0) / 10 }, spec: spec, queries: 48, keys: 48)
      var (metadata, arrays) = TableFrame.content(table, layer: 5, head: 3, tokens: 48)
      metadata.merge(["to": "\(number)", "what": "table"]) { $1 }
      peer.send(WireFrame.bytes(.answer, seq: nil, metadata, arrays))
      guard case .table(let got) = try await told else { return }
      #expect(got.margins == table.margins)
      // What it refuses is computed here, where Q and K are.
      async let row = stream.answer(.row(.pattern(Self.head), 7), at: Self.end)
      guard case .ask(let second, let other)? = try await peer.line() else { return }
      #expect(other.what == "row" && other.row == 7)
      peer.send(
        WireFrame.bytes(
          .answer, seq: nil, ["to": "\(second)", "what": "refused", "why": "it is busy"]))
      guard case .row(let weights) = try await row else {
        Issue.record("no row")
        return
      }
      #expect(weights.count == 48)
      // One that nobody waits for any more is cancelled there.
      let asked = Task { try await stream.answer(.row(.pattern(Self.head), 8), at: Self.end) }
      guard case .ask(let third, _)? = try await peer.line() else { return }
      asked.cancel()
      try await peer.hears(.cancel(third))
      await #expect(throws: CancellationError.self) { _ = try await asked.value }
    }
  }

  @Test func whatIsPushedIsShown() async throws {
    let spec = TileSpec(rows: 4, keys: 4)
    let table = BlockTable(
      storedMask: [0, 255, 1, 0], margins: nil, spec: spec, queries: 8, keys: 8)
    var (metadata, _) = TableFrame.content(table, layer: 5, head: 3, tokens: 8)
    metadata["lambda"] = nil
    let pushed = WireFrame.bytes(
      .table, seq: nil, metadata, [ArrayToWrite("verdicts", bytes: [0, 255, 1, 0], shape: [2, 2])])
    let steps = (0..<8).map { Self.made.step($0, seq: $0 + 1) { _ in false } }
    try await Self.with([MadeStream.hello()] + steps + [pushed]) { peer, stream in
      peer.send(WireFrame.bytes(.moment, seq: nil, ["note": "all is there"]))
      _ = await stream.status { $0.note == "all is there" }
      let answer = try await stream.answer(
        .table(Self.head, TableRequest(spec)), at: Frame(tokens: 8))
      guard case .table(let got) = answer else {
        Issue.record("\(answer)")
        return
      }
      #expect(got.isFixed && got.visibleBlocks == 3)
      let other = try await stream.answer(
        .table(HeadID(layer: 0, head: 0), TableRequest(spec)), at: Frame(tokens: 8))
      guard case .unavailable(let why) = other else { return }
      #expect(why == "the stream does not carry Q and K")
    }
  }

  // MARK: Orders

  @Test func whatHelloTakesIsTold() async throws {
    let takes = ["takes": "[\"pause\",\"run\",\"lambda\",\"tile\"]", "tile": "16x16"]
    try await Self.with([MadeStream.hello(takes), Self.made.step(0, seq: 1)]) { peer, stream in
      _ = await stream.status { $0.phase == .running }
      stream.send(.pause)
      try await peer.hears(.pause)
      _ = await stream.status { $0.phase == .paused }
      stream.send(.run)
      try await peer.hears(.run)
      let tile = TileSpec(rows: 8, keys: 8), one = TileSpec(rows: 1, keys: 8, vote: .group)
      stream.send(.attend(AttentionChoice(lambda: 0.25, prefill: tile, decode: one)))
      try await peer.hears(.lambda(0.25))
      try await peer.hears(.tile(prefill: tile, decode: one))
      peer.send(WireFrame.bytes(.moment, seq: nil, ["phase": "paused", "lambda": "0.2"]))
      let paused = await stream.status { $0.phase == .paused }
      #expect(paused?.attention?.lambda == 0.2)
      stream.send(.step(1))
      let told = await stream.status { $0.note.contains("step") }
      #expect(told?.note == "The sender does not take step: its hello says what it takes.")
      stream.send(
        .branch(from: Frame(tokens: 1), AttentionChoice(lambda: 0, prefill: tile, decode: one)))
      let branch = await stream.status { $0.note.contains("branch") }
      #expect(branch?.note.contains("attnscope run") == true)
    }
  }

  // MARK: Losses and ends

  @Test func lossesAreCountedAndSaid() async throws {
    let frames = [MadeStream.hello()] + [0, 1, 2, 6, 7].map { Self.made.step($0, seq: $0 + 1) }
    try await Self.with(frames) { _, stream in
      let there = await stream.status { $0.lengths == [8] }
      #expect(there?.note.contains("3 frames are missing") == true, "\(there?.note ?? "")")
      #expect(there?.note.contains("3 of 7 tokens are not known") == true)
      guard case .steps(_, let steps) = try await stream.answer(.steps(branch: 0, 0..<8)) else {
        return
      }
      #expect(steps[3].attention == "lost" && steps[6].text == "s6 ")
      let early = try await stream.answer(.summary(Self.head), at: Frame(tokens: 3))
      if case .summary = early {} else { Issue.record("\(early)") }
      let late = try await stream.answer(.summary(Self.head), at: Frame(tokens: 8))
      guard case .unavailable(let why) = late else { return }
      #expect(why == "Q and K of token 3 never came: the stream has gaps")
    }
  }

  @Test func theEndIsSaidAndEverythingStays() async throws {
    let folder = FileManager.default.temporaryDirectory.path
    let file = folder + "/end-\(UUID()).safetensors", record = folder + "/rec-\(UUID()).st"
    defer { for path in [file, record] { try? FileManager.default.removeItem(atPath: path) } }
    var options = StreamBackend.Options()
    options.record = try StreamRecord(record)
    try await Self.with(Self.made.all, options) { peer, stream in
      _ = await stream.status { $0.lengths == [MadeStream.tokens] }
      peer.close()
      let over = await stream.status { if case .ended = $0.phase { true } else { false } }
      #expect(over?.phase == .ended("the process closed the stream at token 47"))
      let answer = try await stream.answer(.summary(Self.head), at: Self.end)
      if case .summary = answer {} else { Issue.record("\(answer)") }
      stream.send(.save(file))
      let saved = await stream.status { $0.note.hasPrefix("Recording saved") }
      #expect(saved != nil)
      stream.send(.save(file))
      _ = await stream.status { $0.note.contains("the file exists") }
    }
    // What came is a recording, whichever way it was written.
    let bytes = try Data(contentsOf: URL(filePath: file))
    #expect(bytes == Data(Self.made.all.flatMap { $0 }))
    #expect(try Data(contentsOf: URL(filePath: record)) == bytes)
    #expect(SafetensorsStream.isWire(file) && !SafetensorsStream.isRecording(file))
    let again = try Self.opened(file)
    #expect(again.describe().live?.lengths == [MadeStream.tokens])
    #expect(again.describe().live?.phase == .ended("a recording"))
    let other = FileBackend(try Self.made.dump())
    for question in Self.questions() {
      try expectEqual(
        try await again.answer(question, at: Self.end), try await other.answer(question),
        "\(question)")
    }
    try bytes.dropLast(5).write(to: URL(filePath: file))
    let cut = try Self.opened(file)
    #expect(cut.describe().live?.lengths == [MadeStream.tokens - 1])
    #expect(cut.describe().live?.note.contains("cut off") == true)
  }

  private static func opened(_ file: String) throws -> StreamBackend {
    var options = StreamBackend.Options()
    options.isFile = true
    return try StreamBackend(
      DescriptorLink(input: open(file, O_RDONLY)), name: file, options)
  }

  /// A bye is the sender's own word for the end.
  @Test func aByeIsTheSendersWord() async throws {
    let bye = WireFrame.bytes(.bye, seq: nil, ["why": "all tokens were decoded"])
    try await Self.with([MadeStream.hello(), Self.made.step(0, seq: 1), bye]) { peer, stream in
      peer.close()
      let over = await stream.status { if case .ended = $0.phase { true } else { false } }
      #expect(over?.phase == .ended("the process ended: all tokens were decoded at token 0"))
      stream.send(.pause)
    }
  }

  /// After a break the rest comes over another connection, and nothing twice.
  @Test func aBrokenConnectionIsTakenUpAgain() async throws {
    let (here, there) = StreamPeer.pair()
    let frames = Array(Self.made.all)
    try await Self.with(Array(frames[..<9]), dial: { (there, there) }) { peer, stream in
      _ = await stream.status { $0.lengths == [36] }
      peer.take(here)
      try await peer.hears(.join(seq: 9, token: nil))
      for frame in [frames[0]] + frames[7...] { peer.send(frame) }
      let whole = await stream.status { $0.lengths == [MadeStream.tokens] }
      #expect(whole?.phase == .running)
      #expect(whole?.note.contains("missing") == false)
      let answer = try await stream.answer(.summary(Self.head), at: Self.end)
      if case .summary = answer {} else { Issue.record("\(answer)") }
    }
  }

  @Test func anotherModelIsNotTakenForTheFirst() async throws {
    let (here, there) = StreamPeer.pair()
    let frames = Array(Self.made.all)
    try await Self.with(Array(frames[..<5]), dial: { (there, there) }) { peer, stream in
      _ = await stream.status { $0.lengths == [32] }
      peer.take(here)
      peer.send(MadeStream.hello(["layer_numbers": "[0,1]"]) + frames[5])
      let over = await stream.status { if case .ended = $0.phase { true } else { false } }
      #expect(over?.phase == .ended("another model answers at a test"))
      #expect(over?.lengths == [32])
    }
  }
}

/// Answers that say the same, to the bit.
func expectEqual(
  _ a: Answer, _ b: Answer, _ what: String, within tolerance: Float = 0,
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  func near(_ a: [Float], _ b: [Float]) -> Bool {
    a.count == b.count
      && zip(a, b).allSatisfy { $0 == $1 || $0.isNaN && $1.isNaN || abs($0 - $1) <= tolerance }
  }
  let isSame: Bool =
    switch (a, b) {
    case (.picture(let a), .picture(let b)): near(a.max, b.max) && near(a.mean, b.mean)
    case (.row(let a), .row(let b)): near(a, b)
    case (.table(let a), .table(let b)):
      a.spec == b.spec && near(a.margins, b.margins) && near(a.massSum, b.massSum)
    case (.summary(let a), .summary(let b)):
      a.sink.position == b.sink.position
        && near([Float(a.sink.mass), Float(a.entropy)], [Float(b.sink.mass), Float(b.entropy)])
    case (.findings(let a), .findings(let b)):
      a.all.map(\.name) == b.all.map(\.name)
        && near(
          a.all.map { Float(a[$0.name]?.number ?? 0) }, b.all.map { Float(b[$0.name]?.number ?? 0) }
        )
    default: false
    }
  #expect(isSame, "\(what):\n\(a)\n\(b)", sourceLocation: sourceLocation)
}
