public import Attention
import Tensors

/// A method that keeps some entries of each head and drops the others: `keep` is all it has to say.
///
/// It gets a field `kept`, its outputs, the shared numbers, and a forward pass for engines.
///
/// Example: an A-shape is `func keep(...) { Shapes.aShape(head, initial: 4, local: 64) }` and a
/// card. The catch: `keep` sees one head at a time; a method whose heads decide together writes its
/// own `attend`.
public protocol MaskMethod: EngineMethod {
  /// What is kept of a head. What else there is to say (a search, a strip, dot products spent on
  /// deciding) goes into `aside`. Throws `Missing`, `CancellationError`.
  func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet
  /// Rows that keep nothing are not computed by this method, rather than badly: the shared numbers
  /// of rows run over the others, and the number of those left out is said.
  static var leavesRowsOut: Bool { get }
}

extension MaskMethod {
  /// Every row that sees a key counts.
  public static var leavesRowsOut: Bool { false }
}

/// A mask that depends on the rows before: a cache that evicts, a vote at the end of a prompt.
///
/// Over a dump it is replayed from the first row. In an engine the rows come in parts, and its
/// `memory` goes from one to the next. Engines give queries as their record keeps them, so that a
/// replay over the record says who was alive, and a branch may begin anywhere.
public protocol ReplayedMask: MaskMethod {}

extension ReplayedMask {
  /// Attention over what is kept, by the memories of the rows before where there are any; nil when
  /// cancelled or when something is missing, with the memories as they were.
  public func attend(_ group: HeadGroup, state: inout AttentionState, trace: inout Trace)
    -> [[Float]]?
  {
    let run = MethodRun(state)
    guard state.memories.count == group.heads.count else {
      var aside = Aside()
      guard let sets = try? group.heads.map({ try keep($0, run, &aside) }) else { return nil }
      return attend(group, to: sets, state, &trace)
    }
    var memories = state.memories
    let sets = try? zip(memories.indices, group.heads).map { slot, head in
      try memories[slot].take(head.recorded, run)
    }
    guard let sets, let outputs = attend(group, to: sets, state, &trace) else { return nil }
    state.memories = memories
    return outputs
  }
}

/// What a mask method says beside its mask.
public struct Aside: Sendable {
  /// What is added after the shared findings, and over those of the same name.
  public var findings = Findings()
  /// Query-key dot products spent on deciding what to keep.
  public var selection = 0
  /// Rows of the field `kept` as they are looked at, where a set of all rows is too large: the set
  /// then holds those rows alone that numbers are read from. See `RowPicks.looked`.
  public var keptRows: (any RowField)?

  /// Nothing yet.
  public init() {}
}

extension MaskMethod {
  /// Kept entries, outputs and shared numbers. Throws `Missing`, `CancellationError`.
  /// Also throws what `keep` throws. Without `run.wantsNumbers` only the field `kept` is there.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    var run = run
    run.tokens = subject.tokens
    return try MaskFindings.of(subject.head, run, leavesRowsOut: Self.leavesRowsOut) {
      try keep(subject.head, run, &$0)
    }
  }

  /// What every mask says of a set that is kept of a head, and what was put aside over it: for
  /// methods whose heads decide together. Throws `CancellationError`.
  public func findings(
    of set: KeptSet, on head: Head, _ aside: Aside, _ run: MethodRun
  ) throws -> Findings {
    try MaskFindings.of(head, run, leavesRowsOut: Self.leavesRowsOut) {
      $0 = aside
      return set
    }
  }

  /// Attention over kept entries of every head of a group, tile by tile; nil when cancelled or when
  /// something is missing.
  public func attend(_ group: HeadGroup, state: inout AttentionState, trace: inout Trace)
    -> [[Float]]?
  {
    let run = MethodRun(state)
    var aside = Aside()
    guard let sets = try? group.heads.map({ try keep($0, run, &aside) }) else { return nil }
    trace.cost.selection += aside.selection
    return attend(group, to: sets, state, &trace)
  }

  /// Attention over the kept entries of every head; nil when cancelled.
  func attend(
    _ group: HeadGroup, to sets: [KeptSet], _ state: AttentionState, _ trace: inout Trace
  ) -> [[Float]]? {
    let tile = TileSpec(rows: MaskNumbers.tile, keys: MaskNumbers.tile)
    let output = attendByTiles(group, tile, .kept(sets), state, &trace)
    trace.keptSets = sets
    return output
  }
}

