/// What may be sent to a terminal. Token texts and file names are data: control characters would
/// act, and bidirectional ones would reorder the line, so neither is ever sent.
///
/// Example: `Printable.text("a\u{1b}[2J")` is `a�[2J`. Every text from outside goes through here
/// before it reaches a grid, a table or a terminal.
public enum Printable {
  /// False for controls (C0, DEL, C1), bidirectional marks, zero-width and other invisible format
  /// characters.
  public static func isSafe(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0..<0x20, 0x7f..<0xa0, 0xad, 0x61c, 0x180e: return false
    case 0x200b...0x200f, 0x2028...0x202e, 0x2060...0x206f, 0xfeff, 0xfff9...0xfffb: return false
    case 0xe0000...0xe007f: return false
    default: break
    }
    switch scalar.properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
      .paragraphSeparator:
      return false
    default: return true
    }
  }

  /// A text in lines of so many columns, broken between words; a longer word has a line of its own,
  /// and an empty text is one line.
  public static func lines(_ text: String, width: Int) -> [String] {
    var lines: [String] = [], line = ""
    for word in text.split(separator: " ") {
      if !line.isEmpty, Width.of(line) + Width.of(String(word)) + 1 > width {
        lines.append(line)
        line = ""
      }
      line += (line.isEmpty ? "" : " ") + word
    }
    return lines + [line]
  }

  /// The text with everything unsafe made visible: newline as ⏎, tab as ⇥, others as �, combining
  /// marks left out.
  public static func text(_ text: String) -> String {
    var bare = text.unicodeScalars
    bare.removeAll { scalar in
      switch scalar.properties.generalCategory {
      case .nonspacingMark, .enclosingMark, .spacingMark: true
      default: false
      }
    }
    return field(String(bare))
  }

  /// For one field of a table that programs read: as `text`, but combining marks stay.
  public static func field(_ text: String) -> String {
    var out = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\n": out.append("⏎")
      case "\t": out.append("⇥")
      case "\r": out.append("␍")
      default: out.append(isSafe(scalar) ? scalar : "\u{fffd}")
      }
    }
    return String(out)
  }

  /// For running text: newlines and tabs act, combining marks combine, everything else that is
  /// unsafe becomes U+FFFD.
  public static func lines(_ text: String) -> String {
    // Nearly all text is plain, and long tables come through here.
    let isPlain = text.utf8.allSatisfy { (0x20..<0x7f).contains($0) || $0 == 9 || $0 == 10 }
    if isPlain { return text }
    var out = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      out.append(scalar == "\n" || scalar == "\t" || isSafe(scalar) ? scalar : "\u{fffd}")
    }
    return String(out)
  }
}

extension String {
  /// Its lines without their ends. `\r\n` is one `Character`, which a split at `\n` would not find.
  package var textLines: [String] {
    split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }.map(String.init)
  }

  /// Without blanks at both ends.
  package var trimmed: String {
    var text = Substring(self)
    while let c = text.first, c == " " || c == "\t" { text.removeFirst() }
    while let c = text.last, c == " " || c == "\t" { text.removeLast() }
    return String(text)
  }
}
