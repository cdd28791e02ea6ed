import Analysis
import Attention
import Backends
import Canvas
import Formats
import Foundation
import Interface
import Sessions
import Support
import Testing

/// Settings, keys of one's own, and views that are kept as text.
@Suite struct ConfigTests {
  /// The standard file with the comment sign of every setting taken away.
  static var everythingSet: String {
    Config.standardText.split(separator: "\n", omittingEmptySubsequences: false).map { line in
      line.hasPrefix("#") && line.dropFirst().first?.isLetter == true
        ? String(line.dropFirst()) : String(line)
    }.joined(separator: "\n")
  }

  @Test(arguments: ["\n", "\r\n"]) func theStandardFileSaysWhatIsSo(_ end: String) {
    #expect(Config(Config.standardText).keys.isEmpty)
    let config = Config(Self.everythingSet.replacing("\n", with: end))
    #expect(config.problems == [])
    let standard = Keymap(), read = Keymap(config.keys)
    for binding in standard.bindings {
      #expect(read.binding(binding.action).keys == binding.keys, "\(binding.action)")
    }
    #expect(config.keys.count == Action.allCases.count - 7, "all but the views and fit")
    let about = SyntheticBackend().describe()
    var view = Viewpoint(about)
    for (name, value) in config.view {
      #expect(throws: Never.self) { try ViewSetting.take(name, value, into: &view, [about]) }
    }
    #expect(view == Viewpoint(about) && config.view.count == 7)
    #expect(config.theme == .standard && config.mouse == true && config.framesPerSecond == 60)
    #expect(config.lightBackground == nil)
  }

  @Test func wrongLinesAreNamedAndPassedOver() {
    let lines: [(line: String, problem: String?)] = [
      ("# a comment", nil), ("", nil), ("fps = 30", nil),
      ("fps = 0", "fps is 1 to 240, not '0'"), ("fps = fast", "fps is 1 to 240"),
      ("colour = red", "there is no setting 'colour'"), ("fps", "a line is 'name = value'"),
      ("mouse = yes", "mouse is on or off"), ("background = grey", "background is auto"),
      ("theme = neon", "theme is one of"), ("lambda = 2", "lambda is 0 (dense) to 1"),
      ("lambda = nan", "lambda is 0 (dense) to 1"), ("scale = cubic", "scale is one of"),
      ("layer = 3", "there is no setting 'layer'"), ("key.fly = F", "there is no action 'fly'"),
      ("key.tile = Hom", "'Hom' is no key"), ("key.tile = 7", "digits stay as they are"),
      ("key.tile =", "which key?"), ("  key.tile = Y   Ctrl-T ", nil),
      ("key.vote = Y", "Y is bound to tile already"), ("mouse=off", nil), ("\u{0}= \u{1b}[2J", ""),
      ("scale = linear", nil), ("lambda = 0.1", nil),
      ("key.sort = q", "quit is left without a key"),
    ]
    let config = Config(lines.map(\.line).joined(separator: "\n"))
    let expected = lines.enumerated().compactMap { index, entry in
      entry.problem.map { (number: index + 1, text: $0) }
    }
    #expect(config.problems.count == expected.count)
    for (problem, wanted) in zip(config.problems, expected) {
      #expect(problem.hasPrefix("line \(wanted.number): \(wanted.text)"), "\(problem)")
    }
    #expect(config.framesPerSecond == 30 && config.mouse == false)
    #expect(
      config.keys == [
        .tile: [.character("Y"), .control("t")], .sort: [.character("q")],
      ])
    #expect(config.view.map(\.name) == ["scale", "lambda"])
    let junk = Config(String(repeating: "x\n", count: 100_000))
    #expect(junk.problems.count == 20)
  }

  @Test func aReboundKeyIsShownEverywhere() async {
    var surroundings = Pilot.surroundings
    // s goes to tile, so scale has none; help moves to F.
    surroundings.keymap = Keymap(Config("key.tile = s PgUp\nkey.help = F\nkey.quit = Z").keys)
    let pilot = Pilot(width: 200, height: 140, surroundings: surroundings)
    await pilot.sees("s tile")
    #expect(pilot.screen.contains("F help") && pilot.screen.contains("Z quit"))
    #expect(!pilot.screen.contains("s scale") && !pilot.screen.contains("t tile"))
    pilot.press("s")
    await pilot.sees("Tile 64x256 (hopper)")
    pilot.terminal.press(.pageUp)
    await pilot.sees("Tile 32x128 (blackwell)")
    for key in ["t", "?", "q"] {
      pilot.press(key)
      await pilot.sees("\(key) does nothing here; F lists the keys.")
    }
    pilot.press("F")
    await pilot.until("the help with the keys as they are") { screen in
      let squeezed = screen.split(separator: " ").joined(separator: " ")
      func has(_ key: String, _ name: String) -> Bool { squeezed.contains("│ \(key) \(name)") }
      return has("s PgUp", "next tile preset") && has("-", "scale: log, linear or rank")
        && has("F", "this help") && has("-", "move up by half a screen")
    }
    pilot.terminal.press(.escape)
    pilot.press(":next tile")
    await pilot.until("the palette with the key") {
      $0.contains(/next tile preset +s/)
    }
    pilot.terminal.press(.escape)
    pilot.command("scale")
    await pilot.sees("Scale: linear.")
    pilot.press("Z")
    await pilot.ended()
  }
}

