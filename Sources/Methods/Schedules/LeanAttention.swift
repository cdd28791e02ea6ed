public import Attention

/// Lean Attention: one decode step cut into equal key tiles, dealt evenly over workers regardless of head boundaries.
///
/// Tiles of 256 keys (d ≤ 64), 128 (d ≤ 128) or 64; T = tiles of all heads (causal prefill: Σ_i ⌈(i+1) B_M / B_N⌉ a head).
/// Worker w of G takes a contiguous run of the head-major order, ⌈T/G⌉ tiles or one less; a run that crosses into a head
/// leaves a partial (m, ℓ, o), merged by the owner of the head's first tile. Beside it FlashAttention-2 (a worker a head) and
/// FlashDecoding (equal splits). Time is modelled in tile units. Paper: "Lean Attention", 2024, arXiv 2405.10480 (card S7).
public struct LeanAttention: AttentionMethod {
  static let workers = Knob(
    "workers", "how many run at a time", 1...1 << 16, standard: 216, step: .multiply(2),
    isMain: true)
  static let tile = Knob(
    "tile", "keys of a tile; 0: by the head's width", 0...1 << 16, standard: 0, step: .multiply(2))
  static let rows = Knob(
    "rows", "query rows of a prefill tile", 1...1 << 16, standard: 128, step: .multiply(2))
  static let splits = Knob("splits", "pieces of FlashDecoding", 1...1 << 16, standard: 4)
  static let batch = Knob("batch", "sequences of this length", 1...1 << 16, standard: 1)

  public static let card = MethodCard(
    id: "lean", title: "Lean Attention", family: "schedules",
    idea: "Deal equal key tiles of all heads over the workers in one line, so that none waits.",
    source: "Sanovar et al., Lean Attention, 2024, arXiv 2405.10480", scope: .layer,
    knobs: [workers.facts, tile.facts, rows.facts, splits.facts, batch.facts], wholeMap: .max,
    mainNumber: "wave_efficiency")

  private let knobs: CheckedKnobs

  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    let plan = plan(subject), lean = plan.lean()
    var findings = Findings()
    findings.number("tiles", Double(plan.total), .tiles, title: "tiles in all")
    findings.number("load_max", Double(lean.loads.max() ?? 0), .tiles, title: "largest load")
    findings.number("load_min", Double(lean.loads.min() ?? 0), .tiles, title: "least load")
    findings.number(
      "wave_efficiency", plan.efficiency(lean), .share, title: "wave efficiency")
    findings.number("partials", Double(lean.partials), .count)
    findings.number("reductions", Double(lean.partials - plan.heads.count), .count)
    let kinds = [
      ("lean", "Lean", lean), ("fa2", "FlashAttention-2", plan.whole()),
      ("fd", "FlashDecoding", plan.split(knobs[Self.splits])),
    ]
    for (name, title, schedule) in kinds {
      findings.number(
        "makespan_\(name)", Double(schedule.makespan), .tiles, title: "makespan, \(title)")
    }
    for (name, title, schedule) in kinds {
      findings.spans(
        name, schedule.spans, lanes: Axis(.worker, schedule.loads.count), .tiles, title: title)
    }
    findings.series(
      "loads", Axis(.worker, lean.loads.count), lean.loads.map(Float.init), .tiles,
      title: "tiles of each worker")
    let owners = plan.owners(lean, head: subject.focus.head)
    findings.series(
      "worker_by_tile", Axis(.block, owners.count, span: plan.tile, tokens: subject.head.keys),
      owners.map(Float.init), .count, title: "worker of each key tile of this head")
    findings.note("tile units: the time axis is modelled, not measured")
    return findings
  }

  /// The tiles of every head of the layer.
  func plan(_ subject: Subject) -> LeanPlan {
    let head = subject.head
    let tile =
      knobs[Self.tile] > 0
      ? knobs[Self.tile] : (head.dim <= 64 ? 256 : (head.dim <= 128 ? 128 : 64))
    let rows = knobs[Self.rows]
    let each = subject.layer.map { head -> Int in
      guard head.queries > 1 else { return (head.keys + tile - 1) / tile }
      return stride(from: 0, to: head.queries, by: rows).reduce(0) { sum, first in
        let last = min(first + rows, head.queries) - 1
        return sum + (head.visibility.limit(row: last) + tile - 1) / tile
      }
    }
    let all = (0..<knobs[Self.batch]).flatMap { _ in each }
    return LeanPlan(heads: all, tile: tile, workers: knobs[Self.workers])
  }
}

