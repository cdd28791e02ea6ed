/// What an array's name says about it.
///
/// Names seen in the wild: `layers.12.q`, `blocks.3.attn.hook_pattern`, `attention`,
/// `attn_weights`, `kq_soft_max-7`, `layer_5`, `arr_0`. The catch: `attention_mask`,
/// `input_ids`, `labels` and the parameters of a model (`q_proj.weight`) look alike and are
/// none of them.
struct ArrayName {
  /// Roles, with every kind of map in one: `kind` is nil when the name does not tell pattern
  /// from scores.
  enum Family {
    case query, key, value, map(kind: DumpKind?), blocks, margins, selected, indexScores, beta
    case weights(ArrayRole)
  }

  let family: Family
  /// The layer's number, if the name has one.
  let layer: Int?

  /// Nil for names that are no attention array.
  init?(_ name: String) {
    let parts = nameParts(name)
    let words = Set(parts)
    guard
      words.isDisjoint(with: ["mask", "ids", "labels", "proj", "weight", "bias", "norm", "grad"])
        || words == ["mask"]
        || words == ["mask", "id"]
    else { return nil }
    guard let family = Self.family(parts, words) else { return nil }
    self.family = family
    layer = Self.layer(parts)
  }

  /// The last word decides, after the names that whole tools share (TransformerLens hooks,
  /// llama.cpp's kq) had their say.
  private static func family(_ parts: [String], _ words: Set<String>) -> Family? {
    let last = parts.last { Int($0) == nil } ?? ""
    if let role = weights(parts) { return .weights(role) }
    switch last {
    case "q", "query", "queries", "qcur", "querys": return .query
    case "k", "key", "keys", "kcur": return .key
    case "v", "value", "values", "vcur": return .value
    case "blocks" where parts.count > 1: return .blocks
    case "margins": return .margins
    case "selected": return .selected
    case "indices" where isSelection(parts, words): return .selected
    case "scores" where !words.isDisjoint(with: ["index", "indexer"]): return .indexScores
    // Norms have a beta, too: a vector, and behind the name of the norm.
    case "beta" where words.isSubset(of: betaWords.union(parts.filter { Int($0) != nil })):
      return .beta
    default: break
    }
    if words == ["mask"] || words == ["mask", "id"] { return .map(kind: .mask) }
    if words.contains("hook") {
      if last == "pattern" || words.contains("weights") { return .map(kind: .pattern) }
      return last == "scores" ? .map(kind: .scores) : nil
    }
    if words.contains("kq") { return .map(kind: words.contains("soft") ? .pattern : .scores) }
    switch last {
    case "pattern", "probs": return .map(kind: .pattern)
    case "scores" where words.contains("layers"): return .map(kind: .scores)
    case "attention", "attentions", "attn", "weights", "scores", "maps", "map", "arr", "layer",
      "layers", "list":
      return .map(kind: nil)
    default: return nil
    }
  }

  /// What may stand around the β of a delta rule.
  private static let betaWords: Set<String> = [
    "layer", "layers", "block", "blocks", "l", "self", "attn", "attention", "beta",
  ]

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
      || layer(parts) != nil
  }

  /// The number behind `layer`, `layers`, `blocks`, `l`; else the last number of the name.
  private static func layer(_ parts: [String]) -> Int? {
    for (a, b) in zip(parts, parts.dropFirst())
    where ["layer", "layers", "blocks", "l", "block"].contains(a) {
      if let number = Int(b) { return number }
    }
    return parts.last { Int($0) != nil }.flatMap { Int($0) }
  }
}
