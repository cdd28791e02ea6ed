import Attention
import FoundationEssentials
import Formats
import Models
import Sessions
import Synchronization
import Tensors

/// Where a run is written while it goes on, and how much that may cost.
public struct AutosavePlan: Sendable {
  /// A new file in a folder that is there.
  public var path: String
  /// What the model is known by later: the path of its file.
  public var source: String
  /// Bytes of the file at most; a run that outgrows it is kept as far as that.
  public var mostBytes: Int
  /// Tokens that are not written yet wait no longer than this while the run goes on, unless
  /// `share` says so.
  public var pause: Duration
  /// Of the time of a run, what writing may take of its own thread, 0 to 1.
  public var share: Double

  /// 200 MB, two seconds, and one hundredth.
  public init(
    path: String, source: String, mostBytes: Int = 200_000_000, pause: Duration = .seconds(2),
    share: Double = 0.01
  ) {
    (self.path, self.source) = (path, source)
    (self.mostBytes, self.pause, self.share) = (mostBytes, pause, share)
  }
}

/// A recording that grows with its run, so that a crash loses a moment and not the run.
///
/// It is told after every turn where the run stands. When tokens wait that the file lacks, and the
/// run rests, or the pause is over, or a part is full, a thread of its own appends them; after
/// writing for t it waits for t / share, whatever comes, so that a slow disk costs tokens of the
/// file and never of the run. A run that rests costs nothing: then all is written, and waited for
/// until it is on the disk.
///
/// Example: `Autosave(plan, model: config, promptTokens: 12)`; the file appears
/// with the first decoded token, mode 0600, and is locked while its process lives. The catch: what
/// was decoded since the last part is lost with the process.
final class Autosave: Sendable {
  private let plan: AutosavePlan
  private let model: ModelConfig
  private let promptTokens: Int
  private let state = Mutex(State())
  /// One thread for all runs of the process: neither the engine nor the screen waits for a disk.
  private static let thread = ComputeThreads(count: 1)

  /// What one lock guards.
  private struct State: Sendable {
    /// `[branches]`, tokens of each that the file holds.
    var written: [Int] = []
    var isWriting = false
    /// It rested while something was written: the rest is to follow.
    var again: [BranchStore]?
    /// No more is written: it failed, is full, or was dropped.
    var isOver = false
    /// When the last part was written, and when the next one may be.
    var last: ContinuousClock.Instant?
    var next: ContinuousClock.Instant?
    /// Those who wait until nothing is being written.
    var waiting: [CheckedContinuation<Void, Never>] = []
  }

  /// Only touched by the one that writes (`isWriting`).
  private let file = Mutex<Growing>(Growing())

  /// The file, once it is there.
  ///
  /// `@unchecked Sendable`: it lies behind the lock of `file`.
  private struct Growing: @unchecked Sendable {
    var writer: SafetensorsStreamWriter?
    var wasMade = false

    /// Lets the file go, and its lock.
    mutating func close() {
      _ = try? writer?.finish()
      writer = nil
    }
  }

  /// Writes nothing yet.
  init(_ plan: AutosavePlan, model: ModelConfig, promptTokens: Int) {
    (self.plan, self.model, self.promptTokens) = (plan, model, promptTokens)
  }

  // MARK: When

  /// Takes in where the run stands; returns at once. `isResting` when nothing more is decoded for
  /// now; `say` hears what hinders it, once.
  func look(
    _ stores: [BranchStore], isResting: Bool, _ say: @escaping @Sendable (String) -> Void
  ) {
    let now = ContinuousClock.now
    let begins = state.withLock { state in
      let waiting = missing(stores, state.written)
      guard !state.isOver, waiting > 0 else { return false }
      guard !state.isWriting else {
        if isResting { state.again = stores }
        return false
      }
      let isDue = state.last.map { now - $0 >= plan.pause } ?? true
      let isFree = state.next.map { now >= $0 } ?? true
      guard isResting || (isFree && (isDue || waiting >= Recording.mostTokens)) else {
        return false
      }
      state.isWriting = true
      return true
    }
    guard begins else { return }
    Task(executorPreference: Self.thread) { [self] in write(stores, isResting, say) }
  }

  /// Decoded tokens that the file lacks.
  private func missing(_ stores: [BranchStore], _ written: [Int]) -> Int {
    stores.enumerated().reduce(0) { sum, one in
      let begin = max(promptTokens, one.element.branch.fork)
      let there = written.indices.contains(one.offset) ? written[one.offset] : begin
      return sum + max(0, one.element.count - max(there, begin))
    }
  }

  /// Writes what is missing and waits until nothing is being written.
  func finish(_ stores: [BranchStore]) async {
    look(stores, isResting: true) { _ in }
    await withCheckedContinuation { done in
      let isIdle = state.withLock { state in
        if state.isWriting { state.waiting.append(done) }
        return !state.isWriting
      }
      if isIdle { done.resume() }
    }
    state.withLock { $0.isOver = true }
    file.withLock { $0.close() }
  }

