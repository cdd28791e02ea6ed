import Attention
import Backends
import Formats
import Foundation
import Sessions
import Tensors
import Testing

/// Windows, softcaps and learned sinks that differ from layer to layer.
@Suite struct LayerRuleTests {
  private static let heads = 2, tokens = 12, dim = 4, layers = 4

  private static func numbers(_ shape: [Int], seed: Int) -> [Float] {
    (0..<shape.reduce(1, *)).map { Float(($0 * 37 + seed * 11) % 23 - 11) / 8 }
  }

  /// Q and K of four layers with these metadata and arrays; the file is gone afterwards.
  private func open(
    _ metadata: [String: String], _ more: [ArrayToWrite] = [], numbers: [Int] = Array(0..<layers),
    options: DumpOptions = DumpOptions()
  ) throws -> (backend: FileBackend, said: String) {
    let path = FileManager.default.temporaryDirectory.appending(
      path: "layers-\(UUID()).safetensors"
    ).path
    defer { try? FileManager.default.removeItem(atPath: path) }
    var arrays = more
    for layer in numbers {
      for (seed, name) in ["q", "k"].enumerated() {
        let shape = [Self.heads, Self.tokens, Self.dim]
        arrays.append(
          ArrayToWrite(
            "layers.\(layer).\(name)", floats: Self.numbers(shape, seed: seed + 3 * layer),
            shape: shape))
      }
    }
    try writeSafetensors(
      arrays, metadata: metadata.merging(["causal": "true"]) { $1 }, to: path, force: true)
    let dump = try Dump.open(path, options: options)
    let backend = FileBackend(dump)
    return (backend, (backend.describe().guesses + dump.remarks).joined(separator: "; "))
  }

  /// The window of each layer as its rows show it: how many keys the last one sees.
  private func seen(_ backend: FileBackend) throws -> [Int] {
    try backend.heads.layers.layerIndices.map { layer in
      let head = try #require(backend.heads.head(layer, 1))
      var count = 0
      PatternRows(head).withRows(Self.tokens - 1..<Self.tokens) { _, row, _ in
        count = row.count { $0 > 0 }
      }
      #expect(head.visibility.count(row: Self.tokens - 1) == count)
      return count
    }
  }

  private static let types =
    #"["sliding_attention", "full_attention", "sliding_attention", "full_attention"]"#

  /// The four ways of saying it, and what is said of them.
  @Test(arguments: [
    (["sliding_window": "[3, null, 5, 0]"], [3, 12, 5, 12]),
    (["sliding_window": "[3, None, 5, -1]"], [3, 12, 5, 12]),
    (["sliding_window": "3", "layer_types": types], [3, 12, 3, 12]),
    (["layers.2.sliding_window": "4"], [12, 12, 4, 12]),
    (["sliding_window": "3", "layers.2.sliding_window": "none"], [3, 3, 12, 3]),
  ]) func windowsOfLayers(_ metadata: [String: String], _ wanted: [Int]) throws {
    let (backend, said) = try open(metadata)
    #expect(try seen(backend) == wanted)
    #expect(said.contains("keys outside of a window are hidden"), "\(said)")
    #expect(!said.contains("a window of"), "of all layers: \(said)")
    // What some layer sees is not called hidden.
    #expect(backend.describe().visibility.first(row: Self.tokens - 1) == 12 - wanted.max()!)
  }

  /// Layers by their numbers in the model, also where the file has some of them alone.
  @Test func aSliceOfLayersKeepsTheirNumbers() throws {
    let (backend, said) = try open(["sliding_window": "[3, 4, null, 5, null]"], numbers: [1, 4])
    #expect(try seen(backend) == [4, 12])
    #expect(said.contains("4 in layer 1; none in layer 4"), "\(said)")
    let list = try open(["sliding_window": "[3, 4]"], numbers: [6, 9])
    #expect(try seen(list.backend) == [3, 4])
  }

  /// A flag gives the width; the layers that have one are the file's.
  @Test func theFlagIsTheWidth() throws {
    var options = DumpOptions()
    options.window = 7
    let (backend, _) = try open(["sliding_window": "[3, null, 5, 0]"], options: options)
    #expect(try seen(backend) == [7, 12, 7, 12])
    let types = try open(["layer_types": Self.types], options: options)
    #expect(try seen(types.backend) == [7, 12, 7, 12])
  }

