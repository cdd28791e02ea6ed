import Analysis
import ArgumentParser
import Attention
import Backends
import Canvas

/// `error<0.01`: a number of heads by its name, a comparison and a value, for `--where` and
/// `--expect`.
///
/// Example: `NumberTest(argument: "each dropped_max<=5%")`. Values are plain numbers or per cents.
/// The catch: a number that is not known holds no test, whichever way it asks.
struct NumberTest: ExpressibleByArgument, CustomStringConvertible {
  /// What is asked: the total where there is one and else every head, or one of the two.
  enum Scope: String { case any = "", each, total }
  /// The comparisons, the longer signs first so that they are found first.
  enum Sign: String, CaseIterable {
    case atMost = "<=", atLeast = ">=", unequal = "!=", less = "<", more = ">", equal = "="
  }

  /// What is asked.
  let scope: Scope
  /// As reports write it.
  let name: String
  /// How number and value are compared.
  let sign: Sign
  /// What the number is compared with, in the number's own unit.
  let value: Double
  /// As it was typed.
  let description: String

  /// Nil for anything else; the parser then prints the help of the flag.
  init?(argument: String) {
    description = argument
    let signs = "<>=!"
    guard let start = argument.firstIndex(where: { signs.contains($0) }),
      let sign = Sign.allCases.first(where: { argument[start...].hasPrefix($0.rawValue) })
    else { return nil }
    self.sign = sign
    var text = argument[start...].dropFirst(sign.rawValue.count).filter { $0 != " " }
    let isPercent = text.last == "%"
    if isPercent { text.removeLast() }
    guard let value = Double(text), value.isFinite else { return nil }
    self.value = isPercent ? value / 100 : value
    let words = argument[..<start].split(separator: " ").map(String.init)
    guard let name = words.last, words.count <= 2 else { return nil }
    guard let scope = words.count == 1 ? .any : Scope(rawValue: words[0]) else { return nil }
    (self.name, self.scope) = (name, scope)
  }

  /// Whether a number passes; NaN never does.
  func holds(_ number: Double?) -> Bool {
    guard let number, !number.isNaN else { return false }
    return switch sign {
    case .atMost: number <= value
    case .atLeast: number >= value
    case .unequal: number != value
    case .less: number < value
    case .more: number > value
    case .equal: number == value
    }
  }
}

/// `--sort error`: the number that heads are ordered by, the largest first; `error:up` begins with
/// the smallest.
struct NumberOrder: ExpressibleByArgument, CustomStringConvertible {
  /// As reports write it.
  let name: String
  /// The smallest first.
  let isUp: Bool

  /// Nil for an order that is neither `up` nor `down`.
  init?(argument: String) {
    let parts = argument.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    guard parts.count <= 2, let first = parts.first, !first.isEmpty,
      parts.count == 1 || ["up", "down"].contains(parts[1])
    else { return nil }
    (name, isUp) = (first, parts.last == "up")
  }

  /// The number and which end comes first, in words.
  var description: String { "\(name), \(isUp ? "smallest" : "largest") first" }
}

/// Which heads of a report are shown, in which order, and what is expected of them.
struct ReportChoice {
  /// Nil: as in the file.
  var order: NumberOrder?
  /// A head is shown when all of them hold.
  var conditions: [NumberTest] = []
  /// What must hold, or the command fails.
  var expectations: [NumberTest] = []

  /// Every number that is asked for.
  var names: [String] {
    [order?.name].compactMap { $0 } + (conditions + expectations).map(\.name)
  }

  /// Refuses names that none of the reports has a number for, and says which there are; a number
  /// that only the total has sorts and chooses no heads. Throws `ValidationError`.
  func check(_ reports: [Report]) throws {
    guard reports.contains(where: { !$0.heads.isEmpty }) else { return }
    let known = reports.flatMap(\.numberNames)
    let ofHeads =
      [order?.name].compactMap { $0 }
      + (conditions + expectations.filter { $0.scope == .each }).map(\.name)
    for name in names where !known.contains(HeadReport.fullName(name)) {
      let isTotal = reports.contains { $0.totals[HeadReport.fullName(name)] != nil }
      guard !isTotal || ofHeads.contains(name) else { continue }
      var seen: Set<String> = []
      let list = known.filter { seen.insert($0).inserted }.joined(separator: ", ")
      throw ValidationError("There is no number '\(name)' here; there are \(list).")
    }
  }
}

extension HeadReport {
  /// Other names of numbers: the columns of the text, those of the CSV, and the screen's words.
  private static let otherNames = [
    "visible": "visible_blocks", "skipped": "skipped_blocks", "pruned": "sparsity",
    "dropped": "dropped_mean", "dropped(0-1)": "dropped_mean", "worst": "dropped_max",
    "worst(0-1)": "dropped_max", "error_relative_l2": "error", "error_max_abs": "error_max",
    "eff.keys": "effective_tokens", "sink": "sink_mass", "on": "sink_position",
    "distance": "mean_distance", "prev.token": "previous_token",
  ]

  /// Numbers about the head itself, whatever the method did to it.
  static let ownNames = [
    "layer", "head", "entropy", "effective_tokens", "sink_mass", "sink_position", "its_recall",
    "mean_distance", "previous_token", "induction",
  ]

