import Backends
import Canvas
import Foundation
import Interface
import Sessions
import Support
import Testing

/// Small things that the screen said wrongly, each once.
@Suite struct SmallFaultTests {
  /// A muted key has no probability of 0: it is left out, and says so.
  @Test func aMutedKeyIsNotZero() async {
    let pilot = Pilot()
    await pilot.sees("exact")
    await pilot.pressAndWait([.character("m"), .home])
    await pilot.sees("p muted: left out")
    await pilot.pressAndWait([.character("m")])
    await pilot.sees(" p 0.")
    await pilot.quit()
  }

  /// Lessons speak of the screen as it is: commands are typed in a box at the top, and rows of
  /// small maps need not be layers.
  @Test func lessonsSpeakOfTheScreenAsItIs() throws {
    let folder = checkout() + "/samples/lessons"
    for name in try FileManager.default.contentsOfDirectory(atPath: folder)
    where name.hasSuffix(".md") {
      let text = try String(contentsOfFile: folder + "/" + name, encoding: .utf8)
      let words = text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
      #expect(!words.contains("ine at the bottom"), "\(name)")
      #expect(!words.contains("a row of pictures for each layer"), "\(name)")
    }
  }

  /// A number that no method has is not waited for.
  @Test func aNumberThatIsNoneSaysSo() async {
    let pilot = Pilot { ($0.view, $0.score) = (.sinks, "nonsense") }
    await pilot.sees("is no number of this method")
    await pilot.quit()
  }

  /// What Space does, before the first token: it runs the model.
  @Test func anEmptyTimelineSaysWhatSpaceRuns() {
    let status = LiveStatus(
      phase: .paused, frame: Frame(tokens: 8), promptTokens: 8,
      branches: [Branch(id: 0, parent: nil, fork: 0, attention: "dense")], lengths: [8])
    var about = SyntheticBackend(tokens: 8).describe()
    (about.live, about.kind) = (status, "live")
    var model = Model(about, width: 100, height: 30)
    _ = update(&model, .moment(.live(status)))
    _ = update(&model, .event(.key(.alt("5"))))
    #expect(view(model).lines.contains { $0.contains("Space runs the model.") })
  }
}
