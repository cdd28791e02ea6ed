import Analysis
import Attention
import Models
import Sessions
import Tensors

/// Answers questions about recorded branches, for a running engine and for a replay alike.
struct LiveAnswers: Sendable {
  let layers: Int
  let heads: Int
  private let answers = HeadAnswers()

  init(layers: Int, heads: Int) { (self.layers, self.heads) = (layers, heads) }

  /// On a compute thread.
  func answer(_ question: Question, at frame: Frame, _ store: BranchStore) throws -> Answer {
    switch question {
    case .steps(let branch, let range): return .steps(branch: branch, store.steps(range))
    case .detail: return .detail(detail(frame, store))
    default: break
    }
    guard let id = question.head, (0..<layers).contains(id.layer), (0..<heads).contains(id.head)
    else { return .unavailable("there is no such head") }
    let known = store.available(id.layer, tokens: frame.tokens)
    if known.upperBound < frame.tokens {
      return try partial(question, id, frame, store, known: known.upperBound)
    }
    guard let head = store.head(id.layer, id.head, tokens: frame.tokens) else {
      return .unavailable("nothing is recorded of this layer yet")
    }
    return try answers.answer(question, id, at: frame, head) {
      let size = store.groupSize
      return store.group(id.layer, kv: id.head / size, tokens: frame.tokens).map {
        ($0, id.head % size)
      }
    }
  }

  /// While a prompt is read: the map as far as this layer has come, the rest open.
  private func partial(
    _ question: Question, _ id: HeadID, _ frame: Frame, _ store: BranchStore, known: Int
  ) throws -> Answer {
    guard case .map(_, let window, let rows, let columns, let muted) = question else {
      return .unavailable("the prompt is being read")
    }
    let rowEdges = PooledMap.edges(window.queries, cells: rows)
    let keyEdges = PooledMap.edges(window.keys, cells: columns)
    let width = keyEdges.count - 1
    let empty = [Float](repeating: .nan, count: (rowEdges.count - 1) * width)
    var (most, mean) = (empty, empty)
    let ready = rowEdges.lastIndex { $0 <= known } ?? 0
    if ready > 0, let head = store.head(id.layer, id.head, tokens: known) {
      let part = MapWindow(
        queries: rowEdges[0]..<rowEdges[ready],
        keys: min(window.keys.lowerBound, known)..<min(window.keys.upperBound, known))
      let wide = keyEdges.lastIndex { $0 <= part.keys.upperBound } ?? 0
      if wide > 0 {
        let exact = MapWindow(queries: part.queries, keys: keyEdges[0]..<keyEdges[wide])
        guard let map = PooledMap.of(head, window: exact, rows: ready, columns: wide, muted: muted)
        else { throw CancellationError() }
        for r in 0..<map.rows {
          for c in 0..<map.columns {
            most[r * width + c] = map.max[r * map.columns + c]
            mean[r * width + c] = map.mean[r * map.columns + c]
          }
        }
      }
    }
    return .map(
      PooledMap(
        window: window, rowEdges: rowEdges, keyEdges: keyEdges, max: most, mean: mean, muted: muted)
    )
  }

  private func detail(_ frame: Frame, _ store: BranchStore) -> StepDetail {
    var sink = [Float](repeating: .nan, count: layers * heads)
    let size = store.groupSize, position = frame.tokens - 1
    for layer in 0..<layers where store.available(layer, tokens: frame.tokens).contains(position) {
      for kv in 0..<heads / size {
        guard let group = store.group(layer, kv: kv, tokens: frame.tokens) else { continue }
        for (slot, head) in group.heads.enumerated() {
          guard let row = head.row(head.queries - 1) else { continue }
          PatternRows(row).withRows(0..<1) { _, p, _ in
            sink[layer * heads + kv * size + slot] = p.first ?? .nan
          }
        }
      }
    }
    let counts = store.counts(position)
    return StepDetail(
      layers: layers, heads: heads, visible: counts?.visible ?? [], skipped: counts?.skipped ?? [],
      sink: sink)
  }
}
