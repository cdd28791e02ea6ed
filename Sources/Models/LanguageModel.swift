public import Attention
import Formats
import Kernels
public import Tensors

/// A transformer from a GGUF file, ready to run: config, mapped weights, tokenizer.
/// Immutable; `RunState` moves.
///
/// Example:
///
///     let model = try LanguageModel("m.gguf")
///     let state = RunState(model)
///     model.prefill(model.tokenizer.encode(prompt), state, attention)
///     let next = Sampler().choose(state.logits, position: state.count)
///
/// The catch: nothing is read before it is needed, so the first tokens after opening wait for
/// the disk.
public final class LanguageModel: Sendable {
  /// How products with weights are computed.
  public enum Precision: String, Sendable, CaseIterable {
    /// Weights as stored, activations rounded to eight bits by blocks of 32, integer sums.
    case int8
    /// Weights dequantised, everything float32.
    case float
  }

  /// The file the weights are mapped from.
  public let path: String
  /// Sizes and options, all checked.
  public let config: ModelConfig
  /// Text to tokens and back.
  public let tokenizer: Tokenizer
  /// Chosen at opening, since it decides what the scratch buffers hold.
  public let precision: Precision
  let weights: Weights
  let rope: Rope
  let isa: Int32

  /// Opens a model and checks all of it but the numbers; costs the vocabulary, not the
  /// weights. Throws `FormatError` for the file and `ModelError` for the model.
  public init(_ path: String, precision: Precision = .int8, isa: InstructionSet = .best) throws {
    self.isa = isa.rawValue
    let gguf = try GGUFFile(path)
    self.path = path
    self.precision = precision
    let tokenizer = try Tokenizer(gguf)
    config = try ModelConfig(gguf, vocabulary: tokenizer.count)
    weights = try Weights(gguf, config)
    rope = Rope(config.rope, factors: weights.ropeFactors)
    self.tokenizer = tokenizer
  }

  /// Refuses a prompt that cannot run. Throws `badSetting` when it is empty and `tooLong`
  /// when it has more tokens than the context.
  public func check(prompt: [Int]) throws(ModelError) {
    guard !prompt.isEmpty else {
      throw ModelError(.badSetting, "the prompt has no tokens; say something", place: "--prompt")
    }
    guard prompt.count <= config.context else {
      throw ModelError(
        .tooLong,
        "\(prompt.count) tokens, and the model's context is \(config.context); shorten it",
        place: "the prompt")
    }
  }

  /// Bytes of the mapped weights.
  public var weightBytes: Int { weights.file.bytes.count }
}

/// Which method attends: one for blocks of a prompt, one for single tokens.
///
/// Example: `AttentionPlan(prefill: lambda, decode: dense)`. They are two because most sparse
/// methods pay off in prefill alone. Where a method remembers rows it is told of those that the
/// other attends, so that neither has a gap; that costs what its memory costs.
public struct AttentionPlan: Sendable {
  /// For blocks of a prompt.
  public let prefill: any EngineMethod
  /// For one token after another.
  public let decode: any EngineMethod
  /// Whose memories a run's state carries: of each method that remembers rows, once where one
  /// method does both.
  let remembering: [Phase]

  /// Which of the two.
  enum Phase: Int, Sendable { case prefill, decode }

  /// A plan of two methods, each with a memory of its own.
  public init(prefill: any EngineMethod, decode: any EngineMethod) {
    (self.prefill, self.decode) = (prefill, decode)
    remembering = [(Phase.prefill, prefill), (.decode, decode)].compactMap { phase, method in
      method.memory(prompt: 1) == nil ? nil : phase
    }
  }

  /// One method for both, with one memory.
  public init(_ method: any EngineMethod) {
    (prefill, decode) = (method, method)
    remembering = method.memory(prompt: 1) == nil ? [] : [.prefill]
    isOne = true
  }

  /// One method does both.
  private(set) var isOne = false

  /// A method remembers rows.
  var isRemembering: Bool { !remembering.isEmpty }

  /// Which of a state's memories is that of the method of a phase; nil when it remembers nothing.
  func memory(of phase: Phase) -> Int? { remembering.firstIndex(of: isOne ? .prefill : phase) }

  /// The method of a phase.
  subscript(phase: Phase) -> any EngineMethod { phase == .prefill ? prefill : decode }
}

/// Looks into the forward pass at named places. What nobody looks at costs nothing.
///
/// Example: `QueryRecord` keeps queries, `ResidualRecord` the residual stream. The catch: it
/// is called in the middle of a pass, on the thread that leads it; whatever it does, the
/// model waits for it. Pointers are good until it returns.
public protocol ForwardObserver: AnyObject {
  /// Queries after rotation: `positions.count` rows of `[heads, headDim]`.
  func queries(_ layer: LayerIndex, _ positions: Range<Int>, _ rows: UnsafePointer<Float>)
  /// A layer is done for these positions.
  func finished(_ layer: LayerIndex, _ positions: Range<Int>)
  /// Asks for `residual`, which costs a copy of the activations.
  var wantsResiduals: Bool { get }
  /// What a source adds to the residual stream: the embedding (0), then attention (1, 3, ..)
  /// and MLP (2, 4, ..) of each layer: `positions.count` rows of `[width]`.
  func residual(_ source: Int, _ positions: Range<Int>, _ rows: UnsafePointer<Float>)
}

