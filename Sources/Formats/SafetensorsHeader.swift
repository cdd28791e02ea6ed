import Tensors

/// The header of a safetensors file, read strictly: an object of tensors by name, and
/// `__metadata__`, an object of texts.
///
/// Example: `try SafetensorsHeader(bytes).tensors[0].name`. A general decoder would let pass what
/// the format forbids: a name that stands twice (the later one wins) and a whole number written
/// `1.0`. The catch: two names that differ only in how an accent is composed count as one.
struct SafetensorsHeader {
  /// One tensor as the header describes it.
  struct Item {
    let name: String
    let dtype: String
    let shape: [Int]
    /// `data_offsets`: its first byte and the one behind its last, counted from the data.
    let offsets: [Int]
  }

  /// In the order of the header.
  private(set) var tensors: [Item] = []
  private(set) var metadata: [String: String] = [:]

  /// Reads all of `bytes`; blanks may follow the object. Throws where they are anything else.
  init(_ bytes: UnsafeRawBufferPointer) throws(JSONFault) {
    var scanner = JSONScanner(bytes)
    var names: Set<String> = [], hasMetadata = false
    try scanner.object { (scanner, name) throws(JSONFault) in
      if name == "__metadata__" {
        guard !hasMetadata else { throw scanner.twice(name) }
        hasMetadata = true
        metadata = try Self.metadata(&scanner)
      } else {
        guard names.insert(name).inserted else { throw scanner.twice(name) }
        tensors.append(try Self.item(name, &scanner))
      }
    }
    try scanner.end()
  }

  private static func metadata(_ scanner: inout JSONScanner) throws(JSONFault) -> [String: String] {
    var texts: [String: String] = [:]
    try scanner.object { (scanner, key) throws(JSONFault) in
      let text = try scanner.text()
      guard texts.updateValue(text, forKey: key) == nil else { throw scanner.twice(key) }
    }
    return texts
  }

  /// A tensor's three facts, in any order; others are stepped over, as other readers do.
  private static func item(_ name: String, _ scanner: inout JSONScanner) throws(JSONFault) -> Item {
    var dtype: String?, shape: [Int]?, offsets: [Int]?
    try scanner.object { (scanner, key) throws(JSONFault) in
      switch key {
      case "dtype":
        guard dtype == nil else { throw scanner.twice("\(name).dtype") }
        dtype = try scanner.text()
      case "shape":
        guard shape == nil else { throw scanner.twice("\(name).shape") }
        shape = try scanner.integers()
      case "data_offsets":
        guard offsets == nil else { throw scanner.twice("\(name).data_offsets") }
        offsets = try scanner.integers()
      default: try scanner.skip()
      }
    }
    guard let dtype, let shape, let offsets else {
      throw scanner.fault("\(name.prefix(64)) lacks its dtype, shape or data_offsets")
    }
    return Item(name: name, dtype: dtype, shape: shape, offsets: offsets)
  }
}

/// Where a header stops being what it should be.
struct JSONFault: Error {
  /// What is wrong there, as a phrase.
  let what: String
  /// The name that stands twice, where that is what is wrong.
  let duplicate: String?
}

/// Walks over JSON from front to back, in time linear in its bytes and with no stack that a file
/// could exhaust.
struct JSONScanner {
  private let bytes: UnsafeBufferPointer<UInt8>
  private var at = 0

