public import Tensors

/// What a method may need beyond a head's own pattern.
public enum Need: String, Sendable, Hashable, CaseIterable {
  /// Queries and keys themselves, not a stored map.
  case queryKey = "Q and K"
  /// Value rows, for outputs.
  case values = "V"
  /// All heads of the layer.
  case layer = "all heads of a layer"
  /// `[sources, tokens, width]`: the embedding, then what each sublayer added.
  case residuals
  /// Which keys a learned selector chose for each query, `[sets, queries, chosen]`: indices, -1 for
  /// none.
  case selection = "chosen keys"
  /// What the selector thought of every key, `[sets, queries, keys]`.
  case indexScores = "scores of an indexer"
  /// How much of its value each token writes into a memory, β `[sets, tokens]`.
  case writeStrengths = "write strengths (beta)"
  /// What a deployed kernel was seen to compute, U8 `[heads, row tiles, key tiles]`.
  case probe = "a probe"
  /// Fewer tokens than the source has.
  case length = "a shorter text"
  /// Scores before softmax, or Q and K.
  case logits
  /// That some tokens are patches of an image, and how these lie.
  case imageGrid = "an image grid (--grid ROWSxCOLUMNS)"
  /// Which tokens are text, which are an image's, which are padding.
  case roles = "token roles (--roles FILE)"
  /// A model that can be run again under another method.
  case model = "a model that runs (--model)"
  /// The model's own parameters, not only what it computed.
  case weights = "weights of the model"
  /// What a text-only model gave each token, `[tokens]`.
  case probabilities = "token probabilities"
  /// What each token cost the model that is trained, in nats, `[tokens]`.
  case losses = "token losses"
  /// Token texts in which a segment stands twice.
  case repetition = "a segment that occurs twice"

  /// Where it comes from when a source has not got it: a clause without a full stop, or empty.
  var remedy: String {
    switch self {
    case .residuals: "capture --residuals"
    case .selection: "layers.N.selected [queries, chosen] beside Q and K, or a map"
    case .probe: "attnscope.probe writes one"
    case .writeStrengths: "layers.N.beta [heads, tokens] beside Q and K"
    case .probabilities: "token_probabilities in the file, or --model and --prompt"
    case .losses: "token_losses in the file"
    case .weights: "layers.N.w_q, w_k, w_v and w_o in the file, or --model and --prompt"
    case .repetition: "token texts (--tokens FILE), or the knobs first, second and length"
    default: ""
    }
  }

  /// The array of a file that holds it, for needs that are arrays of the whole file.
  public var array: String? {
    switch self {
    case .residuals: "residuals"
    case .probabilities: "token_probabilities"
    case .losses: "token_losses"
    default: nil
    }
  }
}

/// Why a method has nothing to say: what it would need.
public struct Missing: Error, Sendable, Hashable, CustomStringConvertible {
  /// What is not there.
  public let need: Need
  /// Where it could come from, when that is known.
  public let hint: String

  /// `hint` is a clause without a full stop.
  public init(_ need: Need, hint: String = "") { (self.need, self.hint) = (need, hint) }

  /// A clause that begins with `needs`, for a sentence about the method.
  public var description: String {
    let hint = hint.isEmpty ? need.remedy : hint
    return "needs \(need.rawValue)" + (hint.isEmpty ? "" : ": \(hint)")
  }
}

/// What is known of the tokens of a source beside their number.
public struct TokenFacts: Sendable, Hashable {
  /// What a token is, where a source mixes kinds.
  public enum Role: String, Sendable, Hashable, CaseIterable { case text, visual, padding }

  /// `[tokens]`, or empty.
  public var texts: [String]
  /// `[tokens]`, or empty.
  public var roles: [Role]
  /// Rows and columns of an image whose patches are tokens; nil when there is none.
  public var grid: Grid?

  /// The rows and columns of an image's patches, which are tokens one after another.
  ///
  /// Example: `Grid("24x24@5")?.tokens(of: 600)` is 5..<581. One text form everywhere.
  public struct Grid: Sendable, Hashable, CustomStringConvertible {
    /// Patches from top to bottom.
    public let rows: Int
    /// Patches from left to right.
    public let columns: Int
    /// The token of the first patch; nil where the patches are the last tokens, behind class and
    /// register tokens.
    public let first: Int?

