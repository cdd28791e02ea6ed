import Analysis
import Attention
import Backends
import Canvas
import Formats
import Sessions

extension Report {
  /// The report as an object. Names of keys are an interface: scripts read them.
  var json: JSON {
    .object(
      [
        ("file", .string(dump.path)), ("model", .optional(dump.model, JSON.string)),
        ("tokens", .integer(about.keys)), ("method", .string(setting.id)),
        ("setting", .string(setting.description)),
        ("fidelity", .optional(card?.fidelity(of: setting).tag, JSON.string)),
        ("lambda", .optional(lambda, JSON.number)),
        ("tile", .optional(spec) { .array([.integer($0.rows), .integer($0.keys)]) }),
        ("vote", .optional(spec) { .string($0.vote.rawValue) }),
        ("order", .optional(spec) { .string($0.order.rawValue) }),
        ("criterion", .optional(spec) { .string($0.criterion.rawValue) }),
        ("splits", .optional(spec) { .integer($0.splits) }),
        ("screen", .string(setting.knobs["screen"]?.description ?? "none")),
        ("probe", .optional(dump.probe, JSON.init(probe:))),
        ("heads", .array(heads.map(json))), ("total", total),
        ("guesses", .array(about.guesses.map(JSON.string))),
      ] + chosen)
  }

  /// Which heads are shown, how they are sorted and what was expected, as far as it was asked for.
  private var chosen: [(String, JSON)] {
    var pairs: [(String, JSON)] = []
    if let order = choice.order {
      pairs.append(
        ("sort", .object([("number", .string(order.name)), ("up", .bool(order.isUp))])))
    }
    if !choice.conditions.isEmpty {
      pairs.append(("where", .array(choice.conditions.map { .string($0.description) })))
      pairs.append(("heads_in_all", .integer(inAll)))
    }
    if !choice.expectations.isEmpty { pairs.append(("expected", .array(verdicts.map(json)))) }
    return pairs
  }

  /// An expectation: the total's number, or the heads that fail.
  private func json(_ verdict: Verdict) -> JSON {
    let failed = verdict.failed.map { head -> JSON in
      .object([
        ("layer", .integer(head.layer)), ("head", .integer(head.head)),
        ("number", .optional(head.number, JSON.number)),
      ])
    }
    return .object([
      ("expect", .string(verdict.test.description)), ("holds", .bool(verdict.holds)),
      ("total", .optional(verdict.total ?? nil, JSON.number)), ("failed", .array(failed)),
    ])
  }

  /// One head: the numbers every report has under fixed names, then all of the method's own
  /// under `numbers`.
  private func json(_ head: HeadReport) -> JSON {
    let numbers = head.findings.all.compactMap { finding -> (String, JSON)? in
      guard case .number(let value, _) = finding.content else { return nil }
      return (finding.name, .optional(value.flatMap { $0.isFinite ? $0 : nil }, JSON.number))
    }
    let told = JSON.optional(assigned?(head), Self.assignedJSON)
    return .object([
      ("layer", .integer(head.layer.value)), ("head", .integer(head.number)),
      ("phase", .string(phase)),
      ("visible_blocks", .optional(head.count("visible_blocks"), JSON.integer)),
      ("skipped_blocks", .optional(head.count("skipped_blocks"), JSON.integer)),
      ("decided_by_bound", .optional(head.count("decided_by_bound"), JSON.integer)),
      ("sparsity", .optional(head.number("sparsity"), JSON.number)),
      ("dropped_mass", Self.json(dropped: head.droppedMass)),
      ("output_error", Self.json(error: head)),
      ("sampled_rows", .optional(head.summary?.sampledRows, JSON.integer)),
      ("entropy", .optional(head.summary?.entropy, JSON.number)),
      ("effective_tokens", .optional(head.summary?.effectiveTokens, JSON.number)),
      ("sink", .optional(head.summary, json)),
      ("pattern", .optional(head.summary?.label, Self.json)),
      ("reach", .optional(head.summary?.reach, Self.json)), ("assigned", told),
      ("badges", .array((head.summary?.quality.badges ?? []).map(JSON.string))),
      ("numbers", .object(numbers)), ("notes", .array(head.findings.notes.map(JSON.string))),
    ])
  }