/// What every mask is told about, however it was chosen: its field, its outputs and the shared
/// numbers.
public enum MaskFindings {
  /// Of what `keep` keeps of a head, and what it says aside. Without `run.wantsNumbers` only the
  /// field `kept` is there. With `leavesRowsOut` rows that keep nothing are no part of the numbers.
  /// Throws what `keep` throws, and `CancellationError`.
  public static func of(
    _ head: Head, _ run: MethodRun, leavesRowsOut: Bool = false,
    _ keep: (inout Aside) throws -> KeptSet
  ) throws -> Findings {
    var aside = Aside(), findings = Findings()
    let set = try keep(&aside)
    let rows = aside.keptRows ?? KeptField(set, head.visibility)
    findings.field("kept", rows, .kept, title: "kept entries")
    guard run.wantsNumbers else { return findings }
    let numbers = try MaskNumbers(head, set, run, leavesRowsOut: leavesRowsOut)
    numbers.add(to: &findings)
    findings.number(
      "selection", Double(aside.selection) / Double(max(head.visibleEntries, 1)), .share,
      title: "selection overhead")
    findings.field(
      "blocks", BlockField(numbers.mask, queries: head.queries, keys: head.keys),
      .labels(["computed", "skipped"]), title: "64x64 tiles")
    let tile = TileSpec(rows: MaskNumbers.tile, keys: MaskNumbers.tile)
    try OutputNumbers.add(
      HeadGroup([head]), 0, tile, .kept([set]), leavesRowsOut: leavesRowsOut, run,
      to: &findings)
    findings.merge(aside.findings)
    return findings
  }
}

/// The forward pass that tile-wise methods share: outputs, masks and costs. Nil when cancelled.
/// Outputs are `[queries * valueDim]`, one for each head of the group, empty without V; `trace`
/// gets a mask a head and the counts.
public func attendByTiles(
  _ group: HeadGroup, _ spec: TileSpec, _ selection: Selection,
  _ state: AttentionState, _ trace: inout Trace, screen: Screening = .none
) -> [[Float]]? {
  let pass = TilePass(
    group, keysPerTile: spec.keys, withValues: group.heads[0].value != nil,
    precision: state.precision, threads: state.threads)
  guard let outputs = pass.forward(spec, selection, screen: screen, threads: state.threads) else {
    return nil
  }
  trace.masks = outputs.map(\.mask)
  for mask in trace.masks { trace.cost.add(mask, group) }
  return outputs.map(\.values)
}

/// Outputs of a sparse pass beside dense ones.
///
/// Both are computed here, at the same tile: nothing is taken from a file. Cost: two forward
/// passes.
public enum OutputNumbers {
  /// Adds `error`, `error_max`, `error_cosine` and the field `output` `[queries, valueDim]` of one
  /// head of a group; without V the numbers are unknown. Of long heads some row tiles stand for
  /// all. With `leavesRowsOut` rows of a kept set that keep nothing are no part of the numbers, and
  /// NaN in `output`. Throws `CancellationError`.
  public static func add(
    _ group: HeadGroup, _ slot: Int, _ spec: TileSpec, _ selection: Selection,
    screen: Screening = .none, leavesRowsOut: Bool = false, _ run: MethodRun,
    to findings: inout Findings
  ) throws {
    let head = group.heads[slot]
    guard head.value != nil else {
      for name in ["error", "error_max", "error_cosine"] { findings.number(name, nil) }
      return
    }
    let tiles = (head.queries + spec.rows - 1) / spec.rows
    let step = run.sampling(head, tiles: tiles, rows: spec.rows)
    guard var (dense, sparse) = pair(group, slot, spec, selection, screen, every: step, run) else {
      throw CancellationError()
    }
    let empty = leavesRowsOut ? emptyRows(selection, slot, head, spec, every: step) : []
    // Zeros on both sides add nothing to any of the three numbers.
    fill(empty, of: &dense.values, head.valueDim, with: 0)
    fill(empty, of: &sparse.values, head.valueDim, with: 0)
    let error = OutputError(
      dense: dense.values, sparse: sparse.values, sampled: step > 1 ? step : nil)
    findings.number("error", error.relativeL2, title: "output error, relative L2")
    findings.number("error_max", error.maxAbsolute, title: "output error, largest")
    findings.number(
      "error_cosine", cosine(dense.values, sparse.values, head.valueDim),
      title: "mean row cosine")
    if screen != .none {
      // A count of the sample is none of the head.
      findings.number(
        "decided_by_bound", step > 1 ? nil : Double(sparse.decidedByBound), .blocks,
        title: "decided by the bound")
    }
    guard step == 1 else {
      // Only the rows of some tiles are there: no field of all queries.
      findings.note("output error from one row tile in \(step)")
      return
    }
    fill(empty, of: &sparse.values, head.valueDim, with: .nan)
    findings.field(
      "output",
      WholeField(
        rows: Axis(.query, head.queries), columns: Axis(.channel, head.valueDim),
        values: sparse.values), .signed)
  }

