import Analysis
import Attention
import Canvas
import Sessions

/// What skipping saves and costs: of one head, of its layer, and of all heads.
///
/// Two lines under the pictures of view 2. A layer's share and dropped mass are means of its heads,
/// its error that of the worst one: what one would lose by skipping there.
struct HeadCosts {
  private let look: Look
  private let paint: Paint
  /// In force: made once, and not for each of its numbers.
  private let method: MethodSetting?

  /// Reads the look.
  init(_ look: Look) {
    self.look = look
    paint = Paint(look)
    method = look.methodInForce
  }

  /// Mean mass that the head's rows lose; nil before it is known, and where nothing can say it.
  func dropped(_ head: HeadID) -> Double? { look.droppedMass(head)?.mean }

  /// Relative error of the head's output; nil before it is known, and without values.
  func error(_ head: HeadID) -> Double? {
    let found = look.findings(head, method)
    return found?["error"]?.number ?? found?["output_error"]?.number
  }

  /// The chosen head, then its layer beside all of them.
  func draw(in rect: Rect, on grid: inout Grid) {
    guard rect.height >= 2 else { return }
    let lines = [headLines, totalLines]
    for (line, texts) in lines.enumerated() {
      grid.put(
        Fitted.text(texts, rect.width - 2), rect.x + 1, rect.y + line,
        line == 0 ? paint.strong : paint.dim, limit: rect.width - 2)
    }
  }

  /// From long to short.
  private var headLines: [String] {
    let head = look.viewpoint.head
    let name = "L\(look.layerNumber) H\(look.chosenHeadNumber)"
    let share = look.sparsity(head).map(Numbers.percent) ?? "…"
    let mass = look.droppedMass(head)
    let dropped = mass.map { "\(Numbers.short($0.mean))" } ?? "…"
    let worst = mass.map { " (worst row \(Numbers.short($0.max)))" } ?? ""
    let error = error(head).map(Numbers.short) ?? (look.source.hasValues ? "…" : "needs V")
    var more = ""
    if let summary = look.summary(head) {
      more = ", \(summary.label.name.rawValue), sink \(Numbers.percent(summary.sink.mass))"
      more += ", entropy \(Numbers.fixed(summary.entropy, 2)) nats"
    }
    let short = "\(name): skipped \(share), dropped \(dropped), error \(error)"
    return [
      "\(name): skipped \(share), dropped \(dropped)\(worst), error \(error)\(more)",
      "\(name): skipped \(share), dropped \(dropped)\(worst), error \(error)", short,
      "\(name): skipped \(share), error \(error)", "skipped \(share)",
    ]
  }

  /// From long to short.
  private var totalLines: [String] {
    let heads = look.source.allHeads, layer = look.viewpoint.head.layer
    let mine = totals(heads.filter { $0.layer == layer })
    let all = totals(heads)
    let costs = mine.costs
    return [
      "layer \(look.layerNumber): \(mine.share) skipped\(costs)   all: \(all.share)\(all.costs)",
      "layer \(look.layerNumber): \(mine.share) skipped\(costs)   all: \(all.share)",
      "layer \(look.layerNumber): \(mine.share) skipped   all: \(all.share)",
      "layer \(mine.share), all \(all.share)",
    ]
  }

  /// Of several heads: blocks skipped, and what that costs, as far as it is known.
  private func totals(_ heads: [HeadID]) -> (share: String, costs: String) {
    let known = heads.compactMap(look.sparsity)
    guard !known.isEmpty else { return ("…", "") }
    let share = known.reduce(0, +) / Double(known.count)
    let masses = heads.compactMap(dropped), errors = heads.compactMap(error)
    var costs = ""
    if masses.count == heads.count {
      costs += ", dropped \(Numbers.short(masses.reduce(0, +) / Double(masses.count)))"
    }
    if errors.count == heads.count, let worst = errors.max() {
      costs += ", error at most \(Numbers.short(worst))"
    }
    let part = known.count < heads.count ? " of \(known.count) heads" : ""
    return (Numbers.percent(share) + part, costs)
  }
}
