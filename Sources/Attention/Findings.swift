/// What a number is measured in; it decides how the number is written, never what it is.
public enum Unit: String, Sendable, Hashable, CaseIterable {
  /// A plain number.
  case none
  /// Of 1: written as a per cent on the screen.
  case share
  /// A knob's value: written as short as it is, like the knob.
  case setting
  /// Natural units of information, and scores before softmax.
  case nats, logits
  /// Whole numbers of things.
  case tokens, keys, blocks, entries, count
  /// Lengths of the modelled time axis of a schedule.
  case tiles
  /// Bytes, and dot products of a query and a key.
  case bytes, products

  /// Whole numbers by nature.
  public var isWhole: Bool {
    switch self {
    case .tokens, .blocks, .entries, .count, .tiles, .bytes, .products: true
    case .none, .share, .setting, .nats, .logits, .keys: false
    }
  }
}

/// How the values of a field are to be looked at.
public enum Look: Sendable, Hashable {
  /// Weights of a row: not negative, a row sums to 1.
  case weights
  /// Weights of either sign, or rows that do not sum to 1: colours centred on 0.
  case signed
  /// Sizes with a unit, from 0 up.
  case magnitude(Unit)
  /// 1 kept, 0 not.
  case kept
  /// Small whole numbers with names: block verdicts, workers.
  case labels([String])
}

/// A line through points, with named axes.
public struct Curve: Sendable, Hashable {
  /// A place on a curve that is worth a name: the chosen cut, a threshold.
  public struct Mark: Sendable, Hashable {
    /// Along the x axis, in its unit.
    public let x: Double
    /// Along the y axis, in its unit.
    public let y: Double
    /// One or two words beside the mark.
    public let name: String

    /// `name` is one or two words.
    public init(_ name: String, x: Double, y: Double) { (self.name, self.x, self.y) = (name, x, y) }
  }

  /// What is drawn to the right.
  public let xName: String
  /// What is drawn upwards.
  public let yName: String
  /// `[points]`, x ascending.
  public let points: [Point]
  /// Named places, in any order; they need not be among the points.
  public let marks: [Mark]
  /// The x axis is logarithmic.
  public let isLogarithmic: Bool

  /// A point of the line.
  public struct Point: Sendable, Hashable {
    /// Along the x axis, in its unit.
    public let x: Double
    /// Along the y axis, in its unit.
    public let y: Double

    /// Any finite numbers.
    public init(_ x: Double, _ y: Double) { (self.x, self.y) = (x, y) }
  }

  /// `points` in the order of x.
  public init(
    x: String, y: String, points: [Point], marks: [Mark] = [], isLogarithmic: Bool = false
  ) {
    (xName, yName, self.points, self.marks) = (x, y, points, marks)
    self.isLogarithmic = isLogarithmic
  }
}

/// A piece of a timeline: what a lane does from one moment to another.
public struct Span: Sendable, Hashable {
  /// Index along the lanes' axis.
  public let lane: Int
  /// When it begins, in the unit of the finding.
  public let from: Double
  /// When it ends, in the unit of the finding.
  public let to: Double
  /// Spans of one key have one colour: a head, say.
  public let key: Int

  /// `to` is not before `from`.
  public init(lane: Int, from: Double, to: Double, key: Int) {
    (self.lane, self.from, self.to, self.key) = (lane, from, to, key)
  }
}

/// The five shapes that anything a method has to say takes.
public enum Content: Sendable {
  /// Nil: cannot be known here; never 0 for want of better.
  case number(Double?, Unit)
  /// `[count]` values along an axis; NaN where there is none.
  case series(Axis, [Float], Unit)
  /// A map.
  case field(any RowField, Look)
  /// A line through points: a trade-off, a distribution.
  case curve(Curve)
  /// A timeline of lanes.
  case spans([Span], lanes: Axis, Unit)
}

/// One thing a method has to say, under a name that reports, lessons and files use.
///
/// Example: `Finding("tile_density", "density of 64x64 tiles", .number(0.3, .share))`. The name is
/// an interface: lessons test it, reports print it, comparisons match it between methods, so that
/// two methods that mean the same must say the same name.
public struct Finding: Sendable {
  /// Lower case, words joined by `_`; unique within its findings.
  public let name: String
  /// For a person.
  public let title: String
  /// What was found, in one of the five shapes.
  public let content: Content

