import Analysis
import Attention
import Formats
public import Sessions
import Synchronization
import Tensors
import Wire

/// Where answers come from: what was pushed, the other end, or what was sent of Q and K.
extension StreamBackend {
  /// Steps come from memory, pictures, tables and rows from the sender where it answers them, all
  /// else is computed on `ComputeThreads`. Throws `CancellationError`, and what computing throws.
  public func answer(_ question: Question, at frame: Frame) async throws -> Answer {
    if let moved = try await moved(question, at: frame) { return moved }
    if case .steps(let branch, let range) = question {
      guard branch == 0 else { return .unavailable("a stream has one branch") }
      return .steps(branch: 0, state.withLock { $0.store.steps(range) })
    }
    guard frame.branch == 0 else { return .unavailable("a stream has one branch") }
    if case .detail = question { return .detail(try await detail(frame)) }
    let hello = state.withLock { $0.store.hello }
    guard let id = question.head, hello.layers.has(id.layer), (0..<hello.heads).contains(id.head)
    else { return .unavailable("there is no such head") }
    if let pushed = pushed(question, id, frame) { return pushed }
    let (asked, why) = try await asked(question, id, hello, frame)
    if let asked { return asked }
    let computed = try await computed(question, id, frame)
    if case .unavailable = computed, let why { return .unavailable(why) }
    return computed
  }

  /// What came unasked.
  private func pushed(_ question: Question, _ id: HeadID, _ frame: Frame) -> Answer? {
    state.withLock { state -> Answer? in
      switch question {
      case .table(_, let request):
        if case .row = request.extent { return nil }
        return state.store.table(id.layer, id.head, request.spec, tokens: frame.tokens)
          .map { .table($0) }
      case .picture(let field, let request) where field.method == nil:
        return state.store.picture(id.layer, id.head, request, tokens: frame.tokens)
          .map { .picture($0) }
      default: return nil
      }
    }
  }

  // MARK: The other end

  /// What the sender answers; or why it does not, where it was asked.
  private func asked(_ question: Question, _ id: HeadID, _ hello: Hello, _ frame: Frame)
    async throws -> (Answer?, why: String?)
  {
    guard
      let ask = Ask(
        question, layer: hello.layers[id.layer], head: hello.firstHead + id.head,
        tokens: frame.tokens),
      hello.answers.contains(ask.what)
    else { return (nil, nil) }
    let content = try await content(ask)
    func isHere(_ place: WirePlace) -> Bool {
      place == WirePlace(layer: id.layer, head: id.head, tokens: frame.tokens)
    }
    let other = "the answer is about something else than was asked"
    switch (content, question) {
    case (.table(let made)?, .table(_, let request)):
      guard isHere(made.place), made.table.spec == request.spec else { return (nil, other) }
      return (.table(made.table), nil)
    case (.picture(let made)?, .picture(_, let request)):
      let map = made.picture
      guard isHere(made.place), map.window == request.window, map.muted == request.muted,
        map.rows <= max(1, request.rows), map.columns <= max(1, request.columns)
      else { return (nil, other) }
      return (.picture(map), nil)
    case (.row(let values)?, .row):
      guard values.count <= frame.tokens else { return (nil, other) }
      return (.row(values), nil)
    case (.refused(let why)?, _): return (nil, why)
    case (nil, _): return (nil, nil)
    default: return (nil, other)
    }
  }

  /// Asks and waits; nil where the sender is gone or cannot be told. Throws `CancellationError`.
  private func content(_ ask: Ask) async throws -> AnswerFrame.Content? {
    let number = state.withLock { state -> Int in
      state.asked += 1
      return state.asked
    }
    let content: AnswerFrame.Content? = await withTaskCancellationHandler {
      await withCheckedContinuation {
        (asker: CheckedContinuation<AnswerFrame.Content?, Never>) in
        let isAsked = state.withLock { state -> Bool in
          guard state.isOpen, !Task.isCancelled, link.send(Upstream.ask(number, ask).line) else {
            return false
          }
          state.waiting[number] = asker
          return true
        }
        if !isAsked { asker.resume(returning: nil) }
      }
    } onCancel: {
      guard let asker = state.withLock({ $0.waiting.removeValue(forKey: number) }) else { return }
      _ = link.send(Upstream.cancel(number).line)
      asker.resume(returning: nil)
    }
    try Task.checkCancellation()
    return content
  }

  // MARK: Here

