import Analysis
import Attention
public import Sessions

/// What is known: answers by question, refusals, and what follows from them.
///
/// Example: `known.store(question, frame, answer, shown: field, about: source)`, then
/// `known.picture(question)`. Each answer is kept with the frame it is true of: until the next one
/// comes, an older answer is better than none. Memory: answers, bounded by `prune`.
public struct Known: Sendable {
  /// Each with the frame it is true of.
  private var answers: [Question: (answer: Answer, frame: Frame)] = [:]
  /// Questions that failed, and the frame they failed at: asked again at another.
  private var failures: [Question: (reason: String, frame: Frame)] = [:]
  /// The last picture of the map, shown while the next is computed.
  private(set) var lastMap: (field: FieldID, map: PooledMap)?
  /// The largest size in a field's whole map, by muted key: one colour scale for every zoom.
  private var tops: [WholeMap: Float] = [:]
  /// Steps of each branch, from its first token on, as far as they have been asked for.
  public private(set) var timelines: [Int: [Step]] = [:]
  /// The last sketch of each field that a method found, by the method's id and the field's name:
  /// under another setting of its knobs it is looked at in the same way.
  private var sketches: [String: Finding] = [:]
  /// What takes long right now.
  var working: (question: Question, state: Working)?

  /// What a colour scale belongs to.
  private struct WholeMap: Hashable {
    let field: FieldID
    let muted: Int?
  }

  // MARK: Taking in

  /// Takes an answer in. Steps are appended to their branch; a picture of a whole map of `about`
  /// sets the colour scale of all its windows; one of the field `shown` is the map's last picture.
  mutating func store(
    _ question: Question, _ frame: Frame, _ answer: Answer, shown: FieldID,
    about: SourceDescription
  ) {
    failures[question] = nil
    if case .steps(let branch, let steps) = answer { return append(steps, to: branch) }
    answers[question] = (answer, frame)
    if working?.question == question { working = nil }
    if case .findings(let findings) = answer, case .findings(_, let setting, _) = question {
      for finding in findings.all {
        if case .field = finding.content { sketches["\(setting.id)/\(finding.name)"] = finding }
      }
    }
    guard case .picture(let map) = answer, case .picture(let field, let request) = question
    else { return }
    if field == shown { lastMap = (field, map) }
    if request.perCell == nil, request.window.keys.count == about.keys,
      request.window.queries.count == about.queries
    {
      tops[WholeMap(field: field, muted: request.muted)] = map.max.reduce(0) {
        abs($1) > $0 && $1.isFinite ? abs($1) : $0
      }
    }
  }

  /// Adds steps that follow on what is there; others came too late or too early and are asked for
  /// again.
  private mutating func append(_ steps: [Step], to branch: Int) {
    var line = self.steps(of: branch)
    for step in steps where step.position == line.count { line.append(step) }
    timelines[branch] = line
  }

  /// Remembers why there is no answer at a frame.
  mutating func fail(_ question: Question, _ reason: String, at frame: Frame) {
    failures[question] = (reason, frame)
  }

  /// Forgets answers that are not worth their memory, once there are more than `most`.
  mutating func prune(above most: Int, keeping isWorthKeeping: (Question) -> Bool) {
    guard answers.count > most else { return }
    answers = answers.filter { question, _ in isWorthKeeping(question) }
  }

  // MARK: Giving out

  /// True when nothing need be asked at a frame: there is an answer of it, or of one at most
  /// `patience` tokens before it on the same branch, or a failure at this very frame.
  func isKnown(_ question: Question, at frame: Frame, patience: Int = 0) -> Bool {
    if case .steps(let branch, let range) = question {
      return steps(of: branch).count >= range.upperBound
    }
    if let kept = answers[question]?.frame {
      if kept == frame { return true }
      if kept.branch == frame.branch, kept.revision == frame.revision,
        (0..<patience).contains(frame.tokens - kept.tokens)
      {
        return true
      }
    }
    return failures[question]?.frame == frame
  }

  /// Why there is no answer and will be none; nil when there is one, or may yet be.
  func refusal(_ question: Question) -> String? {
    if case .unavailable(let reason) = answers[question]?.answer { return reason }
    return failures[question]?.reason
  }

  /// Whatever was last said to a question, of whichever frame.
  func answer(_ question: Question) -> Answer? { answers[question]?.answer }

  /// The picture that answers a question.
  func picture(_ question: Question) -> PooledMap? {
    if case .picture(let map) = answers[question]?.answer { map } else { nil }
  }

  /// The block table that answers a question.
  func table(_ question: Question) -> BlockTable? {
    if case .table(let table) = answers[question]?.answer { table } else { nil }
  }

  /// What a head does on the whole; nil before it is known.
  func summary(_ head: HeadID) -> HeadSummary? {
    if case .summary(let summary) = answers[.summary(head)]?.answer { summary } else { nil }
  }

  /// The `[keys]` values of a row of a field.
  func row(_ field: FieldID, _ query: Int) -> [Float]? {
    if case .row(let row) = answers[.row(field, query)]?.answer { row } else { nil }
  }

  /// What a method said to a question.
  func findings(_ question: Question) -> Findings? {
    if case .findings(let findings) = answers[question]?.answer { findings } else { nil }
  }

  /// A field as the method last found it, under whatever setting and on whatever head.
  func sketch(_ method: String, _ name: String) -> Finding? { sketches["\(method)/\(name)"] }

  /// What the last pass that was asked about did.
  var detail: StepDetail? {
    if case .detail(let detail) = answers[.detail]?.answer { detail } else { nil }
  }

  /// The largest size in the whole map of a field; known as soon as all of it was shown once.
  func wholeTop(_ field: FieldID, muted: Int?) -> Float? {
    tops[WholeMap(field: field, muted: muted)]
  }

  /// The steps of a branch, from its first token on.
  func steps(of branch: Int) -> [Step] { timelines[branch, default: []] }
}
