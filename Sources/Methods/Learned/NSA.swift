public import Analysis
public import Attention
import Tensors

/// NSA, native sparse attention: three branches, of which one sees everything coarsely, one a few
/// blocks and one the last keys.
///
///     compressed   p = softmax over blocks of `block` keys, `stride` apart, of scale q . φ(K)
///     selected     the `count` blocks of `selection` keys with the largest Σ_heads Σ_c p_c o_cj,
///                  o_cj how many strides of block c lie in block j (eq. 9 and 10)
///     window       the last `window` keys
///     output       g_1 o_compressed + g_2 o_selected + g_3 o_window
///
/// The first `initial` blocks and the last `local` up to the query's own are always selected and
/// counted; a block is compressed once a query sees all of it. Paper: Yuan et al., "Native Sparse
/// Attention", 2025, arXiv 2502.11089 (32, 16, 64, 16, 512). Surrogate: φ and the gates are trained
/// there; here φ is the mean of a block (of V, too) and the gates are equal, 1/3 each, and all
/// branches read the same K and V, where the paper's have their own. The mask is the union of
/// selected blocks and window.
///
/// Findings: those of every mask; fields `compressed` `[queries, blocks]`, `importance` and
/// `selected` `[queries, selection blocks]` of the group, `window` `[queries, keys]`, `map`
/// `[queries, keys]`, the three branches as one matrix over V; `window_mass` and `selected_mass`,
/// the dense mass of each, `selected_alone` that outside the window, and `map_distance`, half the
/// L1 distance of `map` to the dense row. Needs Q and K. Cost n (n / stride) products a head.
public struct NSA: GroupMaskMethod {
  static let block = Knob(
    "block", "keys of a compressed block", 1...1 << 16, standard: 32, step: .multiply(2),
    aliases: ["l"])
  static let stride = Knob(
    "stride", "keys from a compressed block to the next", 1...1 << 16, standard: 16,
    step: .multiply(2), aliases: ["d"])
  static let selection = Knob(
    "selection", "keys of a block that is selected", 1...1 << 16, standard: 64, step: .multiply(2))
  static let count = Knob(
    "count", "selected blocks a query, forced ones included", 1...1 << 30, standard: 16,
    step: .multiply(2), isMain: true, aliases: ["n", "k"])
  static let window = Knob(
    "window", "last keys, the query's own included", 1...1 << 30, standard: 512,
    step: .multiply(2), aliases: ["w"])
  static let initial = Knob("initial", "first blocks selected always", 0...1 << 20, standard: 1)
  static let local = Knob("local", "last blocks selected always", 0...1 << 20, standard: 2)

  public static let card = MethodCard(
    id: "nsa", title: "NSA (native sparse attention)", family: "pages",
    idea: "Coarse attention to all blocks picks the few that are read; a window has the rest.",
    source: "Yuan et al., Native Sparse Attention, 2025, arXiv 2502.11089", scope: .group,
    needs: [.queryKey],
    knobs: [
      count.facts, block.facts, stride.facts, selection.facts, window.facts, initial.facts,
      local.facts, Budget.knob.facts,
    ],
    fidelity: .surrogate(.U0, "blocks are compressed to their mean, and gates are equal"),
    mainField: "kept", mainNumber: "recall_mean",
    denseKnobs: ["count": .number(Double(1 << 30))],
    growth: Growth("n²/16, keys of windows") { $0 * $0 })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// One set for all heads of the group. Throws `Missing`, `CancellationError`.
  public func keep(_ group: HeadGroup, _ slot: Int, _ run: MethodRun, _ aside: inout Aside) throws
    -> KeptSet
  {
    let head = group.heads[slot]
    let budget = Budget(
      knobs, of: ["count", "block", "stride", "selection", "window"], keys: head.keys,
      reference: 8 * 1024)
    let size = budget.block(knobs[Self.selection]), step = budget.block(knobs[Self.stride])
    let block = budget.block(knobs[Self.block]), count = knobs[Self.count]
    let window = min(budget.tokens(knobs[Self.window]), head.keys)
    budget.note(
      ["block": block, "stride": step, "selection": size, "window": window], &aside)
    aside.findings.note("U0: \(Self.card.fidelity.sentence)")
    let choice = BlockChoice(
      head, try PooledKernels(group, size: block, stride: step), size: size, count: count,
      initial: knobs[Self.initial], local: knobs[Self.local])
    let picked = KeyRanges(
      try RowPicks.spread(head.queries, by: 16, run) { rows in rows.map(choice.runs) })
    var near = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    for offset in 0..<window { near.keep(offset: offset) }
    var set = near
    set.keep(picked)
    aside.selection = choice.kernels.products / group.heads.count
    guard run.wantsNumbers else { return set }
    var chosen = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    chosen.keep(picked)
    let branches = NSABranches(
      head, choice.kernels, slot, chosen: chosen, near: near, pattern: run.pattern(head))
    choice.report(slot, &aside)
    aside.findings.field(
      "window", KeptField(near, head.visibility), .kept, title: "sliding window")
    aside.findings.field(
      "map", branches.field, .weights, title: "three branches, a third each")
    try branches.report(run, &aside)
    return set
  }
}

