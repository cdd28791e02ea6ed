import Attention
import Backends
import Canvas
import Interface
import Methods
import Sessions
import Testing

/// The library, from which methods are chosen.
@Suite struct LibraryTests {
  private static func library(
    _ width: Int, _ height: Int, _ colors: Capabilities.Colors = .palette, keys: [Key] = []
  ) -> Grid {
    var model = Model(
      SyntheticBackend(tokens: 64).describe(), width: width, height: height,
      capabilities: Capabilities(colors: colors))
    for key in [.character("L")] + keys { _ = update(&model, .event(.key(key))) }
    return view(model)
  }

  private static func words(_ grid: Grid) -> String {
    // The box alone, without what lies beside it.
    let box = min(grid.width - 4, 78), left = (grid.width - box) / 2
    let inner = grid.lines.map { line in
      line.dropFirst(left + 1).prefix(box - 2).filter { !"├┤─".contains($0) }
    }
    return inner.joined(separator: " ").split(separator: " ").joined(separator: " ")
  }

  /// The whole paragraph of the chosen method's family stands under the list, and changes with it.
  @Test(arguments: [(80, 24), (120, 40)]) func theFamilyOfTheChosenOneIsSaid(
    _ width: Int, _ height: Int
  ) throws {
    let cards = Registry.standard.cards
    for steps in [0, 3, cards.count - 1] {
      let grid = Self.library(width, height, keys: Array(repeating: .down, count: steps))
      let family = try #require(MethodFamily.named(cards[steps].family))
      let text = Self.words(grid)
      #expect(text.contains(family.paragraph), "\(family.word):\n\(text)")
      #expect(text.contains(family.title) && text.contains(cards[steps].id))
    }
  }

  /// A low screen keeps its list.
  @Test func aLowScreenHasTheListAlone() {
    let text = Self.words(Self.library(60, 14))
    #expect(text.contains("Library") && text.contains("dense"))
    #expect(!text.contains("Softmax as it stands"))
  }

  @Test func snapshots() throws {
    try Snapshot.check(Self.library(80, 24, .mono, keys: [.down]), "library-80x24-mono")
    try Snapshot.check(Self.library(120, 40, keys: [.down]), "library-120x40")
  }
}
