public import Analysis
public import Attention

/// NATTEN: every query attends to its w nearest keys, along a line or on an image's grid.
///
/// Along each direction of length L, with window w, stride s and dilation D: tokens x of one group
/// have the same x mod D and the index x / D in it; groups do not see each other. The leader of
/// index i is min(floor(i / s) s + floor(s / 2), L - 1), and the window of w keys that begins
/// floor(w / 2) before the leader is moved back inside where it would end behind the group. Causal:
/// leader min(floor(i / s) s + s - 1, L - 1), the w keys up to it, none after i. On a grid a key is
/// a neighbour when it is one along both directions. In an engine the text has no end yet: there a
/// leader may stand behind the last key so far, as it does once the text has gone on. Paper:
/// Hassani et al., "Faster Neighborhood Attention", 2024, arXiv 2403.04690 (card S8). A window
/// never shrinks at a border, it moves.
///
/// Findings: those of every mask and the series `neighbours` (entries kept, by query). Needs an
/// image grid for `plane=grid`. Cost n w.
public struct NATTEN: MaskMethod {
  enum Plane: String, Sendable, CaseIterable { case line, grid }

  static let window = Knob(
    "window", "keys of a neighbourhood, along each direction", 1...1 << 30, standard: 512,
    step: .multiply(2), isMain: true, aliases: ["w"])
  static let stride = Knob(
    "stride", "queries that share a neighbourhood", 1...1 << 20, standard: 1,
    step: .multiply(2), aliases: ["s"])
  static let dilation = Knob(
    "dilation", "distance of neighbours", 1...1 << 20, standard: 1, step: .multiply(2))
  static let plane = Knob(
    "plane", "neighbours along the text, or on the image's grid", standard: Plane.line)

  public static let card = MethodCard(
    id: "natten", title: "NATTEN", family: "static",
    idea: "Every query sees its w nearest keys; at borders the window moves inside.",
    source: "Hassani et al., Faster Neighborhood Attention, 2024, arXiv 2403.04690",
    knobs: [window.facts, stride.facts, dilation.facts, plane.facts, Budget.knob.facts],
    fidelity: .proxy("a model trained dense, seen through a neighbourhood mask"),
    mainField: "kept", mainNumber: "recall_mean",
    denseKnobs: ["window": .number(Double(1 << 30))],
    variants: [
      "natten-strided": ["window": .number(8), "stride": .number(4), "dilation": .number(2)]
    ],
    growth: .noSearch)

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
    guard self.knobs[Self.stride] <= self.knobs[Self.window] else {
      throw KnobError(
        "natten: stride \(self.knobs[Self.stride]) is more than window \(self.knobs[Self.window])")
    }
  }

  /// An engine knows no grid.
  public var engineRefusal: String? {
    knobs[Self.plane] == .grid ? "with plane=grid needs the grid of an image" : nil
  }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    let budget = Budget(knobs, of: ["window"], keys: head.keys, reference: 16 * 1024)
    let scaled = budget.tokens(knobs[Self.window])
    budget.note(["window": scaled], &aside)
    let rows = try neighbours(head, scaled, run)
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    set.keep(KeyRanges(rows))
    aside.findings.series(
      "neighbours", Axis(.query, head.queries),
      rows.map { Float($0.reduce(0) { $0 + $1.count }) }, .count, title: "neighbours of a query")
    return set
  }

  /// Runs of keys of every query row. Throws `Missing` where there is no grid.
  private func neighbours(_ head: Head, _ window: Int, _ run: MethodRun) throws
    -> [[Range<Int>]]
  {
    func line(_ length: Int) -> Neighbours {
      Neighbours(
        length: length, window: window, stride: min(knobs[Self.stride], window),
        dilation: knobs[Self.dilation], causal: head.visibility.causal,
        goesOn: run.goesOn && knobs[Self.plane] == .line)
    }
    @Sendable func place(_ row: Int) -> Int {
      min(max(head.visibility.position(row: row), 0), head.keys - 1)
    }
    guard knobs[Self.plane] == .grid else {
      let keys = line(head.keys)
      return try RowPicks.spread(head.queries, by: 64, run) { $0.map { keys.runs(place($0)) } }
    }
    guard let grid = run.tokens.grid, let patches = grid.tokens(of: head.keys) else {
      throw Missing(.imageGrid)
    }
    // Tokens that are no patches (class, registers, text) see all and are seen by all.
    let first = patches.lowerBound
    let down = line(grid.rows), across = line(grid.columns)
    return (0..<head.queries).map { row in
      let patch = place(row) - first
      guard (0..<patches.count).contains(patch) else { return [0..<head.keys] }
      let columns = across.runs(patch % grid.columns)
      let cells = down.of(patch / grid.columns).flatMap { y in
        columns.map {
          first + y * grid.columns + $0.lowerBound..<first + y * grid.columns + $0.upperBound
        }
      }
      return [0..<first] + cells + [patches.upperBound..<head.keys]
    }
  }
}

/// The neighbours of an index along one direction.
struct Neighbours: Sendable {
  private let length: Int
  private let window: Int
  private let stride: Int
  private let dilation: Int
  private let causal: Bool
  /// More indices will follow: a causal leader is not held back by the last of those so far.
  private let goesOn: Bool

  /// A window that does not fit `length / dilation` is made as large as fits.
  init(
    length: Int, window: Int, stride: Int, dilation: Int, causal: Bool, goesOn: Bool = false
  ) {
    (self.length, self.window, self.stride) = (length, window, stride)
    self.dilation = goesOn ? dilation : max(1, min(dilation, length))
    (self.causal, self.goesOn) = (causal, goesOn)
  }

  /// Ascending indices as runs of neighbours.
  func runs(_ place: Int) -> [Range<Int>] {
    dilation == 1 ? [range(place, length)] : TopPicks.runs(of(place))
  }

  /// Ascending indices.
  func of(_ place: Int) -> [Int] {
    let group = place % dilation, index = place / dilation
    let count = (length - group + dilation - 1) / dilation
    return range(index, count).map { $0 * dilation + group }
  }

  /// Of index i in a group of `count`.
  private func range(_ i: Int, _ count: Int) -> Range<Int> {
    if causal, goesOn {
      // The last key of the window, as if all keys up to it were there.
      let last = i / stride * stride + stride - 1
      return max(last - window + 1, 0)..<min(i + 1, count)
    }
    let w = min(window, count), left = w / 2, right = w / 2 + w % 2 - 1
    if causal {
      let leader = min(i / stride * stride + stride - 1, count - 1)
      return max(leader - left - right, 0)..<min(i + 1, count)
    }
    let leader = min(i / stride * stride + stride / 2, count - 1)
    var start = max(leader - left, 0)
    if leader + right >= count { start += count - right - leader - 1 }
    return start..<start + w
  }
}
