import Analysis
import Attention
import Backends
import Canvas
import Interface
import Sessions
import Testing

/// Keys that are marked: what falls on them, where they are seen, and how they are set.
@Suite struct SelectionTests {
  static func model(
    _ view: ViewKind = .map, _ size: (Int, Int) = (120, 40), _ keys: String = "3-9,14",
    _ change: (inout Viewpoint) -> Void = { _ in }
  ) async throws -> Model {
    let backend = SyntheticBackend()
    return try await Still.model(backend, width: size.0, height: size.1, capabilities: .init()) {
      $0.view = view
      $0.head = HeadID(layer: 1, head: 0)
      $0.spec = TileSpec(rows: 32, keys: 32)
      ($0.query, $0.key) = (200, 40)
      $0.selection = KeySelection(keys)
      change(&$0)
    }
  }

  private static func text(_ model: Model) -> String { view(model).lines.joined(separator: "\n") }

  @Test func runsAreReadAndWritten() {
    #expect(KeySelection("14, 3-9")?.description == "3-9,14")
    #expect(KeySelection("3-5,6-9,8")?.runs == [3..<10])
    for wrong in ["", "a", "3-", "9-3", "-1", "1,,2", "3-9-12"] {
      #expect(KeySelection(wrong) == nil, "\(wrong)")
    }
    let some = KeySelection("3-9,14")!
    #expect(some.count == 8 && some.contains(9) && !some.contains(10) && some.contains(14))
    #expect(some.toggling(5)?.description == "3-4,6-9,14")
    #expect(some.toggling(10)?.description == "3-10,14")
    #expect(KeySelection("7")?.toggling(7) == nil)
    #expect(some.reaching(20).description == "3-9,14-20")
    #expect(some.clamped(to: 5)?.description == "3-4")
    #expect(some.clamped(to: 3) == nil)
  }

  /// Against the rows themselves.
  @Test func massIsThatOfTheRows() async throws {
    let backend = SyntheticBackend(layers: 1, heads: 3, tokens: 96)
    let id = HeadID(layer: 0, head: 2), keys = KeySelection("0,20-30")!
    var sums: [Double] = []
    for query in 0..<96 {
      guard case .row(let row) = try await backend.answer(.row(.pattern(id), query)) else { return }
      sums.append(keys.runs.joined().reduce(0) { $0 + Double(row[$1]) })
    }
    guard case .selected(let mass) = try await backend.answer(.selected(id, keys)) else {
      Issue.record("no answer")
      return
    }
    #expect(abs(mass.mean - sums.reduce(0, +) / 96) < 1e-6)
    #expect(abs(mass.most - sums.max()!) < 1e-6 && sums[mass.mostRow] == sums.max())
    #expect(abs(mass.parts.reduce(0, +) - mass.mean) < 1e-12 && mass.parts.count == 2)
    guard case .summary(let summary) = try await backend.answer(.summary(id)) else { return }
    #expect(abs(mass.parts[1] - summary.mass(20..<31)) < 1e-6)
  }

  @Test(arguments: [(80, 24), (100, 30), (120, 40), (200, 50)]) func thePanelSaysHowMuch(
    _ size: (Int, Int)
  ) async throws {
    for kind in [ViewKind.map, .tokens] {
      let text = Self.text(try await Self.model(kind, size, "0,3-9"))
      #expect(text.contains("selected ") && text.contains(" mean "), "\(text)")
      if kind == .map { #expect(text.contains("═"), "no mark on the axis:\n\(text)") }
    }
    let tall = Self.text(try await Self.model(.map, size, "0,3-9"))
    if size.1 >= 40 { #expect(tall.contains("k 3-9: mean ") && tall.contains(" of q "), "\(tall)") }
  }

  @Test func sentencesSayItToo() async throws {
    let said = PlainText(try await Self.model()).sentences.joined(separator: "\n")
    #expect(said.contains("8 keys are selected, 3-9, 14: query 200 gives them "), "\(said)")
    #expect(said.contains("The mean query gives them "), "\(said)")
    #expect(said.contains("Of the mean query: keys 3-9 "), "\(said)")
  }

  @Test func keysMarkAndUndoBrings() async throws {
    var model = try await Self.model()
    model.viewpoint.selection = nil
    func press(_ key: Character) { _ = update(&model, .event(.key(.character(key)))) }
    press("i")
    #expect(model.viewpoint.selection == KeySelection("40"))
    #expect(model.message?.hasPrefix("1 key is selected, 40") ?? false, "\(model.message ?? "")")
    _ = model.obey("key 44")
    press("I")
    #expect(model.viewpoint.selection == KeySelection("40-44"))
    press("i")
    #expect(model.viewpoint.selection == KeySelection("40-43"))
    press("u")
    #expect(model.viewpoint.selection == KeySelection("40-44"))
    #expect(ViewState.text(model.viewpoint, model.sources).contains("select 40-44\n"))
    _ = model.obey("select 3-9, 14")
    #expect(model.viewpoint.selection == KeySelection("3-9,14"))
    _ = model.obey("select off")
    #expect(model.viewpoint.selection == nil)
  }

  @Test func aTextSelectsItsTokens() async throws {
    var model = try await Self.model()
    _ = model.obey("select \"word25\"")
    #expect(model.viewpoint.selection == KeySelection("25,250-255"))
    _ = model.obey("select \"nowhere\"")
    #expect(model.viewpoint.selection == KeySelection("25,250-255"))
    #expect(model.message == "no token matches \"nowhere\".")
    _ = model.obey("select 256")
    #expect(model.message == "keys are 0 to 255, not 256.")
  }

  /// `selected` is a number of every head: shown, sorted by, filtered by.
  @Test func headsAreSortedByIt() async throws {
    let model = try await Self.model(.heads, (100, 30), "0") {
      ($0.score, $0.sort) = ("selected", .number)
      $0.filter = nil
    }
    let shares = try await SyntheticBackend().describe().allHeads.asyncMap { head -> Double in
      let answer = try await SyntheticBackend().answer(.selected(head, KeySelection("0")!))
      guard case .selected(let mass) = answer else { return .nan }
      return mass.mean
    }
    let text = Self.text(model)
    #expect(text.contains("mass on the selected keys"), "\(text)")
    let first = shares.indices.max { shares[$0] < shares[$1] }!
    let name = "\(first / 3 * 4).\(first % 3)"
    let said = PlainText(model).sentences
    #expect(said[1].contains("head \(first % 3)"), "\(name): \(said)")
    var other = model
    _ = other.obey("where selected>\((shares.max()! + shares.min()!) / 2)")
    let kept = shares.count { $0 > (shares.max()! + shares.min()!) / 2 }
    #expect(Self.text(other).contains("Heads \(kept) of 6 with selected>"), "\(Self.text(other))")
    _ = other.obey("select off")
    _ = other.obey("where selected>0.3")
    #expect(other.message == "No key is selected: :select 3-9 selects some.")
  }
}
