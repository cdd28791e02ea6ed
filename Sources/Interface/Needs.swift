import Lessons
import Attention
import Canvas
import Analysis
public import Sessions

/// What the screen would like to know, most urgent first: a pure function of the model's look. The
/// app asks what is missing and cancels what is no longer wanted, so no request has to be
/// remembered.
///
/// Example: `Needs(model).foreground.filter { !model.isKnown($0) }` is what there is to ask. The
/// catch: it is made anew after every message, so it must stay cheap: it lists questions and
/// computes nothing.
public struct Needs: Sendable {
  /// For what is on the screen now.
  public let foreground: [Question]
  /// For what a key press away needs; asked one at a time.
  public let background: [Question]

  /// Nothing while the work is stopped. Of a long head questions come one after the other, the
  /// picture first.
  public init(_ model: Model) { self.init(model.look) }

  /// The same, of what a screen reads.
  init(_ look: Look) {
    guard !look.isStopped else {
      (foreground, background) = ([], [])
      return
    }
    let viewpoint = look.viewpoint, head = viewpoint.head
    var now: [Question] = []
    switch viewpoint.view {
    case .map:
      let others =
        [look.cellQuestion].compactMap { $0 } + look.shownTableQuestions(head) + [.summary(head)]
        + [look.findingsQuestion(head), Minimap(look)?.question].compactMap { $0 }
        + [look.selectionQuestion(head)].compactMap { $0 } + look.factQuestions
      now = Self.ofMap(look, others)
    case .heads where viewpoint.gallery != nil: now = GalleryLook(look).questions
    case .heads: now = Self.ofHeads(look)
    case .blocks where !look.isByTable:
      now = [look.findingsQuestion(head)].compactMap { $0 }
      now += MethodLayout(look, in: ScreenLayout(look).main).questions(look)
      if !look.isLong { now.append(.summary(head)) }
    case .blocks:
      now = (look.isLong ? [look.keptQuestion(head)] : []) + [look.tableQuestion(head)]
      now += [look.findingsQuestion(head)].compactMap { $0 }
      if look.isLong { now = Self.inTurn(now, look) } else { now.append(.summary(head)) }
    case .sinks:
      now = [.summary(head)] + [look.findingsQuestion(head)].compactMap { $0 }
    case .compare: now = Self.comparison(look)
    case .tokens:
      now =
        look.live == nil
        ? [.row(.pattern(head), viewpoint.query), .summary(head), look.tableQuestion(head)]
          + (look.isByTable ? [] : [look.findingsQuestion(head)].compactMap { $0 })
          + [look.selectionQuestion(head)].compactMap { $0 }
        : [.detail, look.rowQuestion]
    }
    if let lesson = look.lesson { now += Self.facts(lesson, look) }
    if look.live != nil {
      // Nothing can be asked before the first layer of a prompt is there.
      now = Self.timelines(look) + (look.frame.tokens > 0 ? now : [])
    }
    // Methods at one budget take longest, and are what is looked at while they are asked for.
    foreground =
      (look.budgetQuestion.map { [$0] } ?? []) + now
      + (look.overlapQuestion.map { [$0] } ?? [])
    background = Self.isMoving(look) || look.isLong ? [] : Self.everyHead(look)
  }

  /// Pictures and blocks of the heads in view, and what skipping costs beside each, which needs
  /// values; of long heads the pictures first.
  private static func ofHeads(_ look: Look) -> [Question] {
    let layout = HeadsLayout(look), head = look.viewpoint.head
    guard look.viewpoint.costs == .off else { return ofCosts(look, layout) }
    var now: [Question] = []
    for item in layout.visible {
      now.append(thumbnail(item, look, layout))
      if !look.isLong { now.append(look.tableQuestion(item)) }
    }
    if !look.isLong {
      let costed = look.source.hasValues && look.live == nil ? Array(layout.visible) : [head]
      now += ([head] + costed.filter { $0 != head }).compactMap { look.findingsQuestion($0) }
    }
    if look.wantsSelected {
      let marked = layout.visible.compactMap { look.selectionQuestion($0) }
      now += look.isLong ? inTurn(marked, look) : marked
    }
    if look.isLong, now.allSatisfy(look.isKnown) {
      now += inTurn(layout.visible.map { look.tableQuestion($0) }, look)
    }
    return now
  }

  /// Blocks and findings of the heads in view, the chosen one first; of all others later. Of long
  /// heads one after the other.
  private static func ofCosts(_ look: Look, _ layout: HeadsLayout) -> [Question] {
    let chosen = look.viewpoint.head
    let seen = look.viewpoint.costs == .list ? Array(layout.visible) : look.source.allHeads
    let heads = [chosen] + seen.filter { $0 != chosen }
    let needsFindings = !look.isByTable || (look.source.hasValues && look.live == nil)
    let now =
      (look.isByTable ? heads.map { look.tableQuestion($0) } : [])
      + (needsFindings ? heads.compactMap { look.findingsQuestion($0) } : [])
    return look.isLong ? inTurn(now, look) : now
  }

