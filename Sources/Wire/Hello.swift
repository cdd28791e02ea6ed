public import Attention
public import Formats
import Tensors

/// The first frame: what runs at the other end, and what it sends and answers.
///
/// Everything later is checked against it: layers, heads, shapes. A recording that a run has saved
/// begins with its prompt, whose metadata says the same of the shapes: it is read as its own hello.
public struct Hello: Sendable {
  /// The model's name; nil where nobody said it.
  public let model: String?
  /// Numbers of the layers that this sender has, ascending.
  public let layers: [LayerNumber]
  /// Query heads of a layer at this sender.
  public let heads: Int
  /// Key and value heads of a layer at this sender; divides `heads`.
  public let kvHeads: Int
  /// Width of a query and a key.
  public let headDim: Int
  /// Width of a value.
  public let valueDim: Int
  /// What the model calls the sender's first head.
  public let firstHead: Int
  /// Tokens of the prompt; nil where nobody said it.
  public let promptTokens: Int?
  /// What Q K^T is multiplied with; nil: 1 / sqrt(headDim).
  public let scale: Double?
  /// The threshold in force; nil for a kernel without one.
  public let lambda: Double?
  /// The tile of prompts; nil where the kernel has none.
  public let prefillTile: TileSpec?
  /// The tile of single tokens.
  public let decodeTile: TileSpec?
  /// Name of the kernel, and what else is said to people.
  public let kernel: String?
  /// Which of several requests this is.
  public let request: String?
  /// Of the sender among `world` senders, from 0.
  public let rank: Int
  /// Senders that together have the model.
  public let world: Int
  /// What may be asked: `table`, `picture`, `row`.
  public let answers: Set<String>
  /// What it may be told: `pause`, `run`, `step`, `lambda`, `tile`, `stop`.
  public let takes: Set<String>
  /// What its frames hold of Q, K and V: `q`, `k`, `v`; nil where nobody said it.
  public let carries: Set<String>?
  /// The frame itself, for the rules of the model's attention and for saving.
  public let frame: WireFrame

  /// Layers, heads and widths beyond these are no model's.
  public static let mostHeads = 1024, mostLayers = 1024, mostWidth = 1024
  /// Positions of a stream at most, in tokens.
  public static let mostPositions = 1 << 20

  /// Reads and checks a `hello`, or the `prefill` of a recording. Throws `malformed`.
  public init(_ frame: WireFrame) throws(FormatError) {
    let fields = WireFields(frame)
    guard frame.kind == .hello || frame.kind == .prefill else {
      throw fields.fault("a stream begins with hello, not with \(frame.kind.rawValue)")
    }
    if let wire = frame.metadata["wire"], wire != "1" {
      throw fields.fault("it speaks wire \(wire.prefix(8)), and this is 1")
    }
    let count = try fields.needed("layers", 1...Self.mostLayers)
    if let numbers = try fields.json("layer_numbers", [Int].self) {
      guard numbers.count == count, numbers.allSatisfy({ (0...1 << 20).contains($0) }),
        zip(numbers, numbers.dropFirst()).allSatisfy({ $0 < $1 })
      else { throw fields.fault("\"layer_numbers\" are not \(count) ascending numbers") }
      layers = numbers.map { LayerNumber($0) }
    } else {
      layers = .counted(count)
    }
    heads = try fields.needed("heads", 1...Self.mostHeads)
    kvHeads = try fields.needed("kv_heads", 1...Self.mostHeads)
    guard heads % kvHeads == 0 else { throw fields.fault("heads do not share KV heads evenly") }
    headDim = try fields.needed("head_dim", 1...Self.mostWidth)
    valueDim = try fields.number("value_dim", 1...Self.mostWidth) ?? headDim
    firstHead = try fields.number("first_head", 0...1 << 16) ?? 0
    promptTokens = try fields.number("prompt_tokens", 0...Self.mostPositions)
    scale = try fields.real("scale")
    lambda = try fields.real("lambda")
    guard scale.map({ $0 > 0 }) ?? true else { throw fields.fault("\"scale\" is not above 0") }
    guard lambda.map({ $0 <= 1 }) ?? true else { throw fields.fault("\"lambda\" is above 1") }
    prefillTile = try fields.tile()
    decodeTile = try fields.tile("decode_tile", prefix: "decode_")
    (model, kernel, request) = (
      fields.text("model"), fields.text("kernel"), fields.text("request")
    )
    world = try fields.number("world", 1...1 << 16) ?? 1
    rank = try fields.number("rank", 0...world - 1) ?? 0
    answers = Set(try fields.json("answers", [String].self)?.prefix(64) ?? [])
    takes = Set(try fields.json("takes", [String].self)?.prefix(64) ?? [])
    carries = try fields.json("carries", [String].self).map { Set($0.prefix(64)) }
    self.frame = frame
  }

  /// Where a layer of a number lies; throws where the sender has none.
  func layer(_ fields: WireFields) throws(FormatError) -> LayerIndex {
    let number = try fields.needed("layer", 0...1 << 20)
    guard let index = layers.index(of: LayerNumber(number)) else {
      throw fields.fault("there is no layer \(number)")
    }
    return index
  }

  /// The place of a head by its number in the model.
  func head(_ fields: WireFields) throws(FormatError) -> Int {
    try fields.needed("head", firstHead...firstHead + heads - 1) - firstHead
  }
}
