public import Tensors

/// What an array of a dump is.
///
/// `pattern` is after the softmax and `scores` before it, as TransformerLens names them;
/// `blocks` says which tiles a method skipped, `margins` how near to its threshold each came;
/// `selected` are the keys that a learned selector chose, `indexScores` what it thought of each;
/// `probed` is what a deployed kernel was seen to compute;
/// the weights are the projections of a layer, `w_q` to `w_o`.
public enum ArrayRole: String, Sendable, CaseIterable {
  case query, key, value, pattern, scores, blocks, margins, selected, probed
  case indexScores = "index_scores"
  case beta
  case queryWeights = "w_q"
  case keyWeights = "w_k"
  case valueWeights = "w_v"
  case outputWeights = "w_o"

  /// Parameters of the model, and not what it computed.
  static let weights: [ArrayRole] = [.queryWeights, .keyWeights, .valueWeights, .outputWeights]
}

/// The arrays of one layer, in canonical order: query `[heads, q, d]`, key and value
/// `[kv_heads, k, d]`, pattern and scores `[heads, q, k]`, blocks and margins
/// `[units, query tiles, key tiles]`, selected `[sets, q, chosen]` and index scores `[sets, q, k]`,
/// probed `[heads, query tiles, key tiles]`, and beta `[sets, k]`, where sets are 1 or divide the
/// heads; w_q `[heads, width, d]`, w_k `[kv_heads, width, d]`, w_v `[kv_heads, width, dv]` and w_o
/// `[heads, dv, width]`.
///
/// Example: `dump.layers[0].arrays[.query]?[3]` is head 3. The tensors point into the file; a
/// layer of any size costs nothing until it is read.
public struct LayerArrays: Sendable {
  /// Its number in the model, which need not be its place in the list.
  public let layer: Int
  /// By role; at least q and k, or one map.
  public var arrays: [ArrayRole: Tensor]

  /// Nothing is checked.
  public init(layer: Int, arrays: [ArrayRole: Tensor]) {
    (self.layer, self.arrays) = (layer, arrays)
  }
}

/// Something that was guessed, and the flag that overrides it.
///
/// Every view of a dump can list them, so that a wrong picture is traced to a wrong reading
/// before it is believed.
public struct Guess: Sendable, Equatable, CustomStringConvertible {
  /// The reading that was chosen, as a phrase.
  public let what: String
  /// The flag as a person types it, `--layout` for instance.
  public let flag: String

  /// A guess of `what`, undone by `flag`.
  public init(_ what: String, flag: String) { (self.what, self.flag) = (what, flag) }

  /// Both, for a list of notes.
  public var description: String { "\(what) (\(flag) overrides)" }
}

/// What kind of head a dump holds.
///
/// With `qkv` everything else can be computed; a `pattern` or `scores` can be shown and
/// judged but not recomputed; a `mask` holds only which blocks were kept.
public enum DumpKind: String, Sendable, CaseIterable {
  case qkv, pattern, scores, mask
}

/// The flags that override guesses; nil means: find out.
///
/// Example: `var options = DumpOptions(); options.layout = "bhnd"; options.batch = 2`.
public struct DumpOptions: Sendable {
  /// Axis letters, outermost first: of q, k, v arrays `b l h n d`; of maps `b l h q k`.
  public var layout: String?
  /// What the arrays are, `--kind`.
  public var kind: DumpKind?
  /// Whether queries see later keys, `--causal` and `--no-causal`.
  public var causal: Bool?
  /// A text file with one token a line, or a JSON array of strings.
  public var tokens: String?
  /// Position of the first query among the keys, in tokens.
  public var queryOffset: Int?
  /// What scores are multiplied by before the softmax.
  public var scale: Double?
  /// Which sequence of a batch, from 0.
  public var batch: Int?
  /// Read two-byte integers as bfloat16, which numpy cannot name.
  public var bfloat16 = false
  /// In a mask of somebody else: does 1 mean kept? In our own files 1 means skipped.
  public var onesAreKept: Bool?
  /// Of a block mask: query rows x keys of a block.
  public var maskTile: (rows: Int, keys: Int)?
  /// Which arrays are shown where several could be, by a name of `Dump.choices`, of an array, or a
  /// part of one.
  public var array: String?
  /// Query heads in arrays whose last axis holds all of them side by side.
  public var heads: Int?
  /// A query sees this many keys at most, its own among them.
  public var window: Int?
  /// Scores are bent before the softmax: c tanh(score / c).
  public var softcap: Double?
  /// False: positions that look like padding are taken for tokens.
  public var padding = true
  /// Token texts stay as a tokenizer spells them.
  public var rawTokens = false
  /// Numbers of the layers to be read; nil: all.
  public var onlyLayers: [Int]?

