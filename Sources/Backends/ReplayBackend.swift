import Attention
import FoundationEssentials
import Formats
import Methods
import Models
public import Sessions
import Synchronization
import Tensors
import Wire

/// A recording, looked at as the run was: every step, branch and row, without the model.
///
/// Example: `try ReplayBackend("run.safetensors").describe().live?.branches`. Memory: all keys,
/// values and queries, in caches like those of a run.
public final class ReplayBackend: Backend {
  private let description: SourceDescription
  /// What answers about branches, on whichever thread asks.
  let answers: LiveAnswers
  /// `[branches]`, filled once and only read since.
  let stores: [BranchStore]
  /// Ended, at the end of the trunk.
  private let status: LiveStatus
  private let feed = MomentFeed()
  /// The lambda that the trunk was last decoded with; nil where nothing was decoded, or by a method
  /// without one.
  public let lambda: Double?

  /// Reads the whole recording; throws `FormatError` with the part that is wrong. A last part that
  /// was cut off is left out, and a note says so.
  public init(_ path: String) throws {
    let stream = try SafetensorsStream(path)
    let reader = try RecordingReader(stream)
    stores = try reader.stores()
    let promptTokens = reader.promptTokens
    lambda = stores[0].steps(0..<stores[0].count).last?.lambda
    status = LiveStatus(
      phase: .ended("a recording"),
      frame: Frame(branch: 0, tokens: stores[0].count), promptTokens: promptTokens,
      branches: stores.map(\.branch), lengths: stores.map(\.count), note: stream.note ?? "",
      noteNumber: stream.note == nil ? 0 : 1,
      isReplay: true,
      hasShadow: stores.contains { $0.steps(0..<$0.count).contains { $0.divergence != nil } })
    let shape = reader.shape
    let tokens = stores[0].count
    var about = SourceDescription(
      name: path.split(separator: "/").last.map(String.init) ?? path, kind: "recording",
      model: reader.modelName, layers: .counted(shape.layers), heads: shape.heads,
      kvHeads: shape.kvHeads, queries: tokens, keys: tokens, headDim: shape.dim,
      visibility: Visibility(causal: true, queries: tokens, keys: tokens), tokens: [],
      hasValues: true, live: status, methods: Registry.standard.cards)
    (about.path, about.holds) = (path, [.queryKey, .logits, .values, .layer])
    about.families = Registry.standard.families
    description = about
    answers = LiveAnswers(layers: description.layers, heads: shape.heads)
    feed.tell(.live(status))
  }

  /// The whole run: it has ended.
  public func describe() -> SourceDescription { description }

  /// One status, and another for every order that is refused.
  public var moments: AsyncStream<Moment> { feed.stream }

  /// Computes on `ComputeThreads`. Throws what computing throws; a branch that is not there is
  /// `.unavailable`.
  public func answer(_ question: Question, at frame: Frame) async throws -> Answer {
    if let moved = try await moved(question, at: frame) { return moved }
    let branch = if case .steps(let branch, _) = question { branch } else { frame.branch }
    guard stores.indices.contains(branch) else { return .unavailable("there is no such branch") }
    let store = stores[branch]
    return try await ComputeThreads.shared.cancellable { [answers] isCancelled in
      try answers.answer(question, at: frame, store, isCancelled: isCancelled)
    }
  }

  /// Nothing can be computed anew: says so.
  public func send(_ command: Command) {
    var status = status
    status.note = "This is a recording: it can be stepped through, not run on."
    status.noteNumber = noteNumber.withLock { number in
      number += 1
      return number
    }
    feed.tell(.live(status))
  }

  /// Of the last note, so that equal sentences are told apart.
  private let noteNumber = Mutex(1)
}

/// Turns the parts of a recording into branch stores.
///
/// A recording may be damaged or hostile: numbers have bounds, shapes are checked before anything
/// is allocated for them, and branches must make a tree that is written parents first.
struct RecordingReader {
  /// The parts of the file.
  let stream: SafetensorsStream
  /// Layers, query heads, KV heads and the width of each.
  let shape: (layers: Int, heads: Int, kvHeads: Int, dim: Int)
  /// As the first part tells it; for people.
  let modelName: String?
  /// Positions of the first part.
  let promptTokens: Int
  /// The trunk first, parents before children.
  private let branches: [Branch]
  /// `[promptTokens]`, or fewer.
  private let texts: [String]