  /// Share of the softmax's mass that lay in skipped blocks, mean and maximum over rows.
  private static func json(dropped: DroppedMass?) -> JSON {
    .optional(dropped) { .object([("mean", .number($0.mean)), ("max", .number($0.max))]) }
  }

  /// Relative error of the attention output; null without values.
  private static func json(error head: HeadReport) -> JSON {
    .optional(head.number("error")) { error in
      .object([
        ("relative_l2", .number(error)),
        ("max_abs", .optional(head.number("error_max"), JSON.number)),
      ])
    }
  }

  /// The key that takes most of the mass.
  private func json(_ summary: HeadSummary) -> JSON {
    .object([
      ("position", .integer(summary.sink.position)),
      ("token", .optional(token(summary.sink.position), JSON.string)),
      ("mass", .number(summary.sink.mass)),
    ])
  }

  /// How far the head looks: a share of the attention for each range of distances, in tokens.
  private static func json(_ reach: HeadReach) -> JSON {
    let profile = reach.profile.enumerated().map { element, share -> JSON in
      let away = HeadReach.distances(element)
      return .object([
        ("from", .integer(away.lowerBound)), ("to", .integer(away.upperBound)),
        ("share", .number(share)),
      ])
    }
    return .object([
      ("mean_distance", .number(reach.meanDistance)),
      ("previous_token", .optional(reach.previousToken, JSON.number)),
      ("induction", .optional(reach.induction, JSON.number)),
      ("induction_rows", .integer(reach.inductionRows)), ("profile", .array(profile)),
    ])
  }

  /// How well each shape of pattern covers the head within the same budget of entries.
  private static func json(_ label: PatternLabel) -> JSON {
    .object([
      ("label", .string(label.name.rawValue)),
      ("scores", .object(label.candidates.map { ($0.name.rawValue, .number($0.recall)) })),
      ("densities", .object(label.candidates.map { ($0.name.rawValue, .number($0.density)) })),
      ("budget", .number(label.budget)),
      ("sampled_rows", .optional(label.sampledRows, JSON.integer)),
    ])
  }

  /// What a head was assigned elsewhere: under the name of measured patterns, and as the table has
  /// it.
  static func assignedJSON(_ pattern: AssignedPatterns.Pattern) -> JSON {
    .object([
      ("label", .string(pattern.label)), ("pattern", .string(pattern.name)),
      ("numbers", .array(pattern.numbers.map(JSON.number))),
      ("score", .optional(pattern.score, JSON.number)),
    ])
  }

  /// Totals of blocks, and means over heads of what is a share.
  private var total: JSON {
    let known = totals.compactMapValues { $0 }
    let lost = known["dropped_max"].flatMap { worst in
      known["dropped_mean"].map { DroppedMass(mean: $0, max: worst) }
    }
    let error = JSON.optional(known["error"]) { error in
      .object([
        ("relative_l2", .number(error)), ("max_abs", .number(known["error_max"] ?? 0)),
      ])
    }
    let rates = JSON.optional(sinkRates) {
      .object([
        ("threshold", .number($0.all.threshold)), ("all_rows", .number($0.all.rate)),
        ("first_64_rows", .optional($0.published?.rate, JSON.number)),
        ("sampled_rows", .optional(sampledRows, JSON.integer)),
      ])
    }
    return .object([
      ("visible_blocks", .optional(visible, JSON.integer)),
      ("skipped_blocks", .optional(skipped, JSON.integer)),
      ("sparsity", .optional(sparsity, JSON.number)),
      ("dropped_mass", Self.json(dropped: lost)),
      ("output_error", error), ("sink_rate", rates),
    ])
  }
}
