import Analysis
import Attention
import Methods
import Models
import Sessions
import Tensors

/// Answers questions about recorded branches, for a running engine and for a replay alike.
///
/// Every frame is a head of its own, so that an answer never changes after it was given.
struct LiveAnswers: Sendable {
  /// Layers of the model, by number.
  let layers: [LayerNumber]
  /// Query heads of each layer.
  let heads: Int
  /// Keeps what methods said, one entry a frame.
  private let findings: FindingStore
  /// The weights of a layer, where the model is there that ran.
  private let projections: @Sendable (LayerNumber) -> Projections?

  /// Answers nothing beyond these; `registry` is what methods are looked up in.
  init(
    layers: [LayerNumber], heads: Int, registry: Registry = .standard,
    projections: @escaping @Sendable (LayerNumber) -> Projections? = { _ in nil }
  ) {
    (self.layers, self.heads, self.projections) = (layers, heads, projections)
    findings = FindingStore(registry)
  }

  /// On a compute thread. Throws `CancellationError`; what is not recorded is `.unavailable` with
  /// the reason.
  func answer(
    _ question: Question, at frame: Frame, _ store: BranchStore,
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) throws -> Answer {
    switch question {
    case .steps(let branch, let range): return .steps(branch: branch, store.steps(range))
    case .detail: return .detail(detail(frame, store))
    default: break
    }
    guard let id = question.head, layers.has(id.layer), (0..<heads).contains(id.head)
    else { return .unavailable("there is no such head") }
    let known = store.available(id.layer, tokens: frame.tokens)
    if known != 0..<frame.tokens { return try partial(question, id, frame, store, known) }
    if question.isOfMasks {
      // Masks of layers lie side by side: all must be known as far.
      let less = layers.layerIndices.first {
        store.available($0, tokens: frame.tokens) != 0..<frame.tokens
      }
      if case .overlap(_, let request) = question, request.along == .layers, let less {
        let known = store.available(less, tokens: frame.tokens)
        return .unavailable(Self.missing(known, of: frame.tokens))
      }
      return try masks(frame, store).compute(question, isCancelled: isCancelled)
    }
    guard let head = store.head(id.layer, id.head, tokens: frame.tokens) else {
      return .unavailable("nothing is recorded of this layer yet")
    }
    return try findings.answer(question, place(id, frame, head, store))
  }

  /// Why only some of so many positions are known.
  private static func missing(_ known: Range<Int>, of tokens: Int) -> String {
    known.upperBound == tokens
      ? "the queries before token \(known.lowerBound) were let go to stay within the budget"
      : "the prompt is being read"
  }

  /// The heads of a frame, for questions about many masks; one that is known in part is none.
  private func masks(_ frame: Frame, _ store: BranchStore) -> MaskSource {
    MaskSource(store: findings, layers: layers, keys: frame.tokens) { [heads] _ in
      heads
    } place: { [self] id in
      guard let head = store.head(id.layer, id.head, tokens: frame.tokens),
        head.queries == frame.tokens
      else { return nil }
      return place(id, frame, head, store)
    }
  }

  /// The head of a frame, and its surroundings from the same store. A method that asks for the
  /// whole model gets the layers that are there.
  private func place(_ id: HeadID, _ frame: Frame, _ head: Head, _ store: BranchStore)
    -> FindingStore.Place
  {
    FindingStore.Place(id: id, frame: frame, head: head) { scope in
      let (places, slot): ([LayerIndex], Int)
      switch scope {
      case .head: return Subject(head)
      case .group:
        guard let (group, slot) = self.group(id, frame, store) else { throw Missing(.layer) }
        return Subject(
          layers: [group.heads], numbers: [layers[id.layer]], focus: (0, slot),
          groupSize: store.groupSize)
      case .layer: (places, slot) = ([id.layer], 0)
      case .model:
        places = layers.layerIndices.filter {
          store.available($0, tokens: frame.tokens) == 0..<frame.tokens
        }
        // Queries may be let go between two looks: the layer that was asked about, or none.
        guard let at = places.firstIndex(of: id.layer) else { throw Missing(.layer) }
        slot = at
      }
      let all = places.map { layer in
        (0..<heads).compactMap { store.head(layer, $0, tokens: frame.tokens) }
      }
      guard !all.isEmpty,
        all.allSatisfy({ $0.count == heads && $0.allSatisfy { $0.queries == frame.tokens } })
      else { throw Missing(.layer) }
      return Subject(
        layers: all, numbers: places.map { layers[$0] }, focus: (LayerIndex(slot), id.head),
        groupSize: store.groupSize
      ) { need, _ in
        try Self.array(need, frame, store)
      } projections: { layer in
        guard let found = projections(layers[places[layer.value]]) else { throw Missing(.weights) }
        return found
      }
    }
  }

