import Analysis
import Attention
import Backends
import Canvas
import Interface
import Sessions
import Support
import Tensors
import Testing

@Suite struct ScreenTests {
  static let sizes = [(80, 24), (120, 40), (40, 12)]
  static let views: [ViewKind] = [.map, .heads, .blocks, .sinks, .tokens, .compare]

  static func still(
    _ view: ViewKind, _ size: (Int, Int), _ capabilities: Capabilities = .init(),
    tokens: Int = 256, _ change: (inout Viewpoint) -> Void = { _ in }
  ) async throws -> Grid {
    try await Still.grid(
      SyntheticBackend(tokens: tokens), width: size.0, height: size.1, capabilities: capabilities
    ) { viewpoint in
      viewpoint.view = view
      viewpoint.head = HeadID(layer: 1, head: 0)
      viewpoint.spec = TileSpec(rows: 32, keys: 32)
      (viewpoint.query, viewpoint.key, viewpoint.lambda) = (tokens * 4 / 5, tokens / 6, 0.01)
      change(&viewpoint)
    }
  }

  @Test(arguments: sizes) func everyViewAtEverySize(_ size: (Int, Int)) async throws {
    for view in Self.views {
      try Snapshot.check(try await Self.still(view, size), "\(view)-\(size.0)x\(size.1)")
    }
  }

  @Test(arguments: [
    ("mono", Capabilities(colors: .mono)), ("basic", Capabilities(colors: .basic)),
    ("ascii", Capabilities(colors: .mono, unicode: false)),
    ("light", Capabilities(lightBackground: true)),
    ("direct", Capabilities(colors: .direct)),
    ("direct-light", Capabilities(colors: .direct, lightBackground: true)),
  ]) func everyKindOfTerminal(_ name: String, _ capabilities: Capabilities) async throws {
    let grid = try await Self.still(.map, (80, 24), capabilities)
    try Snapshot.check(grid, "map-80x24-\(name)")
    if !capabilities.unicode { #expect(grid.cells.allSatisfy { $0.glyph.isASCII }) }
    if capabilities.colors == .mono {
      #expect(
        grid.cells.allSatisfy {
          $0.style.foreground == .standard && $0.style.background == .standard
        })
    }
    // Skipped blocks are told by a glyph, not by colour alone.
    #expect(grid.lines.joined().contains(capabilities.unicode ? "×" : "x"))
  }

  @Test func zoomedInNamesTokens() async throws {
    let grid = try await Self.still(.map, (120, 40)) {
      $0.window = MapWindow(queries: 190..<206, keys: 34..<44)
    }
    try Snapshot.check(grid, "map-120x40-zoomed")
    #expect(grid.lines.joined().contains("word42"))
  }

  @Test(arguments: [(39, 12), (40, 11), (1, 1), (0, 0), (5, 50)]) func tooSmallIsOneSentence(
    _ size: (Int, Int)
  ) async throws {
    let lines = try await Self.still(.map, size).lines.filter { !$0.isEmpty }
    #expect(lines.count <= 1)
    if size.0 >= 39 { #expect(lines[0].hasPrefix("attnscope needs 40x12")) }
  }

  @Test func everySizeDrawsWithoutATrap() async throws {
    for view in Self.views {
      for width in [40, 41, 75, 76, 110, 300] {
        for height in [12, 15, 16, 22, 34, 90] {
          _ = try await Self.still(view, (width, height), tokens: 24)
        }
      }
    }
  }

  /// One query, one key, nobody causal, numbers that are none: every view draws, every summary
  /// ends.
  @Test(arguments: [(1, 70, true), (1, 1, true), (5, 3, true), (3, 9, false), (40, 40, false)])
  func oddShapes(_ queries: Int, _ keys: Int, _ causal: Bool) async throws {
    var random = Seeded(3)
    for broken in [false, true] {
      var scores = (0..<queries * keys).map { _ in random.normal() * 4 }
      if broken { scores[scores.count / 2] = .nan }
      let map = Tensor(scores, shape: [queries, keys])
      let backend = OneHead(Head(scores: map, causal: causal))
      for view in Self.views {
        for size in Self.sizes {
          let grid = try await Still.grid(backend, width: size.0, height: size.1) {
            $0.view = view
            $0.spec = TileSpec(rows: 4, keys: 16)
          }
          if broken, view == .map, keys > 3 { #expect(grid.lines.joined().contains("!")) }
        }
      }
    }
  }

  /// Names and token texts come from files: nothing in them may act on the terminal.
  @Test func hostileTextsNeverReachTheScreen() async throws {
    var about = SyntheticBackend().describe()
    about.name = "\u{1b}]0;owned\u{7}.npz"
    about.model = "a\u{202e}b\u{9b}31m"
    about.tokens = (0..<256).map { _ in "\u{1b}[2J\u{200f}\r\n" }
    let backend = Renamed(about: about)
    for view in Self.views {
      let grid = try await Still.grid(backend, width: 120, height: 40) { $0.view = view }
      for cell in grid.cells where cell.glyph != Cell.continuation {
        #expect(Printable.isSafe(cell.glyph), "U+\(String(cell.glyph.value, radix: 16)) in \(view)")
      }
    }
  }
}

/// The synthetic backend under another description.
struct Renamed: Backend {
  let about: SourceDescription
  private let inner: SyntheticBackend

  init(about: SourceDescription, _ inner: SyntheticBackend = SyntheticBackend()) {
    (self.about, self.inner) = (about, inner)
  }

  func describe() -> SourceDescription { about }
  var moments: AsyncStream<Moment> { inner.moments }
  func answer(_ question: Question, at frame: Frame) async throws -> Answer {
    try await inner.answer(question)
  }
}

/// A backend of a single head.
struct OneHead: Backend {
  let head: Head
  private let inner: SyntheticBackend

  init(_ head: Head) { (self.head, inner) = (head, SyntheticBackend(head)) }

  func describe() -> SourceDescription { inner.describe() }

  var moments: AsyncStream<Moment> { AsyncStream { $0.finish() } }

  func answer(_ question: Question, at frame: Frame) async throws -> Answer {
    try await inner.answer(question, at: frame)
  }
}
