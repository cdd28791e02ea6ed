import Formats
import Glibc

/// How positions turn queries and keys: rotary embedding (Su et al., "RoFormer", 2021, arXiv
/// 2104.09864) and the ways to stretch it.
///
/// The catch: the same numbers turn pairs of neighbours in llama files and halves in the
/// others, and nothing in the scores tells which is right except that the text makes no
/// sense.
public struct RopeConfig: Sendable {
  /// How a context longer than the trained one is reached.
  public enum Scaling: Sendable, Equatable {
    case none
    /// Positions divided by `factor` (position interpolation, 2023, arXiv 2306.15595).
    case linear(factor: Double)
    /// Low frequencies interpolated, high ones kept, and scores sharpened (YaRN, 2023, arXiv
    /// 2309.00071).
    case yarn(Yarn)
    /// Llama 3: wavelengths longer than the original context are stretched, shorter ones kept.
    case llama3(factor: Double, low: Double, high: Double, original: Int)
  }

  /// How YaRN stretches. Frequencies become f / factor (1 - m) + f m with m = extrapolation * ramp,
  /// where the ramp falls from 1 at `betaFast` turns within the original context to 0 at
  /// `betaSlow`; cosines and sines are multiplied by
  /// `attention`.
  public struct Yarn: Sendable, Equatable {
    public let factor: Double
    public let original: Int
    public let attention: Double
    /// 1 keeps fast frequencies whole, 0 interpolates all.
    public let extrapolation: Double
    public let betaFast: Double
    public let betaSlow: Double
  }

  public let base: Double
  /// How many leading dimensions of a head are rotated; even.
  public let dimensions: Int
  /// Which stretching, with its constants.
  public let scaling: Scaling
  /// Pairs are (2i, 2i + 1); otherwise (i, i + dimensions / 2).
  public let isInterleaved: Bool

  /// Reads the file's rope keys. Throws `malformed` for absurd values and `unsupported` for
  /// other scalings.
  init(_ facts: Facts, _ prefix: String, headDim: Int, isInterleaved: Bool) throws(ModelError) {
    self.isInterleaved = isInterleaved
    base = try facts.number("\(prefix).rope.freq_base", in: 1.000001...1e12) ?? 10_000
    dimensions = try facts.size(
      "\(prefix).rope.dimension_count", most: headDim, least: 2, standard: headDim)
    guard dimensions % 2 == 0 else {
      throw facts.wrong("\(prefix).rope.dimension_count", "must be even")
    }
    scaling = try Self.scaling(facts, prefix)
  }

  /// Converters wrote the factor under two names and left the type out when there was only
  /// one.
  private static func scaling(_ facts: Facts, _ prefix: String) throws(ModelError) -> Scaling {
    let key = "\(prefix).rope.scaling"
    let own = try facts.number("\(key).factor", in: 1e-6...1e6)
    let older = try facts.number("\(prefix).rope.scale_linear", in: 1e-6...1e6)
    let factor = own ?? older ?? 1
    let original = try facts.size(
      "\(key).original_context_length", most: 1 << 24,
      standard: try facts.size("\(prefix).context_length", most: 1 << 24))
    let kind =
      facts.text("\(key).type") ?? (factor == 1 ? "none" : "linear")
    switch kind {
    case "none": return .none
    case "linear": return factor == 1 ? .none : .linear(factor: factor)
    case "yarn":
      return .yarn(try yarn(facts, key, factor: factor, original: original))
    case "llama3":
      let turns = 1e-6...1e6
      return .llama3(
        factor: factor, low: try facts.number("\(key).low_freq_factor", in: turns) ?? 1,
        high: try facts.number("\(key).high_freq_factor", in: turns) ?? 4, original: original)
    default:
      throw ModelError(
        .unsupported, "is '\(kind)'; none, linear, yarn and llama3 are computed",
        place: "\(facts.gguf.path): \(key).type")
    }
  }

