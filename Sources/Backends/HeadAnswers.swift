import Analysis
import Attention
import Sessions
import Synchronization

/// Answers about one head, whatever it comes from. Call from a compute thread; a cancelled task gets `CancellationError`.
final class HeadAnswers: Sendable {
  /// Tables of a voting group serve all its heads.
  private let groupTables = Mutex<[GroupKey: [BlockTable]]>([:])

  private struct GroupKey: Hashable {
    let frame: Frame
    let layer: Int, first: Int, spec: TileSpec, lambda: Double
  }

  func answer(
    _ question: Question, _ id: HeadID, at frame: Frame, _ head: Head,
    group: () -> (HeadGroup, slot: Int)?
  ) throws -> Answer {
    let answer: Answer? =
      switch question {
      case .map(_, let window, let rows, let columns, let muted):
        PooledMap.of(head, window: window, rows: rows, columns: columns, muted: muted).map(
          Answer.map)
      case .table(_, let spec, let lambda):
        table(id, frame, head, spec, lambda, group).map(Answer.table)
      case .rowTable(_, let spec, let query, let lambda):
        rowTable(head, spec, query, lambda, group)
      case .summary: Summariser(head).summary().map(Answer.summary)
      case .row(_, let query): row(head, query)
      case .outputError(_, let spec, let lambda):
        try outputError(head, spec, Lambda(lambda), group)
      case .steps, .detail: .unavailable("this is not about one head")
      }
    guard let answer else { throw CancellationError() }
    return answer
  }

  private func table(
    _ id: HeadID, _ frame: Frame, _ head: Head, _ spec: TileSpec, _ lambda: Double,
    _ group: () -> (HeadGroup, slot: Int)?
  ) -> BlockTable? {
    guard spec.vote == .group, let (group, slot) = group() else {
      return TilePass(HeadGroup([head]), keysPerTile: spec.keys).tables(spec, lambda: lambda)?[0]
    }
    let key = GroupKey(
      frame: frame, layer: id.layer, first: id.head - slot, spec: spec, lambda: lambda)
    if let tables = groupTables.withLock({ $0[key] }) { return tables[slot] }
    guard let tables = TilePass(group, keysPerTile: spec.keys).tables(spec, lambda: lambda) else {
      return nil
    }
    groupTables.withLock { kept in
      if kept.count > 64 { kept = [:] }
      kept[key] = tables
    }
    return tables[slot]
  }

  /// The table of a single row: what a decode step decided about its blocks.
  private func rowTable(
    _ head: Head, _ spec: TileSpec, _ query: Int, _ lambda: Double,
    _ group: () -> (HeadGroup, slot: Int)?
  ) -> Answer? {
    guard query >= 0, query < head.queries else {
      return .unavailable("there is no query \(query)")
    }
    let (all, slot) = (spec.vote == .group ? group() : nil) ?? (HeadGroup([head]), 0)
    let rows = all.heads.compactMap { $0.row(query) }
    guard rows.count == all.heads.count else { return .unavailable("needs Q and K") }
    return TilePass(HeadGroup(rows), keysPerTile: spec.keys).tables(spec, lambda: lambda).map {
      .table($0[slot])
    }
  }

  private func row(_ head: Head, _ query: Int) -> Answer? {
    guard query >= 0, query < head.queries else {
      return .unavailable("there is no query \(query)")
    }
    var values: [Float] = []
    PatternRows(head).withRows(query..<query + 1) { _, p, _ in values = Array(p) }
    return .row(values)
  }

  private func outputError(
    _ head: Head, _ spec: TileSpec, _ lambda: Lambda, _ group: () -> (HeadGroup, slot: Int)?
  ) -> Answer? {
    guard head.value != nil else { return .unavailable("needs V") }
    guard let (group, slot) = spec.vote == .group ? group() : (HeadGroup([head]), 0) else {
      return .unavailable("the group is incomplete")
    }
    let pass = TilePass(group, keysPerTile: spec.keys, withValues: true)
    guard let dense = pass.forward(spec, .blasst(lambda: 0)),
      let sparse = pass.forward(spec, .blasst(lambda: lambda.value))
    else { return nil }
    return .outputError(OutputError(dense: dense[slot].values, sparse: sparse[slot].values))
  }
}

extension Question {
  /// Nil for questions about the source as a whole.
  var head: HeadID? {
    switch self {
    case .map(let id, _, _, _, _), .table(let id, _, _), .summary(let id), .row(let id, _),
      .outputError(let id, _, _), .rowTable(let id, _, _, _):
      id
    case .steps, .detail: nil
    }
  }
}