/// NSA's choice of blocks for a group.
struct BlockChoice: Sendable {
  /// The compressed branch.
  let kernels: PooledKernels
  private let head: Head
  private let size: Int, count: Int, initial: Int, local: Int

  /// Blocks of `size` keys, `count` a query.
  init(
    _ head: Head, _ kernels: PooledKernels, size: Int, count: Int, initial: Int, local: Int
  ) {
    (self.head, self.kernels, self.size, self.count) = (head, kernels, size, count)
    (self.initial, self.local) = (initial, local)
  }

  /// `[seen selection blocks]`: the group's compressed attention, by the strides that it shares
  /// with each.
  func importance(_ row: Int) -> [Double] {
    let limit = head.visibility.limit(row: row)
    var sums = [Double](repeating: 0, count: (limit + size - 1) / size)
    for (index, weight) in kernels.shared(row).enumerated() {
      let keys = kernels.keys(index)
      for block in keys.lowerBound / size...(keys.upperBound - 1) / size {
        let shared = keys.clamped(to: block * size..<(block + 1) * size).count
        sums[block] += weight * Double(shared) / Double(kernels.stride)
      }
    }
    return sums
  }

  /// Blocks of a row, ascending.
  func blocks(_ row: Int) -> [Int] {
    let limit = head.visibility.limit(row: row)
    guard limit > 0 else { return [] }
    let own = min(max(head.visibility.position(row: row), 0), limit - 1) / size
    return ForcedBlocks.pick(
      count, of: importance(row), own: own, initial: initial, local: local)
  }

  /// Their keys, as far as the row sees them.
  func runs(_ row: Int) -> [Range<Int>] {
    let limit = head.visibility.limit(row: row)
    return blocks(row).map { $0 * size..<min(($0 + 1) * size, limit) }
  }

  /// Fields of the compressed and of the selected blocks.
  func report(_ slot: Int, _ aside: inout Aside) {
    aside.findings.field(
      "compressed", kernels.field(slot), .weights, title: "attention to compressed blocks")
    let rows = Axis(.query, head.queries)
    let columns = Axis(
      .block, (head.keys + size - 1) / size, span: size, tokens: head.keys)
    aside.findings.field(
      "importance",
      RuleField(rows: rows, columns: columns) { row, out in
        out.update(repeating: .nan)
        for (block, score) in importance(row).enumerated() { out[block] = Float(score) }
      }, .magnitude(.none), title: "the group's attention to a block")
    aside.findings.field(
      "selected",
      RuleField(rows: rows, columns: columns) { row, out in
        let seen = (head.visibility.limit(row: row) + size - 1) / size
        for block in 0..<columns.count { out[block] = block < seen ? 0 : .nan }
        for block in blocks(row) { out[block] = 1 }
      }, .kept, title: "selected blocks")
  }
}