/// Views as text: state files and bookmarks.
@Suite struct ViewStateTests {
  static let sources: [SourceDescription] = {
    let parts: [any Backend] = [
      SyntheticBackend(tokens: 96, name: "a"),
      SyntheticBackend(layers: 3, heads: 5, tokens: 40, name: "b"),
    ]
    let all = SeveralBackends(parts).describe()
    return [all] + all.others
  }()

  static func spec(_ random: inout Seeded) -> TileSpec {
    var spec = TileSpec(
      rows: Int.random(in: 1...200, using: &random), keys: Int.random(in: 1...200, using: &random))
    spec.vote = Vote.allCases.randomElement(using: &random)!
    spec.order = Order.allCases.randomElement(using: &random)!
    spec.criterion = Criterion.allCases.randomElement(using: &random)!
    spec.splits = Int.random(in: 1...5, using: &random)
    return spec
  }

  static func head(_ random: inout Seeded, of sources: [SourceDescription]) -> HeadID {
    let source = Int.random(in: 0..<sources.count, using: &random), about = sources[source]
    return HeadID(
      layer: about.layers.layerIndices.randomElement(using: &random)!,
      head: Int.random(in: 0..<about.heads, using: &random), source: source)
  }

  static func range(_ random: inout Seeded, below limit: Int) -> Range<Int> {
    let start = Int.random(in: 0..<limit, using: &random)
    return start..<Int.random(in: start + 1...limit, using: &random)
  }

  static func view(_ random: inout Seeded) -> Viewpoint {
    var view = Viewpoint(sources[0])
    view.head = head(&random, of: sources)
    let about = sources[view.head.source]
    view.view = ViewKind.allCases.randomElement(using: &random)!
    view.query = Int.random(in: 0..<about.queries, using: &random)
    view.key = Int.random(in: 0..<about.keys, using: &random)
    view.window = MapWindow(
      queries: range(&random, below: about.queries), keys: range(&random, below: about.keys))
    view.lambda = [0, 1, Double.random(in: 0...1, using: &random), 1e-10].randomElement(
      using: &random)!
    view.spec = spec(&random)
    view.scale = Viewpoint.Scale.allCases.randomElement(using: &random)!
    view.pooling = Viewpoint.Pooling.allCases.randomElement(using: &random)!
    view.overlay = Viewpoint.Overlay.allCases.randomElement(using: &random)!
    view.sort = Viewpoint.Sort.allCases.randomElement(using: &random)!
    view.colors = ColorMap.allCases.randomElement(using: &random)!
    (view.mute, view.light) = (Bool.random(using: &random), Bool.random(using: &random))
    view.normaliseRows = Bool.random(using: &random)
    view.heads = HeadPool.allCases.randomElement(using: &random)!
    view.strip = Viewpoint.Strip.allCases.randomElement(using: &random)!
    view.selection = KeySelection([
      range(&random, below: about.keys), range(&random, below: about.keys),
    ])
    if Bool.random(using: &random) { view.other = counterpart(&random, beside: view) }
    return view
  }

  static func counterpart(_ random: inout Seeded, beside view: Viewpoint) -> Counterpart {
    var other = Counterpart(head(&random, of: sources))
    if Bool.random(using: &random) { other.method = MethodSetting("vertical-slash") }
    if Bool.random(using: &random) {
      let spec = spec(&random)
      if spec != view.spec { other.spec = spec }
    }
    return other
  }

  @Test func aViewReadsBack() {
    var random = Seeded(11)
    for round in 0..<500 {
      let view = Self.view(&random)
      let text = ViewState.text(view, Self.sources)
      var read = Self.view(&random)
      #expect(ViewState.read(text, into: &read, Self.sources) == [], "round \(round): \(text)")
      #expect(read == view, "round \(round): \(text)")
    }
  }

