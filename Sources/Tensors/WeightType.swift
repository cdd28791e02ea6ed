package import Kernels

/// How a GGUF file stores the elements of a weight matrix, by its number there.
///
/// Example: `WeightType.q4_1.bytes(64) == 40`: blocks of 32 elements in 20 bytes. A row is a
/// whole number of blocks. The catch: the list is what the kernels can multiply, not all that
/// the format knows; `name(of:)` names the others. Numbers and block layouts are those of
/// ggml's quantised types (GGUF specification, 2023).
public enum WeightType: UInt32, Sendable, CaseIterable {
  case f32 = 0
  case f16 = 1
  case q4_0 = 2
  case q4_1 = 3
  case q5_0 = 6
  case q5_1 = 7
  case q8_0 = 8
  case q4_K = 12
  case q5_K = 13
  case q6_K = 14
  case bf16 = 30

  /// As files and people call it.
  public var name: String {
    switch self {
    case .f32: "F32"
    case .f16: "F16"
    case .bf16: "BF16"
    case .q4_0: "Q4_0"
    case .q4_1: "Q4_1"
    case .q5_0: "Q5_0"
    case .q5_1: "Q5_1"
    case .q8_0: "Q8_0"
    case .q4_K: "Q4_K"
    case .q5_K: "Q5_K"
    case .q6_K: "Q6_K"
    }
  }

  /// What any type number is called, those that are not read included, so that a refusal can
  /// name them.
  public static func name(of number: UInt32) -> String {
    let others: [UInt32: String] = [
      9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS",
      19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16",
      26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
    ]
    return WeightType(rawValue: number)?.name ?? others[number] ?? "number \(number)"
  }

  /// The kernels count types by the same numbers, so the conversion is a cast.
  package var kernelType: as_weight { as_weight(rawValue: rawValue) }

  /// Elements of a block, which share their scales: 1 for plain types, 32 for `q4_0` to
  /// `q8_0`, 256 for the K types.
  public var block: Int { Int(as_weight_block(kernelType)) }

  /// Blocks of quantised elements are multiplied as integers, after the other side was
  /// quantised to eight bits; plain elements as floats.
  public var isQuantised: Bool { block > 1 }

  /// Bytes of `count` elements, a whole number of blocks.
  public func bytes(_ count: Int) -> Int { count / block * Int(as_weight_bytes(kernelType)) }
}