  /// `title` may be left out where the name says it.
  public init(_ name: String, _ title: String? = nil, _ content: Content) {
    (self.name, self.content) = (name, content)
    self.title = title ?? name.split(separator: "_").joined(separator: " ")
  }

  /// The number, when it is one that is known.
  public var number: Double? { if case .number(let value, _) = content { value } else { nil } }
}

/// Everything a method has to say about one subject, in the order it is shown.
///
/// Example: `findings.number("density", 0.12, .share)`. A name that is said twice keeps its first
/// place and takes the later content.
public struct Findings: Sendable {
  /// In the order in which names were first said.
  public private(set) var all: [Finding] = []
  /// Sentences about the result: a fallback, a surrogate, a sample.
  public private(set) var notes: [String] = []
  /// Knobs that work with another number than the one they are set to, by name: budgets of long
  /// prompts that were brought down to this map.
  public private(set) var applied: [String: Int] = [:]

  /// Nothing yet.
  public init() {}

  /// Adds a finding, or replaces the one of its name.
  public mutating func add(_ finding: Finding) {
    if let at = all.firstIndex(where: { $0.name == finding.name }) {
      all[at] = finding
    } else {
      all.append(finding)
    }
  }

  /// A number; nil when it cannot be known.
  public mutating func number(
    _ name: String, _ value: Double?, _ unit: Unit = .none, title: String? = nil
  ) {
    add(Finding(name, title, .number(value, unit)))
  }

  /// `[axis.count]` values along an axis.
  public mutating func series(
    _ name: String, _ axis: Axis, _ values: [Float], _ unit: Unit = .none, title: String? = nil
  ) {
    precondition(
      values.count == axis.count, "\(name): \(values.count) values, \(axis.count) places")
    add(Finding(name, title, .series(axis, values, unit)))
  }

  /// A map.
  public mutating func field(
    _ name: String, _ field: any RowField, _ look: Look, title: String? = nil
  ) {
    add(Finding(name, title, .field(field, look)))
  }

  /// A line with named axes.
  public mutating func curve(_ name: String, _ curve: Curve, title: String? = nil) {
    add(Finding(name, title, .curve(curve)))
  }

  /// A timeline.
  public mutating func spans(
    _ name: String, _ spans: [Span], lanes: Axis, _ unit: Unit, title: String? = nil
  ) {
    add(Finding(name, title, .spans(spans, lanes: lanes, unit)))
  }

  /// A sentence about the result.
  public mutating func note(_ sentence: String) {
    if !notes.contains(sentence) { notes.append(sentence) }
  }

  /// Says what a knob of this name works with here.
  public mutating func apply(_ knob: String, _ value: Int) { applied[knob] = value }

  /// Takes over what other findings say: later content under the same names, notes, and the
  /// numbers that knobs work with.
  public mutating func merge(_ other: Findings) {
    for finding in other.all { add(finding) }
    for sentence in other.notes { note(sentence) }
    for (knob, value) in other.applied { apply(knob, value) }
  }

  /// The finding of a name.
  public subscript(name: String) -> Finding? { all.first { $0.name == name } }

  /// The field of a name, and how to look at it.
  public func field(_ name: String) -> (field: any RowField, look: Look)? {
    if case .field(let field, let look) = self[name]?.content { (field, look) } else { nil }
  }

  /// The values of a series.
  public func series(_ name: String) -> [Float]? {
    if case .series(_, let values, _) = self[name]?.content { values } else { nil }
  }

  /// About how many bytes they keep alive.
  public var bytes: Int {
    all.reduce(0) { sum, finding in
      switch finding.content {
      case .number: sum + 96
      case .series(_, let values, _): sum + 96 + 4 * values.count
      case .field(let field, _): sum + 256 + field.bytes
      case .curve(let curve): sum + 96 + 16 * curve.points.count
      case .spans(let spans, _, _): sum + 96 + 40 * spans.count
      }
    }
  }
}
