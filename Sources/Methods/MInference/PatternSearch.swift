import Algebra
public import Analysis
public import Attention
import Tensors

/// MInference 1.0's offline search: which of its three shapes, and how large, suits this head.
///
/// Every candidate M is scored on the head, and the best is kept, ties to the first:
///
///     paper   ‖O - O^M‖_F, least     A-shape (1024, 4096); vertical-slash (30, 2048), (100, 1800),
///                                    (500, 1500), (3000, 200); block-sparse 100
///     v1      mean of Σ_{j in M_i} A_ij over rows i >= 2500, most     A-shape (100, 800);
/// vertical-slash (30, 800), (100, 750), (500, 700), (3500, 100);
///                                    the best eighth of blocks of 32
/// v2 entries with |O - O^M| > 5e-3, least A-shape (100, 800); vertical-slash (30, 800),
/// (100, 800), (100, 750), (500, 700), (3500, 100), (1000, 4096);
///                                    block-sparse 100
///
/// O^M is attention renormalised over M. The paper's table (Jiang et al., "MInference 1.0", 2024,
/// arXiv 2407.02490, section 3.2 and table 7) makes the kernel's work of all candidates equal; v1
/// and v2 are the two searches of the released code, whose numbers differ. In v1 a winning A-shape
/// becomes the vertical-slash of the same numbers, and winning blocks the vertical-slash (1000,
/// 6096). The first 30 columns are taken before others, and the 100 smallest offsets, 30 of them
/// while v1 and v2 search. The search is the authors', run on what is displayed and not on their
/// calibration prompt: it is not their shipped table. Ours: below 5000 tokens v1 looks at the
/// second half of the rows; numbers are scaled from 128k tokens to this map unless `budget` is
/// `paper`.
///
/// Findings: those of every mask, of the winner; series `scores`, `densities` and `winner` (1 at
/// the one that is kept) along the candidates; `winner_index` and `score`; `columns_kept`,
/// `offsets_kept` and the field `origin` where the winner is a vertical-slash. Needs V, but for v1.
/// Cost: n² d for the map, and n² dv a candidate. Of long heads a sample of rows is scored.
public struct PatternSearch: MaskMethod {
  /// Whose candidates, and by which score.
  enum Search: String, Sendable, CaseIterable { case paper, v1, v2 }

  static let search = Knob(
    "search", "the paper's candidates and score, or those of the released code",
    standard: Search.paper, isMain: true)

  public static let card = MethodCard(
    id: "minference-search", title: "MInference's pattern search", family: "minference",
    idea: "Try every shape of a table on the head, and keep the one that changes it least.",
    source: "Jiang et al., MInference 1.0, 2024, arXiv 2407.02490",
    knobs: [search.facts, VerticalSlash.level.facts, Budget.knob.facts],
    promises: [.deterministic], mainField: "kept", mainNumber: "recall_mean",
    growth: Growth("n², every candidate on every row") { $0 * $0 })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// It needs the answer to find what is left of it.
  public var engineRefusal: String? { "compares every candidate with the whole map" }