  /// Reads the metadata of the first part. Throws `FormatError` for what it lacks or makes no
  /// sense.
  init(_ stream: SafetensorsStream) throws(FormatError) {
    self.stream = stream
    let head = stream.parts[0].metadata
    func wrong(_ what: String) -> FormatError {
      FormatError(
        .malformed, "\(what); the recording is damaged", file: stream.path, place: "part 0")
    }
    func number(_ key: String, _ most: Int) throws(FormatError) -> Int {
      guard let text = head[key], let value = Int(text), (1...most).contains(value) else {
        throw wrong("its metadata has no sensible \"\(key)\"")
      }
      return value
    }
    guard head["kind"] == "prefill" else { throw wrong("it does not begin with a prompt") }
    shape = (
      try number("layers", 1024), try number("heads", 1024), try number("kv_heads", 1024),
      try number("head_dim", 1024)
    )
    guard shape.heads % shape.kvHeads == 0 else {
      throw wrong("heads do not share KV heads evenly")
    }
    modelName = head["model"]
    texts =
      head["tokens"].flatMap { try? JSONDecoder().decode([String].self, from: Data($0.utf8)) } ?? []
    let stored = head["branches"].flatMap {
      try? JSONDecoder().decode([StoredBranch].self, from: Data($0.utf8))
    }
    var all = (stored ?? []).map(\.branch)
    for part in stream.parts.dropFirst() {
      guard let more = StoredPart.begins(part) else { throw wrong("its branches cannot be read") }
      all += more.map(\.branch)
    }
    branches = all
    promptTokens = try Self.ids(stream.parts[0], 0, stream.path).count
    guard promptTokens > 0, branches.count <= 64,
      branches.enumerated().allSatisfy({ index, branch in
        branch.id == index && (branch.parent.map { $0 >= 0 && $0 < index } ?? (index == 0))
          && branch.fork >= 0
      }), !branches.isEmpty
    else { throw wrong("its branches make no tree") }
  }

  /// Token numbers of a part; such as no vocabulary has become 0.
  private static func ids(_ part: any TensorArchive, _ index: Int, _ path: String)
    throws(FormatError) -> [Int]
  {
    let tensor = try part.tensor("token_ids")
    guard tensor.shape.rank == 1, tensor.count <= 1 << 24 else {
      throw FormatError(
        .malformed, "token_ids is no list; the recording is damaged", file: path,
        place: "part \(index)")
    }
    return tensor.floats().map { abs($0) < 1e9 ? Int($0) : 0 }
  }

  /// Branches in order, each with what it shares copied from its parent.
  /// Throws `FormatError` with the number of the part that is wrong.
  func stores() throws(FormatError) -> [BranchStore] {
    var writers: [BranchWriter] = []
    // What the head claims is allocated only once the arrays that would fill it are there.
    for layer in [LayerNumber].counted(shape.layers) {
      for (name, heads) in [("q", shape.heads), ("k", shape.kvHeads), ("v", shape.kvHeads)] {
        try BranchWriter.check(
          stream.parts[0], "layers.\(layer).\(name)", [heads, promptTokens, shape.dim], 0,
          stream.path)
      }
    }
    let first = BranchWriter(branches[0], shape, positions: promptTokens)
    let ids = try Self.ids(stream.parts[0], 0, stream.path)
    try first.append(stream.parts[0], ids.count, part: 0, stream.path)
    for (position, id) in ids.enumerated() {
      let text = texts.indices.contains(position) ? texts[position] : ""
      first.store.append(
        Step(position: position, token: id, text: "", isPrompt: true), bytes: Array(text.utf8),
        counts: nil)
    }
    writers.append(first)
    for (index, part) in stream.parts.enumerated().dropFirst() {
      try add(part, index, &writers)
    }
    for writer in writers { writer.publish() }
    return writers.map(\.store)
  }

  /// Some steps: they begin their branch when they are the first of it, and must be at the next
  /// position there.
  private func add(_ part: any TensorArchive, _ index: Int, _ writers: inout [BranchWriter])
    throws(FormatError)
  {
    func wrong(_ what: String) -> FormatError {
      FormatError(
        .malformed, "\(what); the recording is damaged", file: stream.path, place: "part \(index)")
    }
    let size = shape.layers * shape.heads
    guard let stored = try StoredPart(part, size: size), branches.indices.contains(stored.branch)
    else { throw wrong("it is no step of a known branch") }
    while writers.count <= stored.branch {
      let branch = branches[writers.count]
      let parent = writers[branch.parent ?? 0]
      guard branch.fork <= parent.store.count else {
        throw wrong("a branch leaves where nothing is")
      }
      parent.publish()
      writers.append(BranchWriter(branch, copying: parent, shape))
    }
    let writer = writers[stored.branch]
    guard stored.position == writer.store.count else {
      throw wrong("position \(stored.position) comes where \(writer.store.count) is due")
    }
    guard
      stored.visible.indices.allSatisfy({
        stored.visible[$0].isEmpty
          || (stored.visible[$0].count == size && stored.skipped[$0].count == size)
      })
    else { throw wrong("its block counts are not \(size)") }
    try writer.append(part, stored.tokens.count, part: index, stream.path)
    for i in stored.tokens.indices {
      let step = stored.step(i), counts = stored.counts(i, shape.layers, shape.heads)
      writer.store.append(step, bytes: Array(step.text.utf8), counts: counts)
    }
  }
}

