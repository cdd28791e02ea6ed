public import Attention

/// Up to where a source is looked at: a branch, and how many of its tokens. A file has one frame
/// for ever.
///
/// An answer belongs to the frame it was asked at; the same frame gives the same answer. `revision`
/// tells the states of a prompt apart while its layers are computed.
public struct Frame: Sendable, Hashable {
  /// Id of the branch; 0 is the trunk.
  public var branch: Int
  /// How many tokens of the branch are there.
  public var tokens: Int
  /// Counts states of equally many tokens.
  public var revision: Int

  /// The whole of a file, unless told otherwise.
  /// What is left out is unknown, or 0 for counts.
  public init(branch: Int = 0, tokens: Int = 0, revision: Int = 0) {
    (self.branch, self.tokens, self.revision) = (branch, tokens, revision)
  }

  /// Of a source that does not grow.
  public static let whole = Frame()
}

/// How a live source attends: by the method of block tables with a lambda, or by any other that an
/// engine can run.
public struct AttentionChoice: Sendable, Hashable, CustomStringConvertible {
  /// Nil: the method whose blocks are read off one table, with `lambda` and the tiles.
  public var method: MethodSetting?
  /// 0 is dense; matters without `method`.
  public var lambda: Double
  /// The tile of blocks of a prompt.
  public var prefill: TileSpec
  /// The tile of single tokens.
  public var decode: TileSpec

  /// By lambda, unless a method is named.
  public init(
    method: MethodSetting? = nil, lambda: Double, prefill: TileSpec, decode: TileSpec
  ) {
    (self.method, self.lambda, self.prefill, self.decode) = (method, lambda, prefill, decode)
  }

  /// As the status line writes it: a setting, `dense`, or `lambda 1e-2`.
  public var description: String {
    if let method { return method.description }
    return lambda <= 0 ? "dense" : "lambda \(shortest(lambda))"
  }

  private func shortest(_ x: Double) -> String {
    // Three digits are enough to tell lambdas apart; plain decimals down to 0.001, as everywhere.
    var exponent = 0, m = x
    while m < 1, exponent > -300 { (m, exponent) = (m * 10, exponent - 1) }
    let digits = (m * 100).rounded() / 100
    guard exponent < -3 else {
      var scale = 100.0
      for _ in 0..<(-exponent) { scale *= 10 }
      let value = (x * scale).rounded() / scale
      return value == value.rounded() ? String(Int(value)) : String(value)
    }
    let text = digits == digits.rounded() ? "\(Int(digits)).0" : String(digits)
    return "\(text)e\(exponent)"
  }
}

/// One token of a live source, and what is known about the pass that gave it. Prompt tokens have
/// only their text.
public struct Step: Sendable, Equatable {
  /// A token that might have come instead.
  public struct Candidate: Sendable, Equatable {
    /// Its number in the vocabulary.
    public let token: Int
    /// Its text.
    public let piece: String
    /// Before softmax.
    public let logit: Float

    public init(token: Int, piece: String, logit: Float) {
      (self.token, self.piece, self.logit) = (token, piece, logit)
    }
  }

  /// Of this token among all.
  public var position: Int
  /// Its number in the vocabulary.
  public var token: Int
  /// The characters that this token completes; empty when a character is not complete yet.
  public var text: String
  /// Given, not decoded.
  public var isPrompt: Bool
  /// Of the token, in nats.
  public var logProbability: Double?
  /// The largest logits, largest first.
  public var top: [Candidate]
  /// Blocks that the pass saw, over all layers and heads.
  public var visibleBlocks: Int
  /// Blocks that the pass skipped, over all layers and heads.
  public var skippedBlocks: Int
  /// KL(dense || this) in nats; nil without a shadow run.
  public var divergence: Double?
  /// Dense attention finds the same token most likely; nil without a shadow run.
  public var agrees: Bool?
  /// What the pass took.
  public var milliseconds: Double
  /// How attention was computed.
  public var attention: String
  /// Of BLASST; nil for other methods and for prompt tokens.
  public var lambda: Double?
  /// The tile whose blocks were counted.
  public var tile: TileSpec?

  public init(
    position: Int, token: Int, text: String, isPrompt: Bool, logProbability: Double? = nil,
    top: [Candidate] = [], visibleBlocks: Int = 0, skippedBlocks: Int = 0,
    divergence: Double? = nil, agrees: Bool? = nil, milliseconds: Double = 0,
    attention: String = "", lambda: Double? = nil, tile: TileSpec? = nil
  ) {
    (self.position, self.token, self.text, self.isPrompt) = (position, token, text, isPrompt)
    (self.logProbability, self.top, self.attention) = (logProbability, top, attention)
    (self.lambda, self.tile) = (lambda, tile)
    (self.visibleBlocks, self.skippedBlocks) = (visibleBlocks, skippedBlocks)
    (self.divergence, self.agrees, self.milliseconds) = (divergence, agrees, milliseconds)
  }