  /// The winner's set. Throws `Missing(.values)` without V, but for v1, and `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    let search = knobs[Self.search]
    if search != .v1, head.value == nil { throw Missing(.values) }
    let budget = Budget(knobs, of: [], keys: head.keys)
    let maker = CandidateSets(
      head, Shapes.lastQueries(run.pattern(head), rows: 64), budget,
      isKernel: knobs[VerticalSlash.level] == .kernel)
    let candidates = Candidate.all(search)
    let sets = candidates.map { maker.set($0, forcedOffsets: search == .paper ? 100 : 30) }
    let trial = try CandidateTrial(head, sets, run)
    let scores = sets.indices.map { trial.score($0, search) }
    var best = 0
    for (index, score) in scores.enumerated() {
      if search == .v1 ? score > scores[best] : score < scores[best] { best = index }
    }
    aside.selection = head.visibleEntries
    say(candidates, scores, best, trial, search, &aside)
    if budget.isScaled {
      let values = candidates.map { maker.text($0) }.joined(separator: "; ")
      aside.findings.note("scaled from 128k tokens to this map: \(values)")
    }
    guard search == .v1, let runs = candidates[best].runsAs else {
      describe(head, sets[best], candidates[best], &aside)
      return sets[best]
    }
    aside.findings.note("the winner is run as \(runs.name)")
    let set = maker.set(runs, forcedOffsets: 100)
    describe(head, set, runs, &aside)
    return set
  }

  /// Every candidate with its score and density, the winner marked.
  private func say(
    _ candidates: [Candidate], _ scores: [Double], _ best: Int, _ trial: CandidateTrial,
    _ search: Search, _ aside: inout Aside
  ) {
    let axis = Axis(.slot, candidates.count, labels: candidates.map(\.name))
    let (unit, title): (Unit, String) =
      switch search {
      case .paper: (.none, "output difference of candidates, least wins")
      case .v1: (.share, "recall of candidates in late rows, most wins")
      case .v2: (.entries, "outputs of candidates that are off, least wins")
      }
    aside.findings.series("scores", axis, scores.map(Float.init), unit, title: title)
    aside.findings.series(
      "densities", axis, candidates.indices.map { Float(trial.density($0)) }, .share,
      title: "density of candidates")
    aside.findings.series(
      "winner", axis, candidates.indices.map { $0 == best ? 1 : 0 }, .count, title: "the winner")
    aside.findings.number("winner_index", Double(best), .count, title: "winner, counted from 0")
    aside.findings.number("score", scores[best], unit, title: "score of the winner")
    aside.findings.note("winner: \(candidates[best].name)")
    if let rows = trial.sampledRows { aside.findings.note("candidates scored on \(rows) rows") }
  }

  /// What a vertical-slash consists of; nothing of other shapes.
  private func describe(
    _ head: Head, _ set: KeptSet, _ candidate: Candidate, _ aside: inout Aside
  ) {
    guard case .verticalSlash = candidate else { return }
    let columns = set.columns.reduce(0) { $0 + Int($1) }
    aside.findings.number("columns_kept", Double(columns), .keys, title: "columns kept")
    // The kernel's cover holds runs of keys in place of diagonals.
    guard set.ranges == nil else { return }
    aside.findings.number(
      "offsets_kept", Double(set.offsets.count), .count, title: "diagonals kept")
    aside.findings.field(
      "origin", OriginField(head, set), .labels(["none", "vertical", "slash", "both"]),
      title: "chosen by")
  }
}

/// A shape that is tried, by the numbers of its table.
enum Candidate: Sendable {
  /// First and recent tokens.
  case aShape(Int, Int)
  /// Columns and diagonals.
  case verticalSlash(Int, Int)
  /// Blocks of 64 tokens.
  case blocks(Int)
  /// One in so many of the blocks of 32 tokens.
  case blockShare(Int)

  /// The table of a search.
  static func all(_ search: PatternSearch.Search) -> [Candidate] {
    switch search {
    case .paper:
      [.aShape(1024, 4096)]
        + [(30, 2048), (100, 1800), (500, 1500), (3000, 200)].map { .verticalSlash($0, $1) }
        + [.blocks(100)]
    case .v1:
      [.aShape(100, 800)]
        + [(30, 800), (100, 750), (500, 700), (3500, 100)].map { .verticalSlash($0, $1) }
        + [.blockShare(8)]
    case .v2:
      [.aShape(100, 800)]
        + [(30, 800), (100, 800), (100, 750), (500, 700), (3500, 100), (1000, 4096)].map {
          .verticalSlash($0, $1)
        } + [.blocks(100)]
    }
  }

  /// The numbers of the table, whatever is in force.
  var name: String {
    switch self {
    case .aShape(let initial, let local): "a-shape \(initial),\(local)"
    case .verticalSlash(let columns, let offsets): "vertical-slash \(columns),\(offsets)"
    case .blocks(let count): "block-sparse \(count)"
    case .blockShare(let part): "block-sparse 1/\(part)"
    }
  }

  /// What v1 makes of it once it has won; nil for itself.
  var runsAs: Candidate? {
    switch self {
    case .aShape(let initial, let local): .verticalSlash(initial, local)
    case .verticalSlash: nil
    case .blocks, .blockShare: .verticalSlash(1000, 6096)
    }
  }
}

/// Makes kept sets of candidates on one head.
struct CandidateSets {
  private let head: Head
  private let seen: Shapes.LastQueries
  private let budget: Budget
  private let isKernel: Bool

  /// `seen` are the last 64 queries; `isKernel` widens vertical-slash to what its kernel covers.
  init(_ head: Head, _ seen: Shapes.LastQueries, _ budget: Budget, isKernel: Bool) {
    (self.head, self.seen, self.budget, self.isKernel) = (head, seen, budget, isKernel)
  }

  /// The numbers in force, in the order of the name.
  func text(_ candidate: Candidate) -> String {
    switch candidate {
    case .aShape(let a, let b), .verticalSlash(let a, let b):
      "\(budget.tokens(a)),\(budget.tokens(b))"
    case .blocks(let count):
      "\(budget.blocks(count, size: 64)) blocks of \(budget.block(64))"
    case .blockShare: "\(shared(candidate)) blocks of \(budget.block(32))"
    }
  }

