import Analysis
public import Attention
import Tensors

/// Learned selectors, read and not guessed: the keys that a model chose for each query (DeepSeek's
/// and GLM's sparse attention, MiniMax's, and their like), as a file holds them.
///
/// Keep (i, j) <=> j is one of the indices of row i. Nothing is computed here that chooses: the
/// array is the model's own, so that what is wrong with a selector can be seen. Indices of a file
/// are taken as they come: -1 is no key; what lies outside the keys or after the query is counted,
/// said and not kept. With `block` above 1 an index stands for so many keys. As in DeepSeek-AI,
/// "DeepSeek-V3.2", 2025, arXiv 2512.02556.
///
/// Findings: those of every mask; `overlap` and the series `overlap_rows` (intersection over union
/// with as many of the heaviest entries of the dense row), `sinks_kept` (share of the first four
/// keys), `sink_mass`, `window_rows` (share whose selection is one run at the query), all over rows
/// that leave something out; `chosen_mean`, `padded`, `out_of_range`, `future`, `repeated`. Alarms
/// are notes. Needs `selected` `[sets, queries, chosen]`; with `index_scores` `[sets, queries,
/// keys]` also `scored_keys`. Cost: the array, and the pattern.
public struct Selected: AttentionMethod {
  static let block = Knob(
    "block", "keys that an index stands for", 1...1 << 20, standard: 1, step: .multiply(2),
    isMain: true, aliases: ["B"])

  /// All heads of a layer, since one selection may serve several.
  public static let card = MethodCard(
    id: "selected", title: "Selected keys (of the file)", family: "learned",
    idea: "Keep what the model's own selector chose: the file says which keys.",
    source: "DeepSeek-AI, DeepSeek-V3.2, 2025, arXiv 2512.02556", scope: .layer,
    needs: [.selection], knobs: [block.facts], mainField: "kept", mainNumber: "recall_mean")

  /// Indices of one head above which rows are not held at once.
  private static let mostIndices = 1 << 27

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// Throws `Missing(.selection)` where there is none, or none of this head's sides, `Missing` of a
  /// length for more indices than memory should hold, and `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    let head = subject.head
    let all = try subject.array(.selection, layer: subject.focus.layer)
    guard let own = Self.own(all, subject), own.shape[0] == head.queries else {
      throw Missing(
        .selection,
        hint: "\(all.shape) is no [sets, queries, chosen] of \(subject.layer.count) heads")
    }
    guard own.count <= Self.mostIndices else {
      throw Missing(.length, hint: "\(own.count) indices a head; `slice` cuts")
    }
    let size = knobs[Self.block]
    let rows = try RowPicks.spread(head.queries, by: 64, run) { part in
      ChosenRow.read(own.slice(axis: 0, part), from: part.lowerBound, head, size: size)
    }
    return try MaskFindings.of(head, run) { aside in
      var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
      set.keep(KeyRanges(rows.map(\.runs)))
      guard run.wantsNumbers else { return set }
      Self.count(rows, &aside)
      try Self.compare(rows, head, run, &aside)
      if let scores = try? subject.array(.indexScores, layer: subject.focus.layer),
        let own = Self.own(scores, subject), own.shape.axes == [head.queries, head.keys]
      {
        try Self.checkScores(own, head, run, &aside)
      }
      return set
    }
  }

  /// The part of `[sets, queries, x]` that the head looked at goes by; nil where sets do not divide
  /// the heads.
  private static func own(_ array: Tensor, _ subject: Subject) -> Tensor? {
    let heads = subject.layer.count
    guard array.shape.rank == 3, array.shape[0] > 0, heads % array.shape[0] == 0 else { return nil }
    return array[subject.focus.head * array.shape[0] / heads]
  }

  /// What is said of the indices alone.
  private static func count(_ rows: [ChosenRow], _ aside: inout Aside) {
    func sum(_ path: KeyPath<ChosenRow, Int>) -> Int { rows.reduce(0) { $0 + $1[keyPath: path] } }
    let mean = Double(sum(\.count)) / Double(max(rows.count, 1))
    aside.findings.number("chosen_mean", mean, .keys, title: "keys chosen a row")
    aside.findings.number("padded", Double(sum(\.padded)), .count, title: "places without a key")
    let faults: [(String, Int, String)] = [
      ("out_of_range", sum(\.outside), "indices lie outside the keys"),
      ("future", sum(\.future), "indices are keys after their query"),
      ("repeated", sum(\.repeated), "indices say a key again"),
    ]
    for (name, number, words) in faults {
      aside.findings.number(name, Double(number), .count, title: words)
      if number > 0 { aside.findings.note("\(number) \(words), and are not counted as kept") }
    }
    let empty = rows.count { $0.count == 0 && $0.limit > 0 }
    if empty > 0 { aside.findings.note("\(empty) rows keep no key at all") }
    let choosing = rows.filter(\.isChoice)
    let windows = choosing.count(where: \.isWindow)
    aside.findings.number(
      "window_rows", choosing.isEmpty ? nil : Double(windows) / Double(choosing.count), .share,
      title: "rows that keep a window alone")
    if choosing.isEmpty {
      aside.findings.note("no row leaves a key out: there was nothing to choose")
    } else if windows == choosing.count {
      aside.findings.note("the selection is only a window")
    }
  }

  /// Rows that leave something out, against the dense pattern; of long heads a sample.
  private static func compare(
    _ rows: [ChosenRow], _ head: Head, _ run: MethodRun, _ aside: inout Aside
  ) throws {
    let pattern = run.pattern(head), step = run.sampling(head, tiles: head.queries, rows: 1)
    let sinks = min(ChosenRow.sinks, head.keys)
    let found = try RowPicks.spread((head.queries + step - 1) / step, by: 16, run) { part in
      var found: [(row: Int, overlap: Double, mass: Double)] = []
      for row in part.map({ $0 * step }) where rows[row].isChoice && rows[row].limit >= sinks {
        pattern.withRows(row..<row + 1) { _, p, lse in
          guard lse != -.infinity else { return }
          let seen = UnsafeBufferPointer(rebasing: p[..<rows[row].limit])
          let best = TopPicks.largest(rows[row].count, of: seen)
          let both = rows[row].runs.reduce(0) { sum, run in sum + best.count(where: run.contains) }
          found.append(
            (
              row, Double(both) / Double(2 * best.count - both),
              p[..<sinks].reduce(0) { $0 + Double($1) }
            ))
        }
      }
      return found
    }
    let count = Double(found.count), isNone = found.isEmpty
    var series = [Float](repeating: .nan, count: head.queries)
    for one in found { series[one.row] = Float(one.overlap) }
    let mass = found.reduce(0) { $0 + $1.mass } / max(count, 1)
    aside.findings.number(
      "overlap", isNone ? nil : found.reduce(0) { $0 + $1.overlap } / count, .share,
      title: "overlap with oracle top-k")
    aside.findings.series(
      "overlap_rows", Axis(.query, head.queries), series, .share,
      title: "overlap with oracle top-k")
    let choosing = rows.filter { $0.isChoice && $0.limit >= sinks }
    let held = (0..<sinks).map { sink in choosing.count { $0.keeps(sink) } }
    aside.findings.number(
      "sinks_kept",
      choosing.isEmpty ? nil : Double(held.reduce(0, +)) / Double(sinks * choosing.count), .share,
      title: "first four keys kept")
    aside.findings.number("sink_mass", isNone ? nil : mass, .share, title: "mass of them")
    let kept = held.count { 2 * $0 >= choosing.count }
    if !choosing.isEmpty, !isNone, kept < sinks {
      aside.findings.note(
        """
        sinks kept \(kept) of \(sinks): these keys hold \(Int((100 * mass).rounded())) % of the \
        mass
        """
      )
    }
  }

  /// The last key that any query which sees it gave a score; scores that end before the keys do are
  /// an indexer that was cut short.
  private static func checkScores(
    _ scores: Tensor, _ head: Head, _ run: MethodRun, _ aside: inout Aside
  ) throws {
    let step = run.sampling(head, tiles: head.queries, rows: 1)
    let chosen = Array(stride(from: head.queries - 1, through: 0, by: -step))
    let ends = try RowPicks.spread(chosen.count, by: 16, run) { part in
      part.map { index -> Int in
        let limit = head.visibility.limit(row: chosen[index])
        return (scores[chosen[index]].floats()[..<limit].lastIndex { $0 != 0 } ?? -1) + 1
      }
    }
    let end = ends.max() ?? 0
    aside.findings.number("scored_keys", Double(end), .count, title: "keys before the last score")
    let unscored = chosen.reduce(0) { $0 + max(0, head.visibility.limit(row: $1) - end) }
    if unscored >= 16 {
      aside.findings.note(
        end == 0 ? "scores are all zero" : "scores are all zero beyond key \(end - 1)")
    }
  }
}

