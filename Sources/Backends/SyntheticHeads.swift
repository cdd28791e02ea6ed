import Algebra
import Glibc
public import Tensors

/// Q, K and V of any length that behave like those of a trained model, from a seed: the material of
/// `attnscope synth` and of the benches.
///
/// Scores are sums of what real heads show: an attention sink on key 0, locality that falls off as
/// rotary embeddings make it (a sum of cosines of the distance), verticals that some queries look
/// for, a slash at a fixed offset, landmarks (topics that come back), and noise. Token i of head h
/// is the same whatever else is made, so parts can be made alone.
///
/// Example: `SyntheticHeads(tokens: 131_072).keys(0, 0..<1024)` makes the first 1024 keys of head
/// 0. The catch: it resembles trained heads in shape, not in content; sparsity measured on it says
/// nothing about a model.
public struct SyntheticHeads: Sendable {
  /// Which part of the scores is strongest.
  public enum Pattern: String, Sendable, CaseIterable {
    /// Another of the following for every head in turn.
    case mix
    /// Mass on key 0, on near keys, on a few marked keys, at one distance, on tokens of the same
    /// topic.
    case sink, local, vertical, slash, landmark
  }

  /// Positions of every head.
  public let tokens: Int
  /// Width of queries, keys and values.
  public let dim: Int
  /// What the heads show most.
  public let pattern: Pattern
  /// Equal seeds give equal numbers.
  public let seed: UInt64
  /// How many pairs of cos and sin a row holds.
  private let frequencies: Int
  /// `[8]` keys that verticals are drawn at.
  private let marks: [Int]
  /// `[tokens]`, 0 to 7, in runs of 128 to 1151 tokens.
  private let topics: [UInt8]

  /// Draws the marked keys and the topics; 1 byte a token. A `dim` below 3 leaves no room for the
  /// parts.
  public init(tokens: Int, dim: Int = 64, pattern: Pattern = .mix, seed: UInt64 = 1) {
    (self.tokens, self.dim, self.pattern, self.seed) = (tokens, dim, pattern, seed)
    frequencies = max(1, dim / 4)
    var random = Hash(seed, 1, 0)
    marks = (0..<8).map { _ in Int(random.next() % UInt64(max(tokens, 1))) }
    var topics: [UInt8] = []
    while topics.count < tokens {
      let topic = UInt8(random.next() % 8)
      let length = 128 + Int(random.next() % 1024)
      topics += [UInt8](repeating: topic, count: min(length, tokens - topics.count))
    }
    self.topics = topics
  }

  /// How strong each part of a head's scores is, in nats at its peak.
  private struct Strength {
    /// Each in nats; what a head is not about stays weak, and a slash is absent unless it is meant.
    var sink: Float = 10, local: Float = 6, vertical: Float = 1, slash: Float = 0,
      landmark: Float = 1
    /// Distance of the slash, in tokens.
    var offset = 0
  }

  /// What head `head` shows, in nats.
  private func strength(_ head: Int) -> Strength {
    let kinds: [Pattern] = [.sink, .local, .vertical, .slash, .landmark]
    let kind = pattern == .mix ? kinds[head % kinds.count] : pattern
    var s = Strength()
    switch kind {
    case .mix, .sink: s.sink = 16
    case .local: s.local = 14
    case .vertical: s.vertical = 12
    case .slash: (s.slash, s.offset) = (12, max(1, tokens / (3 + head % 5)))
    case .landmark: s.landmark = 8
    }
    return s
  }

  /// `[tokens of the range, dim]`, row-major. `head` is a query head.
  public func queries(_ head: Int, _ range: Range<Int>) -> [Float] {
    let s = strength(head), root = Float(dim).squareRoot()
    return rows(range) { i, row in
      noise(row, 2, head, i, scale: 0.5 * root)
      wave(row, i, amount: s.local * root)
      if s.slash > 0 { wave(row, i - s.offset, amount: s.slash * root) }
      let (sink, mark, topic) = places
      row[sink] = s.sink * root
      row[mark] = s.vertical * root * (0.5 + 0.5 * sinf(Float(i) / 900 + Float(head)))
      row[topic + Int(topics[i]) % (dim - topic)] += s.landmark * root
    }
  }

