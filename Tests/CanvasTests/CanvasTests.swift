import Canvas
import Testing

/// Widgets as pictures: the grid as lines in the test.
@Suite struct CanvasTests {
  static func lines(_ width: Int, _ height: Int, _ widget: any Widget) -> [String] {
    var grid = Grid(width: width, height: height)
    widget.draw(in: grid.bounds, on: &grid)
    return grid.lines
  }

  @Test func aPanelHasItsTitleInTheFrame() {
    #expect(
      Self.lines(14, 3, Panel("Map", right: "x")) == [
        "┌ Map ──── x ┐", "│            │", "└────────────┘",
      ])
    #expect(Self.lines(8, 2, Panel("A", unicode: false)) == ["+ A ---+", "+------+"])
  }

  @Test func aSparklineRisesInEighths() {
    #expect(Self.lines(4, 1, Sparkline([0, 0.25, 0.5, 1])) == [" ▂▄█"])
    #expect(Self.lines(2, 2, Sparkline([0.5, 1])) == [" █", "██"])
    #expect(Self.lines(3, 1, Sparkline([])) == [""])
  }

  @Test func aCurveIsDrawnInBraille() {
    #expect(Self.lines(4, 1, BrailleCurve([(0, 0), (1, 0)])) == ["⣀⣀⣀⣀"])
    #expect(Self.lines(2, 1, BrailleCurve([(0, 1), (1, 1)])) == ["⠉⠉"])
  }

  @Test func aBarFillsItsShare() {
    #expect(Self.lines(4, 1, Bar(0.5)) == ["██"])
    #expect(Self.lines(4, 1, Bar(0.625)) == ["██▌"])
    #expect(Self.lines(4, 1, Bar(7)) == ["████"])
  }

  @Test(arguments: [(0, 0), (1, 1), (2, 1), (1, 2), (0, 5), (3, 3)])
  func smallRectanglesAreHarmless(_ size: (Int, Int)) {
    for widget in [
      Panel("Title", right: "r"), Sparkline([1, 2]), BrailleCurve([(0, 0.5)]), Bar(1),
    ] as [any Widget] {
      var grid = Grid(width: 5, height: 4)
      widget.draw(in: Rect(x: 1, y: 1, width: size.0, height: size.1), on: &grid)
      for y in 0..<4 {
        for x in 0..<5 where !Rect(x: 1, y: 1, width: size.0, height: size.1).contains(x, y) {
          #expect(grid[x, y] == .blank, "\(type(of: widget)) drew at \(x),\(y) outside \(size)")
        }
      }
    }
  }

  @Test func textIsCutByColumnsAndNeverRaw() {
    var grid = Grid(width: 6, height: 1)
    grid.put("日本語字", 0, 0)
    #expect(grid.lines == ["日本…"])
    #expect(
      Printable.text("a\u{1b}[31m\nb\u{202e}c\u{7}\u{9b}")
        == "a\u{fffd}[31m⏎b\u{fffd}c\u{fffd}\u{fffd}")
    #expect(Width.of("é") == 1 && Width.of("e\u{301}") == 1 && Width.of("▀⣿×") == 3)
  }

  /// What does not fit ends in `…`; a number goes as a whole, and blanks behind a text are no text.
  @Test(arguments: [
    ("pruned 82.9 %", 13, "pruned 82.9 %"), ("pruned 82.9 %", 12, "pruned …"),
    ("pruned 82.9 %", 10, "pruned …"), ("pruned 82.9 %", 8, "pruned …"), ("pruned", 5, "prun…"),
    ("123456", 4, "…"), ("k 12", 3, "k …"), ("日本語", 5, "日本…"), ("日本語", 4, "日…"),
    ("word   ", 4, "word"), ("ab", 1, "…"), ("ab", 0, ""),
  ]) func whatIsCutSaysSo(_ text: String, _ limit: Int, _ shown: String) {
    var grid = Grid(width: 20, height: 1)
    let end = grid.put(text, 2, 0, limit: limit)
    #expect(grid.lines[0].drop { $0 == " " } == shown && end <= 2 + limit, "\(grid.lines)")
    var right = Grid(width: 20, height: 1)
    right.put(endingAt: limit, text, 0)
    #expect(right.lines[0].drop { $0 == " " } == shown, "\(right.lines)")
  }

  /// No scalar that could act on a terminal passes, whatever text holds it.
  @Test func noControlOrBidirectionalScalarPasses() {
    let everything = String(
      String.UnicodeScalarView((0...0x2fff).compactMap { Unicode.Scalar(UInt32($0)) }))
    for scalar in Printable.text(everything).unicodeScalars {
      #expect(scalar.value >= 0x20 && !(0x7f..<0xa0).contains(scalar.value))
      #expect(
        !(0x200b...0x200f).contains(scalar.value) && !(0x2028...0x202e).contains(scalar.value))
      #expect(!(0x2066...0x2069).contains(scalar.value) && scalar.value != 0x61c)
    }
  }

  /// In 256 colours a shade is about as light as in all of them, and never far off.
  @Test(arguments: ColorMap.allCases) func paletteStepsHaveTheMapsLightness(_ map: ColorMap) {
    for step in 0...40 {
      let t = Double(step) / 40
      let wanted = Palette.luma(of: map.shade(t, light: false)), got = Palette.luma(map.index(t))
      #expect(abs(wanted - got) < 40, "\(map.rawValue) at \(t): \(got) for \(wanted)")
    }
    #expect(Set((0...200).map { map.index(Double($0) / 200) }) == Set(map.ramp))
  }

  /// Escape sequences of all kinds of colours.
  @Test func coloursAsEscapes() {
    var grid = Grid(width: 2, height: 1)
    grid[0, 0] = Cell("▀", Style(.rgb(1, 2, 3), on: .index(200)))
    grid[1, 0] = Cell("x", Style(.standard, on: .rgb(254, 232, 56)))
    #expect(
      grid.ansi == "\u{1b}[0;38;2;1;2;3;48;5;200m▀\u{1b}[0;48;2;254;232;56mx\u{1b}[0m\n")
    #expect(Color.rgb(254, 232, 56).isLight == true && Color.rgb(0, 34, 78).isLight == false)
    #expect(Color.standard.isLight == nil && Color.index(231).isLight == true)
  }

  @Test func colourRampsGrowLighter() {
    for map in ColorMap.allCases {
      let luma = map.ramp.map(Palette.luma)
      for (a, b) in zip(luma, luma.dropFirst()) { #expect(a < b, "\(map.rawValue): \(luma)") }
      #expect(
        map.index(0) == map.ramp.first && map.index(1) == map.ramp.last
          && map.index(2) == map.ramp.last)
      // On a light page little attention is the page itself, and more is never lighter.
      #expect(map.index(0, light: true) == 231 && map.index(1, light: true) == map.ramp.first)
      let page = (0...100).map { Palette.luma(map.index(Double($0) / 100, light: true)) }
      for (a, b) in zip(page, page.dropFirst()) { #expect(a >= b, "\(map.rawValue): \(page)") }
    }
  }

  @Test(arguments: [
    (0.0, "0"), (0.0012, "0.0012"), (0.00012, "1.2e-4"), (0.25, "0.2500"), (1.0, "1.00"),
    (12.345, "12.3"),
    (1234.0, "1234"),
    (-0.0000999, "-1.0e-4"), (.infinity, "inf"), (.nan, "NaN"),
  ]) func numbersAreShort(_ value: Double, _ text: String) { #expect(Numbers.short(value) == text) }

  @Test(arguments: [
    (0.01, "0.01"), (0.0177828, "0.0178"), (0.5, "0.5"), (0.00316, "0.00316"), (1.0, "1"),
    (0.0001, "1.0e-4"), (0.0, "0"),
  ]) func thresholdsArePlain(_ value: Double, _ text: String) {
    #expect(Numbers.threshold(value) == text)
  }

  /// Points stand under one another, and no digit is made up: zeros behind the point are of the
  /// value.
  @Test(arguments: [
    ([0.891, 0.03121, 0.006], ["0.8910", "0.0312", "0.0060"]),
    ([0.5713, 0.02345, nil], ["0.5713", "0.0235", "-"]), ([0, 12.345], ["0", "12.3"]),
    ([0.1263, 1.0712, 2e-5], ["0.1263", "1.0712", "2.0e-5"]), ([3, 250], ["3.00", "250.00"]),
    ([.nan, -1.5], ["NaN", "-1.50"]), ([], []),
  ]) func aColumnHasOneNumberOfDigits(_ values: [Double?], _ texts: [String]) {
    #expect(Numbers.column(values) == texts)
  }

  @Test func aColumnOfPerCentsStaysAsItIs() {
    #expect(Numbers.column([0.1, 0.25], as: Numbers.percent) == ["10.0 %", "25.0 %"])
  }

  @Test func numbersStandRightAndWordsLeft() {
    let table = Table(
      ["n", "word", "x"], leftAligned: ["word"],
      rows: [["100", "漢", "1"], ["7", "longer", "22"]])
    #expect(
      table.text.split(separator: "\n") == [
        "  n  word     x", "100  漢       1", "  7  longer  22",
      ])
    #expect(table.csv == "100,漢,1\n7,longer,22" && table.csvHeading == "n,word,x")
  }

  /// What runs on makes no column wider, and no line ends in blanks.
  @Test func aRowMayEndEarly() {
    let table = Table(
      listing: [
        ["", "L1", "L2"], ["pruned", "1.0 %", "2.0 %"], ["moved", "a long sentence"], ["x"],
      ])
    #expect(
      table.text.split(separator: "\n") == [
        "        L1     L2", "pruned  1.0 %  2.0 %", "moved   a long sentence", "x",
      ])
  }

  @Test func aListingHasNoHeading() {
    #expect(
      Table(listing: [["a", "1\u{1b}[2J"], ["long", "2"]], indent: 2, gap: 3).text
        == "  a      1\u{fffd}[2J\n  long   2")
    #expect(Table(listing: []).text == "" && Table(["a", "b"]).text == "a  b")
  }

  @Test func fixedRoundsHalfAway() {
    #expect(
      Numbers.fixed(-0.04, 1) == "0.0" && Numbers.fixed(2.25, 1) == "2.3"
        && Numbers.fixed(-1.5, 0) == "-2")
    #expect(Numbers.percent(0.4943) == "49.4 %")
  }

  /// However many digits are asked for: what does not fit an integer is written with a power of
  /// ten.
  @Test(arguments: [0, 1, 3, 4, 6, 12, 30, 400]) func fixedTakesEveryNumber(_ digits: Int) {
    for x in [0.5, 9.9e14, -9.9e14, 1e18, -1e300, .leastNonzeroMagnitude, .greatestFiniteMagnitude]
    {
      #expect(!Numbers.fixed(x, digits).isEmpty, "\(x)")
    }
    #expect(Numbers.fixed(9.9e14, 4) == "9.9e14")
  }

  @Test func linesKeepPlainTextAndNothingThatActs() {
    let plain = "a\tb\n" + String(repeating: "x", count: 100)
    #expect(Printable.lines(plain) == plain)
    #expect(Printable.lines("naïve ↵ 漢") == "naïve ↵ 漢")
    #expect(Printable.lines("a\u{1b}[2J\r\n\u{9b}\u{202e}\u{7f}") == "a�[2J�\n���")
  }

  @Test func exportHoldsColoursAndResets() {
    var grid = Grid(width: 2, height: 1)
    grid[0, 0] = Cell("x", Style(.index(3), on: .index(7), bold: true))
    #expect(grid.ansi == "\u{1b}[0;1;38;5;3;48;5;7mx\u{1b}[0m \n")
    #expect(grid.inASCII.lines == ["x"])
  }

  /// Economy changes how a row is sent and never what is seen.
  @Test func economyKeepsThePicture() {
    var state: UInt64 = 7
    func random(_ n: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % n
    }
    func pixels(_ cell: Cell) -> [Color] {
      switch cell.glyph {
      case "▀": [cell.style.foreground, cell.style.background]
      case "▄": [cell.style.background, cell.style.foreground]
      case "█": [cell.style.foreground, cell.style.foreground]
      default: [cell.style.background, cell.style.background]
      }
    }
    func changes(_ row: [Cell]) -> Int {
      zip(row, row.dropFirst()).reduce(0) {
        $0 + ($1.0.style.foreground == $1.1.style.foreground ? 0 : 1)
          + ($1.0.style.background == $1.1.style.background ? 0 : 1)
      }
    }
    for _ in 0..<200 {
      let row = (0..<60).map { _ -> Cell in
        let (a, b) = (Color.index(UInt8(20 + random(4))), Color.index(UInt8(20 + random(4))))
        return [Cell("▀", Style(a, on: b)), Cell("▄", Style(a, on: b)), Cell(" ", Style(on: a))][
          random(3)]
      }
      let sent = Economy.row(row)
      #expect(row.map(pixels) == sent.map(pixels))
      #expect(changes(sent) <= changes(row))
    }
  }
}