/// Fills one branch's caches and queries.
private final class BranchWriter {
  /// What is filled.
  let store: BranchStore
  /// Layers, query heads, KV heads and the width of each.
  private let shape: (layers: Int, heads: Int, kvHeads: Int, dim: Int)
  /// `[layers][kvHeads]`
  private let caches: [[KeyCache]]

  /// An empty branch with room for `positions` of every layer.
  init(
    _ branch: Branch, _ shape: (layers: Int, heads: Int, kvHeads: Int, dim: Int), positions: Int
  ) {
    self.shape = shape
    caches = (0..<shape.layers).map { _ in
      (0..<shape.kvHeads).map { _ in
        KeyCache(dim: shape.dim, valueDim: shape.dim, capacity: positions)
      }
    }
    store = BranchStore(
      branch, layers: shape.layers, heads: shape.heads, kvHeads: shape.kvHeads,
      queries: QueryRecord(layers: shape.layers, heads: shape.heads, dim: shape.dim))
  }

  /// A branch that begins with the first `branch.fork` positions of another: its caches are copied.
  init(
    _ branch: Branch, copying other: BranchWriter,
    _ shape: (layers: Int, heads: Int, kvHeads: Int, dim: Int)
  ) {
    self.shape = shape
    caches = other.caches.map { layer in layer.map { KeyCache(copying: $0, count: branch.fork) } }
    store = BranchStore(branch, copying: other.store, count: branch.fork)
  }

  /// Lets questions and branches see what the caches hold.
  func publish() { store.publish(caches) }

  /// Takes in the arrays of some positions, which follow those that are there. Throws `FormatError`
  /// for one that is missing or has another shape.
  func append(_ part: any TensorArchive, _ positions: Int, part index: Int, _ path: String)
    throws(FormatError)
  {
    let start = caches[0][0].count
    let layers = [LayerNumber].counted(shape.layers)
    for layer in layers.layerIndices {
      let name = "layers.\(layers[layer])"
      let q = try array(part, "\(name).q", shape.heads, positions, index, path)
      let k = try array(part, "\(name).k", shape.kvHeads, positions, index, path)
      let v = try array(part, "\(name).v", shape.kvHeads, positions, index, path)
      // [heads, positions, dim] becomes [positions, heads, dim]
      let rows = q.permuted([1, 0, 2]).floats()
      store.queries.queries(layer, start..<start + positions, rows)
      for kv in 0..<shape.kvHeads {
        let keys = k[kv].floats(), values = v[kv].floats()
        keys.withUnsafeBufferPointer { keys in
          values.withUnsafeBufferPointer { values in
            for p in 0..<positions {
              caches[layer.value][kv].append(
                key: keys.baseAddress! + p * shape.dim, value: values.baseAddress! + p * shape.dim)
            }
          }
        }
      }
    }
  }

  /// An array of some heads and positions, if it has the shape that is due.
  private func array(
    _ part: any TensorArchive, _ name: String, _ heads: Int, _ positions: Int, _ index: Int,
    _ path: String
  ) throws(FormatError) -> Tensor {
    try Self.check(part, name, [heads, positions, shape.dim], index, path)
  }

  /// The array, if it has the shape that is due.
  /// Throws `FormatError` otherwise. Called before allocation as well as for reading.
  @discardableResult static func check(
    _ part: any TensorArchive, _ name: String, _ axes: [Int], _ index: Int, _ path: String
  ) throws(FormatError) -> Tensor {
    let tensor = try part.tensor(name)
    guard tensor.shape == Shape(axes) else {
      throw FormatError(
        .malformed, "\(name) is \(tensor.shape), not \(Shape(axes))", file: path,
        place: "part \(index)")
    }
    return tensor
  }
}
