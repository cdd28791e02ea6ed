import Analysis
public import Attention
public import Methods
public import Sessions
import Tensors

/// A backend made of numbers that a rule gives: the twin of `FileBackend` for tests and for a first
/// look without a file.
///
/// The scores of head h: a sink on key 0, a local slope, and on every third head a vertical at a
/// quarter of the keys. All answers are computed from a real `Head`, so screens see true tables.
///
/// Example: `SyntheticBackend(layers: 1, heads: 1, tokens: 64)`. Memory 4 tokens² bytes a head, all
/// made at once: keep it small.
public struct SyntheticBackend: Backend {
  private let description: SourceDescription
  /// By indices, without a source number.
  private let heads: [HeadID: Head]

  /// `registry` is what methods are looked up in: tests add their own.
  public init(
    layers: Int = 2, heads count: Int = 3, tokens: Int = 256, name: String = "synthetic",
    registry: Registry = .standard
  ) {
    store = FindingStore(registry)
    var heads: [HeadID: Head] = [:]
    let numbers = (0..<layers).map { LayerNumber($0 * 4) }
    for layer in numbers.layerIndices {
      for head in 0..<count {
        let scores = Self.scores(tokens: tokens, kind: layer.value * count + head)
        heads[HeadID(layer: layer, head: head)] = Head(
          scores: Tensor(scores, shape: [tokens, tokens]), causal: true)
      }
    }
    self.heads = heads
    var about = SourceDescription(
      name: name, kind: "scores", model: "synthetic", layers: numbers,
      heads: count, kvHeads: count,
      queries: tokens, keys: tokens, headDim: 0,
      visibility: Visibility(causal: true, queries: tokens, keys: tokens),
      tokens: (0..<tokens).map { $0 == 0 ? "The" : " word\($0)" }, hasValues: false)
    (about.methods, about.families) = (registry.cards, registry.families)
    description = about
  }

  /// A single head, without tokens.
  public init(_ head: Head, name: String = "one", registry: Registry = .standard) {
    store = FindingStore(registry)
    heads = [HeadID(layer: 0, head: 0): head]
    description = SourceDescription(
      name: name, kind: "scores", model: nil, layers: [0], heads: 1, kvHeads: 1,
      queries: head.queries, keys: head.keys, headDim: head.dim, visibility: head.visibility,
      tokens: [], hasValues: head.value != nil, methods: registry.cards)
  }

  /// `[n * n]` before softmax, by a rule without chance.
  private static func scores(tokens n: Int, kind: Int) -> [Float] {
    (0..<n * n).map { index in
      let i = index / n, j = index % n
      guard j <= i else { return -.infinity }
      var score = -Float(i - j) * [0.01, 0.05, 0.4][kind % 3]
      if j == 0 { score += Float(4 + kind % 4) }
      if kind % 3 == 2, j == n / 4 { score += 6 }
      return score + Float((i &* 31 &+ j &* 17) % 13) * 0.05
    }
  }

  /// The same road that files take.
  private let store: FindingStore

  /// Layers are numbered 0, 4, 8 and so on, so that a number is not mistaken for an index.
  public func describe() -> SourceDescription { description }

  /// Ends at once: there is nothing to tell.
  public var moments: AsyncStream<Moment> { AsyncStream { $0.finish() } }

  /// Computes on `ComputeThreads`, with all heads of the layer as surroundings. Throws what the
  /// store throws.
  public func answer(_ question: Question, at frame: Frame) async throws -> Answer {
    if let moved = try await moved(question, at: frame) { return moved }
    // As one of several it is asked under a number of its own.
    guard let id = question.head, let head = heads[HeadID(layer: id.layer, head: id.head)] else {
      return .unavailable("there is no such head")
    }
    if question.isOfMasks { return try await masks.answer(question) }
    return try await ComputeThreads.shared.value { [self] in
      try store.answer(question, place(id, head, frame))
    }
  }

  /// A head with all heads of its layer as surroundings.
  private func place(_ id: HeadID, _ head: Head, _ frame: Frame) -> FindingStore.Place {
    FindingStore.Place(id: id, frame: frame, head: head) { [heads, description] scope in
      guard scope == .layer || scope == .model else { return Subject(head) }
      let layer = heads.keys.filter { $0.layer == id.layer }.sorted().compactMap { heads[$0] }
      return Subject(
        layers: [layer], numbers: [description.number(of: id.layer)], focus: (0, id.head))
    }
  }

  /// The same heads, for questions about many masks.
  private var masks: MaskSource {
    MaskSource(store: store, layers: description.layers, keys: description.keys) {
      [description] _ in
      description.heads
    } place: { [self] id in
      heads[HeadID(layer: id.layer, head: id.head)].map { place(id, $0, .whole) }
    }
  }
}
