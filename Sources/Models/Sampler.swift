import Glibc
import Kernels

/// How the next token is chosen from the logits. The default is greedy: the largest, the
/// smaller number on a tie.
///
/// Temperature first, then `topK`, then `topP` (nucleus sampling, Holtzman et al., 2019,
/// arXiv 1904.09751).
public struct SamplerSettings: Sendable, Equatable {
  /// 0 is greedy; larger is more even.
  public var temperature: Double
  /// Only the k most likely; 0 keeps all.
  public var topK: Int
  /// The fewest most likely that hold this much probability; 1 keeps all.
  public var topP: Double
  /// Same seed, same text.
  public var seed: UInt64

  /// Greedy unless told otherwise.
  public init(temperature: Double = 0, topK: Int = 0, topP: Double = 1, seed: UInt64 = 0) {
    (self.temperature, self.topK, self.topP, self.seed) = (temperature, topK, topP, seed)
  }
}

/// Chooses tokens; the same seed and position give the same choice, so that a branch repeats
/// its trunk.
///
/// Example:
/// `Sampler(.init(temperature: 0.8, topP: 0.95)).choose(state.logits, position: state.count)`.
/// The catch: without `topK` at most the thousand most likely are drawn from.
public struct Sampler: Sendable {
  /// Fixed; a sampler with other settings is another sampler.
  public let settings: SamplerSettings

  /// A sampler without memory: copies are interchangeable.
  public init(_ settings: SamplerSettings = SamplerSettings()) { self.settings = settings }

  /// A token for `position`, from logits `[vocabulary]`, which must not be empty.
  public func choose(_ logits: [Float], position: Int) -> Int {
    let settings = settings
    guard settings.temperature > 0 else { return top(logits, 1)[0] }
    let most = settings.topK > 0 ? min(settings.topK, logits.count) : min(logits.count, 1000)
    let order = top(logits, most)
    let best = Double(logits[order[0]])
    // Relative to the largest; what is beyond the first thousand only matters for their sum.
    var weights = order.map { exp((Double(logits[$0]) - best) / settings.temperature) }
    let total =
      settings.topK > 0
      ? weights.reduce(0, +)
      : logits.reduce(0.0) { $0 + exp((Double($1) - best) / settings.temperature) }
    var kept = 0.0, count = 0
    for weight in weights {
      kept += weight
      count += 1
      if kept >= settings.topP * total { break }
    }
    weights = Array(weights.prefix(count))
    var random = SeededRandom(settings.seed, position)
    var point = random.unit() * kept
    for (index, weight) in weights.enumerated() {
      point -= weight
      if point < 0 { return order[index] }
    }
    return order[count - 1]
  }
}

/// Indices of the `count` largest logits, largest first; equal ones by number. Fewer when
/// there are fewer.
public func top(_ logits: [Float], _ count: Int) -> [Int] {
  let count = min(count, logits.count)
  var out = [Int32](repeating: 0, count: count)
  as_top(Int32(as_best_isa().rawValue), logits, Int32(logits.count), Int32(count), &out)
  return out.map(Int.init)
}

/// log Σ exp of logits `[vocabulary]`, in nats, without overflow.
public func logSumExp(_ logits: UnsafeBufferPointer<Float>) -> Double {
  as_log_sum_exp(Int32(as_best_isa().rawValue), logits.baseAddress, Int32(logits.count))
}

/// KL(p
///
/// q) in nats, at least 0, of the distributions that two rows of logits stand for; traps when
/// they differ in length.
public func divergence(_ p: [Float], from q: [Float]) -> Double {
  precondition(p.count == q.count, "logits of two vocabularies")
  return as_divergence(Int32(as_best_isa().rawValue), p, q, Int32(p.count))
}

/// splitmix64 (Steele et al., 2014), seeded by two numbers.
private struct SeededRandom {
  private var state: UInt64

  init(_ seed: UInt64, _ position: Int) {
    state =
      seed &* 0x9e37_79b9_7f4a_7c15 ^ UInt64(truncatingIfNeeded: position) &* 0xd1b5_4a32_d192_ed03
  }

  /// In [0, 1).
  mutating func unit() -> Double {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return Double((z ^ z >> 31) >> 11) * 0x1p-53
  }
}
