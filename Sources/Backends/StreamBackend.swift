import Attention
public import Formats
import Glibc
public import Methods
public import Sessions
import Synchronization
import Tensors
import Wire

/// A run somewhere else, looked at while it goes on: frames of the wire come in, questions and
/// orders go out where the sender takes them.
///
/// Pictures, tables and rows are asked for at the other end when its hello says that it answers
/// them; else they are computed here from the Q and K that were sent, and without those they are
/// refused with the reason. Everything that came stays when the sender is gone.
///
/// Example: `let backend = try StreamBackend(link, name: "unix:run.sock")` waits for hello, then
/// `backend.start()` listens. The reader takes a frame at a time, so that a sender that is too fast
/// waits in its own writes. A file is read whole at once and then is a recording.
public final class StreamBackend: Backend {
  /// How a stream is listened to.
  public struct Options: Sendable {
    /// Bytes of one frame's data at most.
    public var frameBudget = FrameReader.standardBudget
    /// Bytes of all that is kept: 4 GiB.
    public var budget = 4 << 30
    /// Where frames are written as they come.
    public var record: StreamRecord?
    /// For doors that ask for one.
    public var token: String?
    /// It is a file: read to its end at once.
    public var isFile = false

    /// Nothing recorded, no token.
    public init() {}
  }

  let link: any StreamLink
  let name: String
  private let options: Options
  private let description: SourceDescription
  private let feed = MomentFeed()
  let state: Mutex<State>
  let registry: Registry

  /// What frames and orders change and questions read.
  struct State: Sendable {
    var reader: FrameReader
    var store: StreamStore
    var status: LiveStatus
    /// Questions at the other end, by their numbers.
    var waiting: [Int: CheckedContinuation<AnswerFrame.Content?, Never>] = [:]
    var asked = 0
    /// The sender is there.
    var isOpen = true
    /// Hello of another connection is due.
    var awaitsHello = false
    /// Whoever answered after a break is another model.
    var isForeign = false
    /// When the last steps came, for the speed.
    var times: [ContinuousClock.Instant] = []
    /// The sender tells its speed itself.
    var tellsSpeed = false
    /// Why it ended, as a bye said.
    var bye: String?
    /// Refusals that were said already, so that a slider does not say them at every notch.
    var said: Set<String> = []
    /// Heads as of some frames, the newest last.
    var heads: [(tokens: Int, backend: FileBackend, layers: [LayerIndex])] = []

    /// A sentence for the reader; its number tells it from an equal one before.
    mutating func say(_ sentence: String) {
      status.note = sentence
      status.noteNumber += 1
    }
  }

  /// Waits for hello. Throws `malformed` for what is no stream, and `truncated` when it ends before
  /// there was one. `name` is for titles and messages.
  public init(
    _ link: any StreamLink, name: String, _ options: Options = Options(),
    registry: Registry = .standard
  ) throws(FormatError) {
    (self.link, self.name, self.options, self.registry) = (link, name, options, registry)
    var reader = FrameReader(path: name, most: options.frameBudget)
    _ = link.send(Upstream.join(seq: 0, token: options.token).line)
    let first = try Self.first(link, &reader, name)
    let hello = try Hello(first)
    var store = StreamStore(hello, name: name, budget: options.budget)
    options.record?.write(first)
    // A recording that a run has saved begins with its prompt.
    if first.kind == .prefill { _ = store.take(first) }
    let status = Self.status(store, isReplay: options.isFile)
    var begun = State(reader: reader, store: store, status: status)
    if options.isFile { Self.readWhole(link, &begun) }
    description = Self.describe(begun, name, registry)
    state = Mutex(begun)
    feed.tell(.live(begun.status))
  }

  /// Listens from now on, on a thread of its own; nothing for a file.
  public func start() {
    guard !options.isFile else { return }
    startThread { [weak self] in
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 64)
      defer { buffer.deallocate() }
      // What came with hello is taken before anything is waited for.
      var isThere = self?.takeFrames() ?? false
      while isThere, let link = self?.link {
        let count = link.read(buffer)
        let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<max(0, count)])
        isThere = self?.took(bytes, count) ?? false
      }
    }
  }

  /// Lets go of the sender.
  public func close() { link.close() }

  /// What hello says, and nothing that came later.
  public func describe() -> SourceDescription { description }

  /// The newest status, for one listener.
  public var moments: AsyncStream<Moment> { feed.stream }

  // MARK: Listening

  /// Somebody who waits, and what came for them; nil where nothing will.
  typealias Reply = (asker: CheckedContinuation<AnswerFrame.Content?, Never>, AnswerFrame.Content?)

  /// What `read` gave: frames are taken in, or the end is. False when nothing more comes.
  private func took(_ bytes: UnsafeRawBufferPointer, _ count: Int) -> Bool {
    guard count > 0 else { return broke(isEnd: count == 0) }
    state.withLock { $0.reader.add(bytes) }
    return takeFrames()
  }

  /// Takes in every frame that is whole.
  private func takeFrames() -> Bool {
    let (goesOn, answers) = state.withLock { state -> (Bool, [Reply]) in
      var answers: [Reply] = []
      do throws(FormatError) {
        while let frame = try state.reader.next() {
          options.record?.write(frame)
          if let answer = state.take(frame) { answers.append(answer) }
          if state.isForeign {
            return (false, answers + state.end("another model answers at \(name)"))
          }
        }
        if let trouble = options.record?.takeTrouble() { state.say(trouble) }
        return (true, answers)
      } catch {
        answers += state.end("the stream is damaged: \(error)")
        return (false, answers)
      }
    }
    tell()
    for (asker, answer) in answers { asker.resume(returning: answer) }
    return goesOn
  }

  /// The connection is gone: a new one is tried for where there may be one.
  private func broke(isEnd: Bool) -> Bool {
    let (mayReturn, waiting, seq) = state.withLock { state -> (Bool, [Reply], Int) in
      let mayReturn = state.bye == nil && state.isOpen && link.canReopen
      if mayReturn { state.say("The connection broke at \(state.place); it is tried again.") }
      return (mayReturn, state.takeWaiting(), state.store.lastSeq + 1)
    }
    for (asker, answer) in waiting { asker.resume(returning: answer) }
    if mayReturn {
      tell()
      if link.reopen() {
        state.withLock { state in
          state.reader = FrameReader(path: name, most: options.frameBudget)
          state.awaitsHello = true
          state.say("Connected again at \(state.place).")
        }
        _ = link.send(Upstream.join(seq: seq, token: options.token).line)
        tell()
        return true
      }
    }
    let rest = state.withLock { state -> [Reply] in
      let why =
        state.bye.map { "the process ended: \($0)" }
        ?? (isEnd ? "the process closed the stream" : "the connection broke")
      return state.end("\(why) at \(state.place)")
    }
    for (asker, answer) in rest { asker.resume(returning: answer) }
    tell()
    return false
  }

  /// Tells the newest status.
  func tell() { feed.tell(.live(state.withLock { $0.status })) }
}

