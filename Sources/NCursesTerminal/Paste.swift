import CNCurses

/// Text between the marks that a terminal puts around what is pasted: none of it is a key, not even
/// Ctrl-Z.
///
/// A terminal that loses the closing mark would take the keyboard with it: after half a second
/// without input the paste is over anyway. What is longer than 64 Ki characters is cut there.
struct Paste {
  /// What has come so far: an array, since the length of a text is counted anew each time.
  private var scalars: [Unicode.Scalar]?
  /// When the last of it came.
  private var last = ContinuousClock.now
  private static let most = 1 << 16
  private static let patience = Duration.milliseconds(500)

  /// The opening mark has come, and not yet the closing one.
  var isOpen: Bool { scalars != nil }

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
      if scalars == nil { scalars = [] }
      last = .now
      return .more
    }
    if Int(key) == Int(CN_KEY_PASTED) { return close().map(Part.whole) ?? .more }
    guard isOpen else { return .key }
    last = .now
    if let scalar = Unicode.Scalar(UInt32(bitPattern: key)), scalars?.count ?? 0 < Self.most {
      scalars?.append(scalar)
    }
    return .more
  }

  /// Ends it when nothing more came for half a second, however often the screen woke for something
  /// else; nil while it goes on, and when there is none.
  mutating func closeIfQuiet() -> String? {
    ContinuousClock.now - last < Self.patience ? nil : close()
  }

  /// Ends it; nil when there is none.
  private mutating func close() -> String? {
    defer { scalars = nil }
    return scalars.map { String(String.UnicodeScalarView($0)) }
  }
}
