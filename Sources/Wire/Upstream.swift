public import Attention
public import Formats
import FoundationEssentials
public import Sessions
import Analysis

/// What a viewer says: a line of JSON each.
///
/// Example: `Upstream.lambda(0.1).line` is `{"do":"lambda","value":0.1}`. A sender obeys what its
/// hello says that it `takes`, answers what it `answers`, and passes over the rest.
public enum Upstream: Sendable, Equatable {
  /// The first line: frames from `seq` on are wanted; the token where a door asks for one.
  case join(seq: Int, token: String?)
  /// A question with its number.
  case ask(Int, Ask)
  /// Nobody waits for the answer any more.
  case cancel(Int)
  case pause
  case run
  /// So many tokens more.
  case step(Int)
  /// From the next token on.
  case lambda(Double)
  /// The tile of prompts, and that of single tokens.
  case tile(prefill: TileSpec, decode: TileSpec)
  case stop

  /// Bytes of a line at most.
  public static let mostBytes = 1 << 16

  /// The line without its end.
  public var line: String {
    var all = Line()
    switch self {
    case .join(let seq, let token): (all.do, all.seq, all.token) = ("join", seq, token)
    case .ask(let number, let ask): (all.ask, all.body) = (number, ask)
    case .cancel(let number): (all.do, all.to) = ("cancel", number)
    case .pause: all.do = "pause"
    case .run: all.do = "run"
    case .step(let count): (all.do, all.count) = ("step", count)
    case .lambda(let value): (all.do, all.value) = ("lambda", value)
    case .tile(let prefill, let decode):
      (all.do, all.prefill, all.decode) = ("tile", Tile(prefill), Tile(decode))
    case .stop: all.do = "stop"
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    return (try? encoder.encode(all)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
  }

  /// Reads a line; nil for a `do` that is not known. Throws `malformed` for what is no such line,
  /// and for numbers that make no sense.
  public init?(_ line: some Collection<UInt8>) throws(FormatError) {
    func wrong(_ what: String) -> FormatError {
      FormatError(.malformed, what, file: "the viewer", place: "a line")
    }
    guard line.count <= Self.mostBytes else { throw wrong("it is longer than 64 KiB") }
    guard let all = try? JSONDecoder().decode(Line.self, from: Data(line)) else {
      throw wrong("it is not the JSON of an ask or a do")
    }
    if let number = all.ask {
      guard number >= 0, let body = all.body else { throw wrong("it asks for nothing") }
      self = .ask(number, body)
      return
    }
    switch all.do {
    case "join": self = .join(seq: max(0, all.seq ?? 0), token: all.token)
    case "cancel": self = .cancel(all.to ?? -1)
    case "pause": self = .pause
    case "run": self = .run
    case "step": self = .step(min(max(1, all.count ?? 1), 1 << 20))
    case "lambda":
      guard let value = all.value, value.isFinite, value <= 1 else {
        throw wrong("lambda is a number of at most 1")
      }
      self = .lambda(max(0, value))
    case "tile":
      guard let prefill = all.prefill?.spec, let decode = all.decode?.spec else {
        throw wrong("a tile is rows, keys, vote and order")
      }
      self = .tile(prefill: prefill, decode: decode)
    case "stop": self = .stop
    default: return nil
    }
  }

  /// A tile as JSON.
  struct Tile: Codable, Sendable, Equatable {
    let rows, keys: Int
    let vote, order, criterion: String?
    let splits: Int?

    init(_ spec: TileSpec) {
      (rows, keys, splits) = (spec.rows, spec.keys, spec.splits)
      (vote, order, criterion) = (
        spec.vote.rawValue, spec.order.rawValue, spec.criterion.rawValue
      )
    }

    /// Nil where it is none.
    var spec: TileSpec? {
      guard (1...1 << 20).contains(rows), (1...1 << 20).contains(keys),
        (1...1 << 16).contains(splits ?? 1), let vote = Vote(rawValue: vote ?? "head"),
        let order = Order(rawValue: order ?? "ascending"),
        let criterion = Criterion(rawValue: criterion ?? "max")
      else { return nil }
      return TileSpec(
        rows: rows, keys: keys, vote: vote, order: order, criterion: criterion,
        splits: splits ?? 1)
    }
  }

  /// All that a line may say.
  private struct Line: Codable {
    var `do`: String?
    var ask: Int?
    var seq: Int?
    var token: String?
    var to: Int?
    var count: Int?
    var value: Double?
    var prefill: Tile?
    var decode: Tile?
    var body: Ask?

    enum CodingKeys: String, CodingKey {
      case `do`, ask, seq, token, to, count, value, prefill, decode
    }

    init() {}

    /// A question's fields stand beside its number.
    init(from decoder: any Decoder) throws {
      let all = try decoder.container(keyedBy: CodingKeys.self)
      self.do = try all.decodeIfPresent(String.self, forKey: .do)
      ask = try all.decodeIfPresent(Int.self, forKey: .ask)
      seq = try all.decodeIfPresent(Int.self, forKey: .seq)
      token = try all.decodeIfPresent(String.self, forKey: .token)
      to = try all.decodeIfPresent(Int.self, forKey: .to)
      count = try all.decodeIfPresent(Int.self, forKey: .count)
      value = try all.decodeIfPresent(Double.self, forKey: .value)
      prefill = try all.decodeIfPresent(Tile.self, forKey: .prefill)
      decode = try all.decodeIfPresent(Tile.self, forKey: .decode)
      if ask != nil { body = try Ask(from: decoder) }
    }

    func encode(to encoder: any Encoder) throws {
      var all = encoder.container(keyedBy: CodingKeys.self)
      try all.encodeIfPresent(self.do, forKey: .do)
      try all.encodeIfPresent(ask, forKey: .ask)
      try all.encodeIfPresent(seq, forKey: .seq)
      try all.encodeIfPresent(token, forKey: .token)
      try all.encodeIfPresent(to, forKey: .to)
      try all.encodeIfPresent(count, forKey: .count)
      try all.encodeIfPresent(value, forKey: .value)
      try all.encodeIfPresent(prefill, forKey: .prefill)
      try all.encodeIfPresent(decode, forKey: .decode)
      try body?.encode(to: encoder)
    }
  }
}

/// A question of the viewer, in the model's numbers of layers and heads.
public struct Ask: Codable, Sendable, Equatable {
  /// `picture`, `table` or `row`.
  public let what: String
  /// As the model calls it.
  public let layer: Int
  /// As the model calls it.
  public let head: Int
  /// The branch, which is 0, and how many tokens of it.
  public let frame: [Int]
  /// Of a picture: first row and the one behind the last.
  public var queries: [Int]?
  /// Of a picture: first key and the one behind the last.
  public var keys: [Int]?
  /// Of a picture: cells down and across, at most.
  public var rows, columns: Int?
  /// Of a picture: a key that is left out; so many rows of each row of cells stand for all.
  public var muted, sampled: Int?
  /// Of a table.
  var tile: Upstream.Tile?
  /// Of a table of the lse criterion: what it is made with.
  public var lambda: Double?
  /// Of a row, or of the table of one row.
  public var row: Int?

  /// A question about the source's own pattern or its blocks; nil for any other. `layer` and `head`
  /// are the model's numbers.
  public init?(_ question: Question, layer: LayerNumber, head: Int, tokens: Int) {
    (self.layer, self.head, frame) = (layer.value, head, [0, tokens])
    switch question {
    case .picture(let field, let request) where field.method == nil:
      what = "picture"
      let window = request.window
      queries = [window.queries.lowerBound, window.queries.upperBound]
      keys = [window.keys.lowerBound, window.keys.upperBound]
      (rows, columns, muted) = (request.rows, request.columns, request.muted)
      sampled = request.perCell
    case .table(_, let request):
      what = "table"
      tile = Upstream.Tile(request.spec)
      if request.spec.criterion == .lse { lambda = request.lambda }
      switch request.extent {
      case .whole: break
      case .row(let query): row = query
      case .kept: return nil
      }
    case .row(let field, let query) where field.method == nil:
      (what, row) = ("row", query)
    default: return nil
    }
  }

  /// The question about a head of a source, for who answers; nil where it makes no sense.
  public func question(_ head: HeadID, tokens: Int) -> Question? {
    switch what {
    case "picture":
      guard let queries = Self.range(queries, tokens), let keys = Self.range(keys, tokens),
        let rows, let columns, (1...1 << 14).contains(rows), (1...1 << 14).contains(columns)
      else { return nil }
      return .picture(
        .pattern(head),
        PictureRequest(
          MapWindow(queries: queries, keys: keys), rows: rows, columns: columns, muted: muted,
          perCell: sampled.map { max(1, $0) }))
    case "table":
      guard let spec = tile?.spec else { return nil }
      return .table(
        head,
        TableRequest(
          spec, lambda: spec.criterion == .lse ? min(lambda ?? 0, 1) : 0,
          row.map { .row($0) } ?? .whole))
    case "row": return row.map { .row(.pattern(head), $0) }
    default: return nil
    }
  }

  /// Two positions as a range that lies within the text and is not empty.
  private static func range(_ ends: [Int]?, _ tokens: Int) -> Range<Int>? {
    guard let ends, ends.count == 2, ends[0] >= 0, ends[0] < ends[1], ends[1] <= tokens else {
      return nil
    }
    return ends[0]..<ends[1]
  }
}
