public import Tensors

/// What turns rows of the residual stream into queries, keys and values of a layer, and its outputs
/// back: q = x W_Q, k = x W_K, v = x W_V for a row x `[width]`, and z W_O for a head's output z.
///
/// Shapes and names are TransformerLens's: W_Q `[heads, width, d]`, W_K `[kv_heads, width, d]`, W_V
/// `[kv_heads, width, d_v]`, W_O `[heads, d_v, width]`. Norms, biases and rotations are no part of
/// it.
public struct Projections: Sendable {
  /// W_Q `[heads, width, d]`.
  public let query: Tensor
  /// W_K `[kv_heads, width, d]`.
  public let key: Tensor
  /// W_V `[kv_heads, width, d_v]`.
  public let value: Tensor
  /// W_O `[heads, d_v, width]`.
  public let output: Tensor

  /// Nil where shapes disagree: a width, a head's width, or KV heads that do not divide the heads.
  public init?(query: Tensor, key: Tensor, value: Tensor, output: Tensor) {
    let (q, k, v, o) = (query.shape, key.shape, value.shape, output.shape)
    guard q.rank == 3, k.rank == 3, v.rank == 3, o.rank == 3, query.count > 0, value.count > 0,
      k[0] > 0, q[0] % k[0] == 0, q[0] == o[0], k[0] == v[0], q[1] == k[1], q[1] == v[1],
      q[1] == o[2], q[2] == k[2], v[2] == o[1]
    else { return nil }
    (self.query, self.key, self.value, self.output) = (query, key, value, output)
  }

  /// Query heads.
  public var heads: Int { query.shape[0] }
  /// Elements of the residual stream.
  public var width: Int { query.shape[1] }
  /// The KV head of a query head.
  public func shared(_ head: Int) -> Int { head / (heads / key.shape[0]) }
}