  /// Of the Q and K that were sent; refused where they were not.
  private func computed(_ question: Question, _ id: HeadID, _ frame: Frame) async throws -> Answer {
    if let why = state.withLock({ $0.store.lacks(id.layer, tokens: frame.tokens) }) {
      return .unavailable(why)
    }
    guard let (heads, layers) = heads(frame) else {
      return .unavailable("the stream does not carry Q and K")
    }
    func local(_ id: HeadID) -> HeadID? {
      layers.firstIndex(of: id.layer).map {
        HeadID(layer: LayerIndex($0), head: id.head, source: id.source)
      }
    }
    guard let there = question.moved(local) else {
      return .unavailable("the stream does not carry Q and K of every head that is asked about")
    }
    return try await heads.answer(there, at: .whole)
  }

  /// Frames whose heads are kept, with their packed keys and tables.
  private static let keptFrames = 4

  /// The heads as of a frame, and which layers they are of; nil where none has Q and K.
  private func heads(_ frame: Frame) -> (FileBackend, [LayerIndex])? {
    let (known, made) = state.withLock { state -> ((FileBackend, [LayerIndex])?, StreamDump?) in
      if let known = state.heads.first(where: { $0.tokens == frame.tokens }) {
        // Layers may have come since, of a frame that is not whole yet.
        let whole = state.store.whole(tokens: frame.tokens)
        if known.layers == whole { return ((known.backend, known.layers), nil) }
      }
      return (nil, state.store.dump(tokens: frame.tokens))
    }
    if let known { return known }
    guard let (dump, layers) = made else { return nil }
    let backend = FileBackend(dump, registry: registry)
    state.withLock { state in
      state.heads.removeAll { $0.tokens == frame.tokens }
      state.heads.append((frame.tokens, backend, layers))
      if state.heads.count > Self.keptFrames { state.heads.removeFirst() }
    }
    return (backend, layers)
  }

  /// What one pass did; sinks that were not sent are computed from Q and K.
  private func detail(_ frame: Frame) async throws -> StepDetail {
    let (hello, taken) = state.withLock { ($0.store.hello, $0.store.taken(frame.tokens - 1)) }
    var sinks = taken?.sinks ?? []
    if sinks.isEmpty {
      sinks = [Float](repeating: .nan, count: hello.layers.count * hello.heads)
      if let (backend, layers) = heads(frame) {
        let found = try await ComputeThreads.shared.cancellable { _ in
          Self.sinks(backend.heads, count: hello.heads, row: frame.tokens - 1)
        }
        for (slot, layer) in layers.enumerated() {
          let to = layer.value * hello.heads
          sinks.replaceSubrange(
            to..<to + hello.heads, with: found[slot * hello.heads..<(slot + 1) * hello.heads])
        }
      }
    }
    return StepDetail(
      layers: hello.layers.count, heads: hello.heads, visible: taken?.visible ?? [],
      skipped: taken?.skipped ?? [], sink: sinks)
  }

  /// What one row of every head gives key 0, `[layers * count]`; NaN where it cannot be told.
  private static func sinks(_ heads: DumpHeads, count: Int, row: Int) -> [Float] {
    heads.layers.layerIndices.flatMap { layer in
      (0..<count).map { index -> Float in
        guard let head = heads.head(layer, index)?.row(row) else { return .nan }
        var sink = Float.nan
        PatternRows(head, precision: .float).withRows(0..<1) { _, p, _ in sink = p.first ?? .nan }
        return sink
      }
    }
  }
}

extension Question {
  /// The same question with every head's place mapped; nil where one has none. `nil` as well for a
  /// question without a head.
  func moved(_ map: (HeadID) -> HeadID?) -> Question? {
    func field(_ id: FieldID) -> FieldID? {
      map(id.head).map {
        var moved = FieldID($0, method: id.method, name: id.name)
        moved.pool = id.pool
        return moved
      }
    }
    switch self {
    case .picture(let id, let request): return field(id).map { .picture($0, request) }
    case .row(let id, let query): return field(id).map { .row($0, query) }
    case .findings(let id, let setting, let beside):
      return map(id).map { .findings($0, setting, beside: beside) }
    case .table(let id, let request): return map(id).map { .table($0, request) }
    case .summary(let id): return map(id).map { .summary($0) }
    case .budget(let id, let share): return map(id).map { .budget($0, share) }
    case .selected(let id, let keys): return map(id).map { .selected($0, keys) }
    case .overlap(let id, var request):
      if let other = request.other {
        guard let head = map(other.head) else { return nil }
        request.other = OverlapRequest.Other(head, other.setting)
      }
      return map(id).map { .overlap($0, request) }
    case .moved(let one, let other, let rows):
      guard let one = field(one), let other = field(other) else { return nil }
      return .moved(one, other, rows: rows)
    case .steps, .detail: return nil
    }
  }
}