/// Tiles of heads, and how three schedules deal them out.
struct LeanPlan {
  /// Tiles of each head.
  let heads: [Int]
  /// Keys of a tile.
  let tile: Int
  let workers: Int

  var total: Int { heads.reduce(0, +) }

  struct Schedule {
    var spans: [Span]
    /// Tiles of each worker.
    var loads: [Int]
    /// Pairs of a worker and a head.
    var partials: Int
    var makespan: Int
  }

  /// T / (G ⌈T/G⌉).
  func efficiency(_ schedule: Schedule) -> Double {
    let most = schedule.loads.max() ?? 0
    return most == 0 ? 0 : Double(total) / Double(schedule.loads.count * most)
  }

  /// Where the tiles of each worker begin in the head-major order: the first get ⌈T/G⌉, the rest one less.
  func ranges() -> [Range<Int>] {
    let used = max(1, workers), most = (total + used - 1) / used
    let full = total - (most - 1) * used
    var start = 0
    return (0..<used).map { worker in
      let count = total == 0 ? 0 : (worker < full ? most : most - 1)
      defer { start += count }
      return start..<start + count
    }
  }

  func lean() -> Schedule {
    var first = [0]
    for tiles in heads { first.append(first[first.count - 1] + tiles) }
    var spans: [Span] = [], head = 0
    let ranges = ranges()
    for (worker, range) in ranges.enumerated() {
      var at = range.lowerBound
      while at < range.upperBound {
        while first[head + 1] <= at { head += 1 }
        let end = min(range.upperBound, first[head + 1])
        spans.append(
          Span(
            lane: worker, from: Double(at - range.lowerBound), to: Double(end - range.lowerBound),
            key: head))
        at = end
      }
    }
    return Schedule(
      spans: spans, loads: ranges.map(\.count), partials: spans.count,
      makespan: ranges.map(\.count).max() ?? 0)
  }

  /// FlashAttention-2: a worker a head, in waves; every wave as long as its longest head could be.
  func whole() -> Schedule {
    deal(heads.enumerated().map { ($0.offset, $0.element) }, ceiling: heads.max() ?? 0)
  }

  /// FlashDecoding: every head in as many equal pieces.
  func split(_ pieces: Int) -> Schedule {
    let longest = ((heads.max() ?? 0) + pieces - 1) / pieces
    let parts = heads.enumerated().flatMap { head, tiles -> [(Int, Int)] in
      let size = (tiles + pieces - 1) / pieces
      return (0..<pieces).map { (head, max(0, min(size, tiles - $0 * size))) }
    }
    return deal(parts, ceiling: longest)
  }

  /// Pieces dealt round over the workers, a wave at a time.
  private func deal(_ parts: [(head: Int, tiles: Int)], ceiling: Int) -> Schedule {
    let used = max(1, workers)
    var loads = [Int](repeating: 0, count: used), spans: [Span] = []
    for (index, part) in parts.enumerated() where part.tiles > 0 {
      let start = Double(index / used * ceiling)
      spans.append(
        Span(lane: index % used, from: start, to: start + Double(part.tiles), key: part.head))
      loads[index % used] += part.tiles
    }
    let waves = (parts.count + used - 1) / used
    return Schedule(spans: spans, loads: loads, partials: spans.count, makespan: waves * ceiling)
  }

  /// The worker of each tile of one head, in the order of its tiles.
  func owners(_ schedule: Schedule, head: Int) -> [Int] {
    schedule.spans.filter { $0.key == head }.flatMap { span in
      [Int](repeating: span.lane, count: Int(span.to - span.from))
    }
  }
}
