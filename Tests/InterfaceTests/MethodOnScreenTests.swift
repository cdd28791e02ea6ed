import Analysis
import Attention
import Backends
import Canvas
import Lessons
import Methods
import Pictures
import Sessions
import Testing

#if DEBUG
  @testable import Interface

  /// What screens and sentences say while another method than that of the block table is in force:
  /// its own numbers under its own name, and nothing of the table's.
  @Suite struct MethodOnScreenTests {
    static func backend(tokens: Int = 256) -> SyntheticBackend { SyntheticBackend(tokens: tokens) }

    private static func model(
      _ method: String, width: Int = 120, height: Int = 40, tokens: Int = 256,
      _ change: (inout Viewpoint) -> Void = { _ in }
    ) async throws -> Model {
      let backend = backend(tokens: tokens), about = backend.describe()
      return try await Still.model(backend, width: width, height: height) {
        try? ViewSetting.take("method", method, into: &$0, [about])
        change(&$0)
      }
    }

    private static func text(_ model: Model) -> String { view(model).lines.joined(separator: "\n") }

    /// A line behind `:`, with everything answered that the screen wants then.
    private static func command(_ text: String, _ model: inout Model, tokens: Int = 256)
      async throws
    {
      for character in ":" + text { _ = update(&model, .event(.key(.character(character)))) }
      _ = update(&model, .event(.key(.enter)))
      try await Still.complete(&model) { try await backend(tokens: tokens).answer($0) }
    }

    /// While a knob moves, the map comes before the numbers; then both are wanted.
    @Test func theMapComesBeforeItsNumbers() async throws {
      var model = try await Self.model("top-k") { $0.field = "kept" }
      _ = update(&model, .event(.key(.character("["))))
      let isNumbers = { (question: Question) in
        if case .findings = question { true } else { false }
      }
      let first = Needs(model).foreground
      guard case .picture(let field, _)? = first.first else {
        Issue.record("\(first) begins with no picture")
        return
      }
      #expect(field == model.look.mapField && !first.contains(where: isNumbers))
      // It is coloured as under the setting before, and its own row is read.
      #expect(model.look.mapLook == .kept && model.look.rowField == field)
      let answer = try await Self.backend().answer(first[0])
      _ = update(&model, .answered(first[0], model.frame, answer))
      #expect(Needs(model).foreground.contains(where: isNumbers))
    }

    // MARK: Sentences

    @Test(arguments: ["vertical-slash", "a-shape", "top-k"]) func sentencesNameOneMethod(
      _ id: String
    )
      async throws
    {
      let model = try await Self.model(id)
      let said = PlainText(model).sentences.joined(separator: "\n")
      let card = try #require(model.source.card(id))
      #expect(said.contains("\(card.title) on this head"), "\(said)")
      for word in ["Lambda is", "margin", "blocks are skipped"] {
        #expect(!said.contains(word), "\(word) is the block table's:\n\(said)")
      }
      var heads = model
      heads.viewpoint.view = .heads
      try await Still.complete(&heads) { try await Self.backend().answer($0) }
      let list = PlainText(heads).sentences.joined(separator: "\n")
      #expect(list.contains("method \(id)") && !list.contains("lambda"), "\(list)")
      if let share = heads.look.number("sparsity", heads.viewpoint.head) {
        #expect(list.contains("\(Numbers.percent(share)) skipped"), "\(list)")
      }
    }

    // MARK: The map

    @Test func theTitleOfTheMapIsTheMethods() async throws {
      let plain = try await Self.model("vertical-slash")
      let first = try #require(
        Self.text(plain).split(separator: "\n").first { $0.contains("┌ Map") })
      #expect(first.contains("vertical-slash 64x64") && !first.contains("λ="), "\(first)")
      let small = try await Self.model("vertical-slash:slash=12200", width: 80, height: 24) {
        $0.field = "blocks"
      }
      let title = try #require(Self.text(small).split(separator: "\n").first { $0.contains("┌ ") })
      #expect(title.contains("vertical-slash: 64x64 tiles"), "\(title)")
      let table = try await Self.model("none")
      #expect(Self.text(table).contains("λ=0.01"))
    }

    /// A tile's value stands under the cursor and not the pattern's, which is called p.
    @Test func underTheCursorStandsTheTile() async throws {
      let model = try await Self.model("a-shape:initial=4,local=32") {
        ($0.field, $0.query, $0.key) = ("blocks", 250, 70)
      }
      let text = Self.text(model)
      #expect(text.contains("64x64 tiles: skipped"), "\(text)")
      #expect(!text.contains("blocks 0."), "\(text)")
      let p = try #require(model.look.row(250))[70]
      #expect(text.contains("p \(Numbers.short(Double(p)))"), "\(text)")
      let kept = try await Self.model("a-shape:initial=4,local=32") {
        ($0.field, $0.query, $0.key) = ("blocks", 250, 2)
      }
      #expect(Self.text(kept).contains("64x64 tiles: computed"))
      let entries = try await Self.model("a-shape:initial=4,local=32") {
        ($0.field, $0.query, $0.key) = ("kept", 250, 70)
      }
      #expect(Self.text(entries).contains("kept entries: not kept"), "\(Self.text(entries))")
    }

    /// Labels stand beside their colours; they are not listed again.
    @Test func theLegendOfTilesDoesNotRepeatItself() async throws {
      let text = Self.text(try await Self.model("a-shape") { $0.field = "blocks" })
      #expect(text.contains("computed") && !text.contains("computed, skipped"), "\(text)")
    }

    /// Fields that come with the numbers are there after the knob has moved as well.
    @Test(arguments: ["vertical-slash", "a-shape", "top-k", "top-p"])
    func tilesStayWhenTheKnobMoves(_ id: String) async throws {
      let model = try await Self.model(id) { $0.field = "blocks" }
      var moved = model
      _ = update(&moved, .event(.key(.character("]"))))
      #expect(moved.viewpoint.method != model.viewpoint.method)
      // Asked of a store that knows nothing of the new setting, the picture first.
      let fresh = Self.backend()
      try await Still.complete(&moved) { try await fresh.answer($0) }
      let picture = try #require(Needs.map(moved.look))
      #expect(moved.look.map(picture) != nil, "\(moved.look.refusal(picture) ?? "nothing")")
      #expect(!Self.text(moved).contains("has no field"))
    }

    /// A budget of a long prompt is said to be one, with the number that works here.
    @Test func aScaledKnobSaysSo() async throws {
      var model = try await Self.model("vertical-slash") { $0.view = .blocks }
      _ = update(&model, .event(.key(.character("]"))))
      #expect(
        model.message?.contains("12192 at the paper's length") == true
          || model.message?.contains("at the paper's length, brought down") == true,
        "\(model.message ?? "nothing")")
      try await Still.complete(&model) { try await Self.backend().answer($0) }
      let here = try #require(model.look.findings(model.viewpoint.head)?.applied["slash"])
      #expect(here < 1000)
      #expect(Self.text(model).contains("(here \(here))"), "\(Self.text(model))")
      var literal = try await Self.model("vertical-slash:slash=40") { $0.view = .blocks }
      _ = update(&literal, .event(.key(.character("]"))))
      #expect(literal.message == "slash = 80: diagonals kept.")
    }

    /// Without a knob nothing offers to move one.
    @Test func noKnobIsOffered() async throws {
      for view in [ViewKind.map, .heads, .blocks] {
        let text = Self.text(try await Self.model("dense", width: 200) { $0.view = view })
        #expect(!text.contains("[ ] "), "\(text)")
      }
      #expect(Self.text(try await Self.model("a-shape", width: 200)).contains("[ ] local"))
    }

    // MARK: Heads

    @Test func sortingBySparsityIsByTheMethods() async throws {
      let model = try await Self.model("top-k") {
        ($0.view, $0.sort) = (.heads, .sparsity)
      }
      let shares = HeadsLayout(model.look).order.map { model.look.number("sparsity", $0) }
      #expect(shares.allSatisfy { $0 != nil })
      #expect(shares.map { $0! } == shares.map { $0! }.sorted(by: >))
      let text = Self.text(model)
      #expect(text.contains("by sparsity, sparsity of top-k"), "\(text)")
      for share in shares { #expect(text.contains(FindingText.number(share, .share)), "\(text)") }
      var figure = Figure(model, .heads)
      try await figure.complete { try await Self.backend().answer($0) }
      let column = try #require(figure.data.columns.firstIndex(of: "sparsity"))
      #expect(figure.data.rows.map { Double($0[column]) } == shares)
    }

    @Test func aFilterThatNobodyPassesShowsNobody() async throws {
      var model = try await Self.model("dense") { $0.view = .heads }
      try await Self.command("where error>0.1", &model)
      let text = Self.text(model)
      #expect(text.contains("Heads 0 of 6 with error>0.1"), "\(text)")
      #expect(text.contains("No head has error>0.1"), "\(text)")
      #expect(PlainText(model).sentences.contains { $0.contains("No head has error>0.1") })
      let before = model.viewpoint.head
      for key in [Key.right, .down, .end, .pageUp] { _ = update(&model, .event(.key(key))) }
      #expect(model.viewpoint.head == before && model.message?.contains("No head has") == true)
      var figure = Figure(model)
      try await figure.complete { try await Self.backend().answer($0) }
      #expect(figure.picture.svg.contains("No head has error"))
    }

    @Test(arguments: [
      ("where bogus>1", "no number \"bogus\""), ("score bogus", "no number \"bogus\""),
      ("field bogus", "no map \"bogus\""),
    ]) func namesThatAreNoneAreRefused(_ line: String, _ wanted: String) async throws {
      var model = try await Self.model("a-shape")
      let before = model.viewpoint
      try await Self.command(line, &model)
      #expect(model.message?.contains(wanted) == true, "\(model.message ?? "nothing")")
      #expect(model.viewpoint == before)
    }

    /// A name that came another way is explained where its heads would be.
    @Test func aNameFromAFileIsExplained() async throws {
      let model = try await Self.model("a-shape") {
        $0.view = .heads
        $0.filter = NumberFilter("bogus>1")
      }
      #expect(Self.text(model).contains("no number \"bogus\""), "\(Self.text(model))")
    }

    /// A setting's name alone says what it takes.
    @Test func settingsWithoutAValueSayWhatTheyTake() async throws {
      let names = KeyTable.bindings.map { $0.name.lowercased() }
      for setting in ViewSetting.all where !names.contains(where: { $0.hasPrefix(setting.name) }) {
        // A view by its word; pooled heads want another.
        if setting.name == "heads" { continue }
        var model = try await Self.model("none")
        let before = model.viewpoint
        try await Self.command(setting.name, &model)
        let said = model.message ?? ""
        #expect(said.contains("value"), "\(setting.name): \(said)")
        #expect(
          !said.contains("There is no command") && model.viewpoint == before, "\(setting.name)")
      }
    }

    /// Numbers go by their titles where they are shown, by their names where they are typed.
    @Test func numbersGoByTheirTitles() async throws {
      let text = Self.text(try await Self.model("a-shape") { $0.view = .sinks })
      #expect(text.contains("a-shape: recall") && !text.contains("a-shape: recall_mean"), "\(text)")
      #expect(text.contains(":score sparsity"), "\(text)")
    }

    /// Frames of a page stand around the cells: a first column may be all that a head looks at.
    @Test(arguments: [FigureKind.heads, .map]) func aFrameCoversNoCell(_ kind: FigureKind)
      async throws
    {
      let model = try await Self.model("none")
      var figure = Figure(model, kind)
      try await figure.complete { try await Self.backend().answer($0) }
      var cells: (left: Double, top: Double)?, seen = 0
      for shape in figure.picture.shapes {
        if case .cells(let x, let y, _, _, _, _, _, let id) = shape,
          id == "map" || id.hasPrefix("head")
        {
          cells = (x, y)
        }
        guard case .rect(let x, let y, _, _, nil, .some, let pen) = shape, let (left, top) = cells
        else { continue }
        #expect(x + pen / 2 <= left && y + pen / 2 <= top)
        (cells, seen) = (nil, seen + 1)
      }
      #expect(seen == (kind == .heads ? 6 : 1))
    }

    // MARK: Two sides

    @Test func twoMasksAreComparedByWhatTheyKeep() async throws {
      let model = try await Self.model("a-shape:initial=4,local=16") {
        $0.view = .compare
        $0.other = Counterpart($0.head, method: MethodSetting("top-k"))
      }
      let comparison = Comparison(model.look)
      let values = try #require(comparison.difference).values.filter(\.isFinite)
      #expect(values.contains { $0 > 0.1 } && values.contains { $0 < -0.1 })
      #expect(comparison.moved == nil && Self.text(model).contains("kept entries"))
      #expect(!comparison.rows.contains { $0.name == "moved" })
      let one = try await Self.model("none") {
        $0.view = .compare
        $0.other = Counterpart($0.head, method: MethodSetting("a-shape"))
      }
      #expect(Self.text(one).contains("no difference"), "\(Self.text(one))")
    }
  }
#endif