    /// Both sides at least 1, `first` at least 0.
    public init(rows: Int, columns: Int, first: Int? = nil) {
      (self.rows, self.columns, self.first) = (rows, columns, first)
    }

    /// Reads `24x24` and `24x24@5`; nil for anything else.
    public init?(_ text: String) {
      let parts = text.split(separator: "@", omittingEmptySubsequences: false).map(String.init)
      guard let sides = TileSpec.sides(parts[0]), parts.count <= 2 else { return nil }
      let first = parts.count == 2 ? Int(parts[1]) : nil
      guard parts.count == 1 || (0...1 << 30).contains(first ?? -1) else { return nil }
      self.init(rows: sides.rows, columns: sides.keys, first: first)
    }

    /// The text form.
    public var description: String { "\(rows)x\(columns)" + (first.map { "@\($0)" } ?? "") }

    /// How many patches there are.
    public var patches: Int { rows * columns }

    /// The tokens that are patches, of `count`; nil where there are not so many.
    public func tokens(of count: Int) -> Range<Int>? {
      let start = first ?? count - patches
      return start >= 0 && start + patches <= count ? start..<start + patches : nil
    }
  }

  /// Nothing known unless given.
  public init(texts: [String] = [], roles: [Role] = [], grid: Grid? = nil) {
    (self.texts, self.roles, self.grid) = (texts, roles, grid)
  }
}

/// What a method looks at: a head in its surroundings.
///
/// Example: `subject.head` is the head that is looked at; `subject.group` are the query heads that
/// share its KV head. A card's `scope` says how much of the surroundings its method reads.
public struct Subject: Sendable {
  /// How far a method looks.
  public enum Scope: String, Sendable, Hashable, CaseIterable { case head, group, layer, model }

  /// `[layers][heads]`: those that the scope asks for.
  public let layers: [[Head]]
  /// The layer numbers of `layers`, as the source calls them.
  public let numbers: [LayerNumber]
  /// The head looked at: index into `layers`, and into its heads.
  public let focus: (layer: LayerIndex, head: Int)
  /// Query heads that share a KV head.
  public let groupSize: Int
  /// What is known of the tokens beside their number.
  public let tokens: TokenFacts
  /// How the kernel was set whose blocks are there as `Need.probe`; nil without a probe.
  public var probe: Probe?
  private let arrays: @Sendable (Need, LayerIndex) throws -> Tensor
  private let weights: @Sendable (LayerIndex) throws -> Projections

  /// `arrays` gives what a card asks for beyond Q, K, V of an index into `layers`, and
  /// `projections` the weights of that layer, or they throw `Missing`; layers without `numbers` are
  /// counted from 0.
  public init(
    layers: [[Head]], numbers: [LayerNumber]? = nil,
    focus: (layer: LayerIndex, head: Int) = (0, 0),
    groupSize: Int = 1, tokens: TokenFacts = TokenFacts(),
    arrays: @escaping @Sendable (Need, LayerIndex) throws -> Tensor = { need, _ in
      throw Missing(need)
    },
    projections: @escaping @Sendable (LayerIndex) throws -> Projections = { _ in
      throw Missing(.weights)
    }
  ) {
    weights = projections
    let numbers = numbers ?? .counted(layers.count)
    precondition(numbers.count == layers.count, "every layer has one number")
    precondition(
      numbers.has(focus.layer) && layers[focus.layer.value].indices.contains(focus.head),
      "the head looked at is not among the heads given")
    (self.layers, self.numbers) = (layers, numbers)
    (self.focus, self.groupSize, self.tokens, self.arrays) = (focus, groupSize, tokens, arrays)
  }

  /// One head alone.
  public init(_ head: Head, tokens: TokenFacts = TokenFacts()) {
    self.init(layers: [[head]], tokens: tokens)
  }

  /// The head that is looked at.
  public var head: Head { layer[focus.head] }

  /// All heads of the layer that is looked at.
  public var layer: [Head] { layers[focus.layer.value] }

