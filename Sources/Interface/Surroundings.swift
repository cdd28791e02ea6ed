import Canvas
public import Sessions

/// What an app finds around it beside terminal and source: the user's settings, and how the world
/// is reached.
///
/// What model and screens may not do themselves: read a file, a setting or the environment. Tests
/// leave it empty.
public struct Surroundings: Sendable {
  /// How an export asks questions while the app goes on.
  public typealias Ask = @Sendable (Question) async throws -> Answer

  /// The user's keys.
  public var keymap = Keymap()
  /// The user's bookmarks.
  public var marks: [Bookmark] = []
  /// Paths of files opened before, newest first.
  public var recent: [String] = []
  /// A lesson to play from the start.
  public var lesson: LessonPlay?
  /// For the projector.
  public var presents = false
  /// Colours of text and frames.
  public var theme = Theme.standard
  /// How long a digit waits for a key behind it, before it shows its view.
  public var digitPause = Duration.milliseconds(400)
  /// Writes what is shown to a file and says where, or why not.
  public var export:
    @Sendable (_ path: String, _ model: Model, _ ask: @escaping Ask) async -> String = {
      _, _, _ in "Export is off."
    }
  /// Carries out `progress`, `keepMarks`, `saveState`, `tell` and the first half of `reopen` (can
  /// the file be read?); returns a sentence when there is something to say. One at a time, and
  /// never on the screen's actor: it may take as long as a disk takes.
  public var carry: @Sendable (Effect) async -> String? = { _ in nil }
  /// What has become doubtful since it was last asked, in sentences: files that were cut short
  /// while they were read. Asked after every message, so it answers at once.
  public var doubts: @Sendable () -> [String] = { [] }
  /// Gets a line for every message and answer; nil logs nothing.
  public var log: (@Sendable (String) -> Void)?
  /// How many bytes the terminal has been sent.
  public var bytesSent: (@Sendable () -> Int)?

  /// Standard keys, and a world that does nothing.
  public init() {}
}

/// A session can be read back from these lines, key by key.
extension Message {
  /// What `--log` writes of it.
  var logLine: String {
    switch self {
    case .event(.key(let key)): "key \(key.name)"
    case .event(.mouse(let mouse)): "mouse \(mouse.action) \(mouse.x),\(mouse.y)"
    case .event(let event): "\(event)"
    case .answered(let question, _, _): "take \(question.name)"
    case .failed(let question, let reason): "failed \(question.name): \(reason)"
    case .moment(.live(let status)): "live \(status.frame.tokens) tokens, \(status.phase)"
    case .moment(.progress(let question, let share, _)):
      "progress \(question.name) \(Numbers.fixed(100 * share, 0)) %"
    case .digitIsLate: "digit late"
    case .said(let text): "said \(text)"
    case .canOpen(let path): "can open \(path)"
    case .sent(let bytes, _): "sent \(bytes) bytes"
    }
  }
}