  /// Bytes that must stay where they are while the scanner is used.
  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes.bindMemory(to: UInt8.self) }

  /// A fault at the present place.
  func fault(_ what: String) -> JSONFault {
    JSONFault(what: "at byte \(at): \(what)", duplicate: nil)
  }

  /// A name that stands twice.
  func twice(_ name: String) -> JSONFault { JSONFault(what: "stands twice", duplicate: name) }

  /// The next byte that is no blank, which is left where it is; 0 at the end.
  private mutating func next() -> UInt8 {
    while at < bytes.count {
      let byte = bytes[at]
      guard byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 else { return byte }
      at += 1
    }
    return 0
  }

  private mutating func take(_ byte: Unicode.Scalar) throws(JSONFault) {
    guard next() == UInt8(ascii: byte) else { throw fault("'\(byte)' was expected") }
    at += 1
  }

  /// Steps over a comma, or over the byte that closes; true when it closes.
  private mutating func closes(_ close: Unicode.Scalar) throws(JSONFault) -> Bool {
    let byte = next()
    guard byte == UInt8(ascii: ",") || byte == UInt8(ascii: close) else {
      throw fault("',' or '\(close)' was expected")
    }
    at += 1
    return byte == UInt8(ascii: close)
  }

  /// Nothing but blanks follows.
  mutating func end() throws(JSONFault) {
    guard next() == 0, at == bytes.count else { throw fault("nothing more was expected") }
  }

  /// An object; `body` must read the value of each name.
  mutating func object(
    _ body: (inout JSONScanner, String) throws(JSONFault) -> Void
  ) throws(JSONFault) {
    try take("{")
    if next() == UInt8(ascii: "}") {
      at += 1
      return
    }
    repeat {
      let name = try text()
      try take(":")
      try body(&self, name)
    } while try !closes("}")
  }

  /// A list of whole numbers. Throws for any that has a fraction or an exponent, and for one
  /// that no `Int` holds.
  mutating func integers() throws(JSONFault) -> [Int] {
    try take("[")
    var out: [Int] = []
    if next() == UInt8(ascii: "]") {
      at += 1
      return out
    }
    repeat { out.append(try integer()) } while try !closes("]")
    return out
  }

  private mutating func integer() throws(JSONFault) -> Int {
    let isNegative = next() == UInt8(ascii: "-")
    if isNegative { at += 1 }
    let start = at
    var value = 0
    while at < bytes.count, bytes[at] >= 0x30, bytes[at] <= 0x39 {
      let (more, over) = value.multipliedReportingOverflow(by: 10)
      let (sum, beyond) = more.addingReportingOverflow(Int(bytes[at] - 0x30))
      guard !over, !beyond else { throw fault("the number is too large") }
      value = sum
      at += 1
    }
    guard at > start, at - start == 1 || bytes[start] != 0x30, !".eE".utf8.contains(next()) else {
      throw fault("a whole number was expected")
    }
    return isNegative ? -value : value
  }

  /// A text in quotes.
  mutating func text() throws(JSONFault) -> String {
    try take("\"")
    let start = at
    while at < bytes.count, bytes[at] != 0x22, bytes[at] != 0x5c {
      guard bytes[at] >= 0x20 else { throw fault("a control character in a text") }
      at += 1
    }
    guard at < bytes.count else { throw fault("the text does not end") }
    if bytes[at] == 0x22 {
      at += 1
      return try decoded(UnsafeBufferPointer(rebasing: bytes[start..<at - 1]))
    }
    at = start
    return try escapedText()
  }

  private func decoded(_ part: UnsafeBufferPointer<UInt8>) throws(JSONFault) -> String {
    guard let text = String(validating: part, as: UTF8.self) else {
      throw fault("a text is no UTF-8")
    }
    return text
  }

  /// The same from behind the first quote, for a text that has escapes.
  private mutating func escapedText() throws(JSONFault) -> String {
    var out: [UInt8] = []
    while at < bytes.count, bytes[at] != 0x22 {
      let byte = bytes[at]
      guard byte >= 0x20 else { throw fault("a control character in a text") }
      at += 1
      if byte == 0x5c { try escape(&out) } else { out.append(byte) }
    }
    guard at < bytes.count else { throw fault("the text does not end") }
    at += 1
    return try out.withUnsafeBufferPointer { buffer -> Result<String, JSONFault> in
      do throws(JSONFault) { return .success(try decoded(buffer)) } catch { return .failure(error) }
    }.get()
  }

  /// What follows a backslash, as UTF-8.
  private mutating func escape(_ out: inout [UInt8]) throws(JSONFault) {
    guard at < bytes.count else { throw fault("the text does not end") }
    let byte = bytes[at]
    at += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(byte)
    case UInt8(ascii: "b"): out.append(8)
    case UInt8(ascii: "f"): out.append(12)
    case UInt8(ascii: "n"): out.append(10)
    case UInt8(ascii: "r"): out.append(13)
    case UInt8(ascii: "t"): out.append(9)
    case UInt8(ascii: "u"):
      var code = try hex()
      if code >> 10 == 0x36, bytes.count - at >= 6, bytes[at] == 0x5c, bytes[at + 1] == 0x75 {
        at += 2
        let low = try hex()
        guard low >> 10 == 0x37 else { throw fault("half a character") }
        code = 0x10000 + (code & 0x3ff) << 10 + low & 0x3ff
      }
      guard let scalar = Unicode.Scalar(code) else { throw fault("half a character") }
      out += Array(String(scalar).utf8)
    default: throw fault("an escape that there is not")
    }
  }

  private mutating func hex() throws(JSONFault) -> UInt32 {
    guard bytes.count - at >= 4 else { throw fault("the text does not end") }
    var code: UInt32 = 0
    for byte in bytes[at..<at + 4] {
      guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw fault("an escape that there is not")
      }
      code = code << 4 | UInt32(digit)
    }
    at += 4
    return code
  }

  /// Steps over any value. What is nested deeper than 64 is no header's.
  mutating func skip(depth: Int = 0) throws(JSONFault) {
    guard depth < 64 else { throw fault("nested too deeply") }
    switch next() {
    case UInt8(ascii: "\""): _ = try text()
    case UInt8(ascii: "{"):
      try object { (scanner, _) throws(JSONFault) in try scanner.skip(depth: depth + 1) }
    case UInt8(ascii: "["):
      at += 1
      if next() == UInt8(ascii: "]") {
        at += 1
        return
      }
      repeat { try skip(depth: depth + 1) } while try !closes("]")
    default:
      let start = at
      while at < bytes.count, "+-.".utf8.contains(bytes[at]) || Self.isWord(bytes[at]) { at += 1 }
      let word = String(decoding: bytes[start..<at], as: UTF8.self)
      guard ["true", "false", "null"].contains(word) || Double(word)?.isFinite == true else {
        throw fault("a value was expected")
      }
    }
  }

  private static func isWord(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
    default: false
    }
  }
}
