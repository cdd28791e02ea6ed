import Analysis
import Attention
import Canvas
import Sessions

/// In view 3: the threshold that the chosen head alone would need, as deployed kernels are told it.
///
/// Numbers come from the findings of the method of block tables, `fit_a` and its neighbours; the
/// panel only words them. One head says little about a model: `attnscope calibrate` fits all heads
/// together.
struct CalibrationPanel {
  /// Rows that the panel takes, its frame included.
  static let height = 5

  private let look: Look
  private let paint: Paint

  /// Reads the look.
  init(_ look: Look) {
    self.look = look
    paint = Paint(look)
  }

  /// Title with the factor lambda times length of the present setting, then as many lines as fit.
  func draw(in rect: Rect, on grid: inout Grid) {
    let factor = look.viewpoint.lambda * Double(look.source.keys)
    Panel(
      "Calibration, this head", right: "factor \(paint.lambda)L = \(Numbers.short(factor))",
      style: paint.dim, unicode: paint.unicode
    ).draw(in: rect, on: &grid)
    let inner = rect.inset(2, 1)
    for (line, (text, style)) in lines(inner.width).prefix(inner.height).enumerated() {
      grid.put(text, inner.x, inner.y + line, style, limit: inner.width)
    }
  }

  /// The exponential fit in words that fit; a growth on the bound of the search is said to be.
  private func fit(_ a: Double, _ b: Double, _ r2: Double, _ width: Int) -> String {
    let growth = Numbers.fixed(b, 2)
    let words =
      ExponentialFit.isAtBound(b) ? [growth + " (its bound)", growth + " (bound)"] : [growth]
    let texts = ["a·exp(bS)/L: ", ""].flatMap { name in
      words.map { "\(name)a \(Numbers.short(a)) b \($0) R² \(Numbers.fixed(r2, 2))" }
    }
    return Fitted.text(texts, width)
  }

  /// What can be said: the fits, or the reason why there are none.
  private func lines(_ width: Int) -> [(String, Style)] {
    let lambda = paint.lambda
    guard look.viewpoint.spec.criterion == .max else {
      return [("with lse margins hold for one \(lambda): no curve", paint.dim)]
    }
    guard let question = look.findingsQuestion(look.viewpoint.head),
      let findings = look.findings(look.viewpoint.head)
    else {
      let question = look.findingsQuestion(look.viewpoint.head)
      return question.map { [(look.refusal($0) ?? look.waiting($0), paint.dim)] } ?? []
    }
    guard findings["fit_a"] != nil else {
      return [(look.refusal(question) ?? "the mask was stored: needs margins", paint.dim)]
    }
    func number(_ name: String) -> Double? { findings[name]?.number }
    let targets = [30, 50, 70].map { target in
      "\(target)% " + (number("lambda_\(target)").map(Numbers.threshold) ?? "-")
    }
    var out = [("\(lambda) " + targets.joined(separator: " "), Style.plain)]
    if let a = number("fit_a"), let b = number("fit_b"), let r2 = number("fit_r2") {
      out.append((fit(a, b, r2, width), .plain))
    } else {
      out.append(("a·exp(bS)/L: too few points in 10-90 %", paint.dim))
    }
    if let a = number("inverse_a"), let target = number("inverse_target") {
      let lengths = (findings.series("inverse_lengths") ?? []).map { "\(Int($0))" }
      out.append(
        (
          """
          a/L at \(Int(100 * target)) %: a \(Numbers.short(a)) (L \
          \(lengths.joined(separator: " ")))
          """,
          .plain
        ))
    } else {
      out.append(
        ("at most \(Numbers.percent(number("most") ?? 0)) at \(lambda) = 1", paint.dim))
    }
    return out
  }
}
