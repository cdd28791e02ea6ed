import Analysis
import Attention
import Formats
import Sessions
import Tensors
import Testing
import Wire

/// What a kind must hold, against hello.
@Suite struct TypedFrameTests {
  private static let hello = try! Hello(Sent.frame(Sent.hello()))

  @Test func helloSaysWhatRuns() throws {
    let hello = try Hello(
      Sent.frame(
        Sent.hello([
          "layer_numbers": "[3,9]", "first_head": "4", "tile": "128x64", "decode_tile": "1x64",
          "decode_vote": "group", "lambda": "0.1", "answers": "[\"picture\"]", "takes": "[]",
          "rank": "1", "world": "2", "carries": "[\"q\",\"k\"]", "model": "a model",
        ])))
    #expect(hello.layers == [3, 9] && hello.firstHead == 4 && hello.rank == 1)
    #expect(hello.prefillTile == TileSpec(rows: 128, keys: 64))
    #expect(hello.decodeTile == TileSpec(rows: 1, keys: 64, vote: .group))
    #expect(hello.answers == ["picture"] && hello.takes.isEmpty && hello.carries == ["q", "k"])
    #expect(hello.valueDim == 4 && hello.lambda == 0.1 && hello.model == "a model")
  }

  @Test(arguments: [
    ("layers", "0"), ("layers", "2000"), ("layers", "two"), ("heads", "-1"), ("kv_heads", "3"),
    ("head_dim", "99999999999999999999"), ("wire", "2"), ("layer_numbers", "[1]"),
    ("layer_numbers", "[2,1]"), ("layer_numbers", "{}"), ("scale", "nan"), ("scale", "0"),
    ("lambda", "2"), ("tile", "0x4"), ("tile", "big"), ("answers", "picture"), ("rank", "1"),
    ("vote", "nobody"),
  ]) func aHelloThatMakesNoSenseIsRefused(_ key: String, _ value: String) throws {
    let more = key == "vote" ? ["tile": "8x8", key: value] : [key: value]
    let frame = try Sent.frame(Sent.hello(more))
    let error = #expect(throws: FormatError.self, "\(key) \(value)") { try Hello(frame) }
    #expect(error?.place == "hello 0" && error?.message.contains("WIRE.md") == true)
  }

  @Test func aPromptAndAStepAreRead() throws {
    let prompt = try PrefillFrame(Sent.frame(Sent.prefill([5, 6, 7])), Self.hello)
    #expect(prompt.ids == [5, 6, 7] && prompt.texts == ["a", "b", ""])
    #expect(prompt.rows.count == 2 && prompt.rows[1].query?.shape.axes == [2, 3, 4])
    let facts =
      #"{"text":" x","logprob":-0.5,"top":[{"token":1,"piece":"y","logit":2}],"ms":3,"#
      + #""lambda":0.1,"rows":1,"keys":4,"vote":"group"}"#
    let arrays = [
      ArrayToWrite("visible", int32: [4, 4, 4, 4], shape: [2, 2]),
      ArrayToWrite("skipped", int32: [0, 1, 2, 3], shape: [2, 2]),
      ArrayToWrite("sinks", floats: [0.1, 0.2, 0.3, 0.4], shape: [2, 2]),
    ]
    let step = try StepFrame(
      Sent.frame(
        WireFrame.bytes(
          .step, seq: 4, ["position": "3", "token": "9", "step": facts], arrays)), Self.hello)
    #expect(step.step.text == " x" && step.step.visibleBlocks == 16 && step.step.skippedBlocks == 6)
    #expect(step.step.tile == TileSpec(rows: 1, keys: 4, vote: .group) && step.sinks[3] == 0.4)
    #expect(step.step.top.first?.piece == "y" && step.step.lambda == 0.1)
  }

  @Test(arguments: [
    ["position": "-1"], ["position": "1048576"], ["position": ""], ["token": "-2"],
    ["token": "1e3"], ["step": "["], ["step": "{\"visible\":[1]}"], ["branch": "1"],
    ["step": "{\"visible\":[1,1,1,1],\"skipped\":[2,0,0,0]}"],
    ["step": "{\"visible\":[-1,1,1,1],\"skipped\":[-1,0,0,0]}"], ["step": "{\"top\":\"none\"}"],
  ]) func aStepThatMakesNoSenseIsRefused(_ more: [String: String]) throws {
    let frame = try Sent.frame(Sent.step(3, seq: 2, more))
    #expect(throws: FormatError.self, "\(more)") { try StepFrame(frame, Self.hello) }
  }

  @Test(arguments: ["layers.0.q", "layers.1.k", "layers.1.v", "visible", "sinks"])
  func anArrayOfAnotherShapeIsNamed(_ name: String) throws {
    let array = ArrayToWrite(name, floats: [1, 2, 3], shape: [3, 1, 1])
    let frame = try Sent.frame(
      WireFrame.bytes(.step, seq: 1, ["position": "0", "token": "1"], [array]))
    let error = #expect(throws: FormatError.self) { try StepFrame(frame, Self.hello) }
    #expect(error?.message.contains("\(name) is 3x1x1") == true, "\(String(describing: error))")
  }

