import Analysis
import Attention

/// Budgets tuned for long prompts on short maps: as published, or brought down in proportion (ours, not the papers').
struct Budget {
  enum Mode: String, Sendable, CaseIterable { case scaled, paper }

  static let knob = Knob(
    "budget",
    "the paper's numbers as they are, or scaled from its length to this map; a number that is given is meant as it is",
    standard: Mode.scaled)

  private let mode: Mode
  private let keys: Int
  /// Tokens that the paper's numbers were tuned for.
  private let reference: Int

  /// A number that was given is meant as it is, unless `budget` says otherwise; standards are scaled.
  init(_ knobs: CheckedKnobs, of names: Set<String>, keys: Int, reference: Int = 128 * 1024) {
    let isTold = knobs.given.contains("budget")
    let isLiteral = !isTold && !knobs.given.isDisjoint(with: names)
    (mode, self.keys, self.reference) = (isLiteral ? .paper : knobs[Self.knob], keys, reference)
  }

  /// A count of tokens, in force.
  func tokens(_ count: Int) -> Int {
    mode == .scaled && count > 0
      ? Scaled.tokens(count, n: keys, reference: reference) : count
  }

  /// The side of a block, in force.
  func block(_ size: Int) -> Int {
    mode == .scaled ? Scaled.block(size, n: keys, reference: reference) : size
  }

  /// A count of blocks of `size` tokens, in force.
  func blocks(_ count: Int, size: Int) -> Int {
    mode == .scaled
      ? Scaled.blocks(count, size: size, n: keys, reference: reference) : count
  }

  /// Says what is in force, where it is not what the paper says.
  func note(_ values: KeyValuePairs<String, Int>, _ aside: inout Aside) {
    guard mode == .scaled else { return }
    let text = values.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
    aside.findings.note("scaled from \(reference / 1024)k tokens to this map: \(text)")
  }
}
