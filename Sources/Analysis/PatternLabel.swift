import Attention
import Tensors

/// The shape of a head, with every candidate's recall at equal density beside the winner.
///
/// A head is labelled by the shape that recalls most of its mass when each may keep the same share
/// of the visible entries. Diffuse: neither one shape nor a union of them, of the same size,
/// reaches `wanted`. Hybrid: no single shape reaches it, their union does. Shapes are those of
/// MInference 1.0 (arXiv 2407.02490), found online as the method finds them.
///
/// The rule of equal density: a candidate keeps `budget` of the entries that the rows looked at
/// see, counted one by one, never more, and less only by what no further part of it fits into.
/// A-shape: with 0, 1, 4, 16, 64 and 256 first columns the window as wide as fits, then further
/// columns. Vertical-slash: 0, 25, 50, 75 and 100 % for columns, the rest for diagonals, the
/// heaviest first; one that is too large is passed over. Block-sparse: the largest block of which
/// two fit a query block, its half and its quarter, but none smaller than 4; the best block of
/// every query block, then the second of every one, and so on. Unions: each shape with the same
/// part of the budget, as large as their overlap allows.
///
/// Each shape stands with the best of its candidates. Of shapes that recall as much to `tie`, the
/// simplest is named, in this order: an A-shape is a vertical-slash too, and either can be covered
/// by blocks.
public struct PatternLabel: Sendable, Equatable {
  /// The shapes; raw values are what screens and reports write.
  public enum Name: String, Sendable, CaseIterable {
    case aShape = "a-shape"
    case verticalSlash = "vertical-slash"
    case blockSparse = "block-sparse"
    case hybrid
    case diffuse
  }

  /// One shape at its best: the split of the budget with the largest recall.
  public struct Candidate: Sendable, Equatable {
    /// The shape.
    public let name: Name
    /// Share of the softmax mass that lies on kept entries, mean over rows.
    public let recall: Double
    /// Kept share of the visible entries of the rows looked at.
    public let density: Double
    /// For a person: `init 16 + local 88`.
    public let detail: String
  }

  /// What the head is called.
  public let name: Name
  /// A-shape, vertical-slash, block-sparse, and the union when it was tried.
  public let candidates: [Candidate]
  /// The density that every candidate has, or just misses.
  public let budget: Double
  /// Rows looked at, when not all.
  public let sampledRows: Int?

  /// Kept entries over visible ones that each shape may have.
  public static let budget = 0.1
  /// Share of the mass that a shape must recall to give its name.
  public static let wanted = 0.9
  public static let tie = 0.005

  /// The recall of a candidate in 0...1; 0 when it was not tried.
  public func recall(_ name: Name) -> Double { candidates.first { $0.name == name }?.recall ?? 0 }

  /// The name and its recall, or that there is none: of a head whose rows are no numbers, or
  /// all zero.
  public func text(_ number: (Double) -> String) -> String {
    guard let recall = winner?.recall, recall.isFinite else { return "not known: no row adds up" }
    return "\(name.rawValue) \(number(recall))"
  }

  /// The candidate that gave the name; for a diffuse head, the one that came nearest.
  public var winner: Candidate? {
    candidates.first { $0.name == name } ?? candidates.max { $0.recall < $1.recall }
  }
}

/// Tries the shapes on one head.
///
/// All candidates are measured in one sweep over the rows, since the rows of the pattern cost far
/// more than looking at them.
struct Labeller {
  private let head: Head
  private let rows: PatternRows
  private let sampled: [Int]

  /// Above this many queries, evenly spaced rows are looked at.
  static let mostRows = 2048

  /// The last row, which sees most, is always among those looked at.
  init(_ head: Head, _ rows: PatternRows) {
    self.head = head
    self.rows = rows
    let step = max(1, (head.queries + Self.mostRows - 1) / Self.mostRows)
    sampled = Array(stride(from: head.queries - 1, through: 0, by: -step).reversed())
  }

