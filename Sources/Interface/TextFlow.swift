import Canvas

/// How tokens stand in a rectangle: a line breaks at newlines and where the next token would not
/// fit. Used to draw the text and to find the token under the mouse or above the cursor.
///
/// Tokens are pieces of words: a word stays on one line where it can, and a space at the start of a
/// line is dropped. Cost: a page of text, whatever the length of the whole.
struct TextFlow {
  /// A piece of a token on one line.
  struct Place: Equatable {
    let token: Int
    let x: Int
    let y: Int
    let text: String
  }

  /// Of the tokens that are shown, in order; some stand on two lines.
  let places: [Place]

  /// Lays out so that `cursor` is in sight, a little above the end. Only what lies near it is
  /// looked at: a text of thousands of tokens costs no more than a page.
  init(_ texts: [String], in rect: Rect, cursor: Int) {
    guard !rect.isEmpty, !texts.isEmpty else {
      places = []
      return
    }
    let near = Self.range(texts, around: cursor, width: rect.width, lines: rect.height)
    let all = Self.layOut(texts, near, width: rect.width)
    let last = all.last?.y ?? 0
    let line = all.last { $0.token <= cursor }?.y ?? 0
    let below = min(last - line, rect.height / 3)
    let first = max(0, min(line + below - rect.height + 1, line))
    places = all.filter { (first..<first + rect.height).contains($0.y) }.map {
      Place(token: $0.token, x: rect.x + $0.x, y: rect.y + $0.y - first, text: $0.text)
    }
  }

  /// The tokens that so many lines before and after a token may hold. It begins at a multiple of
  /// 64, so that lines break at the same places while the cursor moves.
  private static func range(_ texts: [String], around token: Int, width: Int, lines: Int)
    -> Range<Int>
  {
    func walk(_ step: Int) -> Int {
      var at = min(max(token, 0), texts.count - 1), room = width * (lines + 1)
      while texts.indices.contains(at + step), room > 0 {
        at += step
        // Bytes are at least as many as columns; a newline ends a line however short it is.
        room -= max(1, texts[at].utf8.count)
        if texts[at].contains("\n") { room -= width }
      }
      return at
    }
    return walk(-1) / 64 * 64..<walk(1) + 1
  }

  /// Line by line from the start of the range, in rows counted from 0.
  private static func layOut(_ texts: [String], _ range: Range<Int>, width: Int) -> [Place] {
    var out: [Place] = []
    out.reserveCapacity(range.count)
    var x = 0, y = 0
    // Where the word that is being written began in `out`: its tokens go to the next line together.
    var word = 0
    for token in range {
      let text = texts[token]
      let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
      for (index, line) in lines.enumerated() {
        if index > 0 { (x, y, word) = (0, y + 1, out.count) }
        if line.first == " " { word = out.count }
        var piece = Printable.text(String(line))
        // The newline itself stays visible as a mark, so that its token can be pointed at.
        if index < lines.count - 1 { piece += "⏎" }
        guard !piece.isEmpty else { continue }
        if x + Width.of(piece) > width, x > 0 {
          x = moveDown(&out, from: word, width: width - Width.of(piece))
          y += 1
          if x == 0, piece.first == " " { piece.removeFirst() }
        }
        out.append(Place(token: token, x: x, y: y, text: piece))
        x += Width.of(piece)
      }
      if lines.count == 1, text.isEmpty { out.append(Place(token: token, x: x, y: y, text: "")) }
    }
    return out
  }

  /// Moves the last places to the next line when they and what follows fit there; the column after
  /// them.
  private static func moveDown(_ out: inout [Place], from word: Int, width: Int) -> Int {
    guard word < out.count, out[word].x > 0 else { return 0 }
    var text = out[word].text
    if text.first == " " { text.removeFirst() }
    let rest = out[(word + 1)...].reduce(0) { $0 + Width.of($1.text) }
    guard Width.of(text) + rest <= width else { return 0 }
    var x = 0
    for index in word..<out.count {
      let place = out[index]
      let piece = index == word ? text : place.text
      out[index] = Place(token: place.token, x: x, y: place.y + 1, text: piece)
      x += Width.of(piece)
    }
    return x
  }

  /// The token at a place of the screen.
  func token(x: Int, y: Int) -> Int? {
    places.last { $0.y == y && $0.x <= x }?.token ?? places.first { $0.y == y }?.token
  }

  /// The token a number of lines above or below another, at about the same column.
  static func token(_ texts: [String], width: Int, from token: Int, lines: Int) -> Int {
    guard !texts.isEmpty else { return token }
    let near = range(texts, around: token, width: max(width, 1), lines: abs(lines) + 1)
    let all = layOut(texts, near, width: max(width, 1))
    guard let here = all.last(where: { $0.token <= token }) else { return token }
    let wanted = here.y + lines
    if wanted < 0 { return near.lowerBound }
    return all.last { $0.y == wanted && $0.x <= here.x }?.token
      ?? all.first { $0.y == wanted }?.token ?? near.upperBound - 1
  }
}
