import Analysis
import Attention
import Sessions
import Tensors

/// The heads of a source as questions see them that are about many masks at once: methods at one
/// budget, and what masks have in common.
///
/// Files, runs and made-up sources differ in how a head is come by; what is done with the heads is
/// the same. Example: `try await masks.answer(.budget(head, 0.1))`.
struct MaskSource: Sendable {
  /// Where findings are asked for, and the registry.
  let store: FindingStore
  /// By number, ascending.
  let layers: [LayerNumber]
  /// Keys of the longest head.
  let keys: Int
  /// Query heads of a layer.
  let heads: @Sendable (LayerIndex) -> Int
  /// A head with its surroundings; nil where there is none, or a mask alone.
  let place: @Sendable (HeadID) -> FindingStore.Place?
  /// What the model calls the heads of a layer; a slice keeps the numbers of what it was cut from.
  var headNumber: @Sendable (Int) -> Int = { $0 }

  /// Computes on `ComputeThreads`, and ends soon after the asker's task is cancelled, whichever
  /// thread it is on. Throws `CancellationError`, and what reading the source throws.
  func answer(_ question: Question) async throws -> Answer {
    try await ComputeThreads.shared.cancellable { [self] isCancelled in
      try compute(question, isCancelled: isCancelled)
    }
  }

  /// On a compute thread; `Missing` and `KnobError` become `.unavailable`.
  func compute(_ question: Question, isCancelled: @escaping @Sendable () -> Bool) throws -> Answer {
    guard let id = question.head, layers.has(id.layer), (0..<heads(id.layer)).contains(id.head)
    else { return .unavailable("there is no such head") }
    let meter = store.meter(question)
    do {
      switch question {
      case .budget(_, let budget):
        var request = BudgetRequest(budget, heads: [id])
        request.isCancelled = isCancelled
        let found = try equalBudget(request, progress: meter)
        // Half an answer would be kept as a whole one.
        guard found.stoppedAfter == nil else { throw CancellationError() }
        return .budget(BudgetAnswer(rows: found.rows, leftOut: found.leftOut))
      case .overlap(_, let request):
        return .findings(try overlap(id, request, meter, isCancelled: isCancelled))
      default: return .unavailable("this is not about masks")
      }
    } catch let missing as Missing {
      return .unavailable(missing.description)
    } catch let error as KnobError {
      return .unavailable(error.description)
    }
  }
}