  /// Skipped over visible blocks in 0...1; nil where nothing was visible, as for prompt tokens.
  public var sparsity: Double? {
    visibleBlocks == 0 ? nil : Double(skippedBlocks) / Double(visibleBlocks)
  }
}

/// What one pass did, head by head: asked for one step at a time.
public struct StepDetail: Sendable, Equatable {
  /// Layers of the model.
  public let layers: Int
  /// Query heads of each layer.
  public let heads: Int
  /// Blocks that each head saw, `[layers * heads]`; empty for prompt tokens.
  public let visible: [Int32]
  /// Blocks that each head skipped, `[layers * heads]`.
  public let skipped: [Int32]
  /// What each head's newest row gives key 0, a share in 0...1, `[layers * heads]`; NaN where the
  /// queries are not recorded.
  public let sink: [Float]

  /// Arrays as long as layers times heads, or empty.
  public init(layers: Int, heads: Int, visible: [Int32], skipped: [Int32], sink: [Float]) {
    (self.layers, self.heads) = (layers, heads)
    (self.visible, self.skipped, self.sink) = (visible, skipped, sink)
  }
}

/// A line of tokens: the trunk, or what was decoded anew from one of its steps on.
public struct Branch: Sendable, Equatable {
  /// 0 is the trunk.
  public let id: Int
  /// The branch it left; nil for the trunk.
  public let parent: Int?
  /// Position of its first token of its own, in tokens.
  public let fork: Int
  /// How its tokens attend, for a person.
  public let attention: String

  /// `fork` is 0 for the trunk.
  public init(id: Int, parent: Int?, fork: Int, attention: String) {
    (self.id, self.parent, self.fork, self.attention) = (id, parent, fork, attention)
  }
}

/// Where a live source stands. Small; the newest one is all that matters.
public struct LiveStatus: Sendable, Equatable {
  /// What it is doing now.
  public enum Phase: Sendable, Equatable {
    /// Reading the prompt: `layer` of `layers` of the block that ends at the frame.
    case prefill(layer: Int, layers: Int)
    case running
    case paused
    /// Nothing more will come, and why.
    case ended(String)
  }

  /// What it is doing now.
  public var phase: Phase
  /// The newest frame.
  public var frame: Frame
  /// Tokens of the prompt.
  public var promptTokens: Int
  /// The trunk first, then in the order in which they were begun.
  public var branches: [Branch]
  /// Tokens of each branch.
  public var lengths: [Int]
  /// Of decoding; 0 before the first token.
  public var tokensPerSecond: Double
  /// A sentence for the reader.
  public var note: String
  /// Grows with every note.
  public var noteNumber: Int
  /// A recording is replayed: nothing can be computed anew.
  public var isReplay: Bool
  /// Every token is computed densely as well, for `divergence`.
  public var hasShadow: Bool
  /// `[branches]`, tokens of each that a file holds which the person asked for; empty before one is
  /// written.
  public var savedLengths: [Int] = []
  /// How the tokens to come are attended, on the branch that is decoded; nil of recordings.
  public var attention: AttentionChoice?

  public init(
    phase: Phase, frame: Frame, promptTokens: Int, branches: [Branch], lengths: [Int] = [],
    tokensPerSecond: Double = 0, note: String = "", noteNumber: Int = 0, isReplay: Bool = false,
    hasShadow: Bool = false
  ) {
    (self.phase, self.frame, self.promptTokens, self.branches) = (
      phase, frame, promptTokens, branches
    )
    self.lengths = lengths
    (self.tokensPerSecond, self.note, self.noteNumber) = (tokensPerSecond, note, noteNumber)
    (self.isReplay, self.hasShadow) = (isReplay, hasShadow)
  }
}

/// When a run is to stop by itself.
public enum Breakpoint: Sendable, Hashable, CustomStringConvertible {
  /// A token skips less than this share of its blocks.
  case sparsityBelow(Double)
  /// A token skips more than this share of its blocks.
  case sparsityAbove(Double)
  /// The shadow thinks another token most likely, or a branch says another token than the one it
  /// left.
  case divergence
  /// KL(dense || this) of a token is above this, in nats; needs a shadow.
  case divergenceAbove(Double)
  /// A token whose text contains this came.
  case token(String)

  /// As it is typed.
  public var description: String {
    switch self {
    case .sparsityBelow(let x): "sparsity<\(x)"
    case .sparsityAbove(let x): "sparsity>\(x)"
    case .divergence: "divergence"
    case .divergenceAbove(let x): "kl>\(x)"
    case .token(let text): "token \"\(text)\""
    }
  }
}

/// What a live source may be told.
public enum Command: Sendable, Hashable {
  case run
  case pause
  /// So many tokens more.
  case step(Int)
  /// From the next token on.
  case attend(AttentionChoice)
  /// Decode anew from the token at `position` on, beside the branch that is there.
  case branch(from: Frame, AttentionChoice)
  /// Go on with this branch.
  case select(Int)
  case breakAt(Breakpoint)
  case clearBreakpoints
  /// Stop for good, keeping what was recorded.
  case stop
  case save(String)
}