  /// Takes the file away; nothing is written any more. Call it after `finish`.
  func drop() {
    state.withLock { $0.isOver = true }
    file.withLock { file in
      guard file.wasMade else { return }
      file.close()
      try? FileManager.default.removeItem(atPath: plan.path)
    }
  }

  // MARK: What

  /// On the thread that writes: once, and again while the run came to rest meanwhile.
  private func write(
    _ stores: [BranchStore], _ isResting: Bool, _ say: @escaping @Sendable (String) -> Void
  ) {
    let clock = ContinuousClock()
    var now: (stores: [BranchStore], isResting: Bool)? = (stores, isResting)
    var waiting: [CheckedContinuation<Void, Never>] = []
    while let turn = now {
      let start = clock.now
      var written = state.withLock { $0.written }
      var problem: String?
      do { try append(turn.stores, &written, turn.isResting) } catch { problem = Self.words(error) }
      let end = clock.now, spent = end - start
      (now, waiting) = state.withLock { [written, problem] state in
        state.written = written
        state.isOver = state.isOver || problem != nil
        (state.last, state.next) = (end, end + spent * (1 / max(plan.share, 1e-6)))
        defer { state.again = nil }
        if let again = state.again, !state.isOver { return ((again, true), []) }
        state.isWriting = false
        defer { state.waiting = [] }
        return (nil, state.waiting)
      }
      if let problem { say(problem) }
    }
    for one in waiting { one.resume() }
  }

  /// Appends what is missing of every branch, parents first. Throws `Full` and what writing throws.
  private func append(
    _ stores: [BranchStore], _ written: inout [Int], _ isResting: Bool
  ) throws {
    let recording = Recording(model: model, promptTokens: promptTokens, stores: stores)
    let width = Recording.bytesPerPosition(
      layers: model.layers, heads: model.heads, kvHeads: model.kvHeads, dim: model.headDim)
    try file.withLock { file in
      let writer = try file.writer ?? begin(recording, width, &file)
      while written.count < stores.count { written.append(-1) }
      for (id, store) in stores.enumerated() {
        let first = max(promptTokens, store.branch.fork)
        let new = max(written[id], first)..<max(written[id], first, known(store))
        guard !new.isEmpty else { continue }
        guard known(store, from: new.lowerBound) else { throw Full.forgotten(new.lowerBound) }
        guard writer.byteCount + new.count * width <= plan.mostBytes else {
          throw Full.large(plan.mostBytes, new.lowerBound)
        }
        let begins = stores[..<(id + 1)].enumerated().filter { written[$0.offset] < 0 }
        try recording.append(
          new, of: store, begins: begins.map(\.element.branch).filter { $0.id > 0 }, to: writer)
        for one in begins { written[one.offset] = max(promptTokens, one.element.branch.fork) }
        written[id] = new.upperBound
      }
      if isResting { writer.sync() }
    }
  }

  /// Begins the file with the prompt; the trunk is the one branch that it names.
  private func begin(
    _ recording: Recording, _ width: Int, _ file: inout Growing
  ) throws -> SafetensorsStreamWriter {
    guard promptTokens * width <= plan.mostBytes else {
      throw Full.large(plan.mostBytes, 0)
    }
    let writer = try SafetensorsStreamWriter(growing: plan.path)
    (file.writer, file.wasMade) = (writer, true)
    let trunk = Recording(
      model: model, promptTokens: promptTokens, stores: [recording.stores[0]])
    var about = try trunk.head()
    about["model_path"] = plan.source
    try writer.append(trunk.arrays(trunk.stores[0], 0..<promptTokens), metadata: about)
    return writer
  }

  /// Tokens whose queries and keys are known in every layer.
  private func known(_ store: BranchStore) -> Int {
    model.layerNumbers.layerIndices.map { store.available($0, tokens: store.count).upperBound }
      .min() ?? 0
  }

  /// Whether all from a position on are still known.
  private func known(_ store: BranchStore, from position: Int) -> Bool {
    model.layerNumbers.layerIndices.allSatisfy {
      store.available($0, tokens: store.count).lowerBound <= position
    }
  }

  /// Why no more of a run can be kept.
  private enum Full: Error {
    case large(Int, Int)
    case forgotten(Int)
  }

  /// For the person, with what to do.
  private static func words(_ error: any Error) -> String {
    let next = ":save FILE keeps the run."
    switch error {
    case Full.large(let bytes, let token):
      return "The copy for a crash ends at token \(token): \(bytes / 1_000_000) MB. \(next)"
    case Full.forgotten(let token):
      return "The copy for a crash ends at token \(token): older queries were let go."
    default: return "There is no copy for a crash: \(error). \(next)"
    }
  }
}
