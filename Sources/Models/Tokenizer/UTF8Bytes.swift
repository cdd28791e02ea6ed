/// UTF-8, one character at a time, in bytes that may not be UTF-8 at all.
public enum UTF8Bytes {
  /// The scalar that begins at `at` and its length; nil and 1 where the bytes are no scalar.
  static func scalar(_ bytes: [UInt8], _ at: Int) -> (Unicode.Scalar?, Int) {
    let first = bytes[at]
    if first < 0x80 { return (Unicode.Scalar(first), 1) }
    let length = width(first)
    guard length > 1, at + length <= bytes.count else { return (nil, 1) }
    var value = UInt32(first) & (0x7f >> UInt32(length))
    for i in 1..<length {
      guard bytes[at + i] & 0xc0 == 0x80 else { return (nil, 1) }
      value = value << 6 | UInt32(bytes[at + i] & 0x3f)
    }
    let least: [UInt32] = [0, 0, 0x80, 0x800, 0x10000]
    guard value >= least[length], let scalar = Unicode.Scalar(value) else { return (nil, 1) }
    return (scalar, length)
  }

  /// Bytes of a character by its first; 1 for what cannot begin one.
  private static func width(_ first: UInt8) -> Int {
    switch first {
    case 0xc2...0xdf: 2
    case 0xe0...0xef: 3
    case 0xf0...0xf4: 4
    default: 1
    }
  }

  /// How many bytes at the end are a character that has only begun.
  static func unfinished(_ bytes: [UInt8]) -> Int {
    for back in 1...4 where back <= bytes.count {
      let byte = bytes[bytes.count - back]
      if byte & 0xc0 == 0x80 { continue }
      return width(byte) > back ? back : 0
    }
    return 0
  }
}

/// Text that arrives in pieces: gives out whole characters only, and what is no character as
/// U+FFFD.
///
/// Example: a three-byte character split over two tokens appears with the second. Holds three
/// bytes at most.
public struct UTF8Stream: Sendable {
  private var waiting: [UInt8] = []

  /// Nothing waits.
  public init() {}

  /// The text that is complete now; what may still become a character waits for more.
  public mutating func add(_ bytes: [UInt8]) -> String {
    waiting += bytes
    let held = UTF8Bytes.unfinished(waiting)
    let ready = waiting.count - held
    defer { waiting.removeFirst(ready) }
    return String(decoding: waiting[..<ready], as: UTF8.self)
  }

  /// What is left at the end of the text, as U+FFFD: a character that never came.
  public mutating func finish() -> String {
    defer { waiting = [] }
    return String(decoding: waiting, as: UTF8.self)
  }
}
