public import Attention

/// Where heads come from: a file, an engine, a stream, a test. Push a whisper, pull a picture.
///
/// A backend pushes small `Moment`s and answers `Question`s; an answer is no larger than what the
/// screen shows. It must compute on `ComputeThreads`, never on Swift's pool, and end soon after its
/// task is cancelled.
///
/// Example: `try await backend.answer(.summary(HeadID(layer: 0, head: 3)))`. Screens do not ask a
/// backend themselves but a `Session`, which keeps answers and asks nothing twice at once.
public protocol Backend: Sendable {
  /// What the source holds, at once and without computing.
  func describe() -> SourceDescription
  /// Progress events, about a hundred bytes each; a bounded stream that forgets the oldest.
  var moments: AsyncStream<Moment> { get }
  /// What is true up to a frame. Files have only `.whole`.
  /// Throws `CancellationError` once nobody waits, and what reading the source throws; what a
  /// source cannot tell is `.unavailable`, not an error.
  func answer(_ question: Question, at frame: Frame) async throws -> Answer
  /// Tells a live source what to do; others take no orders.
  func send(_ command: Command)
}

extension Backend {
  /// Does nothing: the source takes no orders.
  public func send(_ command: Command) {}

  /// The answer for a source that does not grow. Throws what the other form throws.
  public func answer(_ question: Question) async throws -> Answer {
    try await answer(question, at: .whole)
  }
}

/// One query head, by its place in `SourceDescription.layers` and its head number, and by which of
/// several files opened together it is in.
public struct HeadID: Sendable, Hashable, Comparable {
  /// Of the layer in `SourceDescription.layers`.
  public var layer: LayerIndex
  /// Query head within its layer.
  public var head: Int
  /// Which of the files opened together; 0 for a single one.
  public var source: Int

  /// Nothing is checked: a backend says what it does not hold.
  public init(layer: LayerIndex, head: Int, source: Int = 0) {
    (self.layer, self.head, self.source) = (layer, head, source)
  }

  /// By source, then layer, then head: the order of lists.
  public static func < (a: HeadID, b: HeadID) -> Bool {
    (a.source, a.layer, a.head) < (b.source, b.layer, b.head)
  }
}

/// What a source holds, said once.
///
/// Small enough to travel as a value; what grows while it is looked at is in `LiveStatus`. Two are
/// equal when everything but the contents of their cards is.
public struct SourceDescription: Sendable, Equatable {
  /// What a title shows: the file's name, the model's.
  public var name: String
  /// What it is, in a word: `scores`, `live`, `recording`.
  public var kind: String
  /// The model it came from, where that is known.
  public var model: String?
  /// Layer numbers, ascending.
  public var layers: [LayerNumber]
  /// Query heads of each layer.
  public var heads: Int
  /// Key and value heads of each layer; divides `heads`.
  public var kvHeads: Int
  /// Query rows of each head, in tokens.
  public var queries: Int
  /// Keys of each head, in tokens.
  public var keys: Int
  /// Width of a query and a key; 0 for stored maps.
  public var headDim: Int
  /// Which keys each query may see, the same in all heads.
  public var visibility: Visibility
  /// `[keys]` texts, or empty.
  public var tokens: [String]
  /// V is there, so that outputs can be computed.
  public var hasValues: Bool
  /// The stored tile of a mask-only source; nil when any tile can be computed.
  public var storedTile: TileSpec?
  /// Sentences about what the file did not say and was taken for granted.
  public var guesses: [String]
  /// Where a live source began.
  public var live: LiveStatus?
  /// The cards of the library; empty when it is not known.
  public var methods: [MethodCard] = []
  /// What the families of those cards are.
  public var families: [MethodFamily] = []
  /// What is known of the tokens beside their texts.
  public var facts = TokenFacts()
  /// What methods may ask of this source; empty when that is not known.
  public var holds: Set<Need> = []
  /// Of the file, to open it again.
  public var path: String?
  /// `[heads]`, what the model calls the heads of a slice; empty: 0 and up.
  public var headNumbers: [Int] = []
  /// Layers whose heads have learned sinks: rows of keys and the sink then sum to 1.
  public var sunkLayers: Set<LayerIndex> = []
  /// What heads were assigned elsewhere, by a table that was given beside the file.
  public var assigned: [HeadID: AssignedShape] = [:]
  /// Its place among files opened together, and in the first of them the others.
  public var index = 0
  public var others: [SourceDescription] = []

  public init(
    name: String, kind: String, model: String?, layers: [LayerNumber], heads: Int, kvHeads: Int,
    queries: Int, keys: Int, headDim: Int, visibility: Visibility, tokens: [String],
    hasValues: Bool,
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

  /// The card whose blocks are read off one table: what the screen shows when no other method is
  /// chosen.
  public var tableCard: MethodCard? { methods.first { $0.blockTables != nil } }

  /// The family of a card; nil where nobody has written about it.
  public func family(of card: MethodCard) -> MethodFamily? {
    families.first { $0.word == card.family }
  }

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
      && a.headNumbers == b.headNumbers && a.sunkLayers == b.sunkLayers
      && a.assigned == b.assigned && a.others == b.others
  }

  /// What the file or model calls the layer at an index; traps when there is none.
  public func number(of index: LayerIndex) -> LayerNumber { layers[index] }

  /// Where the layer of a number is among those of this source; nil when it is not there.
  public func index(of number: LayerNumber) -> LayerIndex? { layers.index(of: number) }

  /// What the model calls a head of this source; a slice keeps the numbers of what it was cut from.
  public func headNumber(_ head: Int) -> Int {
    headNumbers.indices.contains(head) ? headNumbers[head] : head
  }

  /// Where the head of a number is in this source; nil when it is not there.
  public func head(numbered number: Int) -> Int? {
    headNumbers.isEmpty
      ? ((0..<heads).contains(number) ? number : nil) : headNumbers.firstIndex(of: number)
  }

  /// All head numbers in a few words, for a sentence: `0 to 8`, or `6, 7, 8` of a slice.
  public var headNames: String {
    headNumbers.isEmpty
      ? "0 to \(heads - 1)" : headNumbers.map(String.init).joined(separator: ", ")
  }

  /// All layer numbers in one line, for a sentence: `0, 12, 18`.
  public var layerNames: String { layers.map(\.description).joined(separator: ", ") }

  /// Where a screen begins unless told otherwise: the layer in the middle.
  public var middleLayer: LayerIndex { LayerIndex(layers.count / 2) }

  /// Every head of this source, layer by layer.
  public var allHeads: [HeadID] {
    layers.layerIndices.flatMap { layer in
      (0..<heads).map { HeadID(layer: layer, head: $0, source: index) }
    }
  }
}

/// The pattern that a head was assigned elsewhere: by an offline search, say.
public struct AssignedShape: Sendable, Hashable {
  /// Under the name that measured patterns go by, where it has one: `vertical-slash`.
  public let label: String
  /// With its sizes: `vertical-slash 1000+6096`.
  public let words: String

  /// Nothing is checked.
  public init(label: String, words: String) { (self.label, self.words) = (label, words) }
}

/// A small event from a backend.
public enum Moment: Sendable, Equatable {
  /// A live source has moved on.
  case live(LiveStatus)
  /// How much of a long answer is there, and how long it has taken.
  case progress(Question, share: Double, seconds: Double)
}
