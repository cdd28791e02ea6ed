/// Text and numbers as XML may hold them.
enum XML {
  /// The text with the five characters of markup escaped, and U+FFFD for what XML or a page had
  /// better not hold: controls, noncharacters, and the marks that turn the direction of writing.
  static func text(_ text: String) -> String {
    var out = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": out += "&amp;"
      case "<": out += "&lt;"
      case ">": out += "&gt;"
      case "\"": out += "&quot;"
      case "'": out += "&#39;"
      default: out.unicodeScalars.append(isPlain(scalar) ? scalar : "\u{fffd}")
      }
    }
    return out
  }

  /// False for what XML forbids and for what would act on the page.
  static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0...0x1f, 0x7f...0x9f, 0x2028...0x202e, 0x2066...0x2069, 0xfdd0...0xfdef: false
    default: scalar.value & 0xfffe != 0xfffe
    }
  }

  /// ` id="…"` made of characters that a name may have, or nothing for an empty one.
  static func id(_ id: String) -> String {
    guard !id.isEmpty else { return "" }
    let kept = id.unicodeScalars.map { scalar -> Character in
      switch scalar {
      case "a"..."z", "A"..."Z", "0"..."9", "-", "_", ".": Character(scalar)
      default: "-"
      }
    }
    let first = kept[0]
    let starts = first.isLetter || first == "_"
    return " id=\"" + (starts ? "" : "_") + String(kept) + "\""
  }

  /// A number with two decimals at most, no exponent and no locale: 1.5, -0.25, 3. What is no
  /// number is 0.
  static func number(_ value: Double) -> String {
    number(hundredths: hundredths(value))
  }

  /// The nearest whole number of hundredths, within ±10⁹.
  static func hundredths(_ value: Double) -> Int {
    guard !value.isNaN else { return 0 }
    return Int((min(1e9, max(-1e9, value)) * 100).rounded())
  }

  /// The same from whole hundredths: edges that were rounded once are not rounded again.
  static func number(hundredths: Int) -> String {
    let (whole, part) = abs(hundredths).quotientAndRemainder(dividingBy: 100)
    let sign = hundredths < 0 ? "-" : ""
    if part == 0 { return sign + String(whole) }
    if part % 10 == 0 { return "\(sign)\(whole).\(part / 10)" }
    return "\(sign)\(whole).\(part < 10 ? "0" : "")\(part)"
  }
}
