public import Tensors

/// A value of a GGUF file's metadata. Arrays stay in the file and are read when asked.
///
/// The format's eight integer types become one, its two floating types another. The catch: an
/// unsigned integer beyond `Int.max` is clamped, which no size in a sound file is.
public enum GGUFValue: Sendable {
  case integer(Int)
  case number(Double)
  case truth(Bool)
  case text(String)
  case array(GGUFArray)
}

/// An array in the metadata: checked when the file was opened, read by its accessors.
///
/// Example:
/// `if case .array(let texts) = file.metadata["tokenizer.ggml.tokens"] { texts.strings() }`. Each
/// call reads the file's bytes anew and returns a copy; keep what you need twice.
public struct GGUFArray: Sendable {
  let file: MappedFile
  let type: GGUFType
  /// Elements, not bytes.
  public let count: Int
  /// Bytes of the elements, counted from the start of the file.
  let range: Range<Int>

  /// What its elements are, by the format's own name: `INT32`, `FLOAT32`, `STRING`.
  public var typeName: String { type == .text ? "STRING" : "\(type)".uppercased() }

  /// Its elements are strings, so `strings` gives them and `numbers` is empty.
  public var isText: Bool { type == .text }

  /// Every string's bytes as they are: token texts need not be UTF-8. Empty for arrays of
  /// other things.
  public func strings() -> [[UInt8]] {
    guard type == .text else { return [] }
    var out: [[UInt8]] = []
    out.reserveCapacity(count)
    var at = range.lowerBound
    for _ in 0..<count {
      let length = Int(file.bytes.integer(UInt64.self, at: at) ?? 0)
      out.append(Array(file.bytes[at + 8..<at + 8 + length]))
      at += 8 + length
    }
    return out
  }

  /// Every number, truth values as 0 and 1; empty for an array of strings.
  public func numbers() -> [Double] {
    guard let width = type.width else { return [] }
    return (0..<count).compactMap { index in
      switch type.scalar(file.bytes, at: range.lowerBound + index * width) {
      case .integer(let value): Double(value)
      case .number(let value): value
      case .truth(let value): value ? 1 : 0
      default: nil
      }
    }
  }
}

/// The types of metadata values, by their number in the file: the order of the cases is the
/// format's.
enum GGUFType: UInt32 {
  case uint8, int8, uint16, int16, uint32, int32, float32, bool, text, array, uint64, int64, float64

  /// Bytes of a value; nil for strings and arrays.
  var width: Int? {
    switch self {
    case .uint8, .int8, .bool: 1
    case .uint16, .int16: 2
    case .uint32, .int32, .float32: 4
    case .uint64, .int64, .float64: 8
    case .text, .array: nil
    }
  }

  /// Nil past the end of the file, and for what has no fixed width. Unsigned integers
  /// beyond `Int.max` are clamped to it.
  func scalar(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> GGUFValue? {
    switch self {
    case .uint8: bytes.integer(UInt8.self, at: offset).map { .integer(Int($0)) }
    case .int8: bytes.integer(Int8.self, at: offset).map { .integer(Int($0)) }
    case .uint16: bytes.integer(UInt16.self, at: offset).map { .integer(Int($0)) }
    case .int16: bytes.integer(Int16.self, at: offset).map { .integer(Int($0)) }
    case .uint32: bytes.integer(UInt32.self, at: offset).map { .integer(Int($0)) }
    case .int32: bytes.integer(Int32.self, at: offset).map { .integer(Int($0)) }
    case .uint64: bytes.integer(UInt64.self, at: offset).map { .integer(Int(clamping: $0)) }
    case .int64: bytes.integer(Int64.self, at: offset).map { .integer(Int($0)) }
    case .bool: bytes.integer(UInt8.self, at: offset).map { .truth($0 != 0) }
    case .float32:
      bytes.integer(UInt32.self, at: offset).map { .number(Double(Float(bitPattern: $0))) }
    case .float64: bytes.integer(UInt64.self, at: offset).map { .number(Double(bitPattern: $0)) }
    case .text, .array: nil
    }
  }
}

/// A tensor of a GGUF file: rows of weights, mapped.
///
/// Example: a `[576, 49152]` embedding is 49152 rows of 576 columns. The catch: `extents` are
/// innermost first, the reverse of `Shape`, because that is how every tool prints them.
public struct GGUFTensor: Sendable {
  /// As the file calls it, `blk.3.ffn_up.weight` for instance.
  public let name: String
  /// How its elements are stored.
  public let type: WeightType
  /// Extents as the file gives them, innermost first: `[columns, rows]`.
  public let extents: [Int]
  /// Bytes from the start of the file.
  public let offset: Int

  /// Elements of a row, a whole number of the type's blocks.
  public var columns: Int { extents.first ?? 1 }
  /// Rows, with all outer axes taken together; 1 for a vector.
  public var rows: Int { extents.dropFirst().reduce(1, *) }
  /// Bytes in the file.
  public var byteCount: Int { type.bytes(columns) * rows }
}
