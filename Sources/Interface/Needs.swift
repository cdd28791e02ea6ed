import Canvas
import Analysis
public import Sessions

/// What the screen would like to know, most urgent first: a pure function of the model. The app asks what is missing and
/// cancels what is no longer wanted, so no request has to be remembered.
public struct Needs: Sendable {
  /// For what is on the screen now.
  public let foreground: [Question]
  /// For what a key press away needs; asked one at a time.
  public let background: [Question]

  public init(_ model: Model) {
    guard !model.isStopped else {
      (foreground, background) = ([], [])
      return
    }
    let selection = model.selection, head = selection.head
    var now: [Question] = []
    switch selection.view {
    case .map:
      if let map = Self.map(model) { now.append(map) }
      now += [.table(head, selection.spec), .row(head, query: selection.query), .summary(head)]
      now.append(model.errorQuestion)
    case .heads:
      let layout = HeadsLayout(model)
      for item in layout.visible {
        now.append(Self.thumbnail(item, model, layout))
        now.append(.table(item, selection.spec))
      }
    case .blocks: now = [.table(head, selection.spec), .summary(head), model.errorQuestion]
    case .sinks: now = [.summary(head)]
    }
    foreground = now
    background = Self.everyHead(model)
  }

  /// Tables, then summaries, of all heads.
  var everyHead: [Question] { background }

  private static func everyHead(_ model: Model) -> [Question] {
    let heads = model.source.allHeads
    return heads.map { .table($0, model.selection.spec) } + heads.map { .summary($0) }
  }

  static func map(_ model: Model) -> Question? {
    let layout = MapLayout(model)
    guard !layout.plot.isEmpty else { return nil }
    return .map(
      model.selection.head, model.selection.window, rows: layout.pixelRows,
      columns: layout.plot.width,
      muted: model.mutedKey)
  }

  static func thumbnail(_ head: HeadID, _ model: Model, _ layout: HeadsLayout) -> Question {
    let whole = MapWindow(queries: 0..<model.source.queries, keys: 0..<model.source.keys)
    return .map(head, whole, rows: 2 * layout.thumbHeight, columns: layout.thumbWidth, muted: nil)
  }
}