  /// The name under which a number is kept.
  static func fullName(_ name: String) -> String { otherNames[name] ?? name }

  /// A number of the head by any of its names; `numbers.NAME` is the method's own where the head
  /// has one of that name, too. Nil when it cannot be known.
  func named(_ name: String) -> Double? {
    if name.hasPrefix("numbers.") { return number(String(name.dropFirst("numbers.".count))) }
    return switch Self.fullName(name) {
    case "layer": Double(layer.value)
    case "head": Double(number)
    case "entropy": summary?.entropy
    case "effective_tokens": summary?.effectiveTokens
    case "sink_mass": summary?.sink.mass
    case "sink_position": summary.map { Double($0.sink.position) }
    case "its_recall": summary?.label.winner?.recall
    case "mean_distance": summary?.reach?.meanDistance
    case "previous_token": summary?.reach?.previousToken
    case "induction": summary?.reach?.induction
    case let other: number(other)
    }
  }
}

extension Report {
  /// Names of every number that some head has, those about the head itself first; a method's own
  /// under a name that means another is `numbers.NAME`.
  var numberNames: [String] {
    var seen = Set(HeadReport.ownNames), names = HeadReport.ownNames
    for finding in heads.flatMap(\.findings.all) {
      guard case .number = finding.content else { continue }
      let full = HeadReport.fullName(finding.name)
      let isTaken = full != finding.name || HeadReport.ownNames.contains(full)
      let name = isTaken ? "numbers.\(finding.name)" : finding.name
      if seen.insert(name).inserted { names.append(name) }
    }
    return names
  }

  /// Leaves the heads that are chosen, in their order; heads without the number come last, and
  /// equal ones stay as they were.
  mutating func choose(_ choice: ReportChoice) {
    (self.choice, inAll) = (choice, heads.count)
    heads = heads.filter { head in choice.conditions.allSatisfy { $0.holds(head.named($0.name)) } }
    guard let order = choice.order else { return }
    func key(_ head: HeadReport) -> Double {
      guard let number = head.named(order.name), !number.isNaN else { return .infinity }
      return order.isUp ? number : -number
    }
    heads = heads.enumerated().map { (place: $0, head: $1, key: key($1)) }
      .sorted { $0.key != $1.key ? $0.key < $1.key : $0.place < $1.place }.map(\.head)
  }

  /// What was expected of this report, and whether it holds.
  var verdicts: [Verdict] { choice.expectations.map(verdict) }

  /// One expectation: of the total where there is one and heads were not asked for by word.
  private func verdict(_ test: NumberTest) -> Verdict {
    let name = HeadReport.fullName(test.name)
    if test.scope == .total || test.scope == .any && totals[name] != nil {
      let total = totals[name] ?? nil
      return Verdict(test: test, holds: test.holds(total), total: .some(total), failed: [])
    }
    let numbers = heads.map { (head: $0, number: $0.named(test.name)) }
    // The farthest from what was expected first; what is not known is the worst of all.
    func distance(_ number: Double?) -> Double {
      number.flatMap { $0.isNaN ? nil : abs($0 - test.value) } ?? .infinity
    }
    let failed = numbers.filter { !test.holds($0.number) }
      .sorted { distance($0.number) > distance($1.number) }
    return Verdict(
      test: test, holds: failed.isEmpty && !heads.isEmpty, total: nil,
      failed: failed.map { (layer: $0.head.layer.value, head: $0.head.number, number: $0.number) })
  }

  /// An expectation and what came of it.
  struct Verdict {
    /// What was expected.
    let test: NumberTest
    /// It is so.
    let holds: Bool
    /// The number of the total, nil within where it is not known; nil: heads were asked.
    let total: Double??
    /// Heads of which it is not so, the farthest first.
    let failed: [(layer: Int, head: Int, number: Double?)]
  }

  /// What came of an expectation, as a sentence that names the total or the heads.
  func sentence(_ verdict: Verdict) -> String {
    func text(_ number: Double?) -> String { number.map(Numbers.short) ?? "not known" }
    let start = "expected \(verdict.test): \(verdict.holds ? "holds" : "does not hold")"
    if let total = verdict.total { return "\(start), the total is \(text(total))" }
    if verdict.holds { return "\(start) for \(heads.count == 1 ? "the head" : "every head")" }
    if heads.isEmpty { return "\(start), no head is left to ask" }
    let named = verdict.failed.prefix(5).map {
      "layer \($0.layer) head \($0.head) has \(text($0.number))"
    }
    let rest = verdict.failed.count - named.count
    return "\(start) for \(verdict.failed.count) of \(heads.count) heads: "
      + named.joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "")
  }

  /// Which heads are shown and in which order, as a line; nil where all are, as in the file.
  var choiceLine: String? {
    var parts: [String] = []
    if !choice.conditions.isEmpty {
      let conditions = choice.conditions.map(\.description).joined(separator: " and ")
      parts.append("\(heads.count) of \(inAll) heads, where \(conditions)")
    }
    if let order = choice.order { parts.append("sorted by \(order)") }
    return parts.isEmpty ? nil : parts.joined(separator: "; ")
  }
}