/// NSA's three branches of a head as rows over keys, with equal gates.
struct NSABranches: Sendable {
  private let head: Head
  private let kernels: PooledKernels
  private let slot: Int
  private let chosen: KeptSet, near: KeptSet
  private let pattern: PatternRows

  /// `chosen` and `near` are what selection and window keep.
  init(
    _ head: Head, _ kernels: PooledKernels, _ slot: Int, chosen: KeptSet, near: KeptSet,
    pattern: PatternRows
  ) {
    (self.head, self.kernels, self.slot) = (head, kernels, slot)
    (self.chosen, self.near, self.pattern) = (chosen, near, pattern)
  }

  /// A row of the matrix over V `[keys]`, from its dense row: a softmax over some keys is the dense
  /// row there, renormalised; a mean key's weight is spread evenly. Before the first compressed
  /// block the other two branches have halves.
  func mix(_ p: UnsafeBufferPointer<Float>, _ row: Int) -> [Double] {
    let weights = kernels.weights(slot, row), limit = head.visibility.limit(row: row)
    var out = [Double](repeating: 0, count: head.keys)
    let gate = 1 / (weights.isEmpty ? 2.0 : 3.0)
    for (index, weight) in weights.enumerated() {
      for key in kernels.keys(index) { out[key] += gate * weight / Double(kernels.size) }
    }
    for set in [chosen, near] {
      let flags = set.row(row, head.visibility)
      let mass = (0..<limit).reduce(0) { flags[$1] != 0 ? $0 + Double(p[$1]) : $0 }
      guard mass > 0 else { continue }
      for key in 0..<limit where flags[key] != 0 { out[key] += gate * Double(p[key]) / mass }
    }
    return out
  }

  /// The matrix `[queries, keys]`; NaN where a query may not see.
  var field: any RowField {
    RuleField(rows: Axis(.query, head.queries), columns: Axis(.key, head.keys)) { row, out in
      pattern.withRows(row..<row + 1) { row, p, _ in
        let limit = head.visibility.limit(row: row)
        for (key, weight) in mix(p, row).enumerated() {
          out[key] = key < limit ? Float(weight) : .nan
        }
      }
    }
  }

  /// What the branches have of the dense rows, of long heads from a sample. Throws
  /// `CancellationError`.
  func report(_ run: MethodRun, _ aside: inout Aside) throws {
    let step = run.sampling(head, tiles: head.queries, rows: 1)
    let found = try RowPicks.spread((head.queries + step - 1) / step, by: 16, run) { part in
      var found: [[Double]] = []
      for row in part.map({ $0 * step }) {
        pattern.withRows(row..<row + 1) { row, p, lse in
          guard lse != -.infinity else { return }
          let flags = chosen.row(row, head.visibility), window = near.row(row, head.visibility)
          let mixed = mix(p, row)
          var sums = [0.0, 0.0, 0.0, 0.0]
          for key in 0..<head.visibility.limit(row: row) {
            let mass = Double(p[key])
            if window[key] != 0 { sums[0] += mass }
            if flags[key] != 0 { sums[1] += mass }
            if flags[key] != 0, window[key] == 0 { sums[2] += mass }
            sums[3] += abs(mixed[key] - mass) / 2
          }
          found.append(sums)
        }
      }
      return found
    }
    let names = [
      ("window_mass", "mass in the window"), ("selected_mass", "mass on selected blocks"),
      ("selected_alone", "mass on selected blocks outside the window"),
      ("map_distance", "distance of the three branches from dense"),
    ]
    for (index, (name, title)) in names.enumerated() {
      let sum = found.reduce(0) { $0 + $1[index] }
      aside.findings.number(
        name, found.isEmpty ? nil : sum / Double(found.count), .share, title: title)
    }
  }
}
