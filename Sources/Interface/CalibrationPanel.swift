import Analysis
import Attention
import Canvas
import Sessions

/// In view 3: the threshold that the chosen head alone would need, as deployed kernels are told it.
struct CalibrationPanel {
  static let height = 5

  private let model: Model
  private let paint: Paint

  init(_ model: Model) {
    self.model = model
    paint = Paint(model)
  }

  func draw(in rect: Rect, on grid: inout Grid) {
    let factor = model.selection.lambda * Double(model.source.keys)
    Panel(
      "Calibration, this head", right: "factor \(paint.lambda)L = \(Numbers.short(factor))",
      style: paint.dim, unicode: paint.unicode
    ).draw(in: rect, on: &grid)
    let inner = rect.inset(2, 1)
    for (line, (text, style)) in lines.prefix(inner.height).enumerated() {
      grid.put(text, inner.x, inner.y + line, style, limit: inner.width)
    }
  }

  private var lines: [(String, Style)] {
    let lambda = paint.lambda
    guard model.selection.spec.criterion == .max else {
      return [("with lse margins hold for one \(lambda): no curve", paint.dim)]
    }
    let question = Question.calibration(model.selection.head, model.selection.spec)
    guard case .calibration(let answer) = model.answer(question) else {
      return [(model.refusal(question) ?? model.waiting(question), paint.dim)]
    }
    guard let calibration = answer.calibration, let longest = calibration.curves.last else {
      return [("the mask was stored: needs margins", paint.dim)]
    }
    let targets = [0.3, 0.5, 0.7].map { target in
      "\(Int(100 * target))% " + (longest.lambda(for: target).map(Numbers.scientific) ?? "-")
    }
    var out = [("\(lambda) " + targets.joined(separator: " "), Style.plain)]
    if let fit = calibration.exponential {
      out.append(
        (
          "a·exp(bS)/L: a \(Numbers.short(fit.a)) b \(Numbers.fixed(fit.b, 2)) R² \(Numbers.fixed(fit.r2, 2))",
          .plain
        ))
    } else {
      out.append(("a·exp(bS)/L: too few points in 10-90 %", paint.dim))
    }
    let target = [0.5, 0.3, 0.1].first { calibration.inverse($0) != nil }
    if let target, let fit = calibration.inverse(target) {
      let lengths = fit.points.map { String($0.length) }.joined(separator: " ")
      out.append(
        ("a/L at \(Int(100 * target)) %: a \(Numbers.short(fit.a)) (L \(lengths))", .plain))
    } else {
      out.append(("at most \(Numbers.percent(longest.most)) at \(lambda) = 1", paint.dim))
    }
    return out
  }
}
