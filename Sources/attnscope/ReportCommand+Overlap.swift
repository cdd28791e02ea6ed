public import ArgumentParser
import Attention
import Backends
import Canvas
import Formats
import Methods
public import Sessions

extension ReuseRequest.Along: ExpressibleByArgument {}

/// `attnscope report FILE --overlap layers --method ID`: what masks have in common.
extension ReportCommand {
  /// Throws `ValidationError` for flags that do not go together.
  func validateOverlap() throws {
    if recall != nil, overlap != .layers {
      throw ValidationError("--recall goes with --overlap layers.")
    }
    if let recall, !(recall > 0 && recall <= 1) {
      throw ValidationError("--recall is a share above 0, at most 1.")
    }
    guard let overlap else { return }
    if masks != nil || csv || markdown {
      throw ValidationError("--overlap prints a table or --json, and writes --fields.")
    }
    if inputs.areSeveral { throw ValidationError("--overlap takes one FILE.") }
    if try lambdas.count > 1 { throw ValidationError("--overlap takes one --lambda.") }
    if sort != nil || !(conditions + expectations).isEmpty {
      throw ValidationError("--sort, --where and --expect are of the report, not of --overlap.")
    }
    if overlap == .methods, method.count < 2 {
      throw ValidationError("--overlap methods takes two --method or more.")
    }
    if overlap != .methods, method.count > 1 {
      throw ValidationError("--overlap \(overlap.rawValue) takes one --method.")
    }
  }

  /// Computes and prints. Throws what the method throws, and `mismatch` for layers and heads that
  /// do not exist.
  func reportOverlap(_ along: ReuseRequest.Along) throws {
    try inputs.refuse(writingTo: [fields])
    if let fields { try checkWritable(fields, force: force) }
    let dump = try inputs.one(texts)
    let backend = try texts.backend(dump), about = backend.describe()
    let settings = try (method.isEmpty ? [nil] : method.map(Optional.some)).map {
      try Registry.standard.setting(
        $0, knobs: knob, try tiles(lambdas[0]), queries: about.queries, spec: about.storedTile)
    }
    var request = ReuseRequest(
      along, settings: settings,
      layers: try layers.map { try about.layerIndices($0, file: dump.path) }
        ?? about.layers.layerIndices,
      heads: try heads.map {
        try Set($0.numbers).sorted().map { try about.headIndex($0, file: dump.path) }
      } ?? Array(0..<about.heads))
    request.recall = recall ?? 0.95
    let start = ContinuousClock.now
    let findings = try backend.reuse(request) { done, of in
      guard done > 0, ContinuousClock.now - start > .seconds(2) else { return }
      say("\(done) of \(of) done")
    }
    if let fields {
      var file = FieldFile(path: fields)
      try file.add(findings, settings)
      try file.write(force: force)
    }
    let report = OverlapReport(
      path: dump.path, along: along, settings: settings, findings: findings)
    let text = try json ? report.json.text(pretty: true) : report.text
    print(text)
  }
}

/// Overlaps as tables and JSON, from the findings that `--fields` writes.
struct OverlapReport {
  /// The file.
  let path: String
  /// What was laid over one another.
  let along: ReuseRequest.Along
  /// The methods with their knobs.
  let settings: [MethodSetting]
  /// What was found.
  let findings: Findings

  /// A table a field, then series and curves as tables, then numbers. Fields of steps are too large
  /// to be read: their mean by distance stands for them. Throws what a field's rows throw.
  var text: String {
    get throws {
      let names = settings.map(\.description).joined(separator: ", ")
      var parts = [
        Printable.text("\(path): \(names): overlap of \(along.rawValue), intersection over union")
      ]
      for finding in findings.all {
        switch finding.content {
        case .field(let field, _) where along != .steps:
          parts.append(try Self.table(finding.title, field))
        case .series(let axis, let values, _):
          parts.append(
            Table(
              ["layer", finding.title],
              rows: values.indices.map { [axis.name($0), Self.whole(Double(values[$0]))] }
            ).text)
        case .curve(let curve):
          parts.append(
            finding.title + "\n"
              + Table(
                [curve.xName, curve.yName],
                rows: curve.points.map { [Self.whole($0.x), Numbers.fixed($0.y, 3)] }
              ).text)
        default: break
        }
      }
      let numbers = findings.all.compactMap { finding -> String? in
        guard case .number(let value, _) = finding.content else { return nil }
        return "\(finding.title): \(value.map(Self.whole) ?? "-")"
      }
      return (parts + [numbers.joined(separator: "; ")] + findings.notes.map { "note: \($0)" })
        .filter { !$0.isEmpty }.joined(separator: "\n")
    }
  }

  /// Counts and layers without a fraction, everything else in the one format.
  private static func whole(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : Numbers.short(value)
  }

  /// A square of numbers with the names of its places on both sides.
  private static func table(_ title: String, _ field: any RowField) throws -> String {
    let places = (0..<field.columns.count).map(field.columns.name)
    // Long names stand on the left alone.
    let isShort = places.allSatisfy { $0.count <= 5 }
    let heads = isShort ? places : places.indices.map { "\($0 + 1)" }
    let rows = try places.indices.map { row in
      [isShort ? places[row] : "\(row + 1) \(places[row])"]
        + (try field.row(row)).map { $0.isNaN ? "-" : Numbers.fixed(Double($0), 3) }
    }
    return title + "\n" + Table([""] + heads, leftAligned: isShort ? [] : [""], rows: rows).text
  }

  /// Every finding under its name; fields of steps are left to `--fields`. Throws what a field's
  /// rows throw.
  var json: JSON {
    get throws {
      var pairs: [(String, JSON)] = [
        ("file", .string(path)), ("overlap", .string(along.rawValue)),
        ("methods", .array(settings.map { .string($0.description) })),
      ]
      for finding in findings.all {
        if let value = try json(finding.content) { pairs.append((finding.name, value)) }
      }
      pairs.append(("notes", .array(findings.notes.map(JSON.string))))
      return .object(pairs)
    }
  }

  /// Nil for what only `--fields` writes.
  private func json(_ content: Content) throws -> JSON? {
    switch content {
    case .number(let value, _): return .optional(value, JSON.number)
    case .series(_, let values, _): return .array(values.map { .number(Double($0)) })
    case .curve(let curve):
      return .array(curve.points.map { .array([.number($0.x), .number($0.y)]) })
    case .spans: return nil
    case .field(let field, _):
      guard along != .steps else { return nil }
      let rows = try (0..<field.rows.count).map { row -> JSON in
        .array(try field.row(row).map { .number(Double($0)) })
      }
      let places = (0..<field.columns.count).map { JSON.string(field.columns.name($0)) }
      return .object([("places", .array(places)), ("values", .array(rows))])
    }
  }
}