extension ForwardObserver {
  public var wantsResiduals: Bool { false }
  /// Ignores it.
  public func residual(_ source: Int, _ positions: Range<Int>, _ rows: UnsafePointer<Float>) {}
}

/// What changes from token to token: the KV cache, the tokens so far, and the last logits.
///
/// Memory: `cacheBytesPerToken` for every position, float32. Not for use by two threads at once.
/// Example: `let state = RunState(model); model.prefill(ids, state, plan); state.logits`.
public final class RunState {
  /// The model whose sizes the buffers have.
  public let model: LanguageModel
  /// Keys and values so far, `[layers][kvHeads]`, each growing by a row a token.
  public private(set) var caches: [[KeyCache]]
  /// Every token fed, `[count]`.
  public private(set) var tokens: [Int] = []
  /// `[vocabulary]`, of the last position computed; empty before the first pass.
  public internal(set) var logits: [Float] = []
  /// Blocks that the last pass saw and skipped.
  public var counts: BlockCounts { counter.counts }
  let counter: BlockCounter
  let scratch: DecodeScratch
  /// Threads that decode loops run on; branches share it.
  public let team: Team
  /// Tokens that were fed first and together; 0 before.
  public internal(set) var promptTokens = 0
  /// What the methods in force remember, `[layers][kvHeads]`; empty when they remember nothing.
  var memories: [[GroupMemory]] = []

  /// An empty state: buffers of one token now, caches as tokens come.
  public init(_ model: LanguageModel, threads: ComputeThreads = .shared) {
    self.model = model
    let config = model.config
    caches = (0..<config.layers).map { _ in
      (0..<config.kvHeads).map { _ in KeyCache(dim: config.headDim, valueDim: config.headDim) }
    }
    scratch = DecodeScratch(config)
    counter = BlockCounter(config)
    team = Team(threads)
  }

  /// A state of its own that has seen the first `count` tokens of another; its logits are not
  /// known yet.
  public init(copying other: RunState, count: Int) {
    model = other.model
    caches = other.caches.map { layer in layer.map { KeyCache(copying: $0, count: count) } }
    tokens = Array(other.tokens.prefix(count))
    promptTokens = other.promptTokens
    scratch = DecodeScratch(other.model.config)
    counter = BlockCounter(other.model.config)
    team = other.team
  }

  /// Tokens fed so far, which is also the next position.
  public var count: Int { tokens.count }
  /// Positions left before the model's limit.
  public var room: Int { model.config.context - tokens.count }

  func append(_ ids: some Sequence<Int>) { tokens += ids }

  /// Bytes of keys and values for one position in all layers; values are padded to 16 floats.
  public static func cacheBytesPerToken(_ config: ModelConfig) -> Int {
    let padded = (config.headDim + 15) / 16 * 16
    return 4 * config.layers * config.kvHeads * (config.headDim + padded)
  }
}

/// Buffers of one token's way through the layers.
final class DecodeScratch {
  /// `[width]`, `[width]` or `[heads * headDim]`, `[width]`, `[heads * headDim]`,
  /// `[kvHeads * headDim]` twice, `[hidden]` twice.
  let x, normed, mixed, query, key, value, gate, up: UnsafeMutablePointer<Float>
  /// `[half]` used: cosines and sines of the token's position.
  let cos, sin: UnsafeMutablePointer<Float>
  /// Quantised activations of the widest row.
  let q8: UnsafeMutableRawPointer
  /// Scratch of each KV head's attention, `[kvHeads]`.
  let rows: [DecodeRow]

  /// A cache line more than asked for each buffer: vector loads may run past the end of an
  /// odd size.
  init(_ config: ModelConfig) {
    func floats(_ count: Int) -> UnsafeMutablePointer<Float> {
      UnsafeMutableRawPointer.allocate(byteCount: 4 * (count + 64), alignment: 64)
        .initializeMemory(as: Float.self, repeating: 0, count: count + 64)
    }
    let queries = config.heads * config.headDim, keys = config.kvHeads * config.headDim
    x = floats(config.width)
    normed = floats(max(config.width, queries))
    mixed = floats(config.width)
    query = floats(queries)
    key = floats(keys)
    value = floats(keys)
    gate = floats(config.hidden)
    up = floats(config.hidden)
    cos = floats(config.headDim)
    sin = floats(config.headDim)
    rows = (0..<config.kvHeads).map { _ in
      DecodeRow(heads: config.groupSize, dim: config.headDim)
    }
    let widest = max(config.width, queries, config.hidden)
    q8 = .allocate(byteCount: as_q8_bytes(Int32((widest + 31) / 32 * 32)), alignment: 64)
  }

  deinit {
    for buffer in [x, normed, mixed, query, key, value, gate, up, cos, sin] { buffer.deallocate() }
    q8.deallocate()
  }
}