  /// `[tokens of the range, dim]`, row-major. `head` is a KV head.
  public func keys(_ head: Int, _ range: Range<Int>) -> [Float] {
    rows(range) { j, row in
      noise(row, 3, head, j, scale: 0.08)
      wave(row, j, amount: 1)
      let (sink, mark, topic) = places
      row[sink] = j == 0 ? 1 : 0
      row[mark] = marks.contains(j) ? 1 : 0
      row[topic + Int(topics[j]) % (dim - topic)] += 1
    }
  }

  /// `[tokens of the range, dim]`, row-major. `head` is a KV head.
  public func values(_ head: Int, _ range: Range<Int>) -> [Float] {
    rows(range) { j, row in
      noise(row, 4, head, j, scale: 1)
      row[Int(topics[j]) % dim] += 1
    }
  }

  /// All tokens of a head as `[tokens, dim]`; `kind` is `queries`, `keys` or `values`.
  public func tensor(_ kind: (Int, Range<Int>) -> [Float], _ head: Int) -> Tensor {
    Tensor(kind(head, 0..<tokens), shape: [tokens, dim])
  }

  /// Columns of the sink, of the verticals, and the first of the topics.
  private var places: (Int, Int, Int) {
    let sink = min(2 * frequencies, dim - 3)
    return (sink, sink + 1, sink + 2)
  }

  /// `[tokens of the range, dim]`, each row filled by itself.
  private func rows(_ range: Range<Int>, _ fill: (Int, UnsafeMutablePointer<Float>) -> Void)
    -> [Float]
  {
    [Float](unsafeUninitializedCapacity: range.count * dim) { buffer, count in
      buffer.initialize(repeating: 0)
      for (row, token) in range.enumerated() { fill(token, buffer.baseAddress! + row * dim) }
      count = range.count * dim
    }
  }

  /// cos and sin of the position at frequencies from 1 to 1e-4. The product of a query's with
  /// amount a and a key's with amount 1 is a times the mean cosine of the distance: a at distance
  /// 0.
  private func wave(_ row: UnsafeMutablePointer<Float>, _ position: Int, amount: Float) {
    let share = amount / Float(frequencies).squareRoot()
    for f in 0..<frequencies where 2 * f + 1 < dim {
      let angle = Double(position) * pow(10, -4 * Double(f) / Double(frequencies))
      let turned = Float(remainder(angle, 2 * .pi))
      row[2 * f] += share * cosf(turned)
      row[2 * f + 1] += share * sinf(turned)
    }
  }

  /// Adds noise that depends on the seed, the array, the head and the token alone.
  private func noise(
    _ row: UnsafeMutablePointer<Float>, _ kind: UInt64, _ head: Int, _ token: Int, scale: Float
  ) {
    var random = Hash(seed, kind &* 1000 &+ UInt64(head), UInt64(token))
    for c in 0..<dim { row[c] += scale * random.normal() }
  }
}

/// Numbers from what they are for: the same wherever and whenever they are asked. SplitMix64 behind
/// a mix of three numbers.
private struct Hash {
  private var random: SplitMix64

  /// A seed, an array with its head, and a token.
  init(_ a: UInt64, _ b: UInt64, _ c: UInt64) {
    random = SplitMix64(
      a &* 0x9e37_79b9_7f4a_7c15 ^ b &* 0xbf58_476d_1ce4_e5b9 ^ c &* 0x94d0_49bb_1331_11eb)
    _ = random.next()
  }

  /// 64 bits, the first of the sequence thrown away.
  mutating func next() -> UInt64 { random.next() }

  /// About normal: four uniforms of 16 bits, variance 1.
  mutating func normal() -> Float {
    let bits = next()
    var sum: Float = 0
    for piece in 0..<4 { sum += Float(bits >> UInt64(16 * piece) & 0xffff) }
    return (sum / 65536 - 2) * 1.7320508
  }
}