  /// The dense and the sparse output of a head; the dense one from what methods share, where a run
  /// has that. Nil when cancelled.
  private static func pair(
    _ group: HeadGroup, _ slot: Int, _ spec: TileSpec, _ selection: Selection,
    _ screen: Screening, every step: Int, _ run: MethodRun
  ) -> (dense: HeadOutput, sparse: HeadOutput)? {
    let shared = run.passes.flatMap { $0.serve(group.heads[slot], run) ? $0 : nil }
    let alone = group.heads.count == 1 ? shared : nil
    let pass =
      alone?.pass(keysPerTile: spec.keys, threads: run.threads)
      ?? TilePass(
        group, keysPerTile: spec.keys, withValues: true, precision: run.precision,
        threads: run.threads)
    func forward(_ selection: Selection, _ screen: Screening) -> HeadOutput? {
      pass.forward(
        spec, selection, screen: screen, every: step, threads: run.threads,
        isCancelled: run.isCancelled)?[slot]
    }
    let dense =
      alone.map { $0.dense(spec, every: step, run) } ?? forward(.blasst(lambda: 0), .none)
    guard let dense, let sparse = forward(selection, screen) else { return nil }
    return (dense, sparse)
  }

  /// Rows that keep nothing, by their place among the rows of computed tiles.
  private static func emptyRows(
    _ selection: Selection, _ slot: Int, _ head: Head, _ spec: TileSpec, every step: Int
  ) -> [Int] {
    guard case .kept(let sets) = selection else { return [] }
    let tiles = (head.queries + spec.rows - 1) / spec.rows
    let rows = stride(from: tiles - 1, through: 0, by: -step).reversed().flatMap {
      $0 * spec.rows..<min(($0 + 1) * spec.rows, head.queries)
    }
    return rows.indices.filter { sets[slot].count([rows[$0]], head.visibility) == 0 }
  }

  /// Writes `value` into some rows of an output `[rows * dim]`.
  private static func fill(_ rows: [Int], of output: inout [Float], _ dim: Int, with value: Float) {
    for row in rows { for x in row * dim..<(row + 1) * dim { output[x] = value } }
  }

  /// Mean over rows of the cosine between two outputs `[rows * dim]`; rows of zeros are left out.
  static func cosine(_ a: [Float], _ b: [Float], _ dim: Int) -> Double? {
    guard dim > 0 else { return nil }
    var sum = 0.0, rows = 0
    for start in stride(from: 0, to: a.count, by: dim) {
      var product = 0.0, left = 0.0, right = 0.0
      for x in start..<start + dim {
        product += Double(a[x]) * Double(b[x])
        left += Double(a[x]) * Double(a[x])
        right += Double(b[x]) * Double(b[x])
      }
      guard left > 0, right > 0 else { continue }
      sum += product / (left * right).squareRoot()
      rows += 1
    }
    return rows == 0 ? nil : sum / Double(rows)
  }
}
