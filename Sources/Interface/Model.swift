public import Analysis
public import Attention
public import Canvas
public import Sessions

/// The whole state of the screen: a value. It changes only in `update`.
///
/// Example: `var model = Model(backend.describe(), width: 80, height: 24)`, then `update(&model,
/// .event(.key(.right)))` and `view(model)`. Answers are kept here by question, so that drawing
/// never waits: what is missing is drawn as missing. Memory: that of `known`.
public struct Model: Sendable {
  /// Who gets the keys.
  public enum Mode: Sendable, Hashable {
    case normal
    case help(scroll: Int)
    case palette(text: String, choice: Int)
    case prompt(Prompt, text: String)
    /// Names to choose from: bookmarks, or files of before.
    case list(List, text: String, choice: Int)
  }

  /// What is chosen from; raw values are titles.
  public enum List: String, Sendable, Hashable {
    case marks = "Bookmarks", recent = "Recent files", library = "Library"
  }

  /// What the footer asks for; raw values are what it says.
  public enum Prompt: String, Sendable, Hashable {
    case goTo = "go to key"
    case goToQuery = "go to query"
    case find = "find"
    case goToStep = "go to token"
    case export = "export to (.svg .png .html .txt .ansi .csv .npy)"
    case mark = "bookmark as"
  }

  /// One, or files opened together.
  public internal(set) var sources: [SourceDescription]
  /// The one that is looked at; of a live source: as of the frame that is looked at.
  public internal(set) var source: SourceDescription {
    get { sources[viewpoint.head.source] }
    set { sources[viewpoint.head.source] = newValue }
  }
  /// The keys of this user.
  public let keymap: Keymap
  /// Colours of text and frames.
  public var theme = Theme.standard
  /// Nil for saved dumps.
  public internal(set) var live: LiveStatus?
  /// What is looked at.
  public internal(set) var frame = Frame.whole
  /// The newest token is looked at as it comes.
  public internal(set) var isFollowing = true
  /// Answers and refusals so far.
  public internal(set) var known = Known()
  /// Columns of the screen.
  public internal(set) var width: Int
  /// Rows of the screen.
  public internal(set) var height: Int
  /// What the terminal can show.
  public internal(set) var capabilities: Capabilities
  /// What is looked at, and how.
  public package(set) var viewpoint: Viewpoint
  /// Who gets the keys.
  public internal(set) var mode = Mode.normal
  /// Digits typed in a row, while they may yet turn out to be a count.
  public internal(set) var digits: Digits?
  /// Said once on the caption line; the next key clears it.
  public internal(set) var message: String?
  /// What `n` goes on to look for; nil when nothing is.
  public internal(set) var search: String?
  /// Ctrl-C was pressed: nothing is computed until something new is asked for.
  public internal(set) var isStopped = false
  /// The app ends after this message.
  public internal(set) var isQuitting = false
  /// Nil when no lesson is playing.
  public internal(set) var lesson: LessonPlay?
  /// For the projector: a large cursor, and the keys that were pressed.
  public var presents = false
  /// The last six keys, for the projector.
  public internal(set) var pressed: [Key] = []
  /// Bookmarks, the newest last.
  public var marks: [Bookmark] = []
  /// Paths of files opened before, newest first.
  public var recent: [String] = []
  /// Shown while it is not nil.
  var meter: Meter?

  /// What the terminal is sent.
  struct Meter: Sendable {
    var bytes = 0
    var seconds = 0.0
    var perSecond = 0.0
  }

  /// A still picture: everything it shows is there, whatever other heads lack.
  var isWhole = false
  /// Ctrl-C pressed with no other key between.
  var interruptsInARow = 0
  /// Views before this one, the newest last; 500 at most.
  var undoStack: [Viewpoint] = []
  /// Views that undo took back.
  var redoStack: [Viewpoint] = []
  /// Where the mouse was at the last report while its button is down.
  var drag: (x: Int, y: Int)?
  /// Numbers runs of digits.
  var digitsSeen = 0

  /// Keys 0 to 6 do something at once, and yet 20j moves by twenty: when a move follows two digits
  /// or more, they were a count, and what they did is taken back.
  public struct Digits: Sendable {
    var text: String
    let before: Viewpoint
    let undoDepth: Int
    /// Tells this run of digits from a later one.
    let number: Int

    /// The count they would be; nil for a view key alone.
    var count: Int? { text.count > 1 || text > "6" ? min(Int(text) ?? 1 << 24, 1 << 24) : nil }
  }

  /// Looks at the last query of the first head; guesses about the file are said at once.
  public init(
    _ source: SourceDescription, width: Int, height: Int, capabilities: Capabilities = .init(),
    keymap: Keymap = Keymap(), viewpoint chosen: Viewpoint? = nil
  ) {
    sources = [source] + source.others
    sources[0].others = []
    self.keymap = keymap
    (self.width, self.height, self.capabilities) = (width, height, capabilities)
    live = source.live
    viewpoint = chosen ?? Viewpoint(source)
    if chosen == nil { viewpoint.light = capabilities.lightBackground }
    message = source.guesses.isEmpty ? nil : "Guessed: " + source.guesses.joined(separator: "; ")
  }

  // MARK: Answers

  /// Takes an answer in; steps of the branch that is looked at give the source its tokens.
  mutating func store(_ question: Question, _ frame: Frame, _ answer: Answer) {
    known.store(question, frame, answer, shown: mapField, about: source)
    if case .steps(let branch, _) = answer, branch == self.frame.branch {
      source.tokens += known.steps(of: branch).dropFirst(source.tokens.count).map(\.text)
    }
  }

  /// Remembers why there is no answer.
  mutating func fail(_ question: Question, _ reason: String) {
    known.fail(question, reason, at: frame)
  }

