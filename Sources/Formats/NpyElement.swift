import Tensors

/// What the elements of a numpy array are: numbers, or texts of one length.
///
/// numpy's codes are a byte order, a letter and a width: `<f4`, `|u1`, `<U8` (eight characters
/// of four bytes), `|S8` (eight bytes). The catch: numpy has no name for bfloat16 or float8, so
/// bfloat16 arrives as `V2` or as an integer.
struct NpyElement {
  /// Of numbers; of texts the bytes they lie in.
  let dtype: DType
  /// Nil for numbers.
  let text: NpyText?
  /// A sentence about a reading that could be wrong, nil when there is none.
  let note: String?

  /// Bytes of one element.
  var byteWidth: Int { text?.byteWidth ?? dtype.byteWidth }

  /// numpy's codes without the byte-order mark.
  private static let types: [String: DType] = [
    "f8": .float64, "f4": .float32, "f2": .float16, "b1": .bool, "u1": .uint8, "i1": .int8,
    "u2": .uint16, "i2": .int16, "u4": .uint32, "i4": .int32, "u8": .uint64, "i8": .int64,
  ]

  /// The element of a code, with a note when it was inferred. Object arrays are refused by
  /// name, because loading one would run the pickle inside it. Throws `unsupported`, made by
  /// `fail`, for those and for all that is neither number nor text.
  init(
    _ descriptor: String, options: ArchiveOptions, fail: (FormatError.Code, String) -> FormatError
  ) throws(FormatError) {
    let code = String(descriptor.drop { "<|=".contains($0) })
    if descriptor.first == ">", code.dropFirst() != "1" {
      throw fail(
        .unsupported,
        "big-endian data (\(descriptor)) is not read; save it with .astype('<\(code.dropFirst())')")
    }
    if code.hasPrefix("O") {
      throw fail(
        .unsupported,
        """
        an object array is a Python pickle and is never executed here; save each array under its \
        own name with numpy.savez
        """
      )
    }
    text = NpyText(code)
    switch code {
    case _ where text != nil: (dtype, note) = (.uint8, nil)
    case "V2": (dtype, note) = (.bfloat16, "two-byte void elements are read as bfloat16")
    case "u2" where options.bfloat16, "i2" where options.bfloat16: (dtype, note) = (.bfloat16, nil)
    default:
      guard let type = Self.types[code] else {
        throw fail(
          .unsupported,
          """
          element type '\(descriptor.prefix(24))' is not read; save as float16, float32 or an \
          integer type
          """
        )
      }
      (dtype, note) = (type, nil)
    }
  }
}

/// Texts of one length: characters of four bytes, or bytes; shorter ones end in zeros.
struct NpyText: Sendable {
  /// Characters, or bytes, of the longest text.
  let units: Int
  /// Four bytes a character, else one.
  let isUnicode: Bool

  var byteWidth: Int { isUnicode ? 4 * units : units }

  /// The longest text that is read, in characters.
  private static let most = 1 << 20

  /// `U8` and `S8`; nil for numbers.
  init?(_ code: String) {
    guard let letter = code.first, letter == "U" || letter == "S",
      let units = Int(code.dropFirst()), (0...Self.most).contains(units)
    else { return nil }
    (self.units, isUnicode) = (units, letter == "U")
  }

  /// So many texts from the start of `bytes`; fewer where they end early.
  func read(_ bytes: UnsafeRawBufferPointer, count: Int) -> [String] {
    guard byteWidth > 0 else { return Array(repeating: "", count: min(count, 1 << 20)) }
    return (0..<min(count, bytes.count / byteWidth)).map { index in
      let start = index * byteWidth
      guard isUnicode else {
        let part = bytes[start..<start + units]
        let end = part.lastIndex { $0 != 0 }.map { $0 + 1 } ?? start
        return String(decoding: bytes[start..<end], as: UTF8.self)
      }
      var text = String.UnicodeScalarView()
      for unit in 0..<units {
        guard let code = bytes.integer(UInt32.self, at: start + 4 * unit), code != 0 else { break }
        text.append(Unicode.Scalar(code) ?? "\u{fffd}")
      }
      return String(text)
    }
  }
}
