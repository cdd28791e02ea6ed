import Attention
import Tensors

/// What one token costs a head whose memory does not grow, beside softmax with its cache.
///
/// Softmax at length n reads n keys and n values: 2 n (d + d_v) FLOPs for Q Kᵀ and P V, a
/// multiply-add being two, and its cache of n (d + d_v) elements once. A form with m features keeps
/// S = Σ φ(k_j) v_jᵀ `[m, d_v]`, and with a normaliser z = Σ φ(k_j) `[m]`: a token adds to both and
/// reads both, 4 m d_v + 4 m FLOPs, and reads and writes the state once. What the feature map takes
/// itself, and exponentials, are left out on both sides. Elements count 2 bytes on both sides.
///
/// Findings: `state_size` and `cache_size` (elements a head), `flops_token` and
/// `flops_token_softmax`, `bytes_token` and `bytes_token_softmax` at the n of the head,
/// `crossover_length` (tokens from which softmax takes more FLOPs), and the curve `cost_by_length`:
/// softmax's FLOPs over those of the form, from 16 tokens to 2^20.
struct CostFacts: Sendable {
  /// Bytes of an element of a state or a cache.
  static let elementBytes = 2.0

  /// Elements that a head keeps between tokens.
  let state: Int
  /// FLOPs a token, at any length.
  let flops: Double
  /// d + d_v, elements of one token in softmax's cache.
  let cached: Int
  /// n, tokens that the last query sees.
  let length: Int

  /// A form with a state `[features, width of V]`, and a normaliser `[features]` where
  /// `isNormalised`; `extraFlops` is what else a token takes, a solve say.
  init(_ head: Head, features: Int, isNormalised: Bool = true, extraFlops: Double = 0) {
    let width = Self.valueWidth(head), sums = width + (isNormalised ? 1 : 0)
    self.init(
      head, state: features * sums, flops: 4 * Double(features * sums) + extraFlops)
  }

  /// Any form with a state of so many elements and so many FLOPs a token.
  init(_ head: Head, state: Int, flops: Double) {
    (self.state, self.flops) = (state, flops)
    cached = (head.queryAndKey?.key.shape[1] ?? Self.valueWidth(head)) + Self.valueWidth(head)
    length = head.keys
  }

  /// d_v; where a file has no V, the width of its keys.
  private static func valueWidth(_ head: Head) -> Int {
    head.value?.shape[1] ?? head.queryAndKey?.key.shape[1] ?? 1
  }

  /// FLOPs of softmax for one token at a length.
  func softmax(_ length: Double) -> Double { 2 * length * Double(cached) }

  /// Says all of it.
  func add(to findings: inout Findings) {
    let bytes = Self.elementBytes
    findings.number("state_size", Double(state), .entries, title: "state, elements a head")
    findings.number(
      "cache_size", Double(length * cached), .entries, title: "cache of softmax, elements a head")
    findings.number("flops_token", flops, .count, title: "FLOPs a token")
    findings.number(
      "flops_token_softmax", softmax(Double(length)), .count,
      title: "FLOPs a token, softmax at this length")
    findings.number(
      "bytes_token", 2 * bytes * Double(state), .bytes, title: "bytes a token moves")
    findings.number(
      "bytes_token_softmax", bytes * Double(length * cached), .bytes,
      title: "bytes a token moves, softmax at this length")
    guard flops > 0 else { return }
    let crossover = flops / softmax(1)
    findings.number(
      "crossover_length", crossover.rounded(.up), .tokens,
      title: "length from which softmax takes more FLOPs")
    let points = (4...20).map { power in
      let length = Double(1 << power)
      return Curve.Point(length, softmax(length) / flops)
    }
    findings.curve(
      "cost_by_length",
      Curve(
        x: "tokens", y: "FLOPs a token, softmax over this form", points: points,
        marks: [
          .init("equal", x: crossover, y: 1),
          .init("here", x: Double(length), y: softmax(Double(length)) / flops),
        ], isLogarithmic: true), title: "cost of a token by length")
  }
}
