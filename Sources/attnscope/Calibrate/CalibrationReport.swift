import Analysis
import Attention
import Canvas
import Formats
import Glibc

/// What `calibrate` prints, as text, JSON, and configurations of other programs.
///
/// Lambda is a probability ratio: above 1 it means nothing, and the report says dense instead. A
/// factor is lambda times the context's length in tokens, what deployed kernels call
/// `threshold_scale_factor`; a sparsity S is a share of visible blocks.
///
/// The catch: a fit extends to lengths that were never measured. `warnings` says where it carries
/// nothing, and the exact lambda of a measured length stands beside it.
struct CalibrationReport {
  /// The sources, for titles.
  let name: String
  /// Prefill and decode, as far as they were asked for.
  var phases: [PhaseReport]
  /// Of a model: what its predictions lose at each target.
  var prices: [ModelPrice] = []
  /// Of a table of published factors there are fits and nothing else.
  var fits: [(phase: Phase, fit: ExponentialFit)] = []

  /// Fits of tables and of measured phases alike.
  var allFits: [(phase: Phase, fit: ExponentialFit)] {
    fits
      + phases.compactMap { phase in
        phase.calibration.exponential.map { (phase.calibration.phase, $0) }
      }
  }

  // MARK: Warnings

  /// What a reader should know before trusting a number, in sentences: targets out of reach,
  /// fits that carry nothing, contexts that are too short for the tile.
  var warnings: [String] {
    phases.flatMap { phase -> [String] in
      let name = phase.calibration.phase.rawValue
      guard let longest = phase.calibration.curves.last else { return [] }
      var out = phase.targets.filter { $0.lambda == nil }.map {
        """
        \(name): \(Numbers.percent($0.target)) is out of reach: lambda 1 skips \
        \(Numbers.percent(longest.most)) of \(longest.length) tokens, and above 1 lambda means \
        nothing
        """
      }
      if phase.calibration.exponential == nil {
        out.append(
          """
          \(name): fewer than two sparsities between 10 and 90 % were reached; a exp(b S) is not \
          fitted
          """
        )
      }
      guard let fit = phase.calibration.exponential else { return out }
      if ExponentialFit.isAtBound(fit.b) || fit.a == 0 {
        out.append(
          """
          \(name): the fit lies on its bound (b = \(Numbers.fixed(fit.b, 1))): the points, \
          \(fit.points) of them, do not carry it
          """
        )
      } else if fit.r2 < 0.9 {
        out.append(
          """
          \(name): a exp(b S) / L fits badly (R² \(Numbers.fixed(fit.r2, 2))): trust the exact λ \
          of your length more
          """
        )
      }
      for curve in phase.calibration.curves where curve.length < 2 * phase.spec.keys {
        out.append(
          """
          \(name): a context of \(curve.length) has \
          \(curve.length <= phase.spec.keys ? "one key tile" : "hardly two key tiles") of \
          \(phase.spec.keys): next to nothing can be skipped
          """
        )
      }
      for target in phase.targets where target.lambda != nil {
        let factor = fit.factor(target.target)
        let short = phase.calibration.curves.map(\.length).filter { factor > Double($0) }
        guard !short.isEmpty else { continue }
        out.append(
          """
          \(name): the fitted factor \(Numbers.short(factor)) for \
          \(Numbers.percent(target.target)) is larger than a context of \
          \(short.map(String.init).joined(separator: " or ")): lambda would exceed 1 there, which \
          is clamped to dense here and which kernels take differently; use dense below \
          \(Numbers.fixed(factor.rounded(.up), 0)) tokens
          """
        )
      }
      return out
    }
  }

  // MARK: Text

  /// For a person: a table of lambdas for each length, the fit, and a table of targets with
  /// their prices.
  var text: String {
    var lines = [Printable.text(name)]
    for phase in phases { lines += text(phase) }
    if !fits.isEmpty {
      lines.append(Table(listing: fits.map { [$0.phase.rawValue, Self.text($0.fit)] }).text)
    }
    if !prices.isEmpty {
      let costs = Numbers.column(prices.map { $0.divergence })
      let lambdas = Numbers.column(prices.map { $0.lambda }, as: Numbers.threshold)
      let table = Table(
        ["target", "lambda", "KL", "perplexity", "dense", "same top token"],
        rows: prices.indices.map { i in
          [
            Numbers.percent(prices[i].target), lambdas[i], costs[i],
            Numbers.fixed(exp(prices[i].sparse), 3), Numbers.fixed(exp(prices[i].dense), 3),
            Numbers.percent(prices[i].agreement),
          ]
        }, indent: 2)
      lines += ["model, last \(prices[0].tokens) tokens, prefill pruned", table.text]
    }
    return lines.joined(separator: "\n")
  }

  /// One phase's lines.
  private func text(_ phase: PhaseReport) -> [String] {
    let calibration = phase.calibration
    return ["", "\(calibration.phase.rawValue)  \(phase.spec)", Self.lengths(calibration).text]
      + (calibration.exponential.map { ["  " + Self.text($0)] } ?? [])
      + [Self.targets(phase).text]
  }