  /// What a card asks for beyond Q, K, V. Throws `Missing`.
  private static func array(_ need: Need, _ frame: Frame, _ store: BranchStore) throws -> Tensor {
    guard need == .residuals, let residuals = store.residuals else { throw Missing(need) }
    guard let tensor = residuals.tensor(tokens: frame.tokens) else {
      throw Missing(
        need,
        hint: residuals.wantsResiduals
          ? "the prompt is being read"
          : "they were let go, for a long text or other branches; capture --residuals")
    }
    return tensor
  }

  /// The query heads that share the head's keys, and its place among them.
  private func group(_ id: HeadID, _ frame: Frame, _ store: BranchStore) -> (HeadGroup, slot: Int)?
  {
    let size = store.groupSize
    return store.group(id.layer, kv: id.head / size, tokens: frame.tokens).map {
      ($0, id.head % size)
    }
  }

  /// When only some positions of a layer are known: the later ones while a prompt is read, the
  /// earlier ones once their queries were let go. Rows are counted by position; those that are not
  /// known stay open on the map.
  private func partial(
    _ question: Question, _ id: HeadID, _ frame: Frame, _ store: BranchStore, _ known: Range<Int>
  ) throws -> Answer {
    let isRead = known.upperBound == frame.tokens
    let why = Self.missing(known, of: frame.tokens)
    let head = store.head(id.layer, id.head, tokens: known.upperBound)
    switch question {
    case .picture(let field, let request) where field.isOwn:
      return .picture(
        try map(head, known, request.window, request.rows, request.columns, request.muted))
    case .row(let field, let query)
    where isRead && known.contains(query) && field.isOwn:
      guard let head else { return .unavailable(why) }
      return try findings.answer(
        .row(field, query - known.lowerBound), place(id, frame, head, store))
    case .table(_, var request):
      guard case .row(let query) = request.extent, isRead, known.contains(query), let head else {
        return .unavailable(why)
      }
      request.extent = .row(query - known.lowerBound)
      return try findings.answer(.table(id, request), place(id, frame, head, store))
    default: return .unavailable(why)
    }
  }

  /// The cells whose rows and keys are all known, `[rows, columns]`; NaN elsewhere. `head` begins
  /// at the first position that is known.
  private func map(
    _ head: Head?, _ known: Range<Int>, _ window: MapWindow, _ rows: Int, _ columns: Int,
    _ muted: Int?
  ) throws -> PooledMap {
    let rowEdges = PooledMap.edges(window.queries, cells: rows)
    let keyEdges = PooledMap.edges(window.keys, cells: columns)
    let width = keyEdges.count - 1
    let empty = [Float](repeating: .nan, count: (rowEdges.count - 1) * width)
    var (most, mean) = (empty, empty)
    let from = rowEdges.firstIndex { $0 >= known.lowerBound } ?? 0
    let to = rowEdges.lastIndex { $0 <= known.upperBound } ?? 0
    let wide = keyEdges.lastIndex { $0 <= known.upperBound } ?? 0
    if let head, from < to, wide > 0 {
      // The head's rows begin at the first position that is known.
      let part = MapWindow(
        queries: rowEdges[from] - known.lowerBound..<rowEdges[to] - known.lowerBound,
        keys: keyEdges[0]..<keyEdges[wide])
      guard
        let map = PooledMap.of(head, window: part, rows: to - from, columns: wide, muted: muted)
      else { throw CancellationError() }
      for r in 0..<map.rows {
        for c in 0..<map.columns {
          most[(from + r) * width + c] = map.max[r * map.columns + c]
          mean[(from + r) * width + c] = map.mean[r * map.columns + c]
        }
      }
    }
    return PooledMap(
      window: window, rowEdges: rowEdges, keyEdges: keyEdges, max: most, mean: mean, muted: muted)
  }

  /// What one step did, by layer and head. The sinks are computed here and not recorded: one row of
  /// every head, whose queries may be gone.
  private func detail(_ frame: Frame, _ store: BranchStore) -> StepDetail {
    var sink = [Float](repeating: .nan, count: layers.count * heads)
    let size = store.groupSize, position = frame.tokens - 1
    for layer in layers.layerIndices
    where store.available(layer, tokens: frame.tokens).contains(position) {
      for kv in 0..<heads / size {
        guard let group = store.group(layer, kv: kv, tokens: frame.tokens) else { continue }
        for (slot, head) in group.heads.enumerated() {
          guard let row = head.row(head.queries - 1) else { continue }
          PatternRows(row, precision: .float).withRows(0..<1) { _, p, _ in
            sink[layer.value * heads + kv * size + slot] = p.first ?? .nan
          }
        }
      }
    }
    let counts = store.counts(position)
    return StepDetail(
      layers: layers.count, heads: heads, visible: counts?.visible ?? [],
      skipped: counts?.skipped ?? [], sink: sink)
  }
}