  /// The query heads that share the head's KV head, and its place among them; the head alone when
  /// others are missing.
  public var group: (heads: HeadGroup, slot: Int) {
    let first = focus.head / groupSize * groupSize
    guard first + groupSize <= layer.count else { return (HeadGroup([head]), 0) }
    return (HeadGroup(Array(layer[first..<first + groupSize])), focus.head - first)
  }

  /// What a card asks for beyond Q, K, V. Throws `Missing`.
  /// `layer` is an index into `layers`.
  public func array(_ need: Need, layer: LayerIndex = 0) throws -> Tensor {
    try arrays(need, layer)
  }

  /// W_Q, W_K, W_V and W_O of an index into `layers`. Throws `Missing(.weights)`.
  public func projections(layer: LayerIndex = 0) throws -> Projections { try weights(layer) }

  /// Q `[queries, d]` and K `[keys, d]` of the head. Throws `Missing` for stored maps.
  public func queryAndKey() throws -> (query: Tensor, key: Tensor) {
    guard let both = head.queryAndKey else { throw Missing(.queryKey) }
    return both
  }
}

/// What a computation may use, and how it is told to stop.
///
/// Example: `MethodRun(wantsNumbers: false)` for a map alone. `isCancelled` is asked from many
/// threads between pieces of work, so it must be cheap.
public struct MethodRun: Sendable {
  /// Threads for the loops below the method.
  public var threads: ComputeThreads
  /// Says that nobody waits any more; asked from any thread.
  public var isCancelled: @Sendable () -> Bool
  /// Who wants to know how far it is; nil for nobody.
  public var progress: Progress?
  /// An engine computes in float, where its cache lies ready; analysis lets the tile pass decide.
  public var precision: TilePass.Precision
  /// Fields alone are wanted: numbers that cost another pass may be left out.
  public var wantsNumbers: Bool
  /// Rows of the pattern of a head, made ready once for all who ask.
  public var pattern: @Sendable (Head) -> PatternRows
  /// The rows are part of a text that goes on, as an engine reads it: what depends on the end of a
  /// text, depends on nothing here.
  public var goesOn = false
  /// What the methods that one head is asked about share; nil where it is asked about once.
  public var passes: SharedPasses?
  /// Long heads are read whole, not by a sample: for files.
  public var isWhole = false
  /// What is known of the tokens of the subject, for methods that see a head alone.
  public var tokens = TokenFacts()
  /// What was worked out before about the source; empty unless whoever asks keeps one.
  public var memo = Memo()
  /// The model behind the source, to be read again; nil where none runs.
  public var model: (any ModelReader)?
  /// A table of the head that is there already, for a tile and a lambda; asked before one is
  /// computed.
  public var table: @Sendable (TileSpec, Double) throws -> BlockTable?

  /// Everything, on all threads.
  public init(
    threads: ComputeThreads = .shared, precision: TilePass.Precision = .automatic,
    progress: Progress? = nil, wantsNumbers: Bool = true,
    table: @escaping @Sendable (TileSpec, Double) throws -> BlockTable? = { _, _ in nil },
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) {
    (self.threads, self.precision, self.progress) = (threads, precision, progress)
    (self.wantsNumbers, self.table, self.isCancelled) = (wantsNumbers, table, isCancelled)
    pattern = { PatternRows($0, precision: precision) }
  }

  /// What an engine's attention asks a method with: fields alone, of a text that goes on.
  public init(_ state: AttentionState) {
    self.init(threads: state.threads, precision: state.precision, wantsNumbers: false)
    goesOn = true
  }

  /// One tile of rows in how many stands for all: 1, or so many that about 2^26 entries of a long
  /// head are read.
  public func sampling(_ head: Head, tiles: Int, rows: Int) -> Int {
    guard head.isLong, !isWhole else { return 1 }
    let wanted = max(1, (1 << 26) / max(head.keys * rows, 1))
    return max(1, tiles / wanted)
  }

  /// The model behind the source. Throws `Missing(.model)` where none runs.
  public func reader() throws -> any ModelReader {
    guard let model else { throw Missing(.model, hint: "report --model M --prompt TEXT") }
    return model
  }

  /// Throws `CancellationError` once nobody waits for the result.
  public func checkCancellation() throws { if isCancelled() { throw CancellationError() } }
}
