package import Kernels

/// The element type of a stored array.
///
/// Example: `DType.float16.byteWidth == 2`. The catch: a dtype only says how bytes on disk become
/// float32 numbers, from which everything is computed, in float32 or float64; of the wider types
/// that rounds.
public enum DType: String, Sendable, CaseIterable {
  case float64 = "F64"
  case float32 = "F32"
  case float16 = "F16"
  case bfloat16 = "BF16"
  /// Four exponent bits, three of fraction, no infinity (Micikevicius et al., FP8 Formats for
  /// Deep Learning, 2022).
  case float8e4m3 = "F8_E4M3"
  /// Five exponent bits, two of fraction, with infinities: the top half of a float16.
  case float8e5m2 = "F8_E5M2"
  case bool = "BOOL"
  case uint8 = "U8"
  case int8 = "I8"
  case uint16 = "U16"
  case int16 = "I16"
  case uint32 = "U32"
  case int32 = "I32"
  case uint64 = "U64"
  case int64 = "I64"

  /// Bytes of one element; every type fills whole bytes, bool included.
  public var byteWidth: Int {
    switch self {
    case .float64, .uint64, .int64: 8
    case .float32, .uint32, .int32: 4
    case .float16, .bfloat16, .uint16, .int16: 2
    case .float8e4m3, .float8e5m2, .bool, .uint8, .int8: 1
    }
  }

  /// Whether every number of the type is a float32 too.
  public var fitsFloat32: Bool {
    switch self {
    case .float64, .uint64, .int64, .uint32, .int32: false
    default: true
    }
  }

  public var isFloat: Bool {
    switch self {
    case .float64, .float32, .float16, .bfloat16, .float8e4m3, .float8e5m2: true
    default: false
    }
  }

  /// The kernels' name for it; an exhaustive switch, so that a new type cannot be forgotten
  /// there.
  package var kernelType: as_dtype {
    switch self {
    case .float64: AS_DTYPE_F64
    case .float32: AS_DTYPE_F32
    case .float16: AS_DTYPE_F16
    case .bfloat16: AS_DTYPE_BF16
    case .float8e4m3: AS_DTYPE_F8_E4M3
    case .float8e5m2: AS_DTYPE_F8_E5M2
    case .bool: AS_DTYPE_BOOL
    case .uint8: AS_DTYPE_U8
    case .int8: AS_DTYPE_I8
    case .uint16: AS_DTYPE_U16
    case .int16: AS_DTYPE_I16
    case .uint32: AS_DTYPE_U32
    case .int32: AS_DTYPE_I32
    case .uint64: AS_DTYPE_U64
    case .int64: AS_DTYPE_I64
    }
  }
}