  /// What is no list of layers is passed over and named.
  @Test func listsOfOtherLayersAreNamed() throws {
    for text in ["[3, 4]", "[a]", "[[3], 4, 5, 6]"] {
      let (backend, said) = try open(["sliding_window": text])
      #expect(try seen(backend) == [12, 12, 12, 12], "\(text)")
      #expect(said.contains("sliding_window is a list, but none of a number for each"), "\(said)")
    }
    let words = try open(["sliding_window": "3", "layer_types": #"["full_attention"]"#])
    #expect(words.said.contains("layer_types is no list"), "\(words.said)")
    #expect(words.said.contains("hidden (--window): 3 in layers 0, 1, 2, 3"), "\(words.said)")
  }

  @Test func softcapsOfLayers() throws {
    let (backend, said) = try open(["softcap": "[1.5, null, 20, null]"])
    let plain = try open([:]).backend
    for layer in backend.heads.layers.layerIndices {
      let cap = [1.5, nil, 20, nil][layer.value]
      #expect(backend.heads.rules(layer).softcap == cap)
      func row(_ backend: FileBackend) throws -> [Float] {
        var row: [Float] = []
        PatternRows(try #require(backend.heads.head(layer, 0))).withRows(11..<12) { _, p, _ in
          row = Array(p)
        }
        return row
      }
      #expect(try (row(backend) == row(plain)) == (cap == nil), "layer \(layer.value)")
    }
    #expect(said.contains("20 in layer 2; 1.5 in layer 0; none in layers 1, 3"), "\(said)")
  }

  /// Blocks beyond a layer's window are not visible and not counted, and margins see no sink.
  @Test func blocksFollowTheLayersWindow() throws {
    let logits = ArrayToWrite("layers.0.sinks", floats: [3, -2], shape: [2])
    let windows = ["sliding_window": "[4, null, 4, null]"]
    let (backend, _) = try open(windows, [logits]), plain = try open(windows).backend
    func margins(_ backend: FileBackend, _ layer: LayerIndex) throws -> [Float] {
      let head = try #require(backend.heads.head(layer, 0))
      return try #require(
        TilePass(HeadGroup([head]), keysPerTile: 4).tables(TileSpec(rows: 4, keys: 4)))[0].margins
    }
    let windowed = try margins(backend, 0), full = try margins(backend, 1)
    #expect(windowed.count { !$0.isNaN } == 5 && full.count { !$0.isNaN } == 6)
    let without = try margins(plain, 0)
    #expect(windowed.map(\.bitPattern) == without.map(\.bitPattern))
  }

  /// The share of rows that goes to e^b, in double precision.
  private func mass(_ backend: FileBackend, _ layer: Int, _ head: Int, _ logit: Double) -> Double {
    let arrays = backend.heads.dump.layers[layer].arrays
    let q = arrays[.query]![head], k = arrays[.key]![head]
    let shares = (0..<Self.tokens).map { row -> Double in
      let sum = (0...row).reduce(0.0) { sum, key in
        let x = zip(q[row].floats(), k[key].floats()).reduce(0.0) { $0 + Double($1.0 * $1.1) }
        return sum + exp(x / 2)
      }
      return exp(logit) / (sum + exp(logit))
    }
    return shares.reduce(0, +) / Double(shares.count)
  }

  /// By layer, for all layers, and by rows of layers; findings and reports say the mass.
  @Test(arguments: ["layers.1.sinks", "model.layers.1.self_attn.s_aux", "sinks", "s_aux"])
  func sinksTakeTheirShare(_ name: String) async throws {
    let isAll = !name.contains("layers"), isTable = name == "s_aux"
    let rows = isTable ? Self.layers : 1
    let logits = Self.numbers([rows, Self.heads], seed: 9)
    let array = ArrayToWrite(
      name, floats: logits, shape: isTable ? [rows, Self.heads] : [Self.heads])
    let (backend, said) = try open([:], [array])
    for layer in 0..<Self.layers {
      for head in 0..<Self.heads {
        let found = backend.heads.sinkMass(LayerIndex(layer), head)
        guard isAll || layer == 1 else {
          #expect(found == nil)
          continue
        }
        let logit = Double(logits[(isTable ? layer : 0) * Self.heads + head])
        #expect(abs(try #require(found) - mass(backend, layer, head, logit)) < 1e-5)
      }
    }
    #expect(said.contains("\(name): a learned sink takes a share of every row"), "\(said)")
    let id = HeadID(layer: 1, head: 1), setting = MethodSetting("dense")
    let wanted = backend.heads.sinkMass(1, 1)
    guard
      case .findings(let findings) = try await backend.answer(.findings(id, setting, beside: nil))
    else {
      Issue.record("no findings")
      return
    }
    #expect(findings["learned_sink"]?.number == wanted)
    var request = ReportRequest(setting), said2: [Double?] = []
    (request.layers, request.heads) = ([1], [1])
    try backend.report(request) { said2.append($0.number("learned_sink")) }
    #expect(said2 == [wanted])
  }

  /// A sink of -inf takes nothing, one of +1000 all.
  @Test func sinksBeyondEveryScore() throws {
    let (backend, _) = try open(
      [:], [ArrayToWrite("sinks", floats: [-.infinity, 1000], shape: [2])])
    #expect(backend.heads.sinkMass(0, 0) == 0 && backend.heads.sinkMass(0, 1) == 1)
  }

  @Test func sinksOfOtherHeadsAreNamed() throws {
    let (backend, said) = try open(
      [:], [ArrayToWrite("layers.1.sinks", floats: [1, 2, 3], shape: [3])])
    #expect(backend.heads.sinkMass(1, 0) == nil)
    #expect(
      said.contains("the learned sink of layer 1 is passed over: it has 3 heads where the layer"),
      "\(said)")
  }
}
