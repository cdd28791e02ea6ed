/// What an array's name says about it.
///
/// Names seen in the wild: `layers.12.q`, `blocks.3.attn.hook_pattern`, `attention`,
/// `attn_weights`, `kq_soft_max-7`, `layer_0_head_3`, `step_2_layer_1`, `query_states`, `arr_0`.
/// The catch: `attention_mask`, `input_ids`, `labels` and the parameters of a model
/// (`q_proj.weight`) look alike and are none of them.
struct ArrayName {
  /// Roles, with every kind of map in one: `kind` is nil when the name does not tell pattern
  /// from scores.
  enum Family {
    case query, key, value, map(kind: DumpKind?), blocks, margins, selected, indexScores, beta
    case probed
    case weights(ArrayRole)
    /// No name of an attention array; it may be one all the same when it is the only one.
    case unknown
    /// Never one: parameters, masks of padding, ids, labels; fused projections.
    case none
  }

  let family: Family
  /// The layer's number, if the name has one.
  let layer: Int?
  /// Whether a word says that the number is a layer's.
  let saysLayer: Bool
  /// The head's number, in names of one array a head.
  let head: Int?
  /// The step's number, in names of one array a step of decoding.
  let step: Int?
  /// What is left when the numbers of layer, head and step and the words for the role are taken
  /// out: arrays of one group belong together.
  let group: String
  /// The numbers that nothing was said of, in the order of the name.
  let others: [Int]

  /// Any name; see `Family.none`.
  init(_ name: String) {
    let parts = nameParts(name)
    let words = parts.filter { Int($0) == nil }
    let family = Self.family(parts, words)
    self.family = family
    var numbers = NameNumbers(parts)
    if numbers.layer == nil, numbers.others.count == 1 { numbers.takeLast() }
    (layer, saysLayer) = (numbers.layer, numbers.saysLayer)
    (head, step, others) = (numbers.head, numbers.step, numbers.others.map(\.number))
    group = numbers.group(without: Self.roleWords(family))
  }

  /// Words that end a name without saying what it is: `query_states`, `q.hook_out`.
  private static let suffixes: Set = [
    "states", "state", "layer", "out", "output", "outputs", "rot", "rotated", "roped", "hook",
    "heads", "head", "data", "self", "step", "l", "h", "pre", "post",
  ]
  /// Words that say where in the model an array was taken, and not what it is.
  private static let places: Set = [
    "layer", "layers", "l", "h", "head", "heads", "block", "blocks", "step", "steps",
  ]
  /// Words for what is no map, whatever it was taken from.
  private static let products: Set = [
    "out", "output", "outputs", "state", "states", "data", "pre", "post", "hook",
  ]
  private static let never: Set = [
    "ids", "labels", "weight", "bias", "biases", "norm", "grad", "embed", "embeddings", "hidden",
    "loss", "past", "cache", "lens", "seqlens", "sinks", "segment", "factors",
  ]

  /// The last word decides, after the names that whole tools share (TransformerLens hooks,
  /// llama.cpp's kq) had their say.
  private static func family(_ parts: [String], _ words: [String]) -> Family {
    let set = Set(words)
    if let role = weights(parts) { return .weights(role) }
    if let mask = mask(words, set) { return mask }
    guard set.isDisjoint(with: never) else { return .none }
    if isFused(words, set) { return .none }
    var rest = words
    // Outputs of q_proj: heads stand side by side in them, and a rotation has not been applied.
    if rest.last == "proj" { rest.removeLast() }
    while rest.count > 1, let last = rest.last, suffixes.contains(last) { rest.removeLast() }
    let last = rest.last ?? ""
    // `layer_3` alone is a map; `layers.3.output` is something that the layer has made.
    if places.contains(last), words.contains(where: products.contains) { return .unknown }
    switch last {
    case "q", "query", "queries", "qcur", "querys", "xq": return .query
    case "k", "key", "keys", "kcur", "xk": return .key
    case "v", "value", "values", "vcur", "xv": return .value
    case "blocks" where parts.count > 1: return .blocks
    case "margins": return .margins
    case "selected": return .selected
    case "probed": return .probed
    case "indices" where isSelection(parts, set): return .selected
    case "scores" where !set.isDisjoint(with: ["index", "indexer"]): return .indexScores
    // Norms have a beta, too: a vector, and behind the name of the norm.
    case "beta" where set.isSubset(of: betaWords.union(parts.filter { Int($0) != nil })):
      return .beta
    default: return map(last, set)
    }
  }

  /// `c_attn`, `qkv_proj` and the like: Q, K and V side by side, before they are split.
  private static func isFused(_ words: [String], _ set: Set<String>) -> Bool {
    if !set.isDisjoint(with: ["qkv", "wqkv", "kv"]) { return true }
    return zip(words, words.dropFirst()).contains {
      $0 == "c" && $1 == "attn" || $0 == "in" && $1 == "proj"
    }
  }