  /// The lambda that each length needs for some sparsities.
  private static func lengths(_ calibration: Calibration) -> Table {
    let grid = [0.1, 0.3, 0.5, 0.7, 0.9], curves = calibration.curves
    let lambdas = grid.map { share in
      Numbers.column(curves.map { $0.lambda(for: share) }, as: Numbers.threshold)
    }
    return Table(
      ["length", "blocks"] + grid.map { "λ at " + Numbers.percent($0) } + ["most at λ=1"],
      rows: curves.indices.map { i in
        ["\(curves[i].length)", "\(curves[i].margins.count)"] + lambdas.map { $0[i] }
          + [Numbers.percent(curves[i].most)]
      }, indent: 2)
  }

  /// What each target needs and costs; a fit above 1 is dense.
  private static func targets(_ phase: PhaseReport) -> Table {
    let targets = phase.targets, fit = phase.calibration.exponential
    let length = Double(phase.calibration.curves.last?.length ?? 1)
    let reached = targets.map { $0.lambda == nil ? nil : $0 }
    let fitted = targets.map { target in fit.map { $0.factor(target.target) / length } }
    let columns = [
      targets.map { Numbers.percent($0.target) },
      Numbers.column(targets.map(\.lambda), as: Numbers.threshold),
      Numbers.column(reached.map { $0?.dropped?.mean }),
      Numbers.column(reached.map { $0?.dropped?.max }),
      Numbers.column(targets.map(\.errorMean)), Numbers.column(targets.map { $0.inverse?.a }),
      targets.map { target in
        target.inverse.map { $0.points.count < 2 ? "1 length" : Numbers.scientific($0.rmse) } ?? "-"
      },
      Numbers.column(fitted) { $0 > 1 ? "dense" : Numbers.threshold($0) },
    ]
    return Table(
      ["target", "exact λ", "dropped", "worst", "error", "λ = a/L: a", "rmse", "a exp(bS)/L"],
      rows: targets.indices.map { row in columns.map { $0[row] } }, indent: 2)
  }

  /// The fit with what it is worth: R squared, root mean square error and number of points.
  private static func text(_ fit: ExponentialFit) -> String {
    """
    λ = a exp(b S) / L: a = \(Numbers.fixed(fit.a, fit.a < 1 ? 4 : fit.a < 100 ? 3 : 1)), b = \
    \(Numbers.fixed(fit.b, 3)); R² \(Numbers.fixed(fit.r2, 4)), rmse \(Numbers.short(fit.rmse)) \
    over \(fit.points) points of 10 to 90 %
    """
  }

  // MARK: JSON

  /// At full precision, every point of every curve included.
  var json: JSON {
    .object([
      ("source", .string(name)), ("phases", .array(phases.map(json))),
      (
        "fits",
        .object(allFits.map { ($0.phase.rawValue, Self.json($0.fit)) })
      ),
      (
        "model",
        .array(
          prices.map {
            .object([
              ("target", .number($0.target)), ("lambda", .number($0.lambda)),
              ("tokens", .integer($0.tokens)), ("kl", .number($0.divergence)),
              ("perplexity", .number(exp($0.sparse))),
              ("dense_perplexity", .number(exp($0.dense))),
              ("top1_agreement", .number($0.agreement)),
            ])
          })
      ),
    ])
  }

  /// One phase as an object.
  private func json(_ phase: PhaseReport) -> JSON {
    .object([
      ("phase", .string(phase.calibration.phase.rawValue)),
      ("tile", .array([.integer(phase.spec.rows), .integer(phase.spec.keys)])),
      ("vote", .string(phase.spec.vote.rawValue)), ("order", .string(phase.spec.order.rawValue)),
      ("splits", .integer(phase.spec.splits)),
      (
        "lengths",
        .array(
          phase.calibration.curves.map { curve in
            .object([
              ("length", .integer(curve.length)), ("blocks", .integer(curve.margins.count)),
              ("most", .number(curve.most)),
              (
                "points",
                .array(
                  phase.calibration.points.filter { $0.length == curve.length }.map {
                    .object([
                      ("sparsity", .number($0.sparsity)), ("lambda", .number($0.lambda)),
                      ("factor", .number($0.factor)),
                    ])
                  })
              ),
            ])
          })
      ),
      ("exponential", .optional(phase.calibration.exponential, Self.json)),
      (
        "targets",
        .array(
          phase.targets.map { target in
            .object([
              ("target", .number(target.target)),
              ("lambda", .optional(target.lambda, JSON.number)),
              ("inverse_a", .optional(target.inverse, { .number($0.a) })),
              ("inverse_rmse", .optional(target.inverse, { .number($0.rmse) })),
              ("dropped_mass_mean", .optional(target.dropped, { .number($0.mean) })),
              ("dropped_mass_max", .optional(target.dropped, { .number($0.max) })),
              ("output_error_relative_l2", .optional(target.errorMean, JSON.number)),
            ])
          })
      ),
    ])
  }

  /// A fit as an object; `kept_range` is the range of sparsities it was made from.
  private static func json(_ fit: ExponentialFit) -> JSON {
    .object([
      ("a", .number(fit.a)), ("b", .number(fit.b)), ("r2", .number(fit.r2)),
      ("rmse", .number(fit.rmse)), ("points", .integer(fit.points)),
      ("kept_range", .array([.number(0.1), .number(0.9)])),
    ])
  }
}
