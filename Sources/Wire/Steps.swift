public import Attention
public import Formats
public import Sessions
public import Tensors

/// What a frame carries of one layer: Q, K and V of some positions, as many of the three as the
/// sender sends.
public struct LayerRows: Sendable {
  /// By its place in `Hello.layers`.
  public let layer: LayerIndex
  /// After rotation, `[heads, positions, headDim]`.
  public let query: Tensor?
  /// After rotation, `[kvHeads, positions, headDim]`.
  public let key: Tensor?
  /// `[kvHeads, positions, valueDim]`.
  public let value: Tensor?

  /// Of every layer that the frame has something of. Throws where a shape is not the one that is
  /// due.
  static func read(
    _ fields: WireFields, _ hello: Hello, positions: Int
  ) throws(FormatError) -> [LayerRows] {
    guard !fields.frame.archive.entries.isEmpty else { return [] }
    var all: [LayerRows] = []
    for (index, number) in hello.layers.enumerated() {
      func array(_ name: String, _ heads: Int, _ width: Int) throws(FormatError) -> Tensor? {
        let tensor = try fields.array("layers.\(number).\(name)", [heads, positions, width])
        guard tensor?.dtype.isFloat ?? true else {
          throw fields.fault("layers.\(number).\(name) is of whole numbers")
        }
        return tensor
      }
      let rows = LayerRows(
        layer: LayerIndex(index), query: try array("q", hello.heads, hello.headDim),
        key: try array("k", hello.kvHeads, hello.headDim),
        value: try array("v", hello.kvHeads, hello.valueDim))
      if rows.query != nil || rows.key != nil || rows.value != nil { all.append(rows) }
    }
    return all
  }
}

/// A part of the prompt: some of its positions, in order.
public struct PrefillFrame: Sendable {
  /// Of the first token of this part.
  public let position: Int
  /// The vocabulary's number of each token `[positions]`.
  public let ids: [Int]
  /// What each token completes `[positions]`; empty texts where nobody said them.
  public let texts: [String]
  /// What is carried of the layers.
  public let rows: [LayerRows]

  /// Checked against hello. Throws `malformed`.
  public init(_ frame: WireFrame, _ hello: Hello) throws(FormatError) {
    let fields = WireFields(frame)
    position = try fields.number("position", 0...Hello.mostPositions - 1) ?? 0
    let most = Hello.mostPositions - position
    guard let ids = try fields.integers("token_ids", most: most), !ids.isEmpty else {
      throw fields.fault("token_ids is missing or empty")
    }
    self.ids = ids
    let texts = try fields.json("tokens", [String].self) ?? []
    self.texts = ids.indices.map { texts.indices.contains($0) ? texts[$0] : "" }
    rows = try LayerRows.read(fields, hello, positions: ids.count)
  }
}

/// One decoded token, and what the pass that gave it did.
public struct StepFrame: Sendable {
  /// Of this token among all.
  public let position: Int
  /// The token as screens know it.
  public let step: Step
  /// Blocks that each head saw, `[layers * heads]`; empty where they were not counted.
  public let visible: [Int32]
  /// Blocks that each head skipped, `[layers * heads]`.
  public let skipped: [Int32]
  /// What each head's newest row gives key 0, a share in 0...1, `[layers * heads]`; empty where
  /// nobody said it.
  public let sinks: [Float]
  /// What is carried of the layers, of this one position.
  public let rows: [LayerRows]

  /// Checked against hello. Throws `malformed`.
  public init(_ frame: WireFrame, _ hello: Hello) throws(FormatError) {
    let fields = WireFields(frame)
    position = try fields.needed("position", 0...Hello.mostPositions - 1)
    let token = try fields.needed("token", 0...Int(Int32.max))
    guard try fields.number("branch", 0...1 << 16) ?? 0 == 0 else {
      throw fields.fault("a stream has one branch, 0")
    }
    let facts = try fields.json("step", StepFacts.self) ?? StepFacts()
    let axes = [hello.layers.count, hello.heads], size = axes[0] * axes[1]
    func counts(_ name: String, _ stored: [Int32]) throws(FormatError) -> [Int32] {
      let found =
        try fields.array(name, axes).map { $0.integers().map { Int32(clamping: $0) } } ?? stored
      guard found.isEmpty || found.count == size, found.allSatisfy({ $0 >= 0 }) else {
        throw fields.fault("\"\(name)\" are not \(size) counts")
      }
      return found
    }
    visible = try counts("visible", facts.visible)
    skipped = try counts("skipped", facts.skipped)
    guard visible.count == skipped.count, zip(visible, skipped).allSatisfy({ $0 >= $1 }) else {
      throw fields.fault("more blocks are skipped than visible")
    }
    sinks = try fields.array("sinks", axes)?.floats() ?? []
    rows = try LayerRows.read(fields, hello, positions: 1)
    step = facts.step(position: position, token: token, visible: visible, skipped: skipped)
  }
}
