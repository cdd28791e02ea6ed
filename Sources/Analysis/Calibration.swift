public import Attention
import Glibc

/// Which kernel a threshold is for: they are calibrated apart.
public enum Phase: String, Sendable, CaseIterable {
  /// The prompt, many rows a tile; and one new token at a time.
  case prefill, decode
}

/// The exact sparsity(lambda) of one phase at one context length: the empirical distribution of the
/// margins.
///
/// sparsity(lambda) = share of visible blocks with margin < ln(lambda), over all heads put
/// together. No trial runs: one pass that keeps the margins gives every lambda. Paper: BLASST,
/// 2025, arXiv 2512.12087.
///
/// Example: `SparsityCurve(prefill: tables, length: 4096).lambda(for: 0.5)` is the smallest lambda
/// that skips half of the visible blocks. The catch: only margins of the max criterion are a curve;
/// an lse table holds for one lambda. Memory four bytes a visible block.
public struct SparsityCurve: Sendable {
  /// The kernel it is for.
  public let phase: Phase
  /// Keys of the context.
  public let length: Int
  /// Margins of visible blocks, ascending, in nats; +infinity for those that are never skipped.
  public let margins: [Float]

  /// `margins` in nats and in any order; NaN, which marks blocks that nobody sees, is left out.
  public init(phase: Phase, length: Int, margins: [Float]) {
    (self.phase, self.length) = (phase, length)
    self.margins = margins.filter { !$0.isNaN }.sorted()
  }

  /// The first `length` queries and keys of causal prefill tables: the prompt cut off there,
  /// exactly.
  ///
  /// A length that takes in all queries takes in the ragged last row of tiles too; a shorter one is
  /// rounded down to a multiple of the tile's rows, as the rows of a tile vote together, and
  /// `length` says what it became.
  public init(prefill tables: [BlockTable], length: Int) {
    let table = tables[0], rows = table.spec.rows
    let isWhole = length >= table.queries
    let tiles = isWhole ? table.rowTiles : min(max(1, length / rows), table.rowTiles)
    self.init(
      phase: .prefill, length: tiles == table.rowTiles ? table.keys : tiles * rows,
      margins: tables.flatMap { $0.margins[0..<tiles * $0.keyTiles] })
  }

  /// The share of visible blocks that `lambda` skips, in 0...1; 0 for lambda <= 0. Cost: a binary
  /// search.
  public func sparsity(_ lambda: Double) -> Double {
    guard !margins.isEmpty, lambda > 0 else { return 0 }
    let threshold = Float(log(lambda))
    var low = 0, high = margins.count
    while low < high {
      let middle = (low + high) / 2
      if margins[middle] < threshold { low = middle + 1 } else { high = middle }
    }
    return Double(low) / Double(margins.count)
  }

  /// What lambda = 1 reaches: nothing that raises a running maximum is ever skipped.
  public var most: Double { sparsity(1) }

  /// The smallest lambda whose sparsity reaches `target`; nil when lambda = 1 does not.
  /// `target` is a share in 0...1; nil as well for 0, which needs no lambda.
  public func lambda(for target: Double) -> Double? {
    let wanted = Int((target * Double(margins.count)).rounded(.up))
    guard wanted > 0, wanted <= margins.count, margins[wanted - 1] < 0 else { return nil }
    return min(1, exp(Double(margins[wanted - 1].nextUp)))
  }
}

/// One measured point: at this length, this lambda skips this share.
///
/// Example: `Calibration([curve4k, curve8k]).inverse(0.5)?.a`. With a single length the inverse fit
/// goes through its only point, and says nothing about others.
public struct CalibrationPoint: Sendable, Equatable {
  /// Skipped over visible blocks, in 0...1.
  public let sparsity: Double
  /// Keys of the context, in tokens.
  public let length: Int
  /// The threshold, in (0, 1].
  public let lambda: Double

  /// As measured; nothing is checked.
  public init(sparsity: Double, length: Int, lambda: Double) {
    (self.sparsity, self.length, self.lambda) = (sparsity, length, lambda)
  }

