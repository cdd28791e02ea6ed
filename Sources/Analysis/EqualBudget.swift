public import Attention
import Synchronization
public import Tensors

/// Every method that keeps entries, at one budget: each is tuned over one knob until it touches the
/// same share of 64x64 tiles, and only then are recall and error compared.
///
/// One setting serves all heads that are given; its share is over the tiles of all of them. Methods
/// are tuned side by side, so that what heads have in common, their dense pattern first of all, is
/// made once a turn and not once a method.
///
/// Example: `try EqualBudget(0.1, candidates).run(heads: 1) { _ in head }`. The catch: where tiles
/// of the diagonal alone are more than the budget, no method that keeps a row's own key reaches it;
/// the row then says so, and its numbers are those of the nearest.
public struct EqualBudget: Sendable {
  /// A method that takes part, with what is fixed of its setting.
  public struct Candidate: Sendable {
    /// The facts of the method.
    public let card: MethodCard
    /// Knobs that stay as they are; the tuned one is set over them.
    public let setting: MethodSetting
    /// How a setting becomes a method.
    public let make: @Sendable (MethodSetting) throws -> any AttentionMethod

    /// `setting` is one of `card`.
    public init(
      _ card: MethodCard, _ setting: MethodSetting,
      make: @escaping @Sendable (MethodSetting) throws -> any AttentionMethod
    ) { (self.card, self.setting, self.make) = (card, setting, make) }

    /// The knob that is tuned: the main one, or the first with numbers where that is a word. Nil
    /// where there is none, and where the setting says what it is.
    public var knob: KnobFacts? {
      let main = card.mainKnob.flatMap { $0.isNumber ? $0 : nil }
      guard let knob = main ?? card.knobs.first(where: \.isNumber) else { return nil }
      let given = setting.knobs.keys.contains { card.knob($0)?.name == knob.name }
      return given ? nil : knob
    }
  }

  /// What a budget is a share of.
  public enum Measure: String, Sendable, CaseIterable {
    /// 64x64 tiles with a kept entry: what a block-sparse kernel spends.
    case tiles
    /// Entries: what a choice of single keys can be compared by.
    case entries
  }

  /// A head, made anew whenever it is looked at.
  public struct Place: Sendable {
    /// The head in so much of its surroundings as a scope asks for. Throws `Missing`.
    public let subject: @Sendable (Subject.Scope) throws -> Subject
    /// How it is computed; its `pattern` serves all methods of a turn.
    public let run: MethodRun

    /// `run` says that numbers are wanted; searches ask for less.
    public init(
      _ run: MethodRun, subject: @escaping @Sendable (Subject.Scope) throws -> Subject
    ) { (self.run, self.subject) = (run, subject) }
  }

  /// What became of a method.
  public struct Row: Sendable {
    /// With the knob that was found.
    public let setting: MethodSetting
    /// The knob that was tuned; nil where the setting was taken as it is.
    public let knob: String?
    /// Tiles over all heads.
    public let tileDensity: Double
    /// The share that was tuned, over all heads: of tiles, or of entries.
    public let share: Double
    /// Near enough to the budget to be compared at it.
    public let isReached: Bool
    /// Means over heads, `recall_min` the least of all; a name is missing where one head lacks it.
    public let numbers: [String: Double]
  }

  /// What a search came to.
  public struct Outcome: Sendable {
    /// Those that reach the budget first, each part by recall, the best first.
    public internal(set) var rows: [Row] = []
    /// Methods without a row, and why.
    public internal(set) var leftOut: [(setting: MethodSetting, reason: String)] = []
    /// It was stopped: knobs may be further from the budget than they could be, and numbers are of
    /// so many heads, of none while knobs were still tuned. Nil when it was not.
    public internal(set) var stoppedAfter: Int?
  }

  /// Numbers of a row, in the order of its columns.
  public static let names = [
    "density", "recall_mean", "recall_min", "error", "oracle_gap", "selection",
  ]
  /// A share this near to the budget, as a part of it, has reached it.
  public static let reach = 0.05

  /// The share, in 0...1.
  public let budget: Double
  /// What it is a share of.
  public let measure: Measure
  private let candidates: [Candidate]

  /// `budget` above 0, at most 1.
  public init(_ budget: Double, _ candidates: [Candidate], per measure: Measure = .tiles) {
    (self.budget, self.candidates, self.measure) = (budget, candidates, measure)
  }