/// What one row of indices says.
struct ChosenRow: Sendable {
  /// First keys, which sinks are among.
  static let sinks = 4

  /// Kept keys that the query sees, ascending.
  var runs: [Range<Int>] = []
  /// Keys that the query sees.
  let limit: Int
  /// The key at the query's own place, among those it sees.
  let position: Int
  /// Kept keys.
  var count = 0
  /// Indices of -1; outside the keys; after the query; said before.
  var padded = 0, outside = 0, future = 0, repeated = 0

  /// `indices` of blocks of `size` keys, in any order.
  init(_ indices: ArraySlice<Int>, row: Int, _ head: Head, size: Int) {
    limit = head.visibility.limit(row: row)
    position = min(max(head.visibility.position(row: row), 0), max(limit - 1, 0))
    let blocks = (head.keys + size - 1) / size
    var last = -1, picks: [Int] = []
    for index in indices.sorted() {
      if index == -1 {
        padded += 1
      } else if index < 0 || index >= blocks {
        outside += 1
      } else if index == last {
        repeated += 1
      } else if index * size >= limit {
        future += 1
        last = index
      } else {
        picks.append(index)
        last = index
      }
    }
    runs = TopPicks.runs(picks).map { $0.lowerBound * size..<min($0.upperBound * size, limit) }
    count = runs.reduce(0) { $0 + $1.count }
  }

  /// Rows of `part` `[rows, chosen]`, the first of which is query `first`.
  static func read(_ part: Tensor, from first: Int, _ head: Head, size: Int) -> [ChosenRow] {
    let wide = part.shape[1], all = part.integers()
    return (0..<part.shape[0]).map {
      ChosenRow(all[$0 * wide..<($0 + 1) * wide], row: first + $0, head, size: size)
    }
  }

  /// Something is kept, and something is not.
  var isChoice: Bool { count > 0 && count < limit }

  /// One run that ends at the query, or holds its place where nothing is causal.
  var isWindow: Bool { runs.count == 1 && runs[0].contains(position) }

  /// A key is kept.
  func keeps(_ key: Int) -> Bool { runs.contains { $0.contains(key) } }
}
