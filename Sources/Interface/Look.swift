import Analysis
import Attention
import Canvas
import Sessions

/// How a field asks to be looked at; in this room a `Look` is what a screen reads.
typealias FieldLook = Attention.Look

/// What a screen reads: what is known, from which viewpoint, of which source, and on what it is
/// drawn.
///
/// Example: `var other = look; other.viewpoint.head = head` is the same screen of another head, for
/// the second side of a comparison or a figure. A value that is passed down and thrown away: who
/// draws or asks can change a copy, and never the model.
struct Look: Sendable {
  /// Answers and refusals so far.
  var known: Known
  /// What is looked at, and how.
  var viewpoint: Viewpoint
  /// One, or files opened together.
  var sources: [SourceDescription]
  /// Nil for saved dumps.
  var live: Live?
  /// Nil when no lesson is playing.
  var lesson: LessonPlay?
  /// Size and abilities of what is drawn on.
  var display: Display
  /// Nothing is computed until something new is asked for.
  var isStopped: Bool
  /// Tokens that match what is searched for, ascending.
  var found: [Int] = []

  /// Whether a token matches what is searched for.
  func isFound(_ token: Int) -> Bool {
    var low = 0, high = found.count
    while low < high {
      let middle = (low + high) / 2
      if found[middle] < token { low = middle + 1 } else { high = middle }
    }
    return low < found.count && found[low] == token
  }

  /// The source that is looked at; of a live one: as of the frame.
  var source: SourceDescription {
    get { sources[viewpoint.head.source] }
    set { sources[viewpoint.head.source] = newValue }
  }

  /// Takes an answer in, true of this frame; steps of its branch give the source its tokens.
  mutating func store(_ question: Question, _ answer: Answer) {
    known.store(question, frame, answer, shown: mapField, about: source)
    if case .steps(frame.branch, _) = answer { source.append(known.steps(of: frame.branch)) }
  }

  // MARK: Answers

  /// True when nothing need be asked: there is an answer that is near enough, or a failure at this
  /// frame.
  func isKnown(_ question: Question) -> Bool {
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
  func refusal(_ question: Question) -> String? { known.refusal(question) }

  /// The block table of a head at the tile in force; nil before it is there.
  func table(_ head: HeadID) -> BlockTable? {
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
  func summary(_ head: HeadID) -> HeadSummary? { known.summary(head) }

  /// Known as soon as the whole map was shown once.
  var wholeTop: Float? { known.wholeTop(mapField, muted: mutedKey) }

  /// The picture that answers a question.
  func map(_ question: Question) -> PooledMap? { known.picture(question) }

  /// What a query gives each key; with the sink muted, of what is left.
  func row(_ query: Int) -> [Float]? {
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

  /// The tile that single tokens are decided with: as the run was begun while the tile of prompts
  /// is the one it was begun with, else at the preset in use.
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
  var lambda: Lambda { (try? Lambda(viewpoint.lambda)) ?? (try! Lambda(1)) }

  /// The layer as the file calls it.
  var layerNumber: LayerNumber { source.number(of: viewpoint.head.layer) }

  /// The text of a key's token; queries are keys too, shifted by the offset.
  func token(_ key: Int) -> String? {
    source.tokens.indices.contains(key) ? source.tokens[key] : nil
  }

  /// The text of a query row's own token.
  func queryToken(_ query: Int) -> String? { token(source.visibility.position(row: query)) }

  /// The key whose column is muted, when muting is on and the sink is known.
  var mutedKey: Int? { viewpoint.mute ? summary(viewpoint.head)?.sink.position ?? 0 : nil }

  /// "!" behind the name of a head whose data hold NaN, infinities or rows that do not sum to one.
  func doubt(_ head: HeadID) -> String {
    summary(head).map { $0.quality.isClean ? "" : "!" } ?? ""
  }

  /// Done and wanted, of the work on all heads.
  var progress: (done: Int, total: Int) {
    let all = Needs(self).background
    return (all.filter(isKnown).count, all.count)
  }
}
