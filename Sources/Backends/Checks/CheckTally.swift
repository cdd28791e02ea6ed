/// One kind of number, as the program says it and as it comes out of the definitions in double
/// precision: how many were compared, and the one that is farthest off.
///
/// Example: `line.add(0.12, 0.1200001, within: 1e-4, at: "12.6 row 3")`. What counts is a
/// difference over its own bound: a small difference may be worse than a large one elsewhere.
public struct CheckLine: Sendable {
  /// What was compared, in some words.
  public let what: String
  /// How many numbers.
  public private(set) var compared = 0
  /// The largest difference of any, in the numbers' own unit.
  public private(set) var largest = 0.0
  /// The largest difference over the bound that holds at its place; above 1 something is wrong.
  public private(set) var share = 0.0
  /// The bound at that place.
  public private(set) var bound = 0.0
  /// Where that is: layer.head and what is counted there; empty where nothing differs.
  public private(set) var place = ""

  /// Nothing compared yet.
  public init(_ what: String) { self.what = what }

  /// Every difference is within its bound.
  public var isWithin: Bool { share <= 1 }

  /// Takes in a number and what it should be. Two that are no numbers, or infinite alike, are the
  /// same; one alone is infinitely far off.
  public mutating func add(
    _ found: Double, _ wanted: Double, within bound: Double, at place: @autoclosure () -> String
  ) {
    compared += 1
    let isSame = found == wanted || found.isNaN && wanted.isNaN
    let away = isSame ? 0 : (found.isFinite && wanted.isFinite ? abs(found - wanted) : .infinity)
    guard away > 0 else { return }
    largest = max(largest, away)
    let share = bound > 0 ? away / bound : .infinity
    // The first of equals, so that a text repeats.
    if share > self.share || self.place.isEmpty {
      (self.share, self.bound, self.place) = (share, bound, place())
    }
  }

  /// A fact that must hold.
  public mutating func add(_ holds: Bool, at place: @autoclosure () -> String) {
    add(holds ? 0 : 1, 0, within: 0, at: place())
  }

  /// Takes in what another part compared of the same kind.
  mutating func add(_ other: CheckLine) {
    compared += other.compared
    largest = max(largest, other.largest)
    let isWorse = other.share > share || other.share == share && other.place < place
    guard !other.place.isEmpty, place.isEmpty || isWorse else { return }
    (share, bound, place) = (other.share, other.bound, other.place)
  }
}

/// What a check came to: a line a kind, in the order in which the kinds came, and what could not be
/// checked.
public struct CheckTally: Sendable {
  /// A line a kind.
  public private(set) var lines: [CheckLine] = []
  /// What was not checked, and why, in sentences.
  public private(set) var notes: [String] = []

  /// Nothing yet.
  public init() {}

  /// Every difference of every kind is within its bound.
  public var isWithin: Bool { lines.allSatisfy(\.isWithin) }
  /// Numbers of all kinds.
  public var compared: Int { lines.reduce(0) { $0 + $1.compared } }

  /// Adds to the line of the same kind.
  public mutating func add(_ line: CheckLine) {
    guard line.compared > 0 else { return }
    if let at = lines.firstIndex(where: { $0.what == line.what }) {
      lines[at].add(line)
    } else {
      lines.append(line)
    }
  }

  /// Adds everything that another part found.
  public mutating func add(_ other: CheckTally) {
    for line in other.lines { add(line) }
    for note in other.notes { self.note(note) }
  }

  /// Each sentence once.
  public mutating func note(_ sentence: String) {
    if !notes.contains(sentence) { notes.append(sentence) }
  }

  /// Brings the lines into the order of some kinds; others stay behind them.
  mutating func order(_ kinds: [String]) {
    func place(_ line: CheckLine) -> Int { kinds.firstIndex(of: line.what) ?? kinds.count }
    lines = lines.enumerated().map { (place($1), $0, $1) }
      .sorted { ($0.0, $0.1) < ($1.0, $1.1) }.map(\.2)
  }
}