  /// The factor on cosines and sines is the file's (`attention_factor` of a configuration, written
  /// as `yarn_attn_factor`), or 0.1 ln(factor) + 1, of which a model with a multiplier on the
  /// logarithm divides a part out. A further
  /// `attn_factor` comes on top.
  private static func yarn(
    _ facts: Facts, _ key: String, factor: Double, original: Int
  ) throws(ModelError) -> Yarn {
    func sharpened(_ multiplier: Double) -> Double {
      factor > 1 ? 0.1 * multiplier * log(factor) + 1 : 1
    }
    let size = 1e-3...1e3
    let multiplier = try facts.number("\(key).yarn_log_multiplier", in: 0...10) ?? 0
    let attention =
      try facts.number("\(key).yarn_attn_factor", in: size) ?? sharpened(1) / sharpened(multiplier)
    return Yarn(
      factor: factor, original: original,
      attention: attention * (try facts.number("\(key).attn_factor", in: size) ?? 1),
      extrapolation: try facts.number("\(key).yarn_ext_factor", in: 0...1) ?? 1,
      betaFast: try facts.number("\(key).yarn_beta_fast", in: 1e-6...1e6) ?? 32,
      betaSlow: try facts.number("\(key).yarn_beta_slow", in: 1e-6...1e6) ?? 1)
  }
}

/// Cosines and sines of positions, made as positions come.
///
/// Pair i of position p turns by p * base^(-2i/dimensions), changed by the scaling. Angles
/// are computed in double.
struct Rope: Sendable {
  /// Pairs of a head.
  let half: Int
  private let frequencies: [Double]
  /// YaRN's factor on the rotated vectors.
  private let magnitude: Double

  /// `factors` divide each frequency (the file's `rope_freqs`, `[dimensions / 2]`).
  init(_ config: RopeConfig, factors: [Float]?) {
    half = config.dimensions / 2
    let plain = (0..<half).map { pow(config.base, -2 * Double($0) / Double(config.dimensions)) }
    let divided = zip(plain, factors ?? []).map { $0 / Double($1) }
    let base = factors == nil ? plain : divided
    (frequencies, magnitude) = Self.scaled(base, config)
  }

  /// The frequencies `[half]` after stretching, and what every rotated vector is multiplied
  /// by. Both recipes blend between keeping a frequency and dividing it, by how many turns it
  /// makes in the original context.
  private static func scaled(_ plain: [Double], _ config: RopeConfig) -> ([Double], Double) {
    switch config.scaling {
    case .none: return (plain, 1)
    case .linear(let factor): return (plain.map { $0 / factor }, 1)
    case .llama3(let factor, let low, let high, let original):
      return (
        plain.map { frequency in
          let turns = Double(original) * frequency / (2 * .pi)
          if turns < low { return frequency / factor }
          if turns > high { return frequency }
          let smooth = (turns - low) / (high - low)
          return (1 - smooth) * frequency / factor + smooth * frequency
        }, 1
      )
    case .yarn(let yarn):
      let d = Double(config.dimensions)
      func dimension(_ turns: Double) -> Double {
        d * log(Double(yarn.original) / (turns * 2 * .pi)) / (2 * log(config.base))
      }
      let low = max(0, floor(dimension(yarn.betaFast)))
      let high = min(d - 1, ceil(dimension(yarn.betaSlow)))
      let scaled = plain.enumerated().map { i, frequency in
        let ramp = 1 - min(1, max(0, (Double(i) - low) / max(0.001, high - low)))
        let kept = yarn.extrapolation * ramp
        return frequency / yarn.factor * (1 - kept) + frequency * kept
      }
      return (scaled, yarn.attention)
    }
  }

  /// Writes `[half]` cosines and sines of a position. Computed in double: a float angle
  /// near 100000 is off by up to four thousandths of a radian.
  func fill(_ position: Int, cos: UnsafeMutablePointer<Float>, sin: UnsafeMutablePointer<Float>) {
    for i in 0..<half {
      let angle = Double(position) * frequencies[i]
      cos[i] = Float(Glibc.cos(angle) * magnitude)
      sin[i] = Float(Glibc.sin(angle) * magnitude)
    }
  }
}
