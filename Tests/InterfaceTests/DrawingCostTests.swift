import Analysis
import Attention
import Backends
import Canvas
import Interface
import Sessions
import Support
import Testing

/// A frame costs what is seen of a head, not what the head holds.
@Suite(.serialized) struct DrawingCostTests {
  /// The view of a head of so many keys, all of which is known.
  private static func model(_ view: ViewKind, keys: Int) throws -> Model {
    var random = Seeded(3)
    let head = Head(
      query: random.tensor([64, 4]), key: random.tensor([keys, 4]), value: nil, causal: true,
      offset: keys - 64)
    let summary = try #require(Summariser(head).summary())
    let about = SourceDescription(
      name: "long", kind: "qkv", model: nil, layers: [0], heads: 1, kvHeads: 1, queries: 64,
      keys: keys, headDim: 4, visibility: head.visibility, tokens: [], hasValues: false)
    var model = Model(about, width: 120, height: 40)
    model.viewpoint.view = view
    _ = update(&model, .answered(.summary(HeadID(layer: 0, head: 0)), .whole, .summary(summary)))
    return model
  }

  private static func seconds(_ model: Model) -> Double {
    (0..<7).map { _ in
      let start = ContinuousClock.now
      _ = view(model)
      return (ContinuousClock.now - start) / .seconds(1)
    }.min()!
  }

  @Test func theHeaviestKeysAreNotSortedInEveryFrame() throws {
    let short = try Self.model(.sinks, keys: 512), long = try Self.model(.sinks, keys: 131072)
    #expect(view(long).lines.joined().contains("mass by key"))
    let (few, many) = (Self.seconds(short), Self.seconds(long))
    #expect(many < 3 * few, "\(few) s of 512 keys, \(many) s of 131072")
  }

  @Test func aKnobsValueIsAsShortAsTheKnob() async throws {
    #expect(FindingText.measured(0.1, .setting) == "0.1")
    #expect(FindingText.measured(nil, .setting) == "-")
    let grid = try await Still.grid(try LessonPlayTests.sample(), width: 140, height: 50) {
      $0.view = .blocks
      $0.method = MethodSetting("flexprefill")
    }
    let line = try #require(grid.lines.first { $0.contains(" τ ") })
    #expect(line.contains(" 0.1 ") && !line.contains("0.10"), "\(line)")
  }
}