  /// Rows by recall, and the methods that are left out. `keys` of the longest head. `progress` gets
  /// the share that is done, about. When cancelled it gives what it has; throws
  /// `CancellationError` when that is not one row, and what `place` throws.
  public func run(
    heads: Int, keys: Int, threads: ComputeThreads = .shared, progress: (Double) -> Void = { _ in },
    place: (Int) throws -> Place
  ) throws -> Outcome {
    var all = candidates.map { Work($0, budget: budget, keys: keys) }
    var done = 0
    do {
      // One head is kept from turn to turn; of several only one is there at a time.
      let only = heads == 1 ? try place(0) : nil
      func at(_ index: Int) throws -> Place { try only ?? place(index) }
      try tune(&all, heads, threads, progress, at)
      for index in 0..<heads {
        progress(Self.share(ofNumbers: index, of: heads))
        try number(&all, try at(index), threads)
        done += 1
      }
      progress(1)
    } catch is CancellationError {
      let outcome = outcome(all, heads: done, isStopped: true)
      guard !outcome.rows.isEmpty else { throw CancellationError() }
      return outcome
    }
    return outcome(all, heads: heads, isStopped: false)
  }

  /// Every method at the knob that comes nearest to the budget. Throws what `run` throws.
  private func tune(
    _ all: inout [Work], _ heads: Int, _ threads: ComputeThreads, _ progress: (Double) -> Void,
    _ place: (Int) throws -> Place
  ) throws {
    var turns = 0
    while all.contains(where: { $0.wants != nil }) {
      for index in 0..<heads {
        progress(Self.share(turn: turns, head: index, of: heads))
        try measure(&all, try place(index), threads)
      }
      for index in all.indices { all[index].finishTurn(measure) }
      turns += 1
    }
  }

  /// What is known after the numbers of so many heads.
  private func outcome(_ all: [Work], heads: Int, isStopped: Bool) -> Outcome {
    var outcome = Outcome()
    outcome.rows = all.compactMap { $0.row(budget, measure, heads: heads) }.sorted {
      // What does not reach the budget is not compared at it.
      guard $0.isReached == $1.isReached else { return $0.isReached }
      return ($0.numbers["recall_mean"] ?? -1, $1.setting.description)
        > ($1.numbers["recall_mean"] ?? -1, $0.setting.description)
    }
    outcome.leftOut = all.compactMap { work in
      work.refusal.map { (work.candidate.setting, $0) }
    }
    outcome.stoppedAfter = isStopped ? heads : nil
    return outcome
  }

  /// Two ends and as many halvings as there can be; most methods need fewer.
  private static let usualTurns = KnobSearch.halvings + 2

  /// Of all turns and of the numbers at the end, which cost about three of them; turns beyond the
  /// usual ones move nothing.
  private static func share(turn: Int, head: Int, of heads: Int) -> Double {
    let done = Double(turn) + Double(head) / Double(max(heads, 1))
    return min(done, Double(usualTurns)) / Double(usualTurns + 3)
  }

  /// The same, of the numbers of a head.
  private static func share(ofNumbers head: Int, of heads: Int) -> Double {
    (Double(usualTurns) + 3 * Double(head) / Double(max(heads, 1))) / Double(usualTurns + 3)
  }

  /// A turn of every search at one head, methods side by side.
  private func measure(_ all: inout [Work], _ place: Place, _ threads: ComputeThreads) throws {
    let items = all.indices.filter { all[$0].wants != nil }
    let works = all
    let results = try Self.spread(items, place, threads) { item -> KeptTiles in
      let candidate = works[item].candidate
      var run = place.run
      run.wantsNumbers = false
      let method = try candidate.make(works[item].wants!)
      let subject = try place.subject(candidate.card.scope)
      let found = try method.examine(subject, run)
      guard let kept = found.keptField else {
        if found.field("kept") != nil { try RowPicks.checkLength(subject.head) }
        throw KnobError("keeps no entries apart")
      }
      return try KeptTiles(subject.head, kept.set, run)
    }
    for (item, result) in zip(items, results) { all[item].take(result) }
  }

