import Canvas

/// Texts for places of a fixed width: what does not fit is said shorter, and never cut within a
/// word as if it were whole.
///
/// Example: `Fitted.text(["33.6 % on 0 \"The\"", "33.6 % on 0"], 12)` is `33.6 % on 0`.
enum Fitted {
  /// The first of the texts that fits; else the last one, cut.
  static func text(_ candidates: [String], _ width: Int) -> String {
    candidates.first { Width.of($0) <= width } ?? cut(candidates.last ?? "", width)
  }

  /// A name in full; else without its small words; else cut.
  static func name(_ text: String, _ width: Int) -> String {
    let small: Set<Substring> = ["of", "the", "a", "an", "in", "by"]
    let short = text.split(separator: " ").filter { !small.contains($0) }.joined(separator: " ")
    return Self.text([text, short], width)
  }

  /// As many words as there is room for, and `…` for the others; of a single word its beginning. A
  /// number stands whole or not at all: behind one the mark keeps its distance.
  static func cut(_ text: String, _ width: Int) -> String {
    guard Width.of(text) > width else { return text }
    guard width > 0 else { return "" }
    var words = text.split(separator: " ")
    while words.count > 1 {
      words.removeLast()
      let isNumber = words.last?.last?.isNumber ?? false
      let part = words.joined(separator: " ") + (isNumber ? " …" : "…")
      if Width.of(part) <= width { return part }
    }
    var part = text
    while Width.of(part) > width - 1, !part.isEmpty { part.removeLast() }
    while let last = part.last, last.isNumber || last == "." { part.removeLast() }
    return part + "…"
  }
}
