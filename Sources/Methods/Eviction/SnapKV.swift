public import Analysis
public import Attention

/// SnapKV: at the end of the prompt its last queries vote which keys the answer may see.
///
/// The last `window` queries of the prompt sum their weights by key; sums are pooled by the largest
/// of `kernel` neighbours, so that what stands beside a chosen key comes along. The
/// `cache - window` best keys before the window are kept, and the window. The prompt itself is read
/// dense; every later query sees the kept ones and what came after. Paper: Li et al., "SnapKV",
/// NeurIPS 2024, arXiv 2404.14469 (window 32, kernel 7, cache 2048). `prompt` says where the prompt
/// ends; 0 is the middle of the keys, since a saved prompt has no answer. Findings: those of every
/// mask (over all rows, the dense ones too), `answer_recall` (over the rows after the prompt) and
/// the series `votes` along keys. Cost
/// window n to decide.
public struct SnapKV: ReplayedMask {
  static let window = Knob(
    "window", "last queries of the prompt that vote", 1...1 << 20, standard: 32,
    step: .multiply(2))
  static let kernel = Knob("kernel", "neighbours that votes are pooled over", 1...1024, standard: 7)
  static let prompt = Knob(
    "prompt", "tokens of the prompt; 0 is half of the keys", 0...1 << 30, standard: 0,
    step: .add(16))

  public static let card = MethodCard(
    id: "snapkv", title: "SnapKV", family: "eviction",
    idea: "The prompt's last queries vote once which of its keys the answer may see.",
    source: "Li et al., SnapKV, NeurIPS 2024, arXiv 2404.14469",
    knobs: [
      Eviction.knob.facts, window.facts, kernel.facts, prompt.facts, Budget.knob.facts,
    ], mainField: "kept", mainNumber: "answer_recall", denseKnobs: Eviction.dense,
    growth: Growth("window · n") { $0 })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    let size = Eviction.size(knobs, keys: head.keys, &aside)
    let wanted = knobs[Self.prompt] > 0 ? knobs[Self.prompt] : head.keys / 2
    let prompt = min(max(wanted, 1), head.keys)
    // Rows of the prompt; a head that begins behind it has none, and votes with its first rows.
    let rows = min(max(prompt - head.visibility.offset, 1), head.queries)
    let window = min(knobs[Self.window], rows, size)
    var ballot = Ballot(
      prompt: prompt, window: window, size: size, kernel: knobs[Self.kernel],
      dense: head.visibility.offset + rows)
    let set = try ballot.take(head, run)
    aside.selection = window * prompt
    aside.findings.series(
      "votes", Axis(.key, prompt), ballot.votes.map(Float.init), .none, title: "votes for a key")
    if run.wantsNumbers {
      aside.findings.number(
        "answer_recall", try recall(set, head, rows..<head.queries, run), .share,
        title: "recall after the prompt")
    }
    return set
  }

  /// A run knows where its prompt ends: there, unless `prompt` says otherwise.
  public func memory(prompt: Int) -> (any RowMemory)? {
    let end = knobs[Self.prompt] > 0 ? knobs[Self.prompt] : max(prompt, 1)
    let size = Eviction.size(knobs, prompt: prompt)
    return Ballot(
      prompt: end, window: min(knobs[Self.window], end, size), size: size,
      kernel: knobs[Self.kernel], dense: end)
  }

  /// The vote on its way: nobody has voted, then the last rows of the prompt have, then it is
  /// decided.
  private struct Ballot: RowMemory {
    /// Tokens of the prompt.
    let prompt: Int
    /// Rows that vote, and keys before the answer that stay in any case.
    let window: Int
    /// Keys that the cache holds.
    let size: Int
    /// Neighbours that votes are pooled over.
    let kernel: Int
    /// Positions below it see everything; the last `window` of them vote.
    let dense: Int
    /// `[prompt]`, sums of weights.
    private(set) var votes: [Double]
    /// Chosen keys, once all have voted.
    private var chosen: [Int]?

    /// Nobody has voted.
    init(prompt: Int, window: Int, size: Int, kernel: Int, dense: Int) {
      (self.prompt, self.window, self.size) = (prompt, window, size)
      (self.kernel, self.dense) = (kernel, dense)
      votes = [Double](repeating: 0, count: prompt)
    }

    /// Rows before the end of the prompt see all, the others what was chosen. Throws
    /// `CancellationError`.
    mutating func take(_ head: Head, _ run: MethodRun) throws -> KeptSet {
      let offset = head.visibility.offset
      let rows = min(max(dense - offset, 0), head.queries)
      let voters = min(max(dense - window - offset, 0), rows)..<rows
      if !voters.isEmpty {
        run.pattern(head).withRows(voters) { _, p, _ in
          for key in 0..<min(prompt, p.count) { votes[key] += Double(p[key]) }
        }
      }
      try run.checkCancellation()
      var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
      if offset + head.queries >= dense {
        let chosen = chosen ?? choose()
        self.chosen = chosen
        for key in chosen { set.columns[key] = 1 }
        set.keep(columns: max(0, prompt - window)..<head.keys)
      }
      set.keep(KeyRanges([[Range<Int>]](repeating: [0..<head.keys], count: rows)))
      return set
    }

    /// The keys before the window with the most votes.
    private func choose() -> [Int] {
      let first = max(0, prompt - window), reach = kernel / 2
      let pooled = (0..<first).map { key in
        votes[max(0, key - reach)..<min(first, key + reach + 1)].max() ?? 0
      }
      return Shapes.top(max(0, size - window), of: pooled)
    }
  }

  /// Mean mass of rows on what is kept, of long heads of a sample; nil where there are none.
  private func recall(_ set: KeptSet, _ head: Head, _ rows: Range<Int>, _ run: MethodRun) throws
    -> Double?
  {
    let pattern = run.pattern(head), step = run.sampling(head, tiles: head.queries, rows: 1)
    let masses = try RowPicks.spread((rows.count + step - 1) / step, by: 16, run) { part in
      var found: [Double] = []
      for index in part {
        let row = rows.lowerBound + index * step
        pattern.withRows(row..<row + 1) { row, p, _ in
          found.append(min(1, set.mass(of: p, row: row, head.visibility).0))
        }
      }
      return found
    }
    return masses.isEmpty ? nil : masses.reduce(0, +) / Double(masses.count)
  }
}
