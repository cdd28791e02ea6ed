import CNCurses
import Canvas

/// Between ncurses' numbers and our values.
enum Keys {
  /// By number: the wrapper's own above 2^24, and control characters that have keys of their own.
  private static let special: [Int: Key] = [
    Int(CN_KEY_UP): .up, Int(CN_KEY_DOWN): .down, Int(CN_KEY_LEFT): .left,
    Int(CN_KEY_RIGHT): .right,
    Int(CN_KEY_PAGE_UP): .pageUp, Int(CN_KEY_PAGE_DOWN): .pageDown, Int(CN_KEY_HOME): .home,
    Int(CN_KEY_END): .end,
    Int(CN_KEY_ENTER): .enter, Int(CN_KEY_BACKSPACE): .backspace, Int(CN_KEY_DELETE): .delete,
    Int(CN_KEY_BACK_TAB): .backTab, 9: .tab, 10: .enter, 13: .enter, 27: .escape, 8: .backspace,
    127: .backspace,
  ]

  /// The event of a number that `cn_key` gave; nil for what means nothing here.
  static func event(_ number: Int32, _ mouse: cn_mouse) -> Event? {
    if number == 3 { return .interrupt }
    if Int(number) == Int(CN_KEY_LIGHT) { return .background(isLight: true) }
    if Int(number) == Int(CN_KEY_DARK) { return .background(isLight: false) }
    if let key = special[Int(number)] { return .key(key) }
    let function = Int(number) - Int(CN_KEY_F0), alt = Int(number) - Int(CN_KEY_ALT)
    if (1...12).contains(function) { return .key(.function(function)) }
    if alt > 0, let scalar = Unicode.Scalar(UInt32(alt)) {
      return .key(.alt(Character(scalar)))
    }
    if number == Int32(CN_KEY_MOUSE) { return self.mouse(mouse).map(Event.mouse) }
    if number < 27, number > 0 {
      return .key(.control(Character(Unicode.Scalar(UInt8(96 + number)))))
    }
    guard number >= 32, let scalar = Unicode.Scalar(UInt32(number)) else { return nil }
    return .key(.character(Character(scalar)))
  }

  /// From SGR numbers: buttons all count as one, 32 marks movement, 64 and 65 are the wheel. Nil
  /// outside the screen.
  private static func mouse(_ mouse: cn_mouse) -> Mouse? {
    let (x, y) = (Int(mouse.x), Int(mouse.y))
    guard x >= 0, y >= 0 else { return nil }
    switch mouse.button & ~28 {  // shift, meta and control do not matter
    case 64: return Mouse(.wheelUp, x: x, y: y)
    case 65: return Mouse(.wheelDown, x: x, y: y)
    case 0: return Mouse(mouse.released != 0 ? .release : .press, x: x, y: y)
    case 32: return Mouse(.drag, x: x, y: y)
    default: return nil
    }
  }

  /// A cell as the wrapper takes it; colours become -1 where none can be shown.
  static func cell(_ cell: Cell, _ colors: Capabilities.Colors) -> cn_cell {
    var attributes: UInt16 = 0
    let style = cell.style
    if style.bold { attributes |= UInt16(CN_BOLD) }
    if style.dim { attributes |= UInt16(CN_DIM) }
    if style.reverse { attributes |= UInt16(CN_REVERSE) }
    if style.underline { attributes |= UInt16(CN_UNDERLINE) }
    return cn_cell(
      glyph: cell.glyph.value, foreground: number(style.foreground, colors),
      background: number(style.background, colors),
      attributes: attributes, padding: 0)
  }

  /// A palette index, -1 for the terminal's own colour, or CN_RGB and three channels. Where all
  /// colours are direct, those of the palette are written out as such.
  private static func number(_ color: Color, _ colors: Capabilities.Colors) -> Int32 {
    switch color {
    case .standard: return -1
    case _ where colors == .mono: return -1
    case .rgb(let r, let g, let b): return rgb(Int32(r), Int32(g), Int32(b))
    case .index(let index) where colors == .direct && index >= 16:
      let (r, g, b) = Palette.channels(index)
      return rgb(Int32(r), Int32(g), Int32(b))
    case .index(let index): return Int32(index)
    }
  }

  /// Eight bits a channel.
  private static func rgb(_ r: Int32, _ g: Int32, _ b: Int32) -> Int32 {
    Int32(CN_RGB) | r << 16 | g << 8 | b
  }
}
