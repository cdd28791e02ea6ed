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
  private var kept: [Question: (answer: Answer, bytes: Int, used: Int)] = [:]
  private var running: [Question: Task<Answer, any Error>] = [:]
  private var clock = 0
  private var bytes = 0

  public init(_ backend: any Backend, budget: Int = 128 << 20) {
    self.backend = backend
    self.budget = budget
  }

  public func ask(_ question: Question) async throws -> Answer {
    if let hit = kept[question] {
      clock += 1
      kept[question]?.used = clock
      return hit.answer
    }
    if running[question]?.isCancelled ?? false { running[question] = nil }
    let task = running[question] ?? start(question)
    defer { if running[question] == task { running[question] = nil } }
    let answer = try await withTaskCancellationHandler {
      try await task.value
    } onCancel: {
      task.cancel()
    }
    keep(question, answer)
    return answer
  }

  /// Ends everything under way; answers that were kept stay.
  public func cancelAll() {
    for task in running.values { task.cancel() }
    running = [:]
  }

  private func start(_ question: Question) -> Task<Answer, any Error> {
    let task = Task { [backend] in try await backend.answer(question) }
    running[question] = task
    return task
  }

  private func keep(_ question: Question, _ answer: Answer) {
    guard kept[question] == nil else { return }
    clock += 1
    let size = answer.bytes
    kept[question] = (answer, size, clock)
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
    case .table(let table): 20 * table.margins.count + 256
    case .summary(let summary): 8 * summary.importance.count + 1024
    case .row(let row): 4 * row.count + 64
    case .outputError, .unavailable: 256
    }
  }
}
