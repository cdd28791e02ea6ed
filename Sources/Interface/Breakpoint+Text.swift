import Canvas
public import Sessions

/// Breakpoints as they are typed.
extension Breakpoint {
  /// `sparsity<0.3`, `sparsity>0.3`, `divergence`, `kl>0.1`, `token "x"`; nil for anything else.
  public init?(_ text: String) {
    let squeezed = text.filter { $0 != " " }
    if squeezed == "divergence" {
      self = .divergence
      return
    }
    if text.hasPrefix("token") {
      let word = String(text.dropFirst(5)).trimmed
      let bare =
        word.count >= 2 && word.first == "\"" && word.last == "\""
        ? String(word.dropFirst().dropLast()) : word
      guard !bare.isEmpty else { return nil }
      self = .token(bare)
      return
    }
    for (prefix, make) in [
      ("sparsity<", Breakpoint.sparsityBelow), ("sparsity>", Breakpoint.sparsityAbove),
      ("kl>", Breakpoint.divergenceAbove),
    ] where squeezed.hasPrefix(prefix) {
      guard let value = Double(squeezed.dropFirst(prefix.count)), value.isFinite, value >= 0,
        prefix == "kl>" || value <= 1
      else { return nil }
      self = make(value)
      return
    }
    return nil
  }
}