  /// Forgets pictures, rows and errors that no screen wants now; tables and summaries stay.
  mutating func prune(keeping wanted: Set<Question>) {
    let most = live == nil ? (isLong ? 24 : 4 * source.allHeads.count + 64) : 1024
    let (spec, method, isLive, isLong) = (viewpoint.spec, methodInForce, live != nil, isLong)
    known.prune(above: most) { question in
      if wanted.contains(question) { return true }
      return switch question {
      case .table(_, let request): request.spec == spec && !isLive && !isLong
      case .summary: !isLive
      case .findings(_, let setting, _): setting == method && !isLive
      default: false
      }
    }
  }

  /// True when nothing need be asked: there is an answer that is near enough, or a failure at this
  /// frame.
  public func isKnown(_ question: Question) -> Bool {
    if known.isKnown(question, at: frame, patience: patience) { return true }
    guard isLong, case .table(let head, var request) = question, request.extent == .whole
    else { return false }
    request.extent = .kept
    return known.table(.table(head, request)) != nil
  }

  /// While tokens come, the many small pictures of the Heads view are not drawn anew for each of
  /// them.
  private var patience: Int {
    live?.phase == .running && viewpoint.view == .heads ? 64 : 0
  }

  /// Why there is no answer and will be none.
  public func refusal(_ question: Question) -> String? { known.refusal(question) }

  /// The block table of a head at the tile in force; nil before it is there.
  public func table(_ head: HeadID) -> BlockTable? {
    let question = tableQuestion(head)
    let isOpen = isLong && known.answer(question) == nil
    guard let table = known.table(isOpen ? keptQuestion(head) : question) else { return nil }
    // Of an older frame of a live source it serves as long as it has the same blocks.
    return live == nil
      || (table.rowTiles == (source.queries - 1) / table.spec.rows + 1
        && table.keyTiles == (source.keys - 1) / table.spec.keys + 1)
      ? table : nil
  }

  /// The lambda that a table is asked for: tables of the lse criterion hold for one, the others for
  /// all.
  private var tableLambda: Double { viewpoint.spec.criterion == .lse ? viewpoint.lambda : 0 }

  /// What is asked for that table.
  func tableQuestion(_ head: HeadID) -> Question {
    .table(head, TableRequest(viewpoint.spec, lambda: tableLambda))
  }

  /// What a head does on the whole; nil before it is known.
  public func summary(_ head: HeadID) -> HeadSummary? { known.summary(head) }

  /// Known as soon as the whole map was shown once.
  var wholeTop: Float? { known.wholeTop(mapField, muted: mutedKey) }

  /// The picture that answers a question.
  func map(_ question: Question) -> PooledMap? { known.picture(question) }

  /// What a query gives each key; with the sink muted, of what is left.
  public func row(_ query: Int) -> [Float]? {
    guard var row = known.row(rowField, query) else { return nil }
    guard viewpoint.field == nil else { return row.count == source.keys ? row : nil }
    if let muted = mutedKey, row.indices.contains(muted), row[muted] < 1 {
      let rest = 1 - row[muted]
      row[muted] = 0
      for key in row.indices { row[key] /= rest }
    }
    return row
  }

  /// What the pass of the frame's newest token did.
  var detail: StepDetail? {
    // While tokens come, that of a moment ago.
    live?.phase == .running || isKnown(.detail) ? known.detail : nil
  }

  /// The blocks of the newest row of the chosen head.
  var rowTable: BlockTable? { known.table(rowQuestion) }

  /// The blocks of the frame's last row, at the tile that the step was decided with.
  var rowQuestion: Question {
    .table(
      viewpoint.head,
      TableRequest(
        step?.tile ?? decodeSpec, lambda: tableLambda, .row(max(0, source.queries - 1))))
  }

  /// The tile that single tokens are decided with: as the run was begun while the tile of prompts is the one it was begun
  /// with, else at the preset in use.
  var decodeSpec: TileSpec {
    if let begun = source.live?.attention, begun.prefill == viewpoint.spec { return begun.decode }
    let preset = TilePreset.all.first { $0.prefill == viewpoint.spec }
    var spec = preset?.decode ?? .standard(queries: 1)
    if preset == nil { spec.keys = viewpoint.spec.keys }
    (spec.order, spec.criterion) = (viewpoint.spec.order, viewpoint.spec.criterion)
    spec.splits = viewpoint.spec.splits
    if preset == nil || preset?.name == TilePreset.all[0].name { spec.vote = .group }
    return spec
  }

  // MARK: Facts

  /// The lambda in force, at most 1.
  public var lambda: Lambda { (try? Lambda(viewpoint.lambda)) ?? (try! Lambda(1)) }

  /// The layer as the file calls it.
  public var layerNumber: Int { source.layers[viewpoint.head.layer] }

  /// The text of a key's token; queries are keys too, shifted by the offset.
  public func token(_ key: Int) -> String? {
    source.tokens.indices.contains(key) ? source.tokens[key] : nil
  }

  /// The text of a query row's own token.
  public func queryToken(_ query: Int) -> String? { token(source.visibility.position(row: query)) }

  /// The key whose column is muted, when muting is on and the sink is known.
  public var mutedKey: Int? { viewpoint.mute ? summary(viewpoint.head)?.sink.position ?? 0 : nil }

  /// "!" behind the name of a head whose data hold NaN, infinities or rows that do not sum to one.
  public func doubt(_ head: HeadID) -> String {
    summary(head).map { $0.quality.isClean ? "" : "!" } ?? ""
  }

  /// Done and wanted, of the work on all heads.
  public var progress: (done: Int, total: Int) {
    let all = Needs(self).everyHead
    return (all.filter(isKnown).count, all.count)
  }
}