  /// The picture and the row under the cursor first; of a long head, and of a method's map, the
  /// rest after them: while a knob is moved the map is what is looked at, and its numbers take
  /// longer. Not of a run, whose every token makes another picture: numbers would never come.
  private static func ofMap(_ look: Look, _ others: [Question]) -> [Question] {
    let pictures = map(look).map(look.stages) ?? []
    var now = inTurn(pictures, look) + [look.rowOfMap(look.viewpoint.query)]
    if look.viewpoint.field != nil, look.live == nil, !pictures.allSatisfy(look.isKnown) {
      return now
    }
    if !look.isLong { now += others } else { now.append(look.keptQuestion(look.viewpoint.head)) }
    if look.isLong, pictures.allSatisfy(look.isKnown) { now += inTurn(others, look) }
    return now
  }

  /// What a lesson's check and its "now:" line read, whatever the view.
  private static func facts(_ lesson: LessonPlay, _ look: Look) -> [Question] {
    let names = Set(lesson.current?.check.names ?? [])
    let head = look.viewpoint.head
    var wanted: [Question] = []
    func reads(_ prefixes: String...) -> Bool {
      names.contains { name in prefixes.contains { name.hasPrefix($0) || name == "start." + $0 } }
    }
    if reads("sparsity", "dropped", "block.") { wanted.append(look.tableQuestion(head)) }
    if reads("label", "entropy", "keys", "sink.") || look.viewpoint.mute {
      wanted.append(.summary(head))
    }
    if reads("error", "finding.") {
      wanted += [look.findingsQuestion(head)].compactMap { $0 }
    }
    if reads("cursor.p") { wanted.append(.row(.pattern(head), look.viewpoint.query)) }
    return wanted
  }

  /// Those that are known, and the first that is not.
  private static func inTurn(_ questions: [Question], _ look: Look) -> [Question] {
    guard let next = questions.firstIndex(where: { !look.isKnown($0) }) else { return questions }
    return Array(questions[...next])
  }

  /// Tokens that have come since they were last asked for.
  private static func timelines(_ look: Look) -> [Question] {
    guard let live = look.live else { return [] }
    return [look.frame.branch, look.otherBranch].compactMap { $0 }.compactMap { branch in
      let have = look.known.steps(of: branch).count
      guard live.lengths.indices.contains(branch), live.lengths[branch] > have else { return nil }
      return .steps(branch: branch, have..<live.lengths[branch])
    }
  }

  /// While tokens come, what is not on the screen waits.
  private static func isMoving(_ look: Look) -> Bool {
    switch look.live?.phase {
    case .prefill, .running: true
    case .paused, .ended: look.viewpoint.view == .tokens || look.frame.tokens == 0
    case nil: false
    }
  }

  /// What a turn to another head would need, and what the Heads view sorts by.
  private static func everyHead(_ look: Look) -> [Question] {
    let heads = look.source.allHeads
    return heads.map { look.tableQuestion($0) } + heads.map { .summary($0) }
      + look.scoreQuestions
  }

  /// The picture of view 1, at the cells that its plot has; nil without a plot.
  static func map(_ look: Look) -> Question? {
    let layout = MapLayout(look)
    return map(look, rows: layout.pixelRows, columns: layout.plot.width)
  }

  /// The window of a map at so many cells.
  static func map(_ look: Look, rows: Int, columns: Int) -> Question? {
    guard rows > 0, columns > 0 else { return nil }
    return .picture(
      look.mapField,
      PictureRequest(
        look.viewpoint.window, rows: rows, columns: columns, muted: look.mutedKey))
  }

  /// Both maps, then the blocks, then the numbers of both sides.
  private static func comparison(_ look: Look) -> [Question] {
    let (rows, columns) = CompareLayout(look).cells
    let sides = [look.leftSide, look.rightSide]
    let pictures = sides.compactMap { map($0, rows: rows, columns: columns) }
    var numbers = sides.flatMap { $0.shownTableQuestions($0.viewpoint.head) }
    numbers += sides.map { .summary($0.viewpoint.head) }
    numbers += sides.compactMap { $0.findingsQuestion($0.viewpoint.head) }
    numbers += [look.movedQuestion].compactMap { $0 }
    guard look.isLong else { return pictures + numbers }
    return inTurn(
      sides.flatMap { side in map(side, rows: rows, columns: columns).map(side.stages) ?? [] }
        + numbers, look)
  }

  /// The whole pattern of a head at the size of its thumbnail; of a long one four rows a cell stand
  /// for all.
  static func thumbnail(_ head: HeadID, _ look: Look, _ layout: HeadsLayout) -> Question {
    let whole = MapWindow(queries: 0..<look.source.queries, keys: 0..<look.source.keys)
    let (rows, columns) = (2 * layout.grid.thumbHeight, layout.grid.thumbWidth)
    return .picture(
      .pattern(head),
      PictureRequest(whole, rows: rows, columns: columns, perCell: look.isLong ? 4 : nil))
  }
}
