import Attention
import Backends
import Formats
import FoundationEssentials
import Sessions
import Tensors
import Wire

/// A file as a sender has it: hello, and frames with their numbers.
struct ServedStream: Sendable {
  /// Metadata of hello without what is answered.
  let hello: [String: String]
  /// Arrays of hello: learned sinks.
  let helloArrays: [ArrayToWrite]
  /// From number 1 on.
  let frames: [[UInt8]]
  /// `[frames]`: it is a decoded token, which takes its time.
  let isStep: [Bool]
  /// Answers what a viewer asks.
  let backend: any Backend
  /// The whole text, which questions may be about; a dump has one frame for all.
  let isDump: Bool
  /// Numbers of its layers.
  let layers: [LayerNumber]

  /// Positions of a dump in one frame.
  private static let positions = 256

  /// Opens a dump with Q and K, a recording of a run, or one of a stream. Throws what opening
  /// throws, and `unsupported` for a dump without Q and K.
  init(_ path: String) throws {
    if SafetensorsStream.isRecording(path) || SafetensorsStream.isWire(path) {
      try self.init(recording: path)
    } else {
      try self.init(dump: path)
    }
  }

  private init(recording path: String) throws {
    let stream = try SafetensorsStream(path)
    var frames: [[UInt8]] = []
    var isStep: [Bool] = []
    for part in stream.parts {
      guard let kind = part.metadata["kind"].flatMap(WireKind.init(rawValue:)),
        kind == .prefill || kind == .step || kind == .findings,
        part.metadata["branch"] ?? "0" == "0"
      else { continue }
      var metadata = part.metadata
      for key in ["kind", "seq", "branches"] { metadata[key] = nil }
      let arrays = try part.entries.map {
        ArrayToWrite($0.name, tensor: try part.tensor($0.name))
      }
      frames.append(WireFrame.bytes(kind, seq: frames.count + 1, metadata, arrays))
      isStep.append(kind == .step)
    }
    let first = stream.parts[0]
    var hello = first.metadata
    for key in ["kind", "seq", "branches", "tokens", "position", "answers", "takes"] {
      hello[key] = nil
    }
    (self.hello, self.frames, self.isStep) = (hello, frames, isStep)
    helloArrays = try first.entries.filter { $0.name.hasSuffix("sinks") }.map {
      ArrayToWrite($0.name, tensor: try first.tensor($0.name))
    }
    var options = StreamBackend.Options()
    options.isFile = true
    let backend = try StreamBackend(DescriptorLink(reading: path), name: path, options)
    self.backend = backend
    (isDump, layers) = (false, backend.describe().layers)
  }

  private init(dump path: String) throws {
    let dump = try Dump.open(path)
    let backend = FileBackend(dump)
    let about = backend.describe()
    guard dump.kind == .qkv, let first = dump.layers.first, dump.causal,
      about.queries == about.keys, let values = first.arrays[.key]
    else {
      throw FormatError(
        .unsupported, "only causal dumps of Q and K of all positions are streamed", file: path)
    }
    var hello = [
      "layers": "\(about.layers.count)", "heads": "\(about.heads)", "kv_heads": "\(about.kvHeads)",
      "head_dim": "\(about.headDim)", "prompt_tokens": "\(about.keys)",
      "layer_numbers": "[\(about.layers.map(\.description).joined(separator: ","))]",
      "value_dim": "\((first.arrays[.value] ?? values).shape[2])",
    ]
    hello["model"] = about.model
    hello["scale"] = dump.scale.map { "\($0)" }
    var frames: [[UInt8]] = []
    for start in stride(from: 0, to: about.keys, by: Self.positions) {
      let range = start..<min(start + Self.positions, about.keys)
      frames.append(try Self.part(dump, about, range, seq: frames.count + 1))
    }
    (self.hello, helloArrays, self.frames) = (hello, [], frames)
    isStep = [Bool](repeating: false, count: frames.count)
    self.backend = backend
    (isDump, layers) = (true, about.layers)
  }

  /// Some positions of a dump.
  private static func part(
    _ dump: Dump, _ about: SourceDescription, _ range: Range<Int>, seq: Int
  ) throws -> [UInt8] {
    let ids = range.map { position in
      Int32(clamping: dump.tokenIDs.flatMap { position < $0.count ? $0[position] : nil } ?? 0)
    }
    let texts = range.map { about.tokens.indices.contains($0) ? about.tokens[$0] : "" }
    var arrays = [ArrayToWrite("token_ids", int32: ids, shape: [ids.count])]
    for layer in dump.layers {
      for (name, role) in [("q", ArrayRole.query), ("k", .key), ("v", .value)] {
        guard let tensor = layer.arrays[role] else { continue }
        arrays.append(
          ArrayToWrite(
            "layers.\(layer.layer).\(name)", tensor: tensor.slice(axis: 1, range)))
      }
    }
    return WireFrame.bytes(
      .prefill, seq: seq,
      [
        "position": "\(range.lowerBound)",
        "tokens": String(decoding: try JSONEncoder().encode(texts), as: UTF8.self),
      ], arrays)
  }

  /// The first frame; with what may be asked and told, where a viewer is heard.
  func hello(isHeard: Bool) -> [UInt8] {
    var metadata = hello
    if isHeard {
      metadata["answers"] = "[\"picture\",\"table\",\"row\"]"
      metadata["takes"] = "[\"pause\",\"run\",\"step\"]"
    }
    return WireFrame.bytes(.hello, seq: 0, metadata, helloArrays)
  }

  /// The answer to a question, as a frame. Throws `CancellationError` alone.
  func answer(_ number: Int, _ ask: Ask) async throws -> [UInt8] {
    func refused(_ why: String) -> [UInt8] {
      WireFrame.bytes(
        .answer, seq: nil, ["to": "\(number)", "what": "refused", "why": String(why.prefix(500))])
    }
    let about = backend.describe()
    guard let layer = about.index(of: LayerNumber(ask.layer)),
      let head = about.head(numbered: ask.head), ask.frame.count == 2, ask.frame[0] == 0,
      (1...Hello.mostPositions).contains(ask.frame[1]),
      let question = ask.question(HeadID(layer: layer, head: head), tokens: ask.frame[1])
    else { return refused("the question makes no sense") }
    let tokens = ask.frame[1]
    guard !isDump || tokens == about.keys else { return refused("this is of all tokens alone") }
    let made: Answer
    do {
      made = try await backend.answer(question, at: isDump ? .whole : Frame(tokens: tokens))
    } catch is CancellationError {
      throw CancellationError()
    } catch { return refused("\(error)") }
    let place = ["to": "\(number)", "what": ask.what]
    func frame(_ content: (metadata: [String: String], arrays: [ArrayToWrite])) -> [UInt8] {
      WireFrame.bytes(
        .answer, seq: nil, content.metadata.merging(place) { $1 }, content.arrays)
    }
    let layerNumber = LayerNumber(ask.layer)
    switch made {
    case .picture(let map):
      return frame(PictureFrame.content(map, layer: layerNumber, head: ask.head, tokens: tokens))
    case .table(let table):
      return frame(TableFrame.content(table, layer: layerNumber, head: ask.head, tokens: tokens))
    case .row(let row):
      return frame(([:], [ArrayToWrite("row", floats: row, shape: [row.count])]))
    case .unavailable(let why): return refused(why)
    default: return refused("the answer is none that was asked for")
    }
  }
}