  /// A table goes over the wire and comes back bit by bit, with its masses.
  @Test(arguments: [true, false]) func aTableComesBackAsItWent(_ isWhole: Bool) throws {
    let spec = TileSpec(rows: 2, keys: 2), margins: [Float] = [.infinity, .nan, -1, .infinity]
    let table = BlockTable(
      storedMask: [0, 0, 0, 0], margins: margins, spec: spec, queries: 4, keys: 4)
    var (metadata, arrays) = TableFrame.content(table, layer: 1, head: 1, tokens: 4)
    if isWhole {
      metadata.merge(["entropy": "0.5", "visible_rows": "4"]) { $1 }
      arrays += ["mass_sum", "mass_max", "worst_dropped"].map {
        ArrayToWrite($0, floats: [1, 0, 0.25, 1], shape: [2, 2])
      }
    }
    let back = try TableFrame(
      Sent.frame(WireFrame.bytes(.table, seq: nil, metadata, arrays)), Self.hello)
    #expect(back.place == WirePlace(layer: 1, head: 1, tokens: 4) && back.table.spec == spec)
    #expect(back.table.sortedMargins == table.sortedMargins && back.table.margins[1].isNaN)
    #expect(back.table.visibleRows == (isWhole ? 4 : 0))
    #expect((try back.table.droppedMass(Lambda(0.9)) != nil) == isWhole)
  }

  @Test func aPictureComesBackAsItWent() throws {
    let map = PooledMap(
      window: MapWindow(queries: 0..<4, keys: 1..<4), rowEdges: [0, 2, 4], keyEdges: [1, 4],
      max: [0.5, 1], mean: [0.25, 0.5], muted: nil, sampled: 2)
    let (metadata, arrays) = PictureFrame.content(map, layer: 0, head: 0, tokens: 4)
    let back = try PictureFrame(
      Sent.frame(WireFrame.bytes(.picture, seq: nil, metadata, arrays)), Self.hello)
    #expect(back.picture == map)
    let late = PictureFrame.content(map, layer: 0, head: 0, tokens: 3)
    let frame = try Sent.frame(WireFrame.bytes(.picture, seq: nil, late.metadata, late.arrays))
    #expect(throws: FormatError.self) { try PictureFrame(frame, Self.hello) }
  }

  // MARK: Upstream

  private static let pictured = Question.picture(
    .pattern(HeadID(layer: 1, head: 0)),
    PictureRequest(MapWindow(queries: 0..<9, keys: 2..<9), rows: 3, columns: 4))
  private static let tabled = Question.table(
    HeadID(layer: 1, head: 0), TableRequest(TileSpec(rows: 4, keys: 8, vote: .group), .row(5)))

  @Test func linesComeBackAsTheyWent() throws {
    let asks = try [Self.pictured, Self.tabled, .row(.pattern(HeadID(layer: 1, head: 0)), 3)].map {
      try #require(Ask($0, layer: 9, head: 4, tokens: 9))
    }
    let lines: [Upstream] =
      [
        .join(seq: 12, token: "secret"), .join(seq: 0, token: nil), .cancel(3), .pause, .run,
        .step(2), .lambda(0.125), .stop,
        .tile(
          prefill: TileSpec(rows: 64, keys: 32, order: .descending, splits: 2),
          decode: TileSpec(rows: 1, keys: 32, vote: .group)),
      ] + asks.enumerated().map { .ask($0.offset, $0.element) }
    for line in lines { #expect(try Upstream(Array(line.line.utf8)) == line, "\(line.line)") }
    #expect(Upstream.lambda(0.1).line == #"{"do":"lambda","value":0.1}"#)
    #expect(asks[0].question(HeadID(layer: 1, head: 0), tokens: 9) == Self.pictured)
    #expect(asks[1].question(HeadID(layer: 1, head: 0), tokens: 9) == Self.tabled)
    // Less than was asked about is there.
    #expect(asks[0].question(HeadID(layer: 1, head: 0), tokens: 8) == nil)
  }

  @Test(arguments: [
    "", "nonsense", "{\"do\":7}", "{\"ask\":-1}", "{\"ask\":1}", "{\"do\":\"lambda\"}",
    "{\"do\":\"lambda\",\"value\":2}", "{\"do\":\"tile\",\"prefill\":{\"rows\":0,\"keys\":1}}",
    "[" + String(repeating: "[", count: 70000),
  ]) func garbageUpstreamIsRefused(_ line: String) {
    #expect(throws: FormatError.self, "\(line.prefix(40))") { try Upstream(Array(line.utf8)) }
  }

  @Test func anUnknownOrderIsPassedOver() throws {
    #expect(try Upstream(Array("{\"do\":\"dance\"}".utf8)) == nil)
  }
}
