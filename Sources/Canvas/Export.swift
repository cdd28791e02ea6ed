extension Grid {
  /// The grid with 256-colour escape sequences; each line ends in a reset.
  /// Cells behind a wide glyph are not written: the terminal moves on by itself.
  public var ansi: String {
    var out = ""
    for y in 0..<height {
      var last = Style.plain
      for x in 0..<width where self[x, y].glyph != Cell.continuation {
        let cell = self[x, y]
        if cell.style != last {
          out += cell.style.ansi
          last = cell.style
        }
        out.unicodeScalars.append(cell.glyph)
      }
      out += last == .plain ? "\n" : "\u{1b}[0m\n"
    }
    return out
  }
}

extension Style {
  /// One escape sequence that begins with a reset, so that nothing of the style before it remains.
  var ansi: String {
    var codes = ["0"]
    if bold { codes.append("1") }
    if dim { codes.append("2") }
    if underline { codes.append("4") }
    if reverse { codes.append("7") }
    codes += Self.codes(foreground, "38") + Self.codes(background, "48")
    return "\u{1b}[" + codes.joined(separator: ";") + "m"
  }

  /// What selects a colour, behind the number that says what for; none of the terminal's own.
  private static func codes(_ color: Color, _ what: String) -> [String] {
    switch color {
    case .standard: []
    case .index(let index): ["\(what);5;\(index)"]
    case .rgb(let r, let g, let b): ["\(what);2;\(r);\(g);\(b)"]
    }
  }
}

extension Grid {
  /// Glyphs beyond ASCII replaced one by one, for terminals that would show blanks.
  public var inASCII: Grid {
    let twins: [Unicode.Scalar: Unicode.Scalar] = [
      "λ": "l", "×": "x", "→": ">", "←": "<", "↑": "^", "↓": "v", "≤": "<", "≥": ">", "…": ".",
      "●": "*", "■": "#",
      "·": ".", "α": "a", "₁": "1", "∪": "U", "•": "*", "⏎": "/", "⇥": ">", "▲": "^", "▼": "v",
      "▶": ">", "►": ">", "┊": ":", "‖": "|",
    ]
    var grid = self
    for y in 0..<height {
      for x in 0..<width {
        let glyph = self[x, y].glyph
        if glyph == Cell.continuation {
          grid[x, y].glyph = " "
        } else if !glyph.isASCII {
          grid[x, y].glyph = twins[glyph] ?? "?"
        }
      }
    }
    return grid
  }
}
