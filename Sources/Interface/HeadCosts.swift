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
    let sum = sum(heads)
    guard let share = sum.share else { return ("…", "") }
    var costs = ""
    if let dropped = sum.dropped { costs += ", dropped \(Numbers.short(dropped))" }
    if let worst = sum.error { costs += ", error at most \(Numbers.short(worst))" }
    let part = sum.known < heads.count ? " of \(sum.known) heads" : ""
    return (Numbers.percent(share) + part, costs)
  }

  // MARK: Of several heads

  /// What skipping saves and costs of several heads together.
  struct Sum {
    /// Mean share of the heads that are known, in 0...1; nil while none is.
    let share: Double?
    /// Mean of all; nil while one is unknown.
    let dropped: Double?
    /// Of the worst one; nil while one is unknown.
    let error: Double?
    /// Heads whose share is known.
    let known: Int
  }

  /// Means of shares and of lost mass, the largest of errors.
  func sum(_ heads: [HeadID]) -> Sum {
    let shares = heads.compactMap(look.sparsity)
    let masses = heads.compactMap(dropped), errors = heads.compactMap(error)
    func mean(_ values: [Double]) -> Double? {
      values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
    }
    return Sum(
      share: mean(shares), dropped: masses.count == heads.count ? mean(masses) : nil,
      error: errors.count == heads.count ? errors.max() : nil, known: shares.count)
  }

  /// Whether the price is the error of the output; the mass that is lost where nothing has one.
  var pricesErrors: Bool { look.source.hasValues }

  /// What skipping costs in a head: its error, or its lost mass.
  func price(_ head: HeadID) -> Double? { pricesErrors ? error(head) : dropped(head) }

  /// Heads of which something is skipped, by price from the least on; then those whose price or
  /// share is not known, and last those of which nothing is skipped. Equal ones keep the order of
  /// the file.
  var cheapestFirst: [HeadID] {
    let heads = look.filteredHeads
    let keys = heads.map { head -> (rank: Int, price: Double) in
      guard let share = look.sparsity(head) else { return (2, 0) }
      guard share > 0 else { return (3, 0) }
      return price(head).map { (0, $0) } ?? (1, 0)
    }
    let order = heads.indices.sorted {
      keys[$0] != keys[$1] ? keys[$0] < keys[$1] : heads[$0] < heads[$1]
    }
    return order.map { heads[$0] }
  }

  /// Behind a head's share, in a sentence.
  func priceText(_ head: HeadID) -> String {
    let mass = dropped(head).map { ", dropped \(Numbers.short($0))" } ?? ""
    return mass + (error(head).map { ", output error \(Numbers.short($0))" } ?? "")
  }
}
