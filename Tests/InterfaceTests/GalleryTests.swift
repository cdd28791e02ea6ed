import Attention
import Backends
import Canvas
import Interface
import Methods
import Pictures
import Sessions
import Support
import Testing

/// One head under many methods: what is read from a text, what stands on the screen and the page,
/// and what keys do. The methods are those of a registry made for these tests.
@Suite struct GalleryTests {
  static let registry = Registry(Registry.standard.methods + [Toy.self, Plain.self])

  static var backend: SyntheticBackend { SyntheticBackend(tokens: 96, registry: registry) }

  static var source: SourceDescription { backend.describe() }

  /// Half of the pattern's weights, in the family of the toy.
  struct Plain: AttentionMethod {
    static let card = MethodCard(
      id: "plain-toy", title: "Plain toy", family: "tests", idea: "One value everywhere.",
      source: "Nobody, 2026", mainField: "map", mainNumber: "error",
      variants: ["plain-toy-two": [:]])

    init(knobs: Knobs) throws(KnobError) {}

    func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
      let n = subject.head.keys
      var findings = Findings()
      findings.field(
        "map",
        RuleField(rows: Axis(.query, n), columns: Axis(.key, n)) { row, out in
          for key in 0..<n { out[key] = key > row ? .nan : 1 / Float(row + 1) }
        }, .signed, title: "plain map")
      findings.number("error", 0.125, title: "output error")
      return findings
    }
  }

  private static func taken(_ text: String) throws -> Viewpoint {
    var viewpoint = Viewpoint(source)
    try ViewSetting.take("gallery", text, into: &viewpoint, [source])
    return viewpoint
  }

  @Test(arguments: [
    "family:tests", "toy,plain-toy", "toy:size=3,plain-toy", "variants:plain-toy",
    "family:tests,toy",
  ]) func readsBackWhatItTakes(_ text: String) throws {
    let viewpoint = try Self.taken(text)
    #expect(viewpoint.gallery == text)
    let state = ViewState.text(viewpoint, [Self.source])
    #expect(state.contains("gallery \(text)\n"))
  }

  @Test(arguments: [
    ("family:nobody", "family"), ("variants:nobody", "nobody"), ("nobody", "nobody"),
    ("toy:size=99", "size"), ("", "gallery"), (",,", "gallery"),
  ]) func saysWhatItDoesNotKnow(_ text: String, _ word: String) {
    let error = #expect(throws: SettingError.self) { try Self.taken(text) }
    #expect(error?.description.contains(word) == true)
  }

  private static func screen(
    _ text: String, width: Int = 120, height: Int = 40, colors: Capabilities.Colors = .palette
  ) async throws -> String {
    try await Still.grid(
      backend, width: width, height: height, capabilities: Capabilities(colors: colors)
    ) {
      $0.view = .heads
      $0.gallery = text
    }.lines.joined(separator: "\n")
  }

  @Test(arguments: [(80, 24), (120, 40), (200, 50)]) func onTheScreen(_ width: Int, _ height: Int)
    async throws
  {
    let text = try await Self.screen("family:tests", width: width, height: height)
    for word in [
      "Gallery family:tests", "pattern", "toy U3", "plain-toy", "0.125", "one scale",
    ] { #expect(text.contains(word), "\(word) is missing:\n\(text)") }
  }

  @Test func inMono() async throws {
    let text = try await Self.screen("family:tests", width: 80, height: 24, colors: .mono)
    #expect(text.contains("plain-toy") && text.contains("0.125"))
  }

  /// A method whose needs are not met says so in the place of its picture.
  @Test func saysWhatIsMissing() async throws {
    let text = try await Self.screen("plain-toy,attention-residuals")
    #expect(text.contains("needs"), "\(text)")
  }

  @Test func inSentences() async throws {
    let model = try await Still.model(Self.backend, width: 120, height: 40) {
      $0.view = .heads
      $0.gallery = "family:tests"
    }
    let text = PlainText(model).sentences.joined(separator: "\n")
    #expect(text.contains("one head under 2 methods"))
    #expect(text.contains("Toy method (U3: made for a test): output error -"))
    #expect(text.contains("Plain toy: output error 0.125"))
  }

  /// The colours of all pictures end where the pattern's do: a value twice as large has the same.
  @Test func onAPage() async throws {
    let model = try await Still.model(Self.backend, width: 120, height: 40) {
      $0.view = .heads
      $0.gallery = "family:tests"
    }
    var figure = Figure(model)
    #expect(figure.kind == .gallery)
    try await figure.complete { try await Self.backend.answer($0) }
    let svg = figure.picture.svg
    for word in [
      "method-pattern", "method-toy", "method-plain-toy", "0.125", "U3: made for a test",
      "One scale",
    ] { #expect(svg.contains(word), "\(word) is missing on the page") }
    let csv = figure.data.csv
    #expect(csv.hasPrefix("method,title,fidelity,"))
    #expect(csv.contains("plain-toy,Plain toy,exact,") && csv.contains("0.125"))
    // The heads of the same model are still a figure of their own.
    #expect(figure.of(.heads).kind == .heads)
  }

  @Test func byKeys() async throws {
    let pilot = Pilot(Self.backend, width: 120, height: 40)
    pilot.command("gallery family:tests")
    pilot.terminal.press(.alt("2"))
    await pilot.sees("Gallery family:tests")
    await pilot.sees("0.125")
    pilot.terminal.press(.right)
    await pilot.sees("Toy method: Says a little of everything.")
    pilot.press("]")
    await pilot.sees("size = 3")
    pilot.terminal.press(.enter)
    await pilot.sees("toy: toy map")
    pilot.terminal.press(.alt("2"))
    await pilot.sees("Gallery family:tests")
    pilot.terminal.press(.escape)
    await pilot.sees("Heads 6")
    pilot.press("u")
    await pilot.sees("Gallery family:tests")
    await pilot.quit()
  }

  /// A without a choice opens the family of the method in force, and leaves it again.
  @Test func byItsKey() async throws {
    let pilot = Pilot(Self.backend, width: 120, height: 40)
    pilot.command("method toy")
    await pilot.sees("toy score")
    pilot.press("A")
    await pilot.sees("Gallery family:tests")
    pilot.press("A")
    await pilot.sees("Heads 6")
    await pilot.quit()
  }
}
