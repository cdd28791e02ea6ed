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
  /// The cards of the library; empty when it is not known.
  public var methods: [MethodCard] = []
  /// What is known of the tokens beside their texts.
  public var facts = TokenFacts()
  /// What methods may ask of this source; empty when that is not known.
  public var holds: Set<Need> = []
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
    guesses: [String] = [], live: LiveStatus? = nil, methods: [MethodCard] = []
  ) {
    self.methods = methods
    (self.name, self.kind, self.model, self.layers) = (name, kind, model, layers)
    (self.heads, self.kvHeads, self.queries, self.keys) = (heads, kvHeads, queries, keys)
    (self.headDim, self.visibility, self.tokens, self.hasValues) = (
      headDim, visibility, tokens, hasValues
    )
    (self.storedTile, self.guesses, self.live) = (storedTile, guesses, live)
  }

  /// The card whose blocks are read off one table: what the screen shows when no other method is chosen.
  public var tableCard: MethodCard? { methods.first { $0.blockTables != nil } }

  /// The card of an id.
  public func card(_ id: String) -> MethodCard? { methods.first { $0.answers(to: id) } }

  /// Everything but cards, which have no identity beyond their ids.
  public static func == (a: SourceDescription, b: SourceDescription) -> Bool {
    a.name == b.name && a.kind == b.kind && a.model == b.model && a.layers == b.layers
      && a.heads == b.heads && a.kvHeads == b.kvHeads && a.queries == b.queries
      && a.keys == b.keys && a.headDim == b.headDim && a.visibility == b.visibility
      && a.tokens == b.tokens && a.hasValues == b.hasValues && a.storedTile == b.storedTile
      && a.guesses == b.guesses && a.live == b.live && a.facts == b.facts && a.path == b.path
      && a.methods.map(\.id) == b.methods.map(\.id) && a.index == b.index
      && a.others == b.others
  }

  public var allHeads: [HeadID] {
    layers.indices.flatMap { layer in
      (0..<heads).map { HeadID(layer: layer, head: $0, source: index) }
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