  @Test func aCounterpartReadsBack() throws {
    var random = Seeded(12)
    for round in 0..<500 {
      let view = Self.view(&random)
      let other = Self.counterpart(&random, beside: view)
      let text = other.text(Self.sources)
      let read = try Counterpart(text, beside: view, Self.sources)
      #expect(read == other, "round \(round): \(text)")
    }
  }

  @Test(arguments: [
    ("4.1", "a L4 H1"), ("head 2", "a L4 H2"), ("layer 0", "a L0 H0"),
    ("a-shape", "a L4 H0 a-shape"),
    ("file 2", "b L4 H0"), ("file 2 8.4", "b L8 H4"), ("file 2 8.4 a-shape", "b L8 H4 a-shape"),
    ("gated:pi=1 - A_i1 desc", "a L4 H0 gated:pi=1 - A_i1 desc"),
    ("a-shape:local=8 4.1", "a L4 H1 a-shape:local=8"),
    ("tile 64x32", "a L4 H0 64x32"), ("desc", "a L4 H0 desc"), ("blasst", "a L4 H0"),
    ("9.1", "this file has layers 0, 4, not '9'"), ("4.7", "heads are 0 to 2, not '7'"),
    ("file 3", "file is 1 to 2, not '3'"), ("file", "file is 1 to 2, not ''"),
    ("head", "heads are 0 to 2, not ''"), ("tile 0x0", "a tile is like 128x128"),
    ("4.1.2", "'4.1.2' is nothing to compare with"), ("-3", "'-3' is nothing to compare with"),
    ("order up", "order is one of"), ("splits 0", "splits are 1 or more"),
  ]) func whatMayStandBehindCompare(_ text: String, _ expected: String) {
    var view = Viewpoint(Self.sources[0])
    view.head = HeadID(layer: 1, head: 0)
    do throws(SettingError) {
      let other = try Counterpart(text, beside: view, Self.sources)
      let about = Self.sources[other.head.source]
      var said = "\(about.name) L\(about.layers[other.head.layer]) H\(other.head.head)"
      if let method = other.method { said += " \(method)" }
      if let spec = other.spec {
        if (spec.rows, spec.keys) != (view.spec.rows, view.spec.keys) {
          said += " \(spec.rows)x\(spec.keys)"
        }
        if spec.order == .descending { said += " desc" }
      }
      #expect(said == expected)
    } catch {
      #expect("\(error)".contains(expected))
    }
  }

  /// Nothing in a state file is trusted: whatever it says, the view that comes out fits the file.
  @Test func hostileStatesNameTheirLines() {
    let lines = [
      "view map3d", "layer 99", "layer -1", "head 3", "head 99999999999999999999", "file 0",
      "file 3", "window 5-1,0-3", "window 0-96,0-1", "window 0-3", "window a-b,c-d",
      "cursor 96,0", "cursor -1,0", "cursor 1", "cursor 1,2,3", "cursor ,", "zoom 7", "zoom -5",
      "zoom x", "lambda nan", "lambda inf", "lambda 1.1", "lambda", "tile 0x0", "tile 5", "tile 9x",
      "tile 99999999x1", "splits 0", "splits 1048577", "vote me", "criterion median", "mute maybe",
      "overlay \u{1b}[2J", "other file 9", "other 4.99", "other \u{202e}", "nonsense 1",
      String(repeating: "x", count: 100_000), "\u{0}",
    ]
    for line in lines {
      var view = Viewpoint(Self.sources[0])
      let problems = ViewState.read(
        "# x\nlambda 0.5\n\(line)\nscale rank", into: &view, Self.sources)
      #expect(problems.count == 1 && problems[0].hasPrefix("line 3: "), "\(line): \(problems)")
      #expect(view.lambda == 0.5 && view.scale == .rank, "\(line)")
    }
    var view = Viewpoint(Self.sources[0])
    let many = ViewState.read(String(repeating: "x\n", count: 100_000), into: &view, Self.sources)
    #expect(many.count == 20)
  }

  /// A tile of 1x1 over a long text would be a table of sixteen thousand million numbers.
  @Test func aStateCannotFillTheMemory() {
    var about = Self.sources[0]
    (about.queries, about.keys) = (1 << 17, 1 << 17)
    var view = Viewpoint(about)
    let spec = view.spec
    for line in ["tile 1x1", "other tile 1x1"] {
      let problems = ViewState.read(line, into: &view, [about])
      #expect(problems.first?.contains("4194304 are the most") == true, "\(problems)")
    }
    #expect(view.spec == spec && view.other == nil)
  }

