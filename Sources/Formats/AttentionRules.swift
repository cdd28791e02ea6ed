public import Tensors

/// What a model does between Q K^T and the softmax, beside scaling and causality.
///
/// With score x of query i and key j: x becomes c tanh(x / c) where there is a softcap c, then
/// x + bias; key j is seen where i - window < j, where both are of one packed sequence, and where
/// j is no padding. Example: Gemma 2 has a softcap of 50 and windows of 4096 on every other layer.
public struct AttentionRules: Sendable {
  /// Keys that a query sees at most, its own among them.
  public var window: Int?
  /// Above 0.
  public var softcap: Double?
  /// The packed sequence that each position is of `[keys]`.
  public var segments: [Int]?
  /// Positions before the first token; they see nothing and nobody sees them.
  public var padding = 0
  /// Added to the scores, by layer: `[heads or 1, queries or 1, keys]`.
  public var biases: [Int: Tensor] = [:]

  /// None.
  public init() {}

  /// Whether scores are other than the scaled products.
  public var areNone: Bool {
    window == nil && softcap == nil && segments == nil && padding == 0 && biases.isEmpty
  }

  /// Puts the rules on a row of scaled products `[keys]`, of the query at `position`: what is not
  /// seen becomes -infinity. `bias` is that row's `[keys]`.
  public func apply(to row: inout [Float], position: Int, causal: Bool, bias: [Float]? = nil) {
    if let softcap {
      let c = Float(softcap)
      for key in row.indices { row[key] = c * Self.tanh(row[key] / c) }
    }
    if let bias { for key in row.indices where key < bias.count { row[key] += bias[key] } }
    // A file may say of fewer positions than it has.
    let sequences = segments ?? []
    let own = sequences.indices.contains(position) ? sequences[position] : nil
    for key in row.indices {
      let isFar = window.map { key <= position - $0 || !causal && key >= position + $0 } ?? false
      let isOther = own != nil && (key >= sequences.count || sequences[key] != own)
      if isFar || isOther || key < padding || causal && key > position { row[key] = -.infinity }
    }
  }

  /// (e^2x - 1) / (e^2x + 1), bounded where e^2x is not.
  private static func tanh(_ x: Float) -> Float {
    let e = Float(powerOfE(2 * min(max(Double(x), -20), 20)))
    return (e - 1) / (e + 1)
  }
}

/// One array of a file, and what became of it.
public struct ArrayUse: Sendable, Equatable {
  public let name: String
  public let dtype: DType
  /// Elements along each axis, outermost first.
  public let shape: Shape
  /// What it is used as, `pattern` or `query`; nil: not at all.
  public let use: String?
}
