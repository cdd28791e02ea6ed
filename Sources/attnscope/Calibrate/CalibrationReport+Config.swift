import Analysis
import Attention
import Canvas
import Formats
import Glibc

/// What `calibrate --write` writes, and in words what of it was asked for and could not be written.
extension CalibrationReport {
  /// A configuration, and what is left out of it and why, in sentences.
  struct Config {
    /// The file's text.
    let text: String
    /// What was asked for and is not in it.
    let remarks: [String]
  }

  /// What TensorRT-LLM takes with --config, or what ModelOpt writes into a checkpoint's
  /// config.json. The first wants a factor for one target: the first of `targets` that every phase
  /// reaches, else the first that some phase reaches. Throws `mismatch` when nothing was fitted or
  /// every target is out of reach.
  func config(_ format: CalibrateCommand.ConfigFormat, targets: [Double]) throws -> Config {
    guard !allFits.isEmpty else {
      throw FormatError(
        .mismatch, "no phase could be fitted: too few sparsities between 10 and 90 % are reached",
        file: name)
    }
    let unfitted = phases.filter { $0.calibration.exponential == nil }.map {
      "\($0.calibration.phase.rawValue) is not written: it could not be fitted"
    }
    switch format {
    case .trtllm:
      let chosen = try target(targets)
      return Config(
        text: trtllm(chosen), remarks: unfitted + remarks(targets, written: chosen))
    case .modelopt: return Config(text: modelopt, remarks: unfitted)
    }
  }

  /// Phases that a target is out of reach of, although they have a fit: such a target has no
  /// factor, whatever the fit says beyond its points.
  private func unreached(_ target: Double) -> [Phase] {
    phases.filter { phase in
      phase.calibration.exponential != nil
        && phase.targets.contains { $0.target == target && $0.lambda == nil }
    }.map(\.calibration.phase)
  }

  /// The target that is written. Throws `mismatch` where no phase reaches any.
  private func target(_ targets: [Double]) throws -> Double {
    if let all = targets.first(where: { unreached($0).isEmpty }) { return all }
    if let some = targets.first(where: { unreached($0).count < allFits.count }) { return some }
    let list = targets.map(Numbers.percent).joined(separator: " and ")
    let places = unreached(targets[0]).map(\.rawValue).joined(separator: " and ")
    throw FormatError(
      .mismatch,
      """
      \(list) is out of reach in \(places): no configuration; choose a lower --target
      """,
      file: name)
  }

  /// Which target is written, which are not, and which phases it leaves out.
  private func remarks(_ targets: [Double], written: Double) -> [String] {
    func phases(_ phases: [Phase]) -> String {
      phases.map(\.rawValue).joined(separator: " and ")
    }
    var out: [String] = []
    if targets.count > 1 {
      // Of fits that a table brought nobody knows how far they reach.
      let known = self.phases.filter { $0.calibration.exponential != nil }
      let reach = unreached(written).isEmpty && known.count > 1 ? ", which both phases reach" : ""
      out.append(
        "trtllm holds one target: \(Numbers.percent(written)) is written\(reach)")
      out += targets.filter { $0 != written }.map { target in
        let short = unreached(target)
        let why = short.isEmpty ? "" : ": out of reach in \(phases(short))"
        return "\(Numbers.percent(target)) is not written\(why)"
      }
    }
    let lacking = unreached(written)
    if !lacking.isEmpty {
      out.append(
        """
        \(phases(lacking)) is not written: \(Numbers.percent(written)) is out of reach there; \
        choose a lower --target for it
        """)
    }
    return out
  }

  /// A factor for one target, as YAML.
  private func trtllm(_ target: Double) -> String {
    let unreached = unreached(target)
    let fits = allFits.filter { !unreached.contains($0.phase) }
    let tiles = phases.map { "\($0.calibration.phase.rawValue) \($0.spec)" }.joined(
      separator: ", ")
    var lines = [
      """
      # skip softmax attention: factors for \(Numbers.percent(target)) of blocks skipped; lambda \
      = factor / length
      """,
      "# calibrated by attnscope on " + Printable.text(name).replacing("\n", with: " ")
        + (tiles.isEmpty ? "" : ": " + tiles),
      "sparse_attention_config:", "  algorithm: skip_softmax", "  threshold_scale_factor:",
    ]
    lines += fits.map {
      let factor = $0.fit.factor(target)
      return
        """
            \($0.phase.rawValue): \(factor)  # dense below \
        \(Numbers.fixed(factor.rounded(.up), 0)) tokens: lambda would exceed 1
        """
    }
    lines += unreached.map { "    # \($0.rawValue): \(Numbers.percent(target)) was out of reach" }
    return lines.joined(separator: "\n") + "\n"
  }

  /// The fits themselves, as JSON.
  private var modelopt: String {
    let factors: [(String, JSON)] =
      [("formula", .string("a * exp(b * target_sparsity)"))]
      + allFits.map {
        ($0.phase.rawValue, .object([("a", .number($0.fit.a)), ("b", .number($0.fit.b))]))
      }
    return JSON.object([
      (
        "sparse_attention_config",
        .object([
          (
            "config_groups",
            .object([("group_0", .object([("sparse_algo", .string("softmax_skip"))]))])
          ), ("threshold_scale_factor", .object(factors)),
          ("producer", .object([("name", .string("attnscope")), ("version", .string("0.1.0"))])),
        ])
      )
    ]).text(pretty: true) + "\n"
  }
}