  /// lambda * length: what deployed kernels call `threshold_scale_factor`.
  public var factor: Double { lambda * Double(length) }
}

/// factor(S) = a exp(b S), lambda = factor / L: one pair for a phase, as ModelOpt and TensorRT-LLM
/// use it.
///
/// Example: `ExponentialFit(points)?.factor(0.5)` divided by the length in tokens is the lambda for
/// half of the blocks. The catch: by default the factor is fitted and not its logarithm, so that
/// large factors, at high sparsity, decide; `logarithmic` weighs all alike.
public struct ExponentialFit: Sendable, Equatable {
  /// The factor at sparsity 0, in tokens.
  public let a: Double
  /// Growth of the logarithm of the factor for a sparsity of 1.
  public let b: Double
  /// Root mean square of factor - fit over the points kept, in tokens.
  public let rmse: Double
  /// Coefficient of determination; 1 when all factors are equal.
  public let r2: Double
  /// Points that were kept.
  public let points: Int

  /// Points outside are left out, as ModelOpt does.
  public static let kept = 0.1...0.9
  /// The bounds of b that the fit is held to.
  private static let exponents = 0.0...20.0

  /// A growth on the upper bound, where the points would have had it larger.
  public static func isAtBound(_ b: Double) -> Bool { b >= exponents.upperBound - 0.01 }

  /// The fitted factor at a sparsity in 0...1, in tokens.
  public func factor(_ sparsity: Double) -> Double { a * exp(b * sparsity) }

  /// Least squares over the points that are kept, with a >= 0 and 0 <= b <= 20; in linear space, or
  /// of logarithms. Nil with fewer than two different sparsities.
  public init?(_ points: [(sparsity: Double, factor: Double)], logarithmic: Bool = false) {
    let kept = points.filter { Self.kept.contains($0.sparsity) && $0.factor > 0 }
    guard Set(kept.map(\.sparsity)).count >= 2 else { return nil }
    (a, b) = logarithmic ? Self.logarithmicFit(kept) : Self.linearFit(kept)
    self.points = kept.count
    let (a, b) = (a, b)
    let mean = kept.reduce(0) { $0 + $1.factor } / Double(kept.count)
    let rest = kept.reduce(0) { $0 + pow($1.factor - a * exp(b * $1.sparsity), 2) }
    let spread = kept.reduce(0) { $0 + pow($1.factor - mean, 2) }
    rmse = (rest / Double(kept.count)).squareRoot()
    r2 = spread > 0 ? 1 - rest / spread : 1
  }

  /// For a fixed b the best a is a quotient; what remains is a search over b.
  /// The grid finds the valley, thirds of its interval the bottom: 80 steps leave less than
  /// rounding.
  private static func linearFit(_ points: [(sparsity: Double, factor: Double)]) -> (Double, Double)
  {
    func best(_ b: Double) -> (a: Double, rest: Double) {
      let up = points.reduce(0) { $0 + $1.factor * exp(b * $1.sparsity) }
      let down = points.reduce(0) { $0 + exp(2 * b * $1.sparsity) }
      let a = max(0, up / down)
      return (a, points.reduce(0) { $0 + pow($1.factor - a * exp(b * $1.sparsity), 2) })
    }
    let steps = 2000
    let grid = (0...steps).map { exponents.upperBound * Double($0) / Double(steps) }
    let start = grid.indices.min { best(grid[$0]).rest < best(grid[$1]).rest }!
    var (low, high) = (grid[max(0, start - 1)], grid[min(steps, start + 1)])
    for _ in 0..<80 {
      let (left, right) = (low + (high - low) / 3, high - (high - low) / 3)
      if best(left).rest < best(right).rest { high = right } else { low = left }
    }
    let b = (low + high) / 2
    return (best(b).a, b)
  }

  /// A straight line through the logarithms; b is clamped, a follows from the clamped b.
  private static func logarithmicFit(_ points: [(sparsity: Double, factor: Double)])
    -> (Double, Double)
  {
    let n = Double(points.count)
    let x = points.reduce(0) { $0 + $1.sparsity } / n
    let y = points.reduce(0) { $0 + log($1.factor) } / n
    let up = points.reduce(0) { $0 + ($1.sparsity - x) * (log($1.factor) - y) }
    let down = points.reduce(0) { $0 + pow($1.sparsity - x, 2) }
    let b = min(max(up / down, exponents.lowerBound), exponents.upperBound)
    return (exp(y - b * x), b)
  }
}