  /// Single shapes first; unions only when none of those recalls enough. Nil when cancelled.
  func label(threads: ComputeThreads, isCancelled: @escaping @Sendable () -> Bool) -> PatternLabel?
  {
    let seen = SeenRows(head, sampled)
    let shapes = ShapeChoices(
      head, rows, seen, budget: Int(Double(seen.visible) * PatternLabel.budget + 1e-6))
    var sets = shapes.candidates
    guard let single = measure(sets.map(\.set), threads, isCancelled) else { return nil }
    var all = zip(sets, single).map { Self.candidate($0, $1) }
    var best: [PatternLabel.Candidate] = []
    var blockSize = 0
    for name in [PatternLabel.Name.aShape, .verticalSlash, .blockSparse] {
      let mine = all.indices.filter { all[$0].name == name }
      if let top = mine.max(by: { all[$0].recall < all[$1].recall }) {
        best.append(all[top])
        blockSize = sets[top].set.blockRows
      }
    }
    let winner = Self.simplest(best)
    var name = winner.name
    if !(winner.recall >= PatternLabel.wanted) {  // NaN included
      sets = shapes.unions(blockSize: blockSize)
      guard let united = measure(sets.map(\.set), threads, isCancelled) else { return nil }
      all = zip(sets, united).map { Self.candidate($0, $1) }
      let union = all.max { $0.recall < $1.recall }
      if let union { best.append(union) }
      name = (union?.recall ?? 0) >= PatternLabel.wanted ? .hybrid : .diffuse
    }
    return PatternLabel(
      name: name, candidates: best, budget: PatternLabel.budget,
      sampledRows: sampled.count < head.queries ? sampled.count : nil)
  }

  /// The first that recalls as much as the best one, to a tie, and as much as is wanted if the best
  /// does.
  private static func simplest(_ candidates: [PatternLabel.Candidate]) -> PatternLabel.Candidate {
    let best = candidates.max { $0.recall < $1.recall }!
    return candidates.first {
      $0.recall >= best.recall - PatternLabel.tie
        && ($0.recall >= PatternLabel.wanted || best.recall < PatternLabel.wanted)
    } ?? best
  }

  private static func candidate(
    _ choice: ShapeChoices.Choice, _ measured: Measured
  ) -> PatternLabel.Candidate {
    PatternLabel.Candidate(
      name: choice.name,
      recall: measured.rows == 0 && measured.visible > 0
        ? .nan : measured.mass / Double(max(measured.rows, 1)),
      density: Double(measured.kept) / Double(max(measured.visible, 1)), detail: choice.detail)
  }

  /// Sums over rows for one kept set: mass, rows that see something and are numbers, kept and
  /// visible entries.
  private struct Measured: Sendable {
    var mass = 0.0
    var rows = 0
    var kept = 0
    var visible = 0
  }

  /// Recall and density of each set over the sampled rows, in one sweep.
  private func measure(
    _ sets: [KeptSet], _ threads: ComputeThreads, _ isCancelled: @escaping @Sendable () -> Bool
  ) -> [Measured]? {
    let chunk = max(1, (sampled.count + 31) / 32)
    let parts = Gathered<[Measured]>()
    threads.forEach(0..<(sampled.count + chunk - 1) / chunk, isCancelled: isCancelled) { index in
      var part = [Measured](repeating: Measured(), count: sets.count)
      let mine = sampled[index * chunk..<min((index + 1) * chunk, sampled.count)]
      // Neighbouring rows together, so that strips stay wide.
      for run in Range.runs(of: mine) {
        rows.withRows(run) { row, p, lse in
          let isWhole = Rows.isWhole(p)
          for (s, set) in sets.enumerated() {
            let (mass, kept) = set.mass(of: p, row: row, head.visibility)
            part[s].kept += kept
            part[s].visible += head.visibility.count(row: row)
            guard lse != -.infinity else { continue }
            guard isWhole else { continue }
            part[s].mass += mass
            part[s].rows += 1
          }
        }
      }
      parts.add(index, part)
    }
    if isCancelled() { return nil }
    return parts.inOrder.reduce(into: [Measured](repeating: Measured(), count: sets.count)) {
      sum, part in
      for s in sets.indices {
        sum[s].mass += part[s].mass
        sum[s].kept += part[s].kept
        sum[s].rows += part[s].rows
        sum[s].visible += part[s].visible
      }
    }
  }
}
