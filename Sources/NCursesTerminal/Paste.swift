import CNCurses

/// Text between the marks that a terminal puts around what is pasted: none of it is a key, not even
/// Ctrl-Z.
///
/// A terminal that loses the closing mark would take the keyboard with it: after half a second
/// without input the paste is over anyway. What is longer than 64 Ki characters is cut there.
struct Paste {
  private var text: String.UnicodeScalarView?
  private static let most = 1 << 16

  /// The opening mark has come, and not yet the closing one.
  var isOpen: Bool { text != nil }

  /// What came of a number of `cn_key`.
  enum Part: Equatable {
    /// It is a key like any other.
    case key
    /// It belongs to a paste that goes on.
    case more
    /// The paste is over, and this is its text.
    case whole(String)
  }

  /// Takes the next number of `cn_key`.
  mutating func take(_ key: Int32) -> Part {
    if Int(key) == Int(CN_KEY_PASTE) {
      if text == nil { text = .init() }
      return .more
    }
    if Int(key) == Int(CN_KEY_PASTED) { return close().map(Part.whole) ?? .more }
    guard isOpen else { return .key }
    if let scalar = Unicode.Scalar(UInt32(bitPattern: key)), text?.count ?? 0 < Self.most {
      text?.append(scalar)
    }
    return .more
  }

  /// Ends it; nil when there is none.
  mutating func close() -> String? {
    defer { text = nil }
    return text.map { String($0) }
  }
}
