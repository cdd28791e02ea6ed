import Analysis
import Attention
import Synchronization

/// Asks a backend on behalf of a screen: keeps answers, asks nothing twice at once, and can drop
/// what is under way.
///
/// Example: `try await session.ask(.summary(head))` computes once and is instant after that. A
/// question may have several askers (the screen, an export): the work ends early only when all of
/// them were cancelled. Memory is bounded: the oldest answers go when their estimated size passes
/// `budget` bytes.
public actor Session {
  private let backend: any Backend
  private let budget: Int
  private var kept: [Key: (answer: Answer, bytes: Int, used: Int)] = [:]
  private var running: [Key: Work] = [:]
  private var clock = 0
  private var bytes = 0

  /// One computation and how many wait for it: it is ended early only when nobody does.
  private final class Work: Sendable {
    let task: Task<Answer, any Error>
    /// Askers; nil once it was ended.
    private let askers = Mutex<Int?>(0)

    init(_ task: Task<Answer, any Error>) { self.task = task }

    /// False when it was ended and another must be begun.
    func join() -> Bool {
      askers.withLock { count in
        guard let now = count else { return false }
        count = now + 1
        return true
      }
    }

    /// One asker less; the last one ends the work.
    func leave() {
      let isLast = askers.withLock { count in
        guard let now = count else { return false }
        count = now > 1 ? now - 1 : nil
        return now <= 1
      }
      if isLast { task.cancel() }
    }
  }

  /// A question and the frame it is asked at: what an answer is kept under.
  private struct Key: Hashable {
    let question: Question
    let frame: Frame
  }

  /// `budget` in bytes of kept answers; the newest one stays however large it is.
  public init(_ backend: any Backend, budget: Int = 128 << 20) {
    self.backend = backend
    self.budget = budget
  }

  /// The answer, kept or computed. Throws what the backend throws: `CancellationError` as well,
  /// once all askers were cancelled.
  public func ask(_ question: Question, at frame: Frame = .whole) async throws -> Answer {
    let key = Key(question: question, frame: frame)
    if let hit = kept[key] {
      clock += 1
      kept[key]?.used = clock
      return hit.answer
    }
    var work = running[key] ?? start(key)
    if !work.join() {
      work = start(key)
      _ = work.join()
    }
    let mine = work
    defer { if running[key] === mine { running[key] = nil } }
    let answer = try await withTaskCancellationHandler {
      try await mine.task.value
    } onCancel: {
      mine.leave()
    }
    keep(key, answer)
    return answer
  }

  /// Ends everything under way; answers that were kept stay.
  public func cancelAll() {
    for work in running.values { work.task.cancel() }
    running = [:]
  }

  /// Begins the work in a task of its own, which no single asker's cancellation reaches.
  private func start(_ key: Key) -> Work {
    let work = Work(
      Task { [backend] in try await backend.answer(key.question, at: key.frame) })
    running[key] = work
    return work
  }

  /// Forgets the least recently used until the rest fits. A linear search over what is kept.
  private func keep(_ key: Key, _ answer: Answer) {
    guard kept[key] == nil else { return }
    clock += 1
    let size = answer.bytes
    kept[key] = (answer, size, clock)
    bytes += size
    while bytes > budget, kept.count > 1,
      let oldest = kept.min(by: { $0.value.used < $1.value.used })
    {
      bytes -= oldest.value.bytes
      kept[oldest.key] = nil
    }
  }
}

extension Answer {
  /// About how much memory it takes.
  var bytes: Int {
    switch self {
    case .picture(let map): 8 * map.max.count + 256
    case .findings(let findings): findings.bytes + 256
    case .table(let table): 20 * table.margins.count + 256
    case .summary(let summary): 16 * summary.importance.count + 8192
    case .row(let row): 4 * row.count + 64
    case .steps(_, let steps): 512 * steps.count + 64
    case .detail(let detail): 12 * detail.sink.count + 64
    case .budget(let answer): 512 * (answer.rows.count + answer.leftOut.count) + 64
    case .moved: 64
    case .selected(let mass): 8 * mass.parts.count + 128
    case .unavailable: 512
    }
  }
}
