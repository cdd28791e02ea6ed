public import Attention

/// Lean Attention: one decode step cut into equal key tiles, dealt evenly over workers regardless
/// of head boundaries.
///
/// Tiles of 256 keys (d ≤ 64), 128 (d ≤ 128) or 64. With T tiles in all, in the order of heads, and
/// G workers:
///
///     T = Σ over heads ⌈keys / tile⌉                causal prefill: Σ_i ⌈(i + 1) B_M / B_N⌉ a head
///     worker w takes ⌈T/G⌉ tiles in one run, or one less       so that loads differ by one at most
///     wave efficiency = T / (G ⌈T/G⌉)
///
/// A run that crosses into a head leaves a partial (m, ℓ, o): running maximum, sum and output. The
/// owner of the head's first tile merges them by the rule of the online softmax, which is
/// associative, so the output is that of dense attention to rounding. Paper: Sanovar et al., "Lean
/// Attention", 2024, arXiv 2405.10480.
///
/// The schedule is integer arithmetic and exact; time is modelled in tile units, not measured.
/// Beside it stand FlashAttention-2 (a worker a head) and FlashDecoding (`splits` equal pieces a
/// head), in waves. No outputs are computed: they are those of dense attention for any partition.
///
/// Findings: `tiles`, `load_max`, `load_min`, `makespan_lean`, `makespan_fa2`, `makespan_fd` in
/// tiles, `wave_efficiency` (a share), `partials`, `reductions`; spans `lean`, `fa2`, `fd`, a lane
/// a worker and a colour a head; series `loads` `[workers]` and `worker_by_tile`
/// `[tiles of the head looked at]`.
///
/// Needs the shapes of the heads of a layer, nothing of their values. Cost: linear in tiles.
public struct LeanAttention: AttentionMethod {
  /// G; 216 is two for each of 108 multiprocessors. What `[` and `]` move.
  static let workers = Knob(
    "workers", "how many run at a time", 1...1 << 16, standard: 216, step: .multiply(2),
    isMain: true)
  /// Keys of a tile, B_N; 0 takes the paper's size for the head's width.
  static let tile = Knob(
    "tile", "keys of a tile; 0: by the head's width", 0...1 << 16, standard: 0, step: .multiply(2))
  /// Query rows of a tile of the prompt, B_M.
  static let rows = Knob(
    "rows", "query rows of a prefill tile", 1...1 << 16, standard: 128, step: .multiply(2))
  /// Pieces that FlashDecoding cuts each head into.
  static let splits = Knob("splits", "pieces of FlashDecoding", 1...1 << 16, standard: 4)
  /// Sequences of this length that run in the same step.
  static let batch = Knob("batch", "sequences of this length", 1...1 << 16, standard: 1)

  /// No main field: what it says is a timeline. The scope is a layer, as heads share the workers.
  public static let card = MethodCard(
    id: "lean", title: "Lean Attention", family: "schedules",
    idea: "Deal equal key tiles of all heads over the workers in one line, so that none waits.",
    source: "Sanovar et al., Lean Attention, 2024, arXiv 2405.10480", scope: .layer,
    knobs: [workers.facts, tile.facts, rows.facts, splits.facts, batch.facts], wholeMap: .max,
    mainNumber: "wave_efficiency")

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// Three schedules of the same tiles. Throws nothing.
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

  /// The tiles of every head of the layer, and of every sequence of the batch. The width of the
  /// head looked at decides the tile.
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
  /// `[heads * batch]`, tiles of each.
  let heads: [Int]
  /// Keys of a tile.
  let tile: Int
  /// G, how many run at a time.
  let workers: Int

  /// T, tiles in all.
  var total: Int { heads.reduce(0, +) }

  /// Who does what when, in tile units.
  struct Schedule {
    /// One for each run of tiles of one head by one worker.
    var spans: [Span]
    /// `[workers]`, tiles of each.
    var loads: [Int]
    /// Results that have to be merged: pairs of a worker and a head, or pieces.
    var partials: Int
    /// When the last worker is done, in tiles.
    var makespan: Int
  }

  /// T / (G ⌈T/G⌉), in 0...1: how much of the time of all workers is work.
  func efficiency(_ schedule: Schedule) -> Double {
    let most = schedule.loads.max() ?? 0
    return most == 0 ? 0 : Double(total) / Double(schedule.loads.count * most)
  }

  /// `[workers]`, the tiles of each in the order of heads: the first get ⌈T/G⌉, the rest one less.
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

  /// The runs of `ranges`, cut where one head ends and the next begins.
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

  /// FlashDecoding: every head in as many equal pieces, in waves of the longest piece.
  func split(_ pieces: Int) -> Schedule {
    let longest = ((heads.max() ?? 0) + pieces - 1) / pieces
    let parts = heads.enumerated().flatMap { head, tiles -> [(Int, Int)] in
      let size = (tiles + pieces - 1) / pieces
      return (0..<pieces).map { (head, max(0, min(size, tiles - $0 * size))) }
    }
    return deal(parts, ceiling: longest)
  }

  /// Pieces dealt round over the workers, a wave at a time; `ceiling` is the length of a wave in
  /// tiles.
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

  /// `[tiles]` of one head: the worker of each, in the order of its tiles.
  func owners(_ schedule: Schedule, head: Int) -> [Int] {
    schedule.spans.filter { $0.key == head }.flatMap { span in
      [Int](repeating: span.lane, count: Int(span.to - span.from))
    }
  }
}