  /// Maps of one kind or another, by the last word that says something.
  private static func map(_ last: String, _ set: Set<String>) -> Family {
    let isAttention = !set.isDisjoint(with: ["attn", "attention", "attentions", "attns"])
    if set.contains("hook") {
      if last == "pattern" || set.contains("weights") { return .map(kind: .pattern) }
      return last == "scores" ? .map(kind: .scores) : .none
    }
    if set.contains("kq") { return .map(kind: set.contains("soft") ? .pattern : .scores) }
    switch last {
    case "pattern", "patterns", "probs": return .map(kind: .pattern)
    case "probabilities": return isAttention ? .map(kind: .pattern) : .unknown
    case "scores" where set.contains("layers"): return .map(kind: .scores)
    case "logits": return isAttention ? .map(kind: .scores) : .none
    case "attention", "attentions", "attn", "weights", "scores", "maps", "map", "arr", "layer",
      "layers", "list", "l", "h", "head", "heads", "step", "steps":
      return .map(kind: nil)
    default: return .unknown
    }
  }

  /// What may stand around the β of a delta rule.
  private static let betaWords: Set<String> = [
    "layer", "layers", "block", "blocks", "l", "self", "attn", "attention", "beta",
  ]

  /// Masks of blocks, and masks that are none of ours: those of padding and causality.
  private static func mask(_ words: [String], _ set: Set<String>) -> Family? {
    if isBlockMask(words) { return Family.none }
    guard !set.isDisjoint(with: ["mask", "masks"]) else { return nil }
    let foreign: Set = [
      "attention", "attn", "padding", "pad", "causal", "loss", "key", "input", "special", "token",
      "tokens", "label", "position", "ids",
    ]
    return set.isDisjoint(with: foreign) ? .map(kind: .mask) : Family.none
  }

  /// The arrays of FlexAttention's BlockMask: numbers of blocks, and which.
  private static func isBlockMask(_ words: [String]) -> Bool {
    [["kv", "indices"], ["q", "indices"], ["num", "blocks"]].contains(Array(words.suffix(2)))
  }

  /// Projections as TransformerLens names them: `layers.3.w_q`, `blocks.3.attn.W_Q`.
  private static func weights(_ parts: [String]) -> ArrayRole? {
    guard parts.suffix(2).first == "w", let last = parts.last else { return nil }
    return ArrayRole.weights.first { $0.rawValue == "w_\(last)" }
  }

  /// Indices of chosen keys: `topk_indices`, `selected_indices`, or plain `indices` of a layer. The
  /// catch: those of a router of experts are called `topk_indices` too.
  private static func isSelection(_ parts: [String], _ words: Set<String>) -> Bool {
    guard words.isDisjoint(with: ["expert", "experts", "router", "gate", "mlp", "moe"]) else {
      return false
    }
    return !words.isDisjoint(with: ["topk", "selected"]) || words.isSuperset(of: ["top", "k"])
      || NameNumbers(parts).layer != nil || parts.contains { Int($0) != nil }
  }

  /// The words that say a role, which query, key and value of one layer do not share.
  private static func roleWords(_ family: Family) -> Set<String> {
    switch family {
    case .query: ["q", "query", "queries", "qcur", "querys", "xq"]
    case .key: ["k", "key", "keys", "kcur", "xk"]
    case .value: ["v", "value", "values", "vcur", "xv"]
    default: []
    }
  }
}

/// The numbers in a name, each with what the word before it says that it counts.
struct NameNumbers {
  private(set) var layer: Int?
  private(set) var saysLayer = false
  private(set) var head: Int?
  private(set) var step: Int?
  /// Numbers that count none of these, with their places among the parts.
  private(set) var others: [(number: Int, at: Int)] = []
  private var parts: [String]

  private static let layerWords: Set = ["layer", "layers", "blocks", "l", "block", "blk"]
  /// Words whose numbers tell one dump from another, and no layers.
  private static let sampleWords: Set = [
    "sample", "samples", "batch", "rank", "prompt", "example", "seq", "run", "device", "text",
  ]

  /// `nameParts` of a name.
  init(_ parts: [String]) {
    self.parts = parts
    for (index, part) in parts.enumerated() {
      guard let number = Int(part) else { continue }
      let word = index > 0 ? parts[index - 1] : "", before = index > 1 ? parts[index - 2] : ""
      if Self.layerWords.contains(word) || word == "h" && before == "transformer", layer == nil {
        (layer, saysLayer) = (number, true)
        self.parts[index] = "#"
      } else if ["head", "heads", "h"].contains(word), head == nil {
        head = number
        self.parts[index] = "#"
      } else if ["step", "steps"].contains(word), step == nil {
        step = number
        self.parts[index] = "#"
      } else if !Self.sampleWords.contains(word), word != "attn" || layer == nil {
        others.append((number, index))
      }
    }
  }

  /// Takes the last number that nothing was said of for the layer's.
  mutating func takeLast() {
    guard let last = others.popLast() else { return }
    layer = last.number
    parts[last.at] = "#"
  }

  /// The parts in one text, without some words; numbers that nothing was said of are left out of
  /// it.
  func group(without words: Set<String>) -> String {
    var kept = parts
    for other in others { kept[other.at] = "*" }
    return kept.filter { !words.contains($0) }.joined(separator: " ")
  }
}
