import Attention
import Backends
import Canvas
import Interface
import Methods
import Sessions
import Testing

/// What masks have in common, in views 4 and 6.
@Suite struct OverlapTests {
  static let registry = Registry([
    BLASST.self, Dense.self, AShape.self, TopK.self, SlidingWindow.self,
  ])

  static var backend: SyntheticBackend { SyntheticBackend(tokens: 128, registry: registry) }

  private static func model(
    _ along: OverlapRequest.Along, _ view: ViewKind = .sinks, _ width: Int = 120,
    _ height: Int = 40, _ colors: Capabilities.Colors = .palette,
    _ change: (inout Viewpoint) -> Void = { _ in }
  ) async throws -> Model {
    try await Still.model(
      backend, width: width, height: height, capabilities: Capabilities(colors: colors)
    ) {
      $0.view = view
      $0.method = MethodSetting("top-k", ["k": .number(16)])
      $0.overlap = along
      change(&$0)
    }
  }

  private static func text(_ model: Model) -> String {
    view(model).lines.joined(separator: "\n")
  }

  @Test(arguments: OverlapRequest.Along.allCases) func eachIsDrawn(
    _ along: OverlapRequest.Along
  ) async throws {
    let words: [OverlapRequest.Along: [String]] = [
      .layers: ["masks for recall 0.95", "most alike"], .heads: ["most alike", "mean of two"],
      .steps: ["90 % of reads", "hit rate over"], .methods: ["like top-k:k=16", "a-shape"],
    ]
    for (width, height) in [(80, 24), (120, 40)] {
      let text = Self.text(try await Self.model(along, .sinks, width, height))
      #expect(text.contains("Overlap of \(along.rawValue)"), "\(text)")
      for word in words[along]! { #expect(text.contains(word), "\(word) is missing:\n\(text)") }
    }
    for (width, height) in [(40, 12), (69, 16), (70, 13), (200, 60)] {
      _ = Self.text(try await Self.model(along, .sinks, width, height, .mono))
      _ = Self.text(try await Self.model(along, .compare, width, height))
    }
  }

  /// Another recall needs no other answer, and changes who takes whose mask.
  @Test func donorsFollowTheRecall() async throws {
    var model = try await Self.model(.layers)
    #expect(Self.text(model).contains("recall 0.95"))
    let questions = Needs(model).foreground
    for key in [":"] + "recall 0.01".map(String.init) {
      _ = update(&model, .event(.key(.character(Character(key)))))
    }
    _ = update(&model, .event(.key(.enter)))
    #expect(Needs(model).foreground == questions)
    #expect(Self.text(model).contains("L0's (0.876)"), "\(Self.text(model))")
    _ = update(&model, .event(.key(.down)))
    #expect(Needs(model).foreground.allSatisfy(model.isKnown) || model.viewpoint.head.layer == 1)
  }

  @Test func twoSidesAreCompared() async throws {
    let model = try await Self.model(.methods, .compare) {
      $0.other = Counterpart($0.head, method: MethodSetting("a-shape"))
    }
    let text = Self.text(model)
    #expect(text.contains("Overlap of the sides") && text.contains("kept by both"), "\(text)")
    let said = PlainText(model).sentences.joined(separator: "\n")
    #expect(said.contains("kept by both, of what either keeps:"), "\(said)")
  }

  /// A method without a mask says so, on the screen and in words.
  @Test func withoutAMaskThereAreWords() async throws {
    let model = try await Self.model(.layers) { $0.method = MethodSetting("dense") }
    #expect(Self.text(model).contains("keeps no entries"))
    #expect(PlainText(model).sentences.contains { $0.contains("keeps no entries") })
  }

  /// O turns to the next, `:overlap` opens view 4, and nothing is asked where it is not seen.
  @Test func byKeysAndCommands() async throws {
    let pilot = Pilot(Self.backend, width: 120, height: 40)
    pilot.command("overlap heads")
    await pilot.sees("Overlap of heads")
    await pilot.sees("most alike")
    pilot.press("O")
    await pilot.sees("keys of the buffer")
    pilot.press("O")
    await pilot.sees("like blasst")
    pilot.press("O")
    await pilot.until("no overlap") { !$0.contains("like blasst") }
    pilot.command("overlap nothing")
    await pilot.sees("overlap is one of off, layers, heads, steps, methods")
    let model = await pilot.model()
    #expect(model.viewpoint.overlap == nil && model.viewpoint.view == .sinks)
    await pilot.quit()
    var elsewhere = try await Self.model(.heads)
    elsewhere.viewpoint.view = .map
    let asked = Needs(elsewhere).foreground.filter { $0.isOfMasks }
    #expect(asked.isEmpty)
  }

  @Test func inSentences() async throws {
    let layers = PlainText(try await Self.model(.layers)).sentences
    #expect(layers.contains { $0.hasPrefix("Layer 0 with 4 0.") })
    #expect(layers.contains { $0.hasPrefix("masks for recall 0.95") })
    let steps = PlainText(try await Self.model(.steps)).sentences
    #expect(steps.contains { $0.contains("hit rate over keys of the buffer") })
  }

  @Test func snapshots() async throws {
    for along in OverlapRequest.Along.allCases {
      try Snapshot.check(
        view(try await Self.model(along, .sinks, 80, 24, .mono)),
        "overlap-\(along.rawValue)-80x24-mono")
    }
    try Snapshot.check(view(try await Self.model(.steps)), "overlap-steps-120x40")
    try Snapshot.check(view(try await Self.model(.layers, .compare)), "overlap-compare-120x40")
  }
}
