/// One thing that is so on the screen right now.
///
/// Example: `.number(0.01)` for `lambda`. What a fact means on the screen is the affair of who
/// plays the lesson; here are only names and kinds, so that lessons can be checked without a
/// screen.
public enum Fact: Sendable, Hashable {
  /// In the unit in which the screen computes, shares in 0...1.
  case number(Double)
  /// A word of the program or of the subject; case does not matter.
  case text(String)
  /// Something that is so, or is not.
  case truth(Bool)

  /// What a fact can be compared with.
  public enum Kind: String, Sendable { case number, text, truth }

  /// Every name that a check may use. Who plays a lesson answers for each of them.
  public static let kinds: [String: Kind] = {
    let texts = [
      "view", "label", "cursor.token", "vote", "order", "criterion", "scale", "pooling",
      "normalise", "overlay", "colormap", "sort", "search",
      "gallery", "other.method",
    ]
    let truths = [
      "cursor.visible", "block.skipped", "block.first", "block.visible", "mute", "running",
    ]
    let numbers = [
      "layer", "head", "file", "lambda", "sparsity", "dropped", "dropped.worst", "error",
      "label.recall", "entropy", "keys", "sink.key", "sink.mass", "cursor.query", "cursor.key",
      "cursor.p", "block.row", "block.key", "block.margin", "zoom", "tile.rows", "tile.keys",
      "splits", "other.layer", "other.head", "other.sparsity", "tokens", "length", "prompt",
      "decoded", "branches", "branch", "divergence", "step.sparsity", "kl",
    ]
    var kinds: [String: Kind] = [:]
    for name in texts { kinds[name] = .text }
    for name in truths { kinds[name] = .truth }
    for name in numbers { kinds[name] = .number }
    return kinds
  }()

  /// What stands in front of the name of a number that the method in force reports:
  /// `finding.density`.
  public static let findingPrefix = "finding."

  /// What kind of fact a name is; nil for none. Numbers of methods are known only when they are
  /// played.
  public static func kind(_ name: String) -> Kind? {
    if let kind = kinds[name] { return kind }
    let rest = name.dropFirst(findingPrefix.count)
    let isNumber =
      name.hasPrefix(findingPrefix) && !rest.isEmpty
      && rest.allSatisfy { $0 == "_" || $0.isNumber || ($0.isLetter && $0.isLowercase) }
    return isNumber ? .number : nil
  }

  /// What stands in front of a name to mean its value when the step began.
  public static let startPrefix = "start."
}
