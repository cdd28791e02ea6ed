import Analysis
import Attention
import Backends
import Canvas
import Interface
import Lessons
import Methods
import Pictures
import Sessions
import Support
import Testing

/// A method with one finding of each shape, in one file, registered for these tests alone.
struct Toy: AttentionMethod {
  static let size = Knob("size", "how large", 0...10, standard: 2.0, step: .add(1), isMain: true)

  static let card = MethodCard(
    id: "toy", title: "Toy method", family: "tests", idea: "Says a little of everything.",
    source: "Nobody, 2026", knobs: [size.facts],
    fidelity: .surrogate(.U3, "made for a test"), mainField: "map", mainNumber: "toy_score")

  private let knobs: CheckedKnobs

  init(knobs: Knobs) throws(KnobError) { self.knobs = try CheckedKnobs(knobs, for: Self.card) }

  func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    let n = subject.head.keys, size = Float(knobs[Self.size])
    var findings = Findings()
    findings.number("toy_score", Double(size) / 8, .share, title: "toy score")
    findings.number("toy_unknown", nil, .nats, title: "toy unknown")
    findings.series(
      "toy_strip", Axis(.key, n), (0..<n).map { Float($0 % 7) }, .nats, title: "toy strip")
    findings.field(
      "map",
      RuleField(rows: Axis(.query, n), columns: Axis(.key, n)) { row, out in
        for key in 0..<n { out[key] = key > row ? .nan : (key % 3 == 0 ? -size : 0) }
      }, .signed, title: "toy map")
    findings.curve(
      "toy_curve",
      Curve(
        x: "steps", y: "gain", points: (0...10).map { .init(Double($0), Double($0 * $0)) },
        marks: [.init("chosen", x: 4, y: 16)]), title: "toy curve")
    findings.spans(
      "toy_spans", [Span(lane: 0, from: 0, to: 3, key: 0), Span(lane: 1, from: 1, to: 5, key: 1)],
      lanes: Axis(.worker, 2), .tiles, title: "toy timeline")
    findings.note("this is a toy")
    return findings
  }
}

@Suite struct ToyMethodTests {
  static let registry = Registry(Registry.standard.methods + [Toy.self])

  static var backend: SyntheticBackend { SyntheticBackend(tokens: 96, registry: registry) }

  private static func screen(
    _ view: ViewKind, width: Int = 120, height: Int = 44,
    _ change: (inout Viewpoint) -> Void = { _ in }
  ) async throws -> String {
    try await Still.grid(backend, width: width, height: height) {
      $0.method = MethodSetting("toy")
      $0.view = view
      change(&$0)
    }.lines.joined(separator: "\n")
  }

  @Test func onTheMap() async throws {
    let plain = try await Self.screen(.map)
    #expect(plain.contains("Toy method") && plain.contains("toy score") && plain.contains("25.0 %"))
    #expect(
      plain.contains("toy_…") || plain.contains("toy_s"),
      "the strip under the map is not the method's")
    let map = try await Self.screen(.map) { $0.field = "map" }
    #expect(map.contains("toy: toy map") && map.contains("signed weights"))
    #expect(map.contains("-2.00") && map.contains("exactly zero"))
  }

  @Test func inTheMethodView() async throws {
    let text = try await Self.screen(.blocks)
    for word in [
      "toy map", "toy strip", "toy curve", "chosen", "toy timeline", "toy score", "25.0 %",
      "not known", "this is a toy", "U3",
    ] { #expect(text.contains(word), "\(word) is missing:\n\(text)") }
    let small = try await Self.screen(.blocks, width: 80, height: 24)
    #expect(small.contains("toy map") && small.contains("toy score"))
  }

  @Test func amongHeadsAndScores() async throws {
    let heads = try await Self.screen(.heads)
    #expect(heads.contains("toy score of toy") && heads.contains("25.0 %"))
    let filtered = try await Self.screen(.heads) {
      try? ViewSetting.take("where", "toy_score<0.1", into: &$0, [Self.backend.describe()])
    }
    #expect(filtered.contains("of 6 with toy_score<0.1"))
    let scores = try await Self.screen(.sinks)
    #expect(scores.contains("toy: toy score") && scores.contains("toy strip"))
    let other = try await Self.screen(.sinks) { $0.score = "entropy" }
    #expect(other.contains("toy: entropy"))
  }

  @Test func underTheText() async throws {
    #expect(try await Self.screen(.tokens).contains("toy strip"))
  }

  @Test func inComparisons() async throws {
    let model = try await Still.model(Self.backend, width: 200, height: 60) {
      $0.view = .compare
      $0.other = Counterpart($0.head, method: MethodSetting("toy", ["size": .number(4)]))
    }
    let table = ComparisonTable(model)
    #expect(table.text.contains("toy:size=4") && table.text.contains("50.0 %"))
    let row = ComparisonNumbers(model).rows.first { $0.name == "toy_score" }
    #expect(row?.right == .number(0.5) && row?.left == .unknown)
  }

  @Test func onPagesAndAsData() async throws {
    var model = try await Still.model(Self.backend, width: 120, height: 40) {
      $0.method = MethodSetting("toy")
      $0.view = .blocks
    }
    var figure = Figure(model)
    try await figure.complete { try await Self.backend.answer($0) }
    let svg = figure.picture.svg
    for word in ["toy map", "toy strip", "toy curve", "toy timeline", "toy score", "25.0 %"] {
      #expect(svg.contains(word), "\(word) is missing in the figure")
    }
    #expect(figure.data.csv.contains("toy_score,,0.25,share"))
    #expect(figure.data.csv.contains("toy_strip,3,3.0,nats"))
    model.viewpoint.view = .map
    model.viewpoint.field = "map"
    var map = Figure(model)
    try await map.complete { try await Self.backend.answer($0) }
    #expect(map.picture.svg.contains("toy map"))
  }

  @Test func inSentences() async throws {
    let model = try await Still.model(Self.backend, width: 120, height: 40) {
      $0.method = MethodSetting("toy")
      $0.view = .blocks
    }
    let text = PlainText(model).sentences.joined(separator: "\n")
    for word in [
      "Toy method (U3: made for a test)", "toy score: 25.0 %.", "toy unknown: not known.",
      "toy strip: 96",
      "toy map: a map of 96 query rows", "toy curve: gain over steps", "toy timeline: 2 spans",
    ] { #expect(text.contains(word), "\(word) is missing:\n\(text)") }
  }

  @Test func inALessonsCheck() async throws {
    let model = try await Still.model(Self.backend, width: 120, height: 40) {
      $0.method = MethodSetting("toy")
      $0.view = .blocks
    }
    let condition = try Condition("finding.toy_score > 0.2 and finding.toy_score < 0.3")
    #expect(condition.holds { Facts(model)[$0] } == true)
    #expect(Fact.kind("finding.toy_score") == .number && Fact.kind("finding.") == nil)
  }

  /// `[ ]` move the main knob, L lists it, y turns to its map.
  @Test func byKeys() async throws {
    let pilot = Pilot(Self.backend, width: 120, height: 40)
    pilot.command("method toy")
    await pilot.sees("toy score")
    pilot.press("]")
    await pilot.sees("size = 3")
    await pilot.sees("37.5 %")
    pilot.press("y")
    await pilot.sees("toy map")
    pilot.press("L")
    await pilot.sees("Library")
    pilot.press("toy")
    await pilot.sees("toy  tests  Toy method")
    pilot.terminal.press(.escape)
    await pilot.quit()
  }
}
