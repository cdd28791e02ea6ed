import Lessons
import Attention
import Canvas
import Analysis
public import Sessions

/// What the screen would like to know, most urgent first: a pure function of the model. The app
/// asks what is missing and cancels what is no longer wanted, so no request has to be remembered.
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
  public init(_ model: Model) {
    guard !model.isStopped else {
      (foreground, background) = ([], [])
      return
    }
    let viewpoint = model.viewpoint, head = viewpoint.head
    var now: [Question] = []
    switch viewpoint.view {
    case .map:
      let others =
        model.shownTableQuestions(head) + [.summary(head)]
        + [model.findingsQuestion(head)].compactMap { $0 }
      let pictures = Self.map(model).map(model.stages) ?? []
      now = Self.inTurn(pictures, model) + [model.rowOfMap(viewpoint.query)]
      // Of a long head the picture goes first, and the rest in turn.
      if !model.isLong { now += others } else { now.append(model.keptQuestion(head)) }
      if model.isLong, pictures.allSatisfy(model.isKnown) { now += Self.inTurn(others, model) }
    case .heads:
      let layout = HeadsLayout(model)
      for item in layout.visible {
        now.append(Self.thumbnail(item, model, layout))
        if !model.isLong { now.append(model.tableQuestion(item)) }
      }
      if !model.isLong { now += [model.findingsQuestion(head)].compactMap { $0 } }
      if model.isLong, now.allSatisfy(model.isKnown) {
        now += Self.inTurn(layout.visible.map { model.tableQuestion($0) }, model)
      }
    case .blocks where !model.isByTable:
      now = [model.findingsQuestion(head)].compactMap { $0 }
      now += MethodLayout(model, in: ScreenLayout(model).main).questions(model)
      if !model.isLong { now.append(.summary(head)) }
    case .blocks:
      now = (model.isLong ? [model.keptQuestion(head)] : []) + [model.tableQuestion(head)]
      now += [model.findingsQuestion(head)].compactMap { $0 }
      if model.isLong { now = Self.inTurn(now, model) } else { now.append(.summary(head)) }
    case .sinks:
      now = [.summary(head)] + [model.findingsQuestion(head)].compactMap { $0 }
    case .compare: now = Self.comparison(model)
    case .tokens:
      now =
        model.live == nil
        ? [.row(.pattern(head), viewpoint.query), .summary(head), model.tableQuestion(head)]
          + (model.isByTable ? [] : [model.findingsQuestion(head)].compactMap { $0 })
        : [.detail, model.rowQuestion]
    }
    if let lesson = model.lesson { now += Self.facts(lesson, model) }
    if model.live != nil {
      // Nothing can be asked before the first layer of a prompt is there.
      now = Self.timelines(model) + (model.frame.tokens > 0 ? now : [])
    }
    foreground = now
    background = Self.isMoving(model) || model.isLong ? [] : Self.everyHead(model)
  }

  /// What a lesson's check and its "now:" line read, whatever the view.
  private static func facts(_ lesson: LessonPlay, _ model: Model) -> [Question] {
    let names = Set(lesson.current?.check.names ?? [])
    let head = model.viewpoint.head
    var wanted: [Question] = []
    func reads(_ prefixes: String...) -> Bool {
      names.contains { name in prefixes.contains { name.hasPrefix($0) || name == "start." + $0 } }
    }
    if reads("sparsity", "dropped", "block.") { wanted.append(model.tableQuestion(head)) }
    if reads("label", "entropy", "keys", "sink.") || model.viewpoint.mute {
      wanted.append(.summary(head))
    }
    if reads("error", "finding.") {
      wanted += [model.findingsQuestion(head)].compactMap { $0 }
    }
    if reads("cursor.p") { wanted.append(.row(.pattern(head), model.viewpoint.query)) }
    return wanted
  }

  /// Those that are known, and the first that is not.
  private static func inTurn(_ questions: [Question], _ model: Model) -> [Question] {
    guard let next = questions.firstIndex(where: { !model.isKnown($0) }) else { return questions }
    return Array(questions[...next])
  }

  /// Tokens that have come since they were last asked for.
  private static func timelines(_ model: Model) -> [Question] {
    guard let live = model.live else { return [] }
    return [model.frame.branch, model.otherBranch].compactMap { $0 }.compactMap { branch in
      let have = model.known.steps(of: branch).count
      guard live.lengths.indices.contains(branch), live.lengths[branch] > have else { return nil }
      return .steps(branch: branch, have..<live.lengths[branch])
    }
  }

  /// While tokens come, what is not on the screen waits.
  private static func isMoving(_ model: Model) -> Bool {
    switch model.live?.phase {
    case .prefill, .running: true
    case .paused, .ended: model.viewpoint.view == .tokens || model.frame.tokens == 0
    case nil: false
    }
  }

  /// Tables, then summaries, of all heads.
  var everyHead: [Question] { background }

  /// What a turn to another head would need, and what the Heads view sorts by.
  private static func everyHead(_ model: Model) -> [Question] {
    let heads = model.source.allHeads
    return heads.map { model.tableQuestion($0) } + heads.map { .summary($0) }
      + model.scoreQuestions
  }

  /// The picture of view 1, at the cells that its plot has; nil without a plot.
  static func map(_ model: Model) -> Question? {
    let layout = MapLayout(model)
    return map(model, rows: layout.pixelRows, columns: layout.plot.width)
  }

  /// The window of a map at so many cells.
  static func map(_ model: Model, rows: Int, columns: Int) -> Question? {
    guard rows > 0, columns > 0 else { return nil }
    return .picture(
      model.mapField,
      PictureRequest(
        model.viewpoint.window, rows: rows, columns: columns, muted: model.mutedKey))
  }

  /// Both maps, then the blocks, then the numbers of both sides.
  private static func comparison(_ model: Model) -> [Question] {
    let (rows, columns) = CompareLayout(model).cells
    let sides = [model.leftSide, model.rightSide]
    let pictures = sides.compactMap { map($0, rows: rows, columns: columns) }
    var numbers = sides.flatMap { $0.shownTableQuestions($0.viewpoint.head) }
    numbers += sides.map { .summary($0.viewpoint.head) }
    numbers += sides.compactMap { $0.findingsQuestion($0.viewpoint.head) }
    guard model.isLong else { return pictures + numbers }
    return inTurn(
      sides.flatMap { side in map(side, rows: rows, columns: columns).map(side.stages) ?? [] }
        + numbers, model)
  }

  /// The whole pattern of a head at the size of its thumbnail; of a long one four rows a cell stand
  /// for all.
  static func thumbnail(_ head: HeadID, _ model: Model, _ layout: HeadsLayout) -> Question {
    let whole = MapWindow(queries: 0..<model.source.queries, keys: 0..<model.source.keys)
    let (rows, columns) = (2 * layout.thumbHeight, layout.thumbWidth)
    return .picture(
      .pattern(head),
      PictureRequest(whole, rows: rows, columns: columns, perCell: model.isLong ? 4 : nil))
  }
}