  /// The numbers of every setting that was found, at one head.
  private func number(_ all: inout [Work], _ place: Place, _ threads: ComputeThreads) throws {
    let items = all.indices.filter { all[$0].found != nil }
    let works = all
    let results = try Self.spread(items, place, threads) { item -> [String: Double] in
      let candidate = works[item].candidate
      let method = try candidate.make(works[item].found!)
      let findings = try method.examine(try place.subject(candidate.card.scope), place.run)
      var numbers: [String: Double] = [:]
      for name in Self.names { numbers[name] = findings[name]?.number }
      return numbers
    }
    for (item, result) in zip(items, results) { all[item].take(result) }
  }

  /// `body` of all items on all threads. Throws `CancellationError`; other errors are results.
  private static func spread<Value: Sendable>(
    _ items: [Int], _ place: Place, _ threads: ComputeThreads,
    _ body: @escaping @Sendable (Int) throws -> Value
  ) throws -> [Result<Value, any Error>] {
    let parts = Gathered<Result<Value, any Error>>()
    threads.forEach(0..<items.count, isCancelled: place.run.isCancelled) { index in
      parts.add(index, Result { try body(items[index]) })
    }
    try place.run.checkCancellation()
    for case .failure(let error as CancellationError) in parts.inOrder { throw error }
    return parts.inOrder
  }
}

extension KnobFacts {
  /// Its standard is a number and not a word, so that a search has where to begin.
  public var isNumber: Bool { if case .number = standard { true } else { false } }
}

extension KeptTiles {
  /// The share that a budget is about.
  func share(_ measure: EqualBudget.Measure) -> Double {
    measure == .tiles ? density : entryDensity
  }
}

/// A method while it is tuned.
private struct Work: Sendable {
  let candidate: EqualBudget.Candidate
  /// Nil where there is nothing to tune.
  private var search: KnobSearch?
  private let knob: String?
  /// Why it is left out.
  private(set) var refusal: String?
  /// Tiles of this turn, over the heads so far.
  private var turn = KeptTiles()
  /// Of a setting that is taken as it is.
  private var kept: KeptTiles?
  /// A dictionary a head.
  private var numbers: [[String: Double]] = []

  init(_ candidate: EqualBudget.Candidate, budget: Double, keys: Int) {
    self.candidate = candidate
    knob = candidate.knob?.name
    search = candidate.knob.flatMap { KnobSearch($0, target: budget, keys: keys) }
    if !candidate.card.knobs.contains(where: \.isNumber) { refusal = "has no knob to tune" }
  }

  /// The setting that a turn asks about; nil when it is done.
  var wants: MethodSetting? {
    guard refusal == nil else { return nil }
    if let search { return search.next.map(setting) }
    return kept == nil ? candidate.setting : nil
  }

  /// The setting that came nearest.
  var found: MethodSetting? {
    guard refusal == nil else { return nil }
    return search.map { $0.best.map { setting($0.value) } } ?? candidate.setting
  }

  private func setting(_ value: Double) -> MethodSetting {
    var setting = candidate.setting
    if let knob { setting.knobs[knob] = .number(value) }
    return setting
  }

  mutating func take(_ tiles: Result<KeptTiles, any Error>) {
    switch tiles {
    case .success(let tiles): turn.add(tiles)
    case .failure(let error): refusal = "\(error)"
    }
  }

  mutating func take(_ found: Result<[String: Double], any Error>) {
    switch found {
    case .success(let found): numbers.append(found)
    case .failure(let error): refusal = "\(error)"
    }
  }

  /// All heads were asked.
  mutating func finishTurn(_ measure: EqualBudget.Measure) {
    guard wants != nil else { return }
    if search == nil { kept = turn } else { search?.take(turn.share(measure), turn) }
    turn = KeptTiles()
  }

  func row(_ budget: Double, _ measure: EqualBudget.Measure, heads: Int) -> EqualBudget.Row? {
    guard let found, let kept = search?.best?.kept ?? kept else { return nil }
    var means: [String: Double] = [:]
    for name in EqualBudget.names {
      let values = numbers.compactMap { $0[name] }
      guard values.count == heads, heads > 0 else { continue }
      means[name] =
        name == "recall_min" ? values.min() : values.reduce(0, +) / Double(values.count)
    }
    return EqualBudget.Row(
      setting: found, knob: knob, tileDensity: kept.density, share: kept.share(measure),
      isReached: abs(kept.share(measure) - budget) <= EqualBudget.reach * budget, numbers: means)
  }
}
