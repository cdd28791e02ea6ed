import Analysis
import Attention
import Canvas
import Sessions

/// How far a question that takes long has come.
///
/// The time left assumes that work goes on at the pace of the whole so far.
public struct Working: Sendable, Equatable {
  /// In 0...1.
  public let share: Double
  /// Since the question was asked.
  public let seconds: Double

  /// `45 %, 3 s left`
  var text: String {
    guard share > 0.02, share < 1 else { return Numbers.fixed(100 * share, 0) + " %" }
    let left = seconds / share * (1 - share)
    return "\(Numbers.fixed(100 * share, 0)) %, \(Numbers.fixed(left, left < 10 ? 1 : 0)) s left"
  }
}

/// Heads so long that a screen shows a sample first: everything about them is asked one after the
/// other, what is on the screen before the rest.
extension Look {
  /// The source is too long to answer at once.
  var isLong: Bool {
    live == nil && source.storedTile == nil && source.queries * source.keys >= Head.longEntries
  }

  /// What takes long and is still wanted: what was cancelled, or is answered, is no longer shown.
  var workingNow: (question: Question, state: Working)? {
    guard let working = known.working, !isKnown(working.question),
      Needs(self).foreground.contains(working.question)
    else { return nil }
    return working
  }

  /// What it is, for the header.
  var workingName: String { workingNow?.question.name ?? "" }

  /// Rows of each row of cells that a first and a second look take.
  private static let looks = [1, 16]

  /// The pictures of a window in the order of their making; the exact one last.
  func stages(of map: Question) -> [Question] {
    guard isLong, case .picture(let field, let request) = map,
      request.window.queries.count * source.keys >= Head.longEntries / 8
    else { return [map] }
    let first = Self.looks.filter {
      $0 * 4 < request.window.queries.count / max(request.rows, 1)
    }
    let sampled = first.map { rows -> Question in
      var sketch = request
      sketch.perCell = rows
      return .picture(field, sketch)
    }
    // All rows of all heads would take as often as long: of several heads the sample stays.
    return field.pool == .one || first.isEmpty ? sampled + [map] : sampled
  }

  /// The same table if it is there already, without computing it.
  func keptQuestion(_ head: HeadID) -> Question {
    guard case .table(let head, var request) = tableQuestion(head) else {
      return tableQuestion(head)
    }
    request.extent = .kept
    return .table(head, request)
  }

  /// The best picture of a window that is there.
  func bestMap(_ question: Question) -> PooledMap? {
    stages(of: question).reversed().lazy.compactMap(map).first
  }

  /// "computing…", and how far it is where that is known.
  func waiting(_ question: Question) -> String {
    if isStopped { return "stopped" }
    guard let working = workingNow, working.question == question else { return "computing…" }
    return "computing… " + working.state.text
  }
}

/// For headers and logs.
extension Question {
  /// One word for what is asked.
  var name: String {
    switch self {
    case .picture: "map"
    case .table: "blocks"
    case .summary: "summary"
    case .row: "row"
    case .findings(_, let setting, _): setting.id
    case .budget: "budget"
    case .overlap: "overlap"
    case .moved: "moved"
    case .selected: "selected keys"
    case .steps, .detail: "tokens"
    }
  }
}