/// lambda(L) = a / L at one target: the model of the BLASST paper.
///
/// Example: with `a` = 200, a context of 20,000 tokens gets lambda 0.01. One pair for each target,
/// where `ExponentialFit` has one for all. Paper: BLASST, 2025, arXiv 2512.12087.
public struct InverseFit: Sendable, Equatable {
  /// The sparsity it is for, in 0...1.
  public let target: Double
  /// Lambda times length, in tokens.
  public let a: Double
  /// Root mean square of lambda - fit.
  public let rmse: Double
  /// What it was fitted to, one point a length.
  public let points: [CalibrationPoint]

  /// Least squares of lambda on 1/L; nil without points.
  public init?(target: Double, _ points: [CalibrationPoint]) {
    guard !points.isEmpty else { return nil }
    let up = points.reduce(0) { $0 + $1.lambda / Double($1.length) }
    let down = points.reduce(0) { $0 + 1 / (Double($1.length) * Double($1.length)) }
    let a = up / down
    (self.target, self.a, self.points) = (target, a, points)
    let rest = points.reduce(0) { $0 + pow($1.lambda - a / Double($1.length), 2) }
    rmse = (rest / Double(points.count)).squareRoot()
  }
}

/// Both fits of one phase, and the points they stand on.
public struct Calibration: Sendable {
  /// The kernel it is for: the first curve's, prefill without curves.
  public let phase: Phase
  /// One for each context length, all of one phase.
  public let curves: [SparsityCurve]
  /// Every curve read at every sparsity of `grid` that it reaches.
  public let points: [CalibrationPoint]
  /// The fit over all points; nil with too few.
  public let exponential: ExponentialFit?

  /// Sparsities at which every curve is read: 10 to 90 %.
  public static let grid = (2...18).map { Double($0) / 20 }

  /// `logarithmic` fits logarithms of the factor instead of the factor.
  public init(_ curves: [SparsityCurve], logarithmic: Bool = false) {
    phase = curves.first?.phase ?? .prefill
    self.curves = curves
    points = curves.flatMap { curve in
      Self.grid.compactMap { target in
        curve.lambda(for: target).map {
          CalibrationPoint(sparsity: target, length: curve.length, lambda: $0)
        }
      }
    }
    exponential = ExponentialFit(
      points.map { ($0.sparsity, $0.factor) }, logarithmic: logarithmic)
  }

  /// The fit of one target, a share in 0...1; nil when no curve reaches it.
  public func inverse(_ target: Double) -> InverseFit? {
    InverseFit(
      target: target,
      curves.compactMap { curve in
        curve.lambda(for: target).map {
          CalibrationPoint(sparsity: target, length: curve.length, lambda: $0)
        }
      })
  }
}

/// What one head alone says about thresholds: its curve at three lengths, read off one table.
public struct HeadCalibration: Sendable {
  /// Of prefill; nil for tables whose margins do not hold for every lambda, or that are a mask
  /// alone.
  public let calibration: Calibration?

  /// Lengths are a quarter, a half and all of the queries, as far as each holds a row tile.
  public init(_ table: BlockTable) {
    guard table.madeFor == nil, !table.isFixed, table.rowTiles > 0 else {
      calibration = nil
      return
    }
    let parts = Self.isCausal(table) ? [4, 2].map { table.queries / $0 } : []
    let lengths = Set(parts.filter { $0 >= table.spec.rows } + [table.queries])
    calibration = Calibration(
      lengths.sorted().map { SparsityCurve(prefill: [table], length: $0) })
  }

  /// Whether its first rows are those of a shorter prompt: as many queries as keys, and the first
  /// tile of rows does not see the last keys.
  private static func isCausal(_ table: BlockTable) -> Bool {
    table.queries == table.keys && table.margins[table.keyTiles - 1].isNaN
  }
}