  @Test func randomLinesLeaveAViewThatCanBeDrawn() async throws {
    var random = Seeded(13)
    let backend = SeveralBackends([
      SyntheticBackend(tokens: 96, name: "a"),
      SyntheticBackend(layers: 3, heads: 5, tokens: 40, name: "b"),
    ])
    let characters = Array("0123456789,.-x \nab")
    for _ in 0..<80 {
      var bytes = Array(ViewState.text(Self.view(&random), Self.sources))
      for _ in 0..<Int.random(in: 1...20, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = characters.randomElement(
          using: &random)!
      }
      var view = Viewpoint(Self.sources[0])
      _ = ViewState.read(String(bytes), into: &view, Self.sources)
      let chosen = view
      let about = Self.sources[view.head.source]
      #expect(about.layers.has(view.head.layer) && view.head.head < about.heads)
      #expect(view.window.queries.upperBound <= about.queries && !view.window.keys.isEmpty)
      _ = try await Still.grid(backend, width: 100, height: 30) { $0 = chosen }
    }
  }

  @Test func bookmarksByHand() async {
    let carried = LessonPlayTests.Carried()
    var surroundings = Pilot.surroundings
    surroundings.carry = { effect in
      carried.add(effect)
      return nil
    }
    let pilot = Pilot(surroundings: surroundings)
    pilot.press("'")
    await pilot.sees("There are no bookmarks yet; M makes one.")
    pilot.press(".33gM")
    await pilot.sees("bookmark as: L0-H1-map")
    pilot.terminal.press(.enter)
    await pilot.sees("Bookmarked as L0-H1-map")
    let first = await pilot.model().viewpoint
    pilot.terminal.press(.alt("4"))
    pilot.press(">")
    pilot.command("mark the sinks of layer 4")
    await pilot.sees("Bookmarked as the sinks of layer 4")
    let second = await pilot.model().viewpoint
    pilot.terminal.press(.alt("1"))
    pilot.press(",")
    pilot.press("'")
    await pilot.sees("Bookmarks")
    pilot.press("L0-H")
    pilot.terminal.press(.enter)
    await pilot.model("the first view") { $0.viewpoint == first }
    pilot.press("'")
    await pilot.sees("the sinks of layer 4")
    pilot.terminal.press(.down, .enter)
    await pilot.model("the second view") { $0.viewpoint == second }
    pilot.press("u")
    await pilot.model("the view before it") { $0.viewpoint == first }
    pilot.command("go the sinks of layer 4")
    await pilot.model("the second view by name") { $0.viewpoint == second }
    pilot.command("go nowhere")
    await pilot.sees("There is no bookmark \"nowhere\"; ' lists them.")
    await pilot.quit()
    let kept = carried.all.compactMap { effect in
      if case .keepMarks(let marks) = effect { marks.map(\.name) } else { nil }
    }
    #expect(kept == [["L0-H1-map"], ["L0-H1-map", "the sinks of layer 4"]])
  }

  @Test func aBookmarkOfAnotherFileSaysSo() async {
    var surroundings = Pilot.surroundings
    surroundings.marks = [Bookmark(name: "far", state: "layer 77\ncursor 5,5\n")]
    let pilot = Pilot(surroundings: surroundings)
    pilot.command("go far")
    await pilot.sees("The bookmark does not fit this file: line 1: this file has layers 0, 4")
    #expect(await pilot.model().viewpoint.key == 5)
    await pilot.quit()
  }

  @Test func stateAndOpenAreAsked() async {
    let carried = LessonPlayTests.Carried()
    var surroundings = Pilot.surroundings
    surroundings.recent = ["/x/one.npz", "/x/two.npz"]
    surroundings.carry = { effect in
      carried.add(effect)
      if case .reopen(let path) = effect, path.hasSuffix("one.npz") { return "one cannot be read" }
      return nil
    }
    let pilot = Pilot(surroundings: surroundings)
    pilot.terminal.press(.alt("3"))
    pilot.command("state /x/v.attnscope")
    pilot.command("state")
    await pilot.sees("Give it a file: state view.attnscope.")
    await pilot.until("the state carried") { _ in !carried.all.isEmpty }
    let saved = carried.all.compactMap { effect in
      if case .saveState("/x/v.attnscope", let text) = effect { text } else { nil }
    }
    #expect(saved.first?.contains("\nview blocks\n") == true, "\(saved)")
    pilot.command("recent")
    await pilot.sees("/x/two.npz")
    pilot.terminal.press(.enter)
    await pilot.sees("one cannot be read")
    pilot.command("open /x/two.npz")
    await pilot.ended()
    #expect(await pilot.app.next == "/x/two.npz")
  }
}