extension StreamBackend {
  /// The first frame. Throws when there is none.
  private static func first(
    _ link: any StreamLink, _ reader: inout FrameReader, _ name: String
  ) throws(FormatError) -> WireFrame {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 64)
    defer { buffer.deallocate() }
    while true {
      if let frame = try reader.next() { return frame }
      let count = link.read(buffer)
      guard count > 0 else {
        throw FormatError(
          .truncated,
          "it ended before its first frame: the sender must say hello; see what it printed",
          file: name)
      }
      reader.add(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
  }

  /// A file to its end; one that is cut off or damaged keeps what is whole, and says so.
  private static func readWhole(_ link: any StreamLink, _ state: inout State) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 64)
    defer { buffer.deallocate() }
    do throws(FormatError) {
      while true {
        while let frame = try state.reader.next() { _ = state.take(frame) }
        let count = link.read(buffer)
        guard count > 0 else { break }
        state.reader.add(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      }
      if state.reader.waiting > 0 {
        state.say("The recording is cut off: its last frame is not whole and was left out.")
      }
    } catch {
      state.say("The recording is damaged from here on: \(error)")
    }
    _ = state.end("a recording")
  }

  /// Where a stream stands that has only said hello.
  private static func status(_ store: StreamStore, isReplay: Bool) -> LiveStatus {
    let hello = store.hello
    var status = LiveStatus(
      phase: .prefill(layer: 0, layers: hello.layers.count),
      frame: Frame(tokens: store.count), promptTokens: store.promptTokens,
      branches: [Branch(id: 0, parent: nil, fork: 0, attention: hello.attention)],
      lengths: [store.count], isReplay: isReplay)
    if store.count > 0 { status.phase = .running }
    if let prefill = hello.prefillTile {
      let decode = hello.decodeTile ?? .standard(queries: 1)
      status.attention = AttentionChoice(
        lambda: max(0, hello.lambda ?? 0), prefill: prefill, decode: decode)
    }
    return status
  }

  /// What hello says of the source.
  private static func describe(_ state: State, _ name: String, _ registry: Registry)
    -> SourceDescription
  {
    let hello = state.store.hello, tokens = max(1, state.store.count)
    let isFile = state.status.isReplay
    var about = SourceDescription(
      name: name.split(separator: "/").last.map(String.init) ?? name,
      kind: isFile ? "recording" : "live", model: hello.model, layers: hello.layers,
      heads: hello.heads, kvHeads: hello.kvHeads, queries: isFile ? tokens : 1,
      keys: isFile ? tokens : 1, headDim: hello.headDim,
      visibility: Visibility(
        causal: true, queries: isFile ? tokens : 1, keys: isFile ? tokens : 1),
      tokens: [], hasValues: Self.carries("v", state), live: state.status,
      methods: registry.cards)
    about.holds = [.layer]
    if Self.carries("q", state), Self.carries("k", state) {
      about.holds.formUnion([.queryKey, .logits])
    }
    if about.hasValues { about.holds.insert(.values) }
    about.families = registry.families
    if hello.firstHead > 0 { about.headNumbers = hello.headNumbers }
    if isFile { about.path = name }
    return about
  }
}

extension StreamBackend {
  /// Whether Q, K or V come: as hello says, of a file as it is, and else they may.
  private static func carries(_ name: String, _ state: State) -> Bool {
    if state.status.isReplay {
      return name == "v" ? state.store.hasValues : state.store.hasQueriesAndKeys
    }
    return state.store.hello.carries?.contains(name) ?? true
  }
}

extension Hello {
  /// What the model calls each head of the sender `[heads]`.
  var headNumbers: [Int] { (0..<heads).map { firstHead + $0 } }

  /// How it attends, in a few words.
  var attention: String {
    let threshold = lambda.map { $0 > 0 ? "lambda \($0)" : "dense" }
    return [kernel, threshold].compactMap { $0 }.joined(separator: ", ")
  }
}
