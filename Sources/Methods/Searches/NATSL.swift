import Algebra
public import Analysis
public import Attention
import Tensors

/// NAtS-L: a router sends each chunk of keys to softmax attention or into the state of a Gated
/// DeltaNet; every query reads both.
///
/// Drawn is the softmax branch: a query sees the keys of softmax chunks, and of the last chunk,
/// which goes to both. Rows that see none of them are served by the state alone and have no output
/// here. The published router is trained on hidden states; the surrogate here takes what a chunk c
/// receives from queries more than a chunk away, I_c = Σ_{i >= end_c + chunk} Σ_{j in c} A_ij over
/// the number of such rows (end_c the first row after it; 0 without such rows), and sends the top
/// ⌊share (chunks - 1) + 1/2⌋ of all chunks but the last to softmax. The state is `GatedDelta` with
/// a = 1 and b = 0.5 (ours), fed by the other chunks with normalised keys; what combines the
/// branches is left out. Paper: "NAtS-L", ICML 2026, arXiv 2602.03681 (card S24).
///
/// Findings: those of every mask, the series `softmax_chunk` (0 state, 1 softmax, 2 both) and
/// `importance` along chunks, `softmax_share` and `cache` (share of chunks whose keys are kept),
/// `state_mass` (dense weight on what the state alone has, over all rows), and with V the series
/// `state_norm` along keys. Needs nothing but the pattern; Q, K and V for the state. Cost: the
/// pattern, and n d dv for the state.
public struct NATSL: MaskMethod {
  static let chunk = Knob(
    "chunk", "tokens of a chunk", 1...1 << 16, standard: 64, step: .multiply(2))
  static let share = Knob(
    "share", "share of the chunks before the last that go to softmax", 0...1, standard: 0.25,
    isMain: true, aliases: ["rho"])

  public static let card = MethodCard(
    id: "natsl-softmax", title: "NAtS-L", family: "hybrid",
    idea: "Chunks that are looked at from afar stay in softmax; a linear state has the others.",
    source: "NAtS-L, ICML 2026, arXiv 2602.03681",
    knobs: [share.facts, chunk.facts, Budget.knob.facts],
    fidelity: .surrogate(
      .U3,
      "surrogate router: chunks by the weight that far queries give them, not by trained logits"),
    mainField: "kept", mainNumber: "dropped_mean", denseKnobs: ["share": .number(1)],
    growth: Growth("n/64 with its router; the stand-in reads the map, n²") { $0 * $0 })

