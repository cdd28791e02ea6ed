public import Analysis
public import Attention

/// Where heads come from: a file, an engine, a stream, a test. Push a whisper, pull a picture.
///
/// A backend pushes small `Moment`s and answers `Question`s; an answer is no larger than what the screen shows. It must
/// compute on `ComputeThreads`, never on Swift's pool, and end soon after its task is cancelled.
public protocol Backend: Sendable {
  func describe() -> SourceDescription
  /// Progress events, about a hundred bytes each; a bounded stream that forgets the oldest.
  var moments: AsyncStream<Moment> { get }
  /// What is true up to a frame. Files have only `.whole`.
  func answer(_ question: Question, at frame: Frame) async throws -> Answer
  /// Tells a live source what to do; others take no orders.
  func send(_ command: Command)
}

extension Backend {
  public func send(_ command: Command) {}

  public func answer(_ question: Question) async throws -> Answer {
    try await answer(question, at: .whole)
  }
}

/// One query head, by its place in `SourceDescription.layers` and its head number, and by which of several files opened
/// together it is in.
public struct HeadID: Sendable, Hashable, Comparable {
  public var layer: Int
  public var head: Int
  public var source: Int

  public init(layer: Int, head: Int, source: Int = 0) {
    (self.layer, self.head, self.source) = (layer, head, source)
  }

  public static func < (a: HeadID, b: HeadID) -> Bool {
    (a.source, a.layer, a.head) < (b.source, b.layer, b.head)
  }
}

/// What a source holds, said once.
public struct SourceDescription: Sendable, Equatable {
  public var name: String
  public var kind: String
  public var model: String?
  /// Layer numbers, ascending.
  public var layers: [Int]
  public var heads: Int
  public var kvHeads: Int
  public var queries: Int
  public var keys: Int
  public var headDim: Int
  public var visibility: Visibility
  public var tokens: [String]
  public var hasValues: Bool
  /// The stored tile of a mask-only source; nil when any tile can be computed.
  public var storedTile: TileSpec?
  public var guesses: [String]
  /// Where a live source began.
  public var live: LiveStatus?
  /// Of the library, that can be compared with; empty when it is not known.
  public var methods: [String] = []
  /// Of the file, to open it again.
  public var path: String?
  /// Its place among files opened together, and in the first of them the others.
  public var index = 0
  public var others: [SourceDescription] = []

  public init(
    name: String, kind: String, model: String?, layers: [Int], heads: Int, kvHeads: Int,
    queries: Int, keys: Int,
    headDim: Int, visibility: Visibility, tokens: [String], hasValues: Bool,
    storedTile: TileSpec? = nil,
    guesses: [String] = [], live: LiveStatus? = nil
  ) {
    (self.name, self.kind, self.model, self.layers) = (name, kind, model, layers)
    (self.heads, self.kvHeads, self.queries, self.keys) = (heads, kvHeads, queries, keys)
    (self.headDim, self.visibility, self.tokens, self.hasValues) = (
      headDim, visibility, tokens, hasValues
    )
    (self.storedTile, self.guesses, self.live) = (storedTile, guesses, live)
  }

  public var allHeads: [HeadID] {
    layers.indices.flatMap { layer in
      (0..<heads).map { HeadID(layer: layer, head: $0, source: index) }
    }
  }
}

/// What a screen wants to know. Equal questions have equal answers, so answers can be kept.
public enum Question: Sendable, Hashable {
  /// The pattern of a window pooled to rows x columns cells.
  case map(HeadID, MapWindow, rows: Int, columns: Int, muted: Int?)
  /// The same picture from `perCell` rows of each row of cells: at once, and labelled for what it is.
  case sketch(HeadID, MapWindow, rows: Int, columns: Int, muted: Int?, perCell: Int)
  /// `lambda` matters to the lse criterion alone; 0 for the other, whose tables serve every lambda.
  case table(HeadID, TileSpec, lambda: Double)
  /// The same table if it is there already, from another session or another question; else `.unavailable` at once.
  case keptTable(HeadID, TileSpec, lambda: Double)
  case summary(HeadID)
  /// One row of the pattern.
  case row(HeadID, query: Int)
  case outputError(HeadID, TileSpec, lambda: Double)
  /// What threshold this head alone would need, by both models.
  case calibration(HeadID, TileSpec)
  /// What a method of the library does to the head: its blocks, and what that costs.
  case method(HeadID, String, TileSpec, lambda: Double)
  /// The blocks of one row alone, as a decode step decides them.
  case rowTable(HeadID, TileSpec, query: Int, lambda: Double)
  /// Tokens of a live source's branch.
  case steps(branch: Int, Range<Int>)
  /// What the pass that gave the newest token of the frame did.
  case detail
}

public enum Answer: Sendable {
  case map(PooledMap)
  case table(BlockTable)
  case summary(HeadSummary)
  case row([Float])
  case outputError(OutputError)
  case calibration(HeadCalibration)
  case method(MethodEffect)
  case steps(branch: Int, [Step])
  case detail(StepDetail)
  /// Why the source cannot tell.
  case unavailable(String)
}

/// What one method does to one head.
public struct MethodEffect: Sendable {
  /// Its mask, without margins.
  public let table: BlockTable
  public let dropped: (mean: Double, max: Double)?
  /// Nil without V.
  public let error: OutputError?

  public init(table: BlockTable, dropped: (mean: Double, max: Double)?, error: OutputError?) {
    (self.table, self.dropped, self.error) = (table, dropped, error)
  }
}

extension Question {
  /// Nil for questions about the source as a whole.
  public var head: HeadID? {
    switch self {
    case .map(let id, _, _, _, _), .table(let id, _, _), .summary(let id), .row(let id, _),
      .outputError(let id, _, _), .rowTable(let id, _, _, _), .sketch(let id, _, _, _, _, _),
      .calibration(let id, _), .keptTable(let id, _, _), .method(let id, _, _, _):
      id
    case .steps, .detail: nil
    }
  }
}

/// A small event from a backend.
public enum Moment: Sendable, Equatable {
  /// A live source has moved on.
  case live(LiveStatus)
  /// How much of a long answer is there, and how long it has taken.
  case progress(Question, share: Double, seconds: Double)
}
