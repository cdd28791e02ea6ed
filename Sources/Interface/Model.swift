public import Canvas
public import Sessions

/// The whole state of the screen: a value. It changes only in `update`.
///
/// Its parts are split by how long they live and by who changes them: `known` by answers,
/// `viewpoint` with its `history` by the user, `live` by the source, `lesson` step by step,
/// `prompt` by every key. Each has an update of its own, and gives back what else follows; only
/// what takes several of them stands in extensions of Model. Screens and questions read its `look`.
///
/// Example: `var model = Model(backend.describe(), width: 80, height: 24)`, then `update(&model,
/// .event(.key(.right)))` and `view(model)`. Answers are kept here by question, so that drawing
/// never waits: what is missing is drawn as missing. Memory: that of `known`.
public struct Model: Sendable {
  /// One, or files opened together.
  public internal(set) var sources: [SourceDescription]
  /// The one that is looked at; of a live source: as of the frame that is looked at.
  public internal(set) var source: SourceDescription {
    get { sources[viewpoint.head.source] }
    set { sources[viewpoint.head.source] = newValue }
  }
  /// The keys of this user.
  public let keymap: Keymap
  /// Nil for saved dumps.
  public internal(set) var live: Live?
  /// Answers and refusals so far.
  public internal(set) var known = Known()
  /// Size and abilities of the terminal.
  public internal(set) var display: Display
  /// What is looked at, and how.
  public package(set) var viewpoint: Viewpoint
  /// Views before and after it.
  var history = History()
  /// Who gets the keys, and what is typed and said.
  public internal(set) var prompt = Prompt()
  /// Said once on the caption line; the next key clears it.
  public internal(set) var message: String? {
    get { prompt.message }
    set { prompt.message = newValue }
  }
  /// Ctrl-C was pressed: nothing is computed until something new is asked for.
  public internal(set) var isStopped = false
  /// The app ends after this message.
  public internal(set) var isQuitting = false
  /// The person left, and was asked first where decoded tokens would be lost.
  var wasLeft = false
  /// The app ended with tokens that nobody saved and nobody gave up: the terminal went away, say.
  public var losesTokens: Bool { live?.unsaved != nil && !wasLeft }
  /// Nil when no lesson is playing.
  public internal(set) var lesson: LessonPlay?
  /// Bookmarks, the newest last.
  public var marks: [Bookmark] = []
  /// Paths of files opened before, newest first.
  public var recent: [String] = []
  /// Tokens that match what is searched for, ascending: marked wherever tokens stand.
  var found: [Int] = []
  /// Shown while it is not nil.
  var meter: Meter?
  /// A still picture: everything it shows is there, whatever other heads lack.
  var isWhole = false
  /// Where the mouse was at the last report while its button is down.
  var drag: (x: Int, y: Int)?

  /// Looks at the last query of the first head; guesses about the file are said at once.
  public init(
    _ source: SourceDescription, width: Int, height: Int, capabilities: Capabilities = .init(),
    keymap: Keymap = Keymap(), viewpoint chosen: Viewpoint? = nil
  ) {
    sources = [source] + source.others
    sources[0].others = []
    self.keymap = keymap
    display = Display(width: width, height: height, capabilities: capabilities)
    live = source.live.map(Live.init)
    viewpoint = chosen ?? Viewpoint(source)
    if chosen == nil { viewpoint.light = capabilities.lightBackground }
    message = source.guesses.isEmpty ? nil : "Guessed: " + source.guesses.joined(separator: "; ")
  }

  /// The state of the source that is looked at.
  public var frame: Frame { live?.frame ?? .whole }

  /// What screens and questions read of it.
  var look: Look {
    Look(
      known: known, viewpoint: viewpoint, sources: sources, live: live,
      lesson: lesson, display: display, isStopped: isStopped, found: found)
  }

  // MARK: Answers

  /// Takes an answer in; steps of the branch that is looked at give the source its tokens.
  mutating func store(_ question: Question, _ frame: Frame, _ answer: Answer) {
    // Asked first: while a look holds the answers, storing one would copy them all.
    let shown = look.mapField
    known.store(question, frame, answer, shown: shown, about: source)
    if case .steps(self.frame.branch, _) = answer {
      source.append(known.steps(of: self.frame.branch))
    }
  }

  /// Remembers why there is no answer.
  mutating func fail(_ question: Question, _ reason: String) {
    known.fail(question, reason, at: frame)
  }

  /// Forgets pictures, rows and errors that no screen wants now; tables and summaries stay.
  mutating func prune(keeping wanted: Set<Question>) {
    let (spec, method, isLive, isLong) = (
      viewpoint.spec, look.methodInForce, live != nil, look.isLong
    )
    let marked = viewpoint.selection
    let most = isLive ? 1024 : (isLong ? 24 : 4 * source.allHeads.count + 64)
    known.prune(above: most) { question in
      if wanted.contains(question) { return true }
      return switch question {
      case .table(_, let request): request.spec == spec && !isLive && !isLong
      case .summary: !isLive
      case .selected(_, let keys): keys == marked && !isLive
      case .findings(_, let setting, _): setting == method && !isLive
      default: false
      }
    }
  }

  /// True when nothing need be asked: there is an answer that is near enough, or a failure at this
  /// frame.
  public func isKnown(_ question: Question) -> Bool { look.isKnown(question) }

  /// Done and wanted, of the work on all heads.
  public var progress: (done: Int, total: Int) { look.progress }
}
