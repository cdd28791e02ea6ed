import Canvas
import Formats

/// What a probe of a deployed kernel found, as `info` says it.
extension InfoCommand {
  /// Rules that are listed; of more the best are.
  private static let mostRules = 12

  /// The kernel, the rule that explains it, what it skips, and every rule that it was held against,
  /// the best first.
  static func probed(_ probe: ProbeRecord) -> [[String]] {
    let device = probe.device.map { " on \($0)" } ?? ""
    let rule = probe.fingerprint?.words ?? "none: nothing that was tried explains every block"
    let words = [
      "\(probe.kernel)\(device), \(probe.phase), lambda \(probe.threshold)",
      "fingerprint \(rule)", probe.sentence { Numbers.percent($0) },
      "\(Numbers.count(probe.unsure, "block")) cannot be told",
    ]
    let tried = probe.agreement.prefix(mostRules).map { one in
      "\(one.rule.words): \(one.wrong) of \(one.blocks) wrong"
        + (one.unsure > 0 ? ", \(one.unsure) unsure" : "")
    }
    let rest = probe.agreement.count - tried.count
    return words.map { ["probe", $0] } + tried.map { ["agreement", $0] }
      + (rest > 0 ? [["agreement", "\(rest) more, which --json lists"]] : [])
  }
}

extension JSON {
  /// The whole of a probe, under the names of its metadata.
  init(probe: ProbeRecord) {
    func rule(_ rule: ProbeRecord.Rule) -> [(String, JSON)] {
      [
        ("rows", .integer(rule.rows)), ("keys", .integer(rule.keys)), ("vote", .string(rule.vote)),
        ("order", .string(rule.order)), ("splits", .integer(rule.splits)),
      ]
    }
    let counted = JSON.optional(probe.counted) { counter in
      .object([("sparsity", .number(counter.sparsity)), ("tile", .string(counter.tile))])
    }
    let agreement = probe.agreement.map { one -> JSON in
      .object(
        rule(one.rule) + [
          ("blocks", .integer(one.blocks)), ("wrong", .integer(one.wrong)),
          ("unsure", .integer(one.unsure)),
        ])
    }
    self = .object([
      ("version", .integer(1)), ("kernel", .string(probe.kernel)),
      ("device", .optional(probe.device, JSON.string)), ("phase", .string(probe.phase)),
      ("threshold", .number(probe.threshold)),
      ("fingerprint", .optional(probe.fingerprint) { .object(rule($0)) }),
      ("sparsity", .number(probe.sparsity)), ("unsure", .integer(probe.unsure)),
      ("counted", counted), ("agreement", .array(agreement)),
      ("tile", .array([.integer(probe.tile.rows), .integer(probe.tile.keys)])),
    ])
  }
}
