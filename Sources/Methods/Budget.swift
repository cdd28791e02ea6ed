import Analysis
import Attention

/// Budgets tuned for long prompts on short maps: as published, or brought down in proportion (ours,
/// not the papers').
///
/// A budget of 4096 recent tokens keeps all of a map of 832 and says nothing about the method. With
/// n keys here and the length N_ref that the paper's numbers were tuned for, `scaled` makes of a
/// budget of b tokens max(1, ⌊b n / N_ref + ½⌋), never above b; blocks shrink to a power of two, at
/// least 2. `paper` leaves every number alone.
///
/// Example, in `keep` of a mask method whose card lists `Budget.knob.facts`:
///
///     let budget = Budget(knobs, of: ["local"], keys: head.keys)
///     let local = budget.tokens(knobs[Self.local])
///     budget.note(["local": local], &aside)
///
/// The catch: counts of rows that are looked at, shares and thresholds are no budgets and stay as
/// they are.
struct Budget {
  /// What is done to the paper's numbers: scaled to the map, or taken as they are.
  enum Mode: String, Sendable, CaseIterable { case scaled, paper }

  /// The knob `budget`, the same for every method that has budgets.
  static let knob = Knob(
    "budget",
    """
    the paper's numbers as they are, or scaled from its length to this map; a number that is given \
    is meant as it is
    """,
    standard: Mode.scaled, isPinned: true)

  /// What is in force, after it was asked which knobs were given.
  private let mode: Mode
  /// n: keys of the map, in tokens.
  private let keys: Int
  /// N_ref: tokens that the paper's numbers were tuned for.
  private let reference: Int

  /// For a map of `keys` tokens. `names` are the knobs of the method that are budgets; `reference`
  /// in tokens, 128k for MInference.
  ///
  /// A number that was given is meant as it is, unless `budget` says otherwise; standards are
  /// scaled. `mode` is the card's own knob where `budget` is taken by a number of tokens.
  init(
    _ knobs: CheckedKnobs, of names: Set<String>, keys: Int, reference: Int = 128 * 1024,
    mode told: Knob<Mode> = Budget.knob
  ) {
    let isTold = knobs.given.contains(told.facts.name)
    let isLiteral = !isTold && !knobs.given.isDisjoint(with: names)
    (mode, self.keys, self.reference) = (isLiteral ? .paper : knobs[told], keys, reference)
  }

  /// Whether numbers are brought down to this map.
  var isScaled: Bool { mode == .scaled }

  /// A count of tokens, in force; 0 stays 0, a larger one becomes at least 1.
  func tokens(_ count: Int) -> Int {
    mode == .scaled && count > 0
      ? Scaled.tokens(count, n: keys, reference: reference) : count
  }

  /// The side of a block in tokens, in force: a power of two when scaled.
  func block(_ size: Int) -> Int {
    mode == .scaled ? Scaled.block(size, n: keys, reference: reference) : size
  }

  /// A count of blocks, in force, at least 1 when scaled; `size` is the block's unscaled side in
  /// tokens.
  func blocks(_ count: Int, size: Int) -> Int {
    mode == .scaled
      ? Scaled.blocks(count, size: size, n: keys, reference: reference) : count
  }

  /// Says in a note of the findings what is in force, where it is not what the paper says; `values`
  /// are already scaled.
  func note(_ values: KeyValuePairs<String, Int>, _ aside: inout Aside) {
    guard mode == .scaled else { return }
    let text = values.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
    for (knob, value) in values { aside.findings.apply(knob, value) }
    aside.findings.note("scaled from \(reference / 1024)k tokens to this map: \(text)")
  }
}
