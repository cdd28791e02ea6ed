import Analysis
import Attention
import Sessions
import Synchronization
import Tensors

/// Answers about one head, whatever it comes from. Call from a compute thread; a cancelled task gets `CancellationError`.
final class HeadAnswers: Sendable {
  /// Tables that a pass gave beside the one that was asked for.
  private let tables = Kept<TableKey, BlockTable>(budget: 64 << 20) { 20 * $0.margins.count + 256 }
  /// Heads with their keys packed, for the next window, row or tile.
  private let passes = Kept<PassKey, MapPass>(budget: 96 << 20) { $0.bytes }
  private let stored: TableStore?
  private let tell: @Sendable (Moment) -> Void

  private struct TableKey: Hashable {
    let frame: Frame
    let id: HeadID, spec: TileSpec, lambda: Double
  }

  private struct PassKey: Hashable {
    let frame: Frame
    let id: HeadID
  }

  /// `tell` hears how far long answers are; `stored` keeps their tables on disk.
  init(stored: TableStore? = nil, tell: @escaping @Sendable (Moment) -> Void = { _ in }) {
    (self.stored, self.tell) = (stored, tell)
  }

  func answer(
    _ question: Question, _ id: HeadID, at frame: Frame, _ head: Head,
    group: () -> (HeadGroup, slot: Int)?
  ) throws -> Answer {
    let answer: Answer? =
      switch question {
      case .map(_, let window, let rows, let columns, let muted):
        PooledMap.of(
          head, pass: pass(id, frame, head), window: window, rows: rows, columns: columns,
          muted: muted, progress: progress(question, head)
        ).map(Answer.map)
      case .sketch(_, let window, let rows, let columns, let muted, let perCell):
        PooledMap.of(
          head, pass: pass(id, frame, head), window: window, rows: rows, columns: columns,
          muted: muted, sampled: perCell
        ).map(Answer.map)
      case .table(_, let spec, let lambda):
        table(question, id, frame, head, spec, lambda, group).map(Answer.table)
      case .keptTable(_, let spec, let lambda):
        keptTable(id, frame, head, spec, lambda).map(Answer.table) ?? .unavailable("not kept")
      case .rowTable(_, let spec, let query, let lambda):
        rowTable(head, spec, query, lambda, group)
      case .summary: Summariser(head).summary().map(Answer.summary)
      case .row(_, let query): row(pass(id, frame, head)?.rows ?? PatternRows(head), query)
      case .outputError(_, let spec, let lambda):
        try outputError(head, spec, Lambda(lambda), group)
      case .method(_, let name, let spec, let lambda):
        try method(name, head, spec, Lambda(lambda), group)
      case .calibration(_, let spec):
        table(question, id, frame, head, spec, 0, group).map { .calibration(HeadCalibration($0)) }
      case .steps, .detail: .unavailable("this is not about one head")
      }
    guard let answer else { throw CancellationError() }
    return answer
  }

  /// Nil where the slower way over whole rows must go. Of a live source every frame is another head: nothing is kept.
  private func pass(_ id: HeadID, _ frame: Frame, _ head: Head) -> MapPass? {
    guard case .projections = head.source else { return MapPass(head) }
    let key = PassKey(frame: frame, id: id)
    if let pass = passes[key] { return pass }
    let pass = MapPass(head)
    passes[key] = pass
    return pass
  }

  private func progress(_ question: Question, _ head: Head) -> Progress? {
    guard head.isLong else { return nil }
    let start = ContinuousClock.now, last = Mutex(0.0), tell = tell
    return Progress { share in
      let seconds = (ContinuousClock.now - start).seconds
      let isDue = last.withLock { last in
        guard seconds - last >= 0.05 || share >= 1 else { return false }
        last = seconds
        return true
      }
      if isDue { tell(.progress(question, share: share, seconds: seconds)) }
    }
  }