  /// Early rows before the first softmax chunk read the state alone.
  public static let leavesRowsOut = true

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The surrogate looks ahead; a trained router would not.
  public var engineRefusal: String? { "routes chunks by rows that come later" }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    let budget = Budget(knobs, of: ["chunk"], keys: head.keys, reference: 16 * 1024)
    let size = budget.block(knobs[Self.chunk])
    budget.note(["chunk": size], &aside)
    let count = (head.keys + size - 1) / size
    let importance = try Self.importance(head, size, run)
    let wanted = Int((Double(max(count - 1, 0)) * knobs[Self.share] + 0.5).rounded(.down))
    let chosen = Set(Shapes.top(wanted, of: Array(importance.dropLast())))
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    for chunk in chosen.union([count - 1]) where chunk >= 0 {
      set.keep(columns: chunk * size..<min((chunk + 1) * size, head.keys))
    }
    aside.selection = head.visibleEntries
    let axis = Axis(.block, count, span: size, tokens: head.keys)
    let branches = (0..<count).map { $0 == count - 1 ? 2 : (chosen.contains($0) ? 1 : 0) }
    aside.findings.series(
      "softmax_chunk", axis, branches.map { Float($0) }, title: "0 state, 1 softmax, 2 both")
    aside.findings.series(
      "importance", axis, importance.map(Float.init), .share, title: "weight from far queries")
    let share = count > 0 ? Double(min(chosen.count + 1, count)) / Double(count) : nil
    aside.findings.number("softmax_share", share, .share, title: "chunks in softmax")
    aside.findings.number("cache", share, .share, title: "KV cache that stays")
    aside.findings.note(Self.card.fidelity.sentence)
    guard run.wantsNumbers else { return set }
    aside.findings.number(
      "state_mass", try Self.mass(outside: set, head, run), .share,
      title: "weight on what the state alone has")
    addState(head, branches, size, &aside.findings)
    return set
  }

  /// Mean weight that each chunk of `size` keys receives from rows more than a chunk behind it; of
  /// long heads from a sample of rows. 0 for chunks without such rows. Throws `CancellationError`.
  static func importance(_ head: Head, _ size: Int, _ run: MethodRun) throws -> [Double] {
    let count = (head.keys + size - 1) / size, pattern = run.pattern(head)
    let step = run.sampling(head, tiles: head.queries, rows: 1)
    let rows = Array(stride(from: 0, to: head.queries, by: step))
    let parts = try RowPicks.spread(rows.count, by: 64, run) { range in
      var sums = [Double](repeating: 0, count: count), seen = sums
      for index in range {
        pattern.withRows(rows[index]..<rows[index] + 1) { row, p, lse in
          guard lse != -.infinity else { return }
          for chunk in 0..<count {
            let keys = chunk * size..<min((chunk + 1) * size, head.keys)
            guard head.visibility.position(row: row) >= keys.upperBound + size else { break }
            sums[chunk] += keys.reduce(0) { $0 + Double(p[$1]) }
            seen[chunk] += 1
          }
        }
      }
      return [(sums, seen)]
    }
    return (0..<count).map { chunk in
      let rows = parts.reduce(0) { $0 + $1.1[chunk] }
      return rows > 0 ? parts.reduce(0) { $0 + $1.0[chunk] } / rows : 0
    }
  }

  /// Mean weight of all rows on what is not kept, of long heads from a sample; nil when no row sees
  /// anything. Throws `CancellationError`.
  private static func mass(outside set: KeptSet, _ head: Head, _ run: MethodRun) throws -> Double? {
    let pattern = run.pattern(head), step = run.sampling(head, tiles: head.queries, rows: 1)
    let masses = try RowPicks.spread((head.queries + step - 1) / step, by: 64, run) { part in
      var found: [Double] = []
      for index in part {
        pattern.withRows(index * step..<index * step + 1) { row, p, lse in
          guard lse != -.infinity else { return }
          found.append(1 - min(1, set.mass(of: p, row: row, head.visibility).0))
        }
      }
      return found
    }
    return masses.isEmpty ? nil : masses.reduce(0, +) / Double(masses.count)
  }

  /// The size of the state after each key; needs V.
  private func addState(
    _ head: Head, _ branches: [Int], _ size: Int, _ findings: inout Findings
  ) {
    guard let value = head.value?.floats(), let key = head.queryAndKey?.key.floats() else {
      return findings.note("the state's norm needs K and V")
    }
    let dim = head.dim, wide = head.valueDim
    var state = GatedDelta(keyDim: dim, valueDim: wide)
    let norms = (0..<head.keys).map { t -> Float in
      let row = key[t * dim..<(t + 1) * dim].map(Double.init)
      state.step(
        GatedDelta.normalised(row), value[t * wide..<(t + 1) * wide].map(Double.init), decay: 1,
        write: branches[t / size] == 1 ? 0 : 0.5)
      return Float(state.norm)
    }
    findings.series(
      "state_norm", Axis(.key, head.keys), norms, title: "norm of the linear branch's state")
  }
}

/// The state of a Gated DeltaNet, S `[dv][d]`: S_t = a S_{t-1} (I - b k k^T) + b v k^T, read as S
/// q.
///
/// Example: with a = b = 1 and orthonormal keys, `read(k_s)` gives back v_s. The catch: keys and
/// queries must be of length 1. Cost d dv a step. Paper: Yang et al., "Gated Delta Networks", 2024,
/// arXiv 2412.06464.
public struct GatedDelta: Sendable {
  private let keyDim: Int
  /// `[dv * d]`, row by row.
  private var state: [Double]

  /// Zeros, for keys and values of these widths.
  public init(keyDim: Int, valueDim: Int) {
    self.keyDim = keyDim
    state = [Double](repeating: 0, count: keyDim * valueDim)
  }

  /// One token: `key` `[d]` of length 1, `value` `[dv]`, a in `decay` and b in `write`; with b = 0
  /// the state only decays.
  public mutating func step(_ key: [Double], _ value: [Double], decay a: Double, write b: Double) {
    guard b != 0 else {
      guard a != 1 else { return }
      for x in state.indices { state[x] *= a }
      return
    }
    for row in value.indices {
      let start = row * keyDim
      var held = 0.0
      for x in 0..<keyDim { held += state[start + x] * key[x] }
      let change = b * (value[row] - a * held)
      for x in 0..<keyDim { state[start + x] = a * state[start + x] + change * key[x] }
    }
  }

  /// S q, `[dv]`, of a query `[d]`.
  public func read(_ query: [Double]) -> [Double] {
    stride(from: 0, to: state.count, by: max(keyDim, 1)).map { start in
      (0..<keyDim).reduce(0) { $0 + state[start + $1] * query[$1] }
    }
  }

  /// The root of the sum of squares of the state.
  public var norm: Double { state.reduce(0) { $0 + $1 * $1 }.squareRoot() }

  /// A vector brought to length 1; zeros stay zeros.
  public static func normalised(_ x: [Double]) -> [Double] {
    let norm = x.reduce(0) { $0 + $1 * $1 }.squareRoot()
    return norm > 0 ? x.map { $0 / norm } : x
  }
}
