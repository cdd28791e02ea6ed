/// The built-in font, so that a machine without any font still draws text, and every machine draws
/// the same.
enum Glyphs {
  /// The glyph of a scalar; a hollow box for one that has none.
  static func glyph(_ scalar: Unicode.Scalar) -> Glyph { all[scalar] ?? unknown }

  /// Whether a scalar has a glyph of its own.
  static func has(_ scalar: Unicode.Scalar) -> Bool { all[scalar] != nil }

  /// The hollow box.
  private static let unknown = Glyph(
    GlyphReader.path("M0 0L0 10L5.6 10L5.6 0L0 0"), left: 0.8, right: 0.8)

  /// Read once, when the first text is drawn: the tables, then spaces, then letters with accents.
  private static let all: [Unicode.Scalar: Glyph] = {
    var out: [Unicode.Scalar: Glyph] = [:]
    for text in [capitals, smallLetters, digits, punctuation, signs] {
      out.merge(GlyphReader.table(text)) { first, _ in first }
    }
    // Digits stand in columns: all in one box.
    for digit in "0123456789".unicodeScalars { out[digit]?.span = (0, 5.2) }
    let blank = Glyph([], left: 1.55, right: 1.55)
    for space: Unicode.Scalar in [" ", "\u{a0}", "\u{2009}", "\u{202f}"] { out[space] = blank }
    out["\u{3bc}"] = out["\u{b5}"]
    for accent in accents {
      for (sign, base) in zip(accent.signs.unicodeScalars, accent.bases.unicodeScalars) {
        if let glyph = out[base] { out[sign] = accent.on(glyph, isCapital: base.value < 97) }
      }
    }
    return out
  }()

  /// An accent over small letters, about x = 0, and the letters that have it.
  private struct Accent {
    let path, signs, bases: String
    /// Accents below stay where they are over capitals too.
    var below = false

    /// The letter with the accent over its middle; capitals lift it by three units.
    func on(_ base: Glyph, isCapital: Bool) -> Glyph {
      let span = base.span
      let at = GlyphPoint(x: (span.left + span.right) / 2, y: isCapital && !below ? 3 : 0)
      // The span stays that of the letter: an accent that is wider reaches over the blank sides.
      var out = base
      out.strokes += GlyphReader.path(path).map { stroke in stroke.map { $0 + at } }
      return out
    }
  }

  /// Which letters have which accent; `ı` has no dot that would meet it.
  private static let accents = [
    Accent(path: "M-1.3 10.3L0.4 8.7", signs: "àèìòùÀÈÌÒÙ", bases: "aeıouAEIOU"),
    Accent(path: "M1.3 10.3L-0.4 8.7", signs: "áéíóúýÁÉÍÓÚÝ", bases: "aeıouyAEIOUY"),
    Accent(path: "M-1.6 8.7L0 10.3L1.6 8.7", signs: "âêîôûÂÊÎÔÛ", bases: "aeıouAEIOU"),
    Accent(path: "M-1.5 9.7M1.5 9.7", signs: "äëïöüÿÄËÏÖÜ", bases: "aeıouyAEIOU"),
    Accent(
      path: "M-1.9 9C-1.5 10.6 -0.5 10.1 0 9.6C0.5 9.1 1.5 8.7 1.9 10.2", signs: "ãñõÃÑÕ",
      bases: "anoANO"),
    Accent(path: "A0 9.9 1.1 1.2 0 360", signs: "åÅ", bases: "aA"),
    Accent(
      path: "M0.1 0L-0.1 -0.9Q1.4 -1 1.3 -2Q1.1 -3 -0.8 -2.8", signs: "çÇ", bases: "cC",
      below: true),
  ]
}
