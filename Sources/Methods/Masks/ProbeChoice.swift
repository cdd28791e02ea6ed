import Algebra
import Analysis
public import Attention
import Tensors

/// Tokens that carry the mass of some probe rows: how many, and which.
///
/// Example: of four causal rows of equal weights a = (2.083, 1.083, 0.583, 0.25) and ã = (0.521,
/// 0.361, 0.292, 0.25); τ = 0.7 takes two. The catch: the count follows a, which favours early
/// tokens that many rows see, the choice follows ã.
public struct ProbeChoice: Sendable {
  /// Probe rows, ascending.
  public let probes: [Int]
  /// `[keys]` a, mass from probe rows, mean over heads.
  public let accumulated: [Double]
  /// `[keys]` ã, a over the probe rows that see the key; 0 where none does.
  public let normalised: [Double]
  /// `[keys]` keys by a, largest first.
  public let ranked: [Int]
  /// `[keys]` running sums of a along `ranked`.
  public let running: [Double]
  /// The chosen tokens, ascending.
  public let kept: [Int]
  /// Query-key dot products spent.
  public let products: Int

  /// The last `recent` of so many rows, and `random` of those before, without replacement (Fisher
  /// and Yates); ascending.
  public static func rows(_ count: Int, recent: Int, random: Int, seed: Int) -> [Int] {
    let first = max(0, count - recent)
    var generator = SplitMix64(UInt64(seed)), earlier = Array(0..<first)
    let drawn = min(random, first)
    for place in 0..<drawn {
      let left = Double(first - place)
      earlier.swapAt(place, place + Int(generator.uniform() * left))
    }
    return earlier.prefix(drawn).sorted() + Array(first..<count)
  }

  /// Of heads with equal sides, at `tau` in 0...1; `isExact` for weights in double precision, else
  /// those of the float pattern, many times faster. Rows with a NaN are passed over. Throws
  /// `CancellationError`. Cost: probe rows times keys, a head.
  public init(
    _ heads: [Head], _ probes: [Int], tau: Double, isExact: Bool = true, _ run: MethodRun
  ) throws {
    let keys = heads[0].keys
    var mass = [Double](repeating: 0, count: keys), seen = mass
    for head in heads {
      let weights = try Self.weights(head, probes, isExact, run)
      for (row, weights) in zip(probes, weights) where !weights.contains(where: \.isNaN) {
        for key in 0..<head.visibility.limit(row: row) {
          mass[key] += weights[key]
          seen[key] += 1
        }
      }
    }
    let count = Double(heads.count)
    accumulated = mass.map { $0 / count }
    normalised = zip(mass, seen).map { $1 > 0 ? $0 / $1 : 0 }
    ranked = Shapes.top(keys, of: accumulated)
    var sum = 0.0
    running = ranked.map { [accumulated] in
      sum += accumulated[$0]
      return sum
    }
    let wanted = Self.count(running, accumulated, tau)
    kept = Shapes.top(wanted, of: normalised).sorted()
    self.probes = probes
    products = probes.reduce(0) { $0 + heads[0].visibility.limit(row: $1) }
  }

  /// `[probes][keys]` dense weights. Throws `CancellationError`.
  private static func weights(
    _ head: Head, _ probes: [Int], _ isExact: Bool, _ run: MethodRun
  ) throws -> [[Double]] {
    if isExact {
      let rows = DoubleRows(head)
      return try RowPicks.spread(probes.count, by: 4, run) { part in
        part.map { rows.weights(probes[$0]) }
      }
    }
    let pattern = run.pattern(head)
    return try RowPicks.spread(probes.count, by: 16, run) { part in
      var found: [[Double]] = []
      for index in part {
        pattern.withRows(probes[index]..<probes[index] + 1) { _, p, _ in
          found.append(p.map(Double.init))
        }
      }
      return found
    }
  }

  /// p: the least number of the largest whose sum reaches τ of all.
  private static func count(_ running: [Double], _ mass: [Double], _ tau: Double) -> Int {
    guard let total = running.last, total > 0 else { return 0 }
    guard tau < 1 else { return mass.reduce(0) { $1 > 0 ? $0 + 1 : $0 } }
    return (running.firstIndex { $0 >= (tau - 1e-12) * total } ?? running.count - 1) + 1
  }

  /// `[keys]`, 1 for a chosen token.
  public var flags: [Float] {
    var flags = [Float](repeating: 0, count: accumulated.count)
    for key in kept { flags[key] = 1 }
    return flags
  }

  /// p / n; nil without keys.
  public var share: Double? {
    accumulated.isEmpty ? nil : Double(kept.count) / Double(accumulated.count)
  }

  /// Chosen tokens against chosen tokens. Rows that stand at no key, or at one not chosen, keep
  /// nothing. Throws what `RowPicks.looked` throws.
  func set(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    let flags = flags, runs = TopPicks.runs(kept)
    return try RowPicks.looked(head, run, &aside) { row in
      let position = head.visibility.position(row: row)
      return flags.indices.contains(position) && flags[position] == 1 ? runs : []
    }
  }
}