/// The key table against everything that is made from it.
@Suite struct ReachTests {
  private func start() -> Model {
    var model = Model(
      SyntheticBackend(layers: 2, heads: 3, tokens: 40).describe(), width: 90, height: 30)
    model.marks = [Bookmark(name: "x", state: "")]
    _ = update(&model, .event(.key(.character("."))))
    _ = update(&model, .event(.key(.alt("5"))))
    return model
  }

  /// Pressed or named in the palette, an action does the same.
  @Test(arguments: Action.allCases) func byKeyAndByName(_ action: Action) {
    let binding = Keymap().binding(action)
    for view in ViewKind.allCases {
      var begin = start()
      _ = update(&begin, .event(.key(.function(view.rawValue))))
      var byName = begin
      for character in ":" + binding.name.prefix(80) {
        _ = update(&byName, .event(.key(.character(character))))
      }
      let named = update(&byName, .event(.key(.enter)))
      for key in binding.keys {
        var byKey = begin
        var pressed = update(&byKey, .event(.key(key)))
        // A digit alone acts once it is clear that nothing follows.
        for case .awaitDigit(let number) in pressed {
          pressed += update(&byKey, .digitIsLate(number))
        }
        let what = "\(action) in \(view) by \(key.name)"
        #expect(byKey.viewpoint == byName.viewpoint, "\(what)")
        #expect(byKey.prompt.mode == byName.prompt.mode, "\(what)")
        #expect(byKey.message == byName.message, "\(what)")
        #expect(byKey.isQuitting == byName.isQuitting, "\(what)")
        let timers = pressed.filter { if case .awaitDigit = $0 { true } else { false } }
        #expect(pressed.filter { !timers.contains($0) } == named, "\(what)")
      }
    }
  }

  @Test func eachIsInHelpInEveryView() async {
    for view in ViewKind.allCases {
      let pilot = Pilot(width: 100, height: 180)
      pilot.press("\(view.rawValue)?")
      await pilot.sees("Help")
      let screen = pilot.screen
      for binding in KeyTable.bindings {
        let keys = binding.keys.map(\.name).joined(separator: " ")
        #expect(
          screen.split(separator: "\n").contains {
            $0.contains(" \(keys) ") && $0.contains(binding.name)
          }, "\(view): \(keys) \(binding.name)")
      }
      for command in KeyTable.commands {
        // A long sentence goes on in the next line.
        #expect(screen.contains(command.what.prefix(52)), "\(command)")
      }
      await pilot.quit()
    }
  }

  /// A list is a choice: what the arrows chose runs, whatever the text means as a command.
  @Test func theArrowsOfThePaletteChoose() async {
    let pilot = Pilot()
    await pilot.sees("● exact")
    pilot.press(":lambda")
    pilot.terminal.press(.down, .down, .enter)
    await pilot.model("lambda up by a quarter decade") { $0.viewpoint.lambda > 0.017 }
    pilot.command("lambda")
    await pilot.sees("Give it a value: lambda 0.01.")
    await pilot.quit()
  }
}

/// What a screen reader hears.
@Suite struct PlainTextTests {
  @Test(arguments: ViewKind.allCases) func everyViewHasSentences(_ view: ViewKind) async throws {
    for backend in [try LessonPlayTests.sample() as any Backend, SyntheticBackend()] {
      let model = try await Still.model(backend, width: 120, height: 40) { $0.view = view }
      let lines = PlainText(model).sentences
      #expect(lines.count >= 2, "\(view)")
      for line in lines {
        #expect(!line.isEmpty && !line.contains("…") && !line.contains("not known yet"), "\(line)")
        #expect(line.unicodeScalars.allSatisfy { Printable.isSafe($0) }, "\(line)")
        #expect(!line.unicodeScalars.contains { (0x2500...0x259f).contains($0.value) }, "\(line)")
      }
      let all = lines.joined(separator: " ")
      let expected: [ViewKind: [String]] = [
        .map: ["the map", "blocks are skipped", "The cursor is on query", "attends most to"],
        .heads: ["heads of", "(chosen)", "skipped"], .blocks: ["block by block", "margin"],
        .sinks: ["Most attention goes to", "On the first token"],
        .tokens: ["the text reads", "attends most to"],
        .compare: ["Left is", "right is", "Blocks skipped: "],
      ]
      for text in expected[view]! { #expect(all.contains(text), "\(view): \(text) in \(all)") }
    }
  }
}
