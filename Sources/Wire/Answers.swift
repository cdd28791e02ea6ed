public import Analysis
public import Attention
public import Formats
import Tensors

/// Which head, after how many tokens, a table or a picture is of.
public struct WirePlace: Sendable, Hashable {
  /// By its place in `Hello.layers`.
  public let layer: LayerIndex
  /// By its place among the sender's heads.
  public let head: Int
  /// Tokens that were there when it was made.
  public let tokens: Int

  /// Nothing is checked.
  public init(layer: LayerIndex, head: Int, tokens: Int) {
    (self.layer, self.head, self.tokens) = (layer, head, tokens)
  }

  init(_ fields: WireFields, _ hello: Hello) throws(FormatError) {
    layer = try hello.layer(fields)
    head = try hello.head(fields)
    tokens = try fields.needed("tokens", 1...Hello.mostPositions)
  }
}

/// A block table that was made at the other end, pushed or asked for.
public struct TableFrame: Sendable {
  /// Which head, when.
  public let place: WirePlace
  /// With its masses where they were sent.
  public let table: BlockTable

  /// Checked against hello. Throws `malformed`.
  public init(_ frame: WireFrame, _ hello: Hello) throws(FormatError) {
    let fields = WireFields(frame)
    place = try WirePlace(fields, hello)
    guard let spec = try fields.tile() else { throw fields.fault("\"tile\" is missing") }
    let queries = try fields.number("queries", 1...place.tokens) ?? place.tokens
    let keys = try fields.number("keys", 1...place.tokens) ?? place.tokens
    let axes = [(queries + spec.rows - 1) / spec.rows, (keys + spec.keys - 1) / spec.keys]
    if let verdicts = try fields.array("verdicts", axes) {
      table = BlockTable(
        storedMask: verdicts.integers().map { UInt8(clamping: $0) }, margins: nil, spec: spec,
        queries: queries, keys: keys)
      return
    }
    guard let margins = try fields.array("margins", axes)?.floats() else {
      throw fields.fault("neither margins nor verdicts are there")
    }
    let masses = try ["mass_sum", "mass_max", "worst_dropped"].map { (name) throws(FormatError) in
      try fields.array(name, axes)?.floats()
    }
    guard let sum = masses[0], let most = masses[1], let worst = masses[2] else {
      table = BlockTable(
        storedMask: [UInt8](repeating: 0, count: margins.count), margins: margins, spec: spec,
        queries: queries, keys: keys)
      return
    }
    let entropy = try fields.real("entropy") ?? 0
    let rows = try fields.number("visible_rows", 0...queries) ?? queries
    let lambda = spec.criterion == .lse ? try fields.real("lambda") : nil
    table = try Self.table(
      fields, spec, queries, keys, [margins, sum, most, worst], entropy, rows, lambda)
  }

  /// By way of the bytes that a table is kept as.
  private static func table(
    _ fields: WireFields, _ spec: TileSpec, _ queries: Int, _ keys: Int, _ parts: [[Float]],
    _ entropy: Double, _ rows: Int, _ lambda: Double?
  ) throws(FormatError) -> BlockTable {
    var bytes: [UInt8] = []
    for part in parts { part.withUnsafeBytes { bytes += $0 } }
    withUnsafeBytes(of: entropy) { bytes += $0 }
    withUnsafeBytes(of: Int64(rows)) { bytes += $0 }
    withUnsafeBytes(of: lambda ?? .nan) { bytes += $0 }
    let made = bytes.withUnsafeBytes {
      BlockTable(spec: spec, queries: queries, keys: keys, packed: $0)
    }
    guard let made else { throw fields.fault("the masses do not fit the margins") }
    return made
  }

  /// Metadata and arrays of a frame that holds a table; `layer` and `head` as the model calls them.
  package static func content(
    _ table: BlockTable, layer: LayerNumber, head: Int, tokens: Int
  ) -> (metadata: [String: String], arrays: [ArrayToWrite]) {
    let spec = table.spec, axes = [table.rowTiles, table.keyTiles]
    var metadata = [
      "layer": "\(layer)", "head": "\(head)", "tokens": "\(tokens)",
      "tile": "\(spec.rows)x\(spec.keys)", "vote": spec.vote.rawValue,
      "order": spec.order.rawValue, "criterion": spec.criterion.rawValue,
      "splits": "\(spec.splits)", "queries": "\(table.queries)", "keys": "\(table.keys)",
    ]
    metadata["lambda"] = table.madeFor.map { "\($0)" }
    var arrays = [ArrayToWrite("margins", floats: table.margins, shape: axes)]
    if table.visibleRows > 0 {
      metadata["entropy"] = "\(table.entropy)"
      metadata["visible_rows"] = "\(table.visibleRows)"
      arrays += [
        ArrayToWrite("mass_sum", floats: table.massSum, shape: axes),
        ArrayToWrite("mass_max", floats: table.massMax, shape: axes),
        ArrayToWrite("worst_dropped", floats: table.worstDropped, shape: axes),
      ]
    }
    return (metadata, arrays)
  }
}

