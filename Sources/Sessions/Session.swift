import Analysis
import Attention

/// Asks a backend on behalf of a screen: keeps answers, asks nothing twice at once, and can drop what is under way.
///
/// Example: `try await session.ask(.summary(head))` computes once and is instant after that. A question has one asker (the
/// app): cancelling the asker ends the work. Memory is bounded: the oldest answers go when their estimated size passes
/// `budget` bytes.
public actor Session {
  private let backend: any Backend
  private let budget: Int
  private var kept: [Key: (answer: Answer, bytes: Int, used: Int)] = [:]
  private var running: [Key: Task<Answer, any Error>] = [:]
  private var clock = 0
  private var bytes = 0

  private struct Key: Hashable {
    let question: Question
    let frame: Frame
  }

  public init(_ backend: any Backend, budget: Int = 128 << 20) {
    self.backend = backend
    self.budget = budget
  }

  public func ask(_ question: Question, at frame: Frame = .whole) async throws -> Answer {
    let key = Key(question: question, frame: frame)
    if let hit = kept[key] {
      clock += 1
      kept[key]?.used = clock
      return hit.answer
    }
    if running[key]?.isCancelled ?? false { running[key] = nil }
    let task = running[key] ?? start(key)
    defer { if running[key] == task { running[key] = nil } }
    let answer = try await withTaskCancellationHandler {
      try await task.value
    } onCancel: {
      task.cancel()
    }
    keep(key, answer)
    return answer
  }

  /// Ends everything under way; answers that were kept stay.
  public func cancelAll() {
    for task in running.values { task.cancel() }
    running = [:]
  }

  private func start(_ key: Key) -> Task<Answer, any Error> {
    let task = Task { [backend] in try await backend.answer(key.question, at: key.frame) }
    running[key] = task
    return task
  }

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
    case .map(let map): 8 * map.max.count + 256
    case .method(let effect): 20 * effect.table.margins.count + 512
    case .table(let table): 20 * table.margins.count + 256
    case .summary(let summary): 8 * summary.importance.count + 1024
    case .row(let row): 4 * row.count + 64
    case .steps(_, let steps): 512 * steps.count + 64
    case .detail(let detail): 12 * detail.sink.count + 64
    case .outputError, .calibration, .unavailable: 512
    }
  }
}