  /// ⌊blocks / part⌋ of a share of blocks, at least one.
  private func shared(_ candidate: Candidate) -> Int {
    guard case .blockShare(let part) = candidate else { return 0 }
    let size = budget.block(32)
    return max(1, (head.keys + size - 1) / size / part)
  }

  /// What a candidate keeps; of a vertical-slash the smallest offsets are taken first.
  func set(_ candidate: Candidate, forcedOffsets: Int) -> KeptSet {
    switch candidate {
    case .aShape(let initial, let local):
      return Shapes.aShape(
        head, initial: budget.tokens(initial), local: min(budget.tokens(local), head.keys))
    case .verticalSlash(let columns, let offsets):
      let set = Shapes.verticalSlash(
        head, seen, vertical: budget.tokens(columns), slash: budget.tokens(offsets),
        forcedColumns: budget.tokens(30), forcedOffsets: budget.tokens(forcedOffsets))
      guard isKernel, head.visibility.causal else { return set }
      return VerticalSlash.cover(head, set, size: budget.block(64))
    case .blocks(let count):
      return Shapes.blockSparse(
        head, size: budget.block(64), count: budget.blocks(count, size: 64))
    case .blockShare:
      return Shapes.blockSparse(head, size: budget.block(32), count: shared(candidate))
    }
  }
}

/// Candidates against the dense map, row by row, in double precision.
struct CandidateTrial: Sendable {
  /// What one candidate does to some rows.
  private struct Part: Sendable {
    var squares = 0.0, off = 0, recall = 0.0, kept = 0
  }

  /// Rows that were looked at; nil for all.
  let sampledRows: Int?
  private let parts: [Part]
  private let visible: Int
  /// Rows that v1 looks at.
  private let late: Int

  /// Throws `CancellationError`.
  init(_ head: Head, _ sets: [KeptSet], _ run: MethodRun) throws {
    let rows = DoubleRows(head), visibility = head.visibility
    let width = head.valueDim, values = head.value?.floats().map(Double.init) ?? []
    let step = run.sampling(head, tiles: head.queries, rows: 1)
    let chosen = Array(stride(from: head.queries - 1, through: 0, by: -step))
    let first = head.keys < 5000 ? head.keys / 2 : 2500
    let found = try RowPicks.spread(chosen.count, by: 8, run) { places in
      places.map { place -> [Part] in
        let row = chosen[place], limit = visibility.limit(row: row)
        let isLate = visibility.position(row: row) >= first
        let logits = Array(rows.logits(row)[..<limit]), p = Elementary.softmax(logits)
        let dense = Self.output(logits, nil, values, width)
        return sets.map { set in
          let flags = set.row(row, visibility), sparse = Self.output(logits, flags, values, width)
          var part = Part()
          for (a, b) in zip(dense, sparse) {
            part.squares += (a - b) * (a - b)
            part.off += abs(a - b) > 5e-3 ? 1 : 0
          }
          for j in 0..<limit where flags[j] != 0 {
            part.kept += 1
            if isLate { part.recall += p[j] }
          }
          return part
        }
      }
    }
    parts = sets.indices.map { index in
      found.reduce(into: Part()) {
        $0.squares += $1[index].squares
        $0.off += $1[index].off
        $0.recall += $1[index].recall
        $0.kept += $1[index].kept
      }
    }
    visible = chosen.reduce(0) { $0 + visibility.limit(row: $1) }
    late =
      chosen.filter { visibility.position(row: $0) >= first && visibility.limit(row: $0) > 0 }
      .count
    sampledRows = step > 1 ? chosen.count : nil
  }

  /// Attention of one row over what is flagged, everything without flags: `[width]`. Zero where
  /// nothing is kept.
  private static func output(
    _ logits: [Double], _ flags: [UInt8]?, _ values: [Double], _ width: Int
  ) -> [Double] {
    var out = [Double](repeating: 0, count: width)
    guard width > 0 else { return out }
    let kept =
      flags.map { flags in logits.indices.filter { flags[$0] != 0 } }
      ?? Array(logits.indices)
    let weights = Elementary.softmax(kept.map { logits[$0] })
    for (j, weight) in zip(kept, weights) where weight != 0 {
      for x in 0..<width { out[x] += weight * values[j * width + x] }
    }
    return out
  }

  /// Of one candidate: ‖O - O^M‖_F, mean recall of late rows, or outputs that are off by more than
  /// 5e-3.
  func score(_ index: Int, _ search: PatternSearch.Search) -> Double {
    switch search {
    case .paper: parts[index].squares.squareRoot()
    case .v1: parts[index].recall / Double(max(late, 1))
    case .v2: Double(parts[index].off)
    }
  }

  /// Kept entries of one candidate over visible ones, of the rows that were looked at.
  func density(_ index: Int) -> Double { Double(parts[index].kept) / Double(max(visible, 1)) }
}