/// A pooled picture that was made at the other end.
public struct PictureFrame: Sendable {
  /// Which head, when.
  public let place: WirePlace
  /// Its cells.
  public let picture: PooledMap

  /// Cells along a side at most.
  private static let mostCells = 1 << 14

  /// Checked against hello. Throws `malformed`.
  public init(_ frame: WireFrame, _ hello: Hello) throws(FormatError) {
    let fields = WireFields(frame), place = try WirePlace(fields, hello)
    func edges(_ name: String) throws(FormatError) -> [Int] {
      guard let edges = try fields.integers(name, most: Self.mostCells + 1), edges.count > 1,
        edges[0] >= 0, edges[edges.count - 1] <= place.tokens,
        zip(edges, edges.dropFirst()).allSatisfy({ $0 < $1 })
      else { throw fields.fault("\(name) are not ascending positions") }
      return edges
    }
    let rows = try edges("row_edges"), keys = try edges("key_edges")
    let axes = [rows.count - 1, keys.count - 1]
    guard let most = try fields.array("max", axes), let mean = try fields.array("mean", axes) else {
      throw fields.fault("max or mean is missing")
    }
    self.place = place
    picture = PooledMap(
      window: MapWindow(
        queries: rows[0]..<rows[rows.count - 1], keys: keys[0]..<keys[keys.count - 1]),
      rowEdges: rows, keyEdges: keys, max: most.floats(), mean: mean.floats(),
      muted: try fields.number("muted", 0...place.tokens),
      sampled: try fields.number("sampled", 1...place.tokens))
  }

  /// Metadata and arrays of a frame that holds a picture; `layer` and `head` as the model calls
  /// them.
  package static func content(
    _ map: PooledMap, layer: LayerNumber, head: Int, tokens: Int
  ) -> (metadata: [String: String], arrays: [ArrayToWrite]) {
    var metadata = ["layer": "\(layer)", "head": "\(head)", "tokens": "\(tokens)"]
    metadata["muted"] = map.muted.map { "\($0)" }
    metadata["sampled"] = map.sampled.map { "\($0)" }
    func list(_ name: String, _ edges: [Int]) -> ArrayToWrite {
      ArrayToWrite(name, int32: edges.map { Int32(clamping: $0) }, shape: [edges.count])
    }
    let axes = [map.rows, map.columns]
    return (
      metadata,
      [
        ArrayToWrite("max", floats: map.max, shape: axes),
        ArrayToWrite("mean", floats: map.mean, shape: axes),
        list("row_edges", map.rowEdges), list("key_edges", map.keyEdges),
      ]
    )
  }
}

/// What came back to a question.
public struct AnswerFrame: Sendable {
  /// The number of the question.
  public let to: Int
  /// What it says.
  public let content: Content

  /// One of what may be asked.
  public enum Content: Sendable {
    case table(TableFrame)
    case picture(PictureFrame)
    /// Weights of one query `[keys]`.
    case row([Float])
    /// Why there is none.
    case refused(String)
  }

  /// Checked against hello. Throws `malformed`.
  public init(_ frame: WireFrame, _ hello: Hello) throws(FormatError) {
    let fields = WireFields(frame)
    to = try fields.needed("to", 0...Int(Int32.max))
    switch frame.metadata["what"] {
    case "table": content = .table(try TableFrame(frame, hello))
    case "picture": content = .picture(try PictureFrame(frame, hello))
    case "row":
      guard let entry = frame.archive.entry("row"), entry.shape.rank == 1,
        entry.shape.count <= Hello.mostPositions
      else { throw fields.fault("row is no list of weights") }
      content = .row(try frame.archive.tensor("row").floats())
    case "refused": content = .refused(fields.text("why") ?? "the other side gave no reason")
    default: throw fields.fault("\"what\" is none of table, picture, row and refused")
    }
  }
}

/// Where the sender stands, beside its steps.
public struct MomentFrame: Sendable {
  /// Nil: as before.
  public let isPaused: Bool?
  /// A sentence for the reader.
  public let note: String?
  /// Tokens in a second.
  public let speed: Double?
  /// The threshold from the next token on.
  public let lambda: Double?
  /// Steps that left the sender's ring before they were sent, in all.
  public let lost: Int?

  /// Throws `malformed`.
  public init(_ frame: WireFrame) throws(FormatError) {
    let fields = WireFields(frame)
    isPaused =
      switch frame.metadata["phase"] {
      case "paused": true
      case "running": false
      case nil: nil
      default: throw fields.fault("\"phase\" is neither running nor paused")
      }
    note = fields.text("note")
    speed = try fields.real("tokens_per_second").map { max(0, $0) }
    lambda = try fields.real("lambda").map { min($0, 1) }
    lost = try fields.number("lost", 0...Int(Int32.max))
  }
}
