public import Tensors

/// A value of a GGUF file's metadata. Arrays stay in the file and are read when asked.
public enum GGUFValue: Sendable {
  case integer(Int)
  case number(Double)
  case truth(Bool)
  case text(String)
  case array(GGUFArray)
}

/// An array in the metadata: checked when the file was opened, read by its accessors.
public struct GGUFArray: Sendable {
  let file: MappedFile
  let type: GGUFType
  public let count: Int
  let range: Range<Int>

  public var isText: Bool { type == .text }

  /// Every string's bytes as they are: token texts need not be UTF-8. Empty for arrays of other things.
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

  /// Every number; empty for an array of strings.
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

/// The types of metadata values, by their number.
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

  /// Nil past the end of the file, for what has no fixed width, and for an integer that no size could be.
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
public struct GGUFTensor: Sendable {
  public let name: String
  public let type: WeightType
  /// Extents as the file gives them, innermost first: `[columns, rows]`.
  public let extents: [Int]
  /// Bytes from the start of the file.
  public let offset: Int

  public var columns: Int { extents.first ?? 1 }
  public var rows: Int { extents.dropFirst().reduce(1, *) }
  public var byteCount: Int { type.bytes(columns) * rows }
}
