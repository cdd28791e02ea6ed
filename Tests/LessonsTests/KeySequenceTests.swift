import Canvas
import Testing

/// Keys as lessons and the config file write them.
@Suite struct KeySequenceTests {
  @Test(
    arguments: [
      ("]]", [.character("]"), .character("]")]),
      ("<Home>", [.home]), ("<home><END>", [.home, .end]),
      ("690G", [.character("6"), .character("9"), .character("0"), .character("G")]),
      (":x<Enter>", [.character(":"), .character("x"), .enter]),
      ("<Up><Left><Right><Down>", [.up, .left, .right, .down]),
      ("<PgUp><PgDn>", [.pageUp, .pageDown]), ("<Space>", [.character(" ")]),
      ("<lt><gt>", [.character("<"), .character(">")]),
      ("<Ctrl-R>", [.control("r")]), ("<Shift-Tab><Tab>", [.backTab, .tab]),
      ("<Esc><Backspace><Del>", [.escape, .backspace, .delete]),
      // An angle bracket that opens nothing is itself.
      ("<", [.character("<")]), ("<<", [.character("<"), .character("<")]),
      (">", [.character(">")]),
      ("<>", [.character("<"), .character(">")]), ("a<b", ["a", "<", "b"].map(Key.character)),
      ("", []), ("é", [.character("é")]),
    ] as [(String, [Key])]) func readsAsTyped(_ text: String, _ expected: [Key])
  {
    let (keys, unknown) = Key.sequence(text)
    #expect(keys == expected && unknown == nil, "\(text): \(keys)")
  }

  @Test(arguments: [
    ("<Hom>", "<Hom>"), ("ab<F13>c", "<F13>"), ("<x>", "<x>"), ("<Ctrl->", "<Ctrl->"),
  ])
  func whatIsNoKeyIsNamed(_ text: String, _ expected: String) {
    #expect(Key.sequence(text).unknown == expected)
  }

  @Test func everyNameOfAKeyReadsBack() {
    let keys: [Key] = [
      .pageUp, .pageDown, .home, .end, .enter, .escape, .tab, .backTab, .backspace, .delete,
      .character(" "), .character("x"), .character("<"), .control("r"), .alt("5"), .function(12),
    ]
    for key in keys { #expect(Key(named: key.name) == key, "\(key.name)") }
    for word in ["", "  ", "Hom", "F0", "F13", "alt-", "ctrl-1", "\n"] {
      #expect(Key(named: word) == nil, "\(word)")
    }
  }
}