  private func table(
    _ question: Question, _ id: HeadID, _ frame: Frame, _ head: Head, _ spec: TileSpec,
    _ lambda: Double, _ group: () -> (HeadGroup, slot: Int)?
  ) -> BlockTable? {
    func key(_ head: Int, _ spec: TileSpec) -> TableKey {
      TableKey(frame: frame, id: HeadID(layer: id.layer, head: head), spec: spec, lambda: lambda)
    }
    if let table = tables[key(id.head, spec)] { return table }
    if spec.vote == .group, let (group, slot) = group() {
      let pass = TilePass(group, keysPerTile: spec.keys)
      guard
        let all = pass.tables(spec, lambda: lambda, progress: progress(question, head))
      else { return nil }
      for (other, table) in all.enumerated() { tables[key(id.head - slot + other, spec)] = table }
      return all[slot]
    }
    if let table = keptTable(id, frame, head, spec, lambda) { return table }
    guard let pass = pass(id, frame, head) else {
      return TilePass(HeadGroup([head]), keysPerTile: spec.keys)
        .tables(spec, lambda: lambda, progress: progress(question, head))?[0]
    }
    let specs = head.isLong ? Self.beside(spec, head) : [spec]
    guard
      let made = pass.tables(specs, lambda: lambda, progress: progress(question, head))
    else { return nil }
    for (spec, table) in zip(specs, made) {
      tables[key(id.head, spec)] = table
      if head.isLong { stored?.keep(table, head, spec, lambda: lambda) }
    }
    return made[0]
  }

  /// In memory or on disk; tables of voting groups are not kept on disk.
  private func keptTable(
    _ id: HeadID, _ frame: Frame, _ head: Head, _ spec: TileSpec, _ lambda: Double
  ) -> BlockTable? {
    let key = TableKey(frame: frame, id: id, spec: spec, lambda: lambda)
    if let table = tables[key] { return table }
    guard head.isLong, spec.vote == .head,
      let table = stored?.table(head, spec, lambda: lambda)
    else { return nil }
    tables[key] = table
    return table
  }

  /// The presets that a long pass gives at no great cost, so that the next key finds them.
  private static func beside(_ spec: TileSpec, _ head: Head) -> [TileSpec] {
    var specs = [spec]
    guard spec.criterion == .max else { return specs }
    for preset in TilePreset.all {
      var other = preset.prefill
      (other.order, other.splits) = (spec.order, spec.splits)
      let blocks = (head.queries / other.rows + 1) * (head.keys / other.keys + 1)
      if other.vote == spec.vote, blocks <= 1 << 20, !specs.contains(other) { specs.append(other) }
    }
    return specs
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

  private func row(_ rows: PatternRows, _ query: Int) -> Answer? {
    guard query >= 0, query < rows.head.queries else {
      return .unavailable("there is no query \(query)")
    }
    var values: [Float] = []
    rows.withRows(query..<query + 1) { _, p, _ in values = Array(p) }
    return .row(values)
  }

  private func outputError(
    _ head: Head, _ spec: TileSpec, _ lambda: Lambda, _ group: () -> (HeadGroup, slot: Int)?
  ) -> Answer? {
    guard head.value != nil else { return .unavailable("needs V") }
    guard let (group, slot) = spec.vote == .group ? group() : (HeadGroup([head]), 0) else {
      return .unavailable("the group is incomplete")
    }
    // Of a long head some row tiles stand for all.
    let tiles = (head.queries + spec.rows - 1) / spec.rows
    let step = head.isLong ? max(1, tiles / 64) : 1
    let pass = TilePass(group, keysPerTile: spec.keys, withValues: true)
    guard let dense = pass.forward(spec, .blasst(lambda: 0), every: step),
      let sparse = pass.forward(spec, .blasst(lambda: lambda.value), every: step)
    else { return nil }
    return .outputError(
      OutputError(
        dense: dense[slot].values, sparse: sparse[slot].values, sampled: step > 1 ? step : nil))
  }
}

/// Things that were made and may be wanted again; the oldest go when all together pass the budget.
private final class Kept<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  private struct State {
    var values: [Key: Value] = [:]
    var order: [Key] = []
    var bytes = 0
  }

  private let state = Mutex(State())
  private let budget: Int
  private let size: @Sendable (Value) -> Int

  init(budget: Int, _ size: @escaping @Sendable (Value) -> Int) {
    (self.budget, self.size) = (budget, size)
  }

  subscript(_ key: Key) -> Value? {
    get {
      state.withLock { state in
        if let at = state.order.firstIndex(of: key) {
          state.order.append(state.order.remove(at: at))
        }
        return state.values[key]
      }
    }
    set {
      guard let newValue else { return }
      state.withLock { state in
        guard state.values[key] == nil else { return }
        state.values[key] = newValue
        state.order.append(key)
        state.bytes += size(newValue)
        while state.bytes > budget, state.order.count > 1 {
          if let old = state.values.removeValue(forKey: state.order.removeFirst()) {
            state.bytes -= size(old)
          }
        }
      }
    }
  }
}