  /// Nothing overridden.
  public init() {}
}

/// A file of attention, understood: layers of named arrays, tokens, and every guess that was
/// made.
///
/// Example: `let dump = try Dump.open("maps.npz")`. The catch: a dump says what its file
/// says; whether heads divide and layers agree was checked at opening, whether the numbers
/// are those of the model was not.
public struct Dump: Sendable {
  /// The file as it was named; the query's, when q, k and v come separately.
  public var path: String
  /// That of its archive; `model` where there was no file.
  public var format: String
  /// What the arrays are, and so which views can be drawn.
  public var kind: DumpKind
  /// Ascending by layer number.
  public var layers: [LayerArrays]
  /// The model's name, when the file tells.
  public var model: String?
  /// Text of each key `[keys]`; may be of another length, and then a guess says so.
  public var tokens: [String]?
  /// The vocabulary's number of each token, when the file has them.
  public var tokenIDs: [Int]?
  /// Queries see no later keys.
  public var causal: Bool
  /// Nil: causal maps are aligned bottom-right (keys - queries).
  public var queryOffset: Int?
  /// Nil: 1 / sqrt(d).
  public var scale: Double?
  /// Of a block mask: query rows x keys.
  public var tile: (rows: Int, keys: Int)?
  /// A mask array holds 1 for kept blocks.
  public var onesAreKept: Bool
  /// In the order they were made.
  public var guesses: [Guess]
  /// Arrays of the whole dump that some methods ask for, by their names: `residuals`
  /// `[sources, tokens, width]`, `token_probabilities` and `token_losses` `[tokens]`.
  public var extras: [String: Tensor] = [:]
  /// What was not done while reading, and why: sentences that no flag changes.
  public var remarks: [String] = []
  /// What lies between Q, K and their pattern, beside scale and causality.
  public var rules = AttentionRules()
  /// What of it differs from layer to layer; nothing where Q and K are not what is shown.
  public internal(set) var layerRules = LayerRules()
  /// What a deployed kernel was seen to do with Q and K; its blocks are in `probed` of layers.
  public internal(set) var probe: ProbeRecord?
  /// What the model calls the heads `[heads]`, where a slice has some of them alone.
  public var headNumbers: [Int]?
  /// What could be shown, the likeliest first; one or two of them are.
  public var choices: [ArrayChoice] = []
  /// Every array of the file, used or not, in the order of their names.
  public var arrays: [ArrayUse] = []

  /// The element types of its arrays, each once, in the order of `DType`; chosen keys are indices
  /// and read as such, and weights are no activations.
  public var elementTypes: [DType] {
    let found = Set(
      layers.flatMap { layer in
        layer.arrays.filter {
          ![.selected, .probed].contains($0.key) && !ArrayRole.weights.contains($0.key)
        }
        .values.map(\.dtype)
      })
    return DType.allCases.filter(found.contains)
  }

  /// Whether float32, as which everything is read, cannot hold every number of a type it has.
  public var isRounded: Bool { !elementTypes.allSatisfy(\.fitsFloat32) }
}

extension Dump {
  /// What was not read from a file: Q, K and V `[heads, tokens, d]` that a model has just computed.
  public init(of model: String?, path: String, layers: [LayerArrays], tokens: [String], ids: [Int])
  {
    self.init(
      path: path, format: "model", kind: .qkv, layers: layers, model: model, tokens: tokens,
      tokenIDs: ids, causal: true, onesAreKept: false, guesses: [])
  }
}

extension Dump {
  /// Takes over what metadata and arrays of somebody else say of the model's attention: windows,
  /// softcaps and learned sinks, of all layers and by layer, under the names of a file. Layers must
  /// be there. Never fails: what cannot be read becomes a remark of the rules.
  public mutating func takeRules(_ archive: any TensorArchive) {
    func number(_ key: String) -> Double? {
      archive.metadata[key].flatMap { Double($0) }.flatMap { $0.isFinite && $0 > 0 ? $0 : nil }
    }
    rules.window = number("sliding_window").flatMap { Int(exactly: min($0.rounded(), 0x1p30)) }
    rules.softcap = number("softcap")
    layerRules = LayerRules(archive, rules, layers: layers.map(\.layer))
  }
}
