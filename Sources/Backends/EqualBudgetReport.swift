public import Analysis
public import Attention
import Methods
public import Sessions
import Tensors

/// What `compare --methods` asks for.
public struct BudgetRequest: Sendable {
  /// The share, in 0...1.
  public var budget: Double
  /// What it is a share of.
  public var measure = EqualBudget.Measure.tiles
  /// Settings that take part; nil: every method that keeps entries.
  public var methods: [MethodSetting]?
  /// Heads that one setting shall serve.
  public var heads: [HeadID]
  /// Says that nobody waits any more; asked from many threads.
  public var isCancelled: @Sendable () -> Bool = { false }

  /// At least one head.
  public init(_ budget: Double, heads: [HeadID], methods: [MethodSetting]? = nil) {
    (self.budget, self.heads, self.methods) = (budget, heads, methods)
  }
}

extension FileBackend {
  /// Every method at one budget; see `EqualBudget`. `progress` gets the share that is done.
  ///
  /// When cancelled it gives what it has. Throws `KnobError` for a setting that is not there,
  /// `Missing` for a file of masks alone, and `CancellationError` when there is not one row. Call
  /// it from a command, not from an actor.
  public func equalBudget(_ request: BudgetRequest, progress: (Double) -> Void = { _ in }) throws
    -> EqualBudget.Outcome
  { try masks.equalBudget(request, progress: progress) }

  /// By capability: masks, and blocks that are read off a table.
  public static func keepsEntries(_ method: any AttentionMethod.Type) -> Bool {
    MaskSource.keepsEntries(method)
  }
}

extension MaskSource {
  /// Every method, or those of the request, tuned to one share of tiles. Throws as the backend's
  /// own does.
  func equalBudget(_ request: BudgetRequest, progress: (Double) -> Void = { _ in }) throws
    -> EqualBudget.Outcome
  {
    let registry = store.registry
    let all = registry.methods.filter(Self.keepsEntries).map { MethodSetting($0.card.id) }
    let candidates = try (request.methods ?? all).map { setting in
      _ = try registry.make(setting)
      let card = registry.method(setting.id)!.card
      let pinned = MethodSetting(setting.id, card.pinned(setting))
      return EqualBudget.Candidate(card, pinned) { try registry.make($0) }
    }
    let work = EqualBudget(request.budget, candidates, per: request.measure)
    return try work.run(
      heads: request.heads.count, keys: keys, progress: progress
    ) { index in
      guard let place = place(request.heads[index]) else {
        throw Missing(.queryKey, hint: "this file holds block masks alone")
      }
      return EqualBudget.Place(
        store.shared(place, isCancelled: request.isCancelled), subject: place.subject)
    }
  }

  /// By capability: masks, and blocks that are read off a table.
  static func keepsEntries(_ method: any AttentionMethod.Type) -> Bool {
    method is any MaskMethod.Type || method.card.blockTables != nil
  }
}
