public import Attention
public import Formats
import Glibc
public import Models
import Synchronization
public import Tensors

/// A model that reads one text again and again, each time changed otherwise.
///
/// Example: `let reader = EngineReader(model, tokens: ids, plan)`, then `FileBackend(reader.dump(),
/// reader: reader)`. What was read once is kept: `[tokens]` floats a change. One pass at a time
/// computes, on all threads.
public final class EngineReader: ModelReader {
  /// How far a list of passes is.
  public struct Progress: Sendable {
    /// Passes that are done, and those there are.
    public let done, passes: Int
    /// Since the first of them began.
    public let seconds: Double
  }

  private let model: LanguageModel
  private let tokens: [Int]
  private let plan: AttentionPlan
  private let threads: ComputeThreads
  private let isCancelled: @Sendable () -> Bool
  private let tell: @Sendable (Progress) -> Void
  private let known = Mutex<[ModelChange: [Float]]>([:])

  /// `tokens` fit the context; `plan` is how heads attend that are not changed. `tell` hears of
  /// every pass; `isCancelled` is asked within one.
  public init(
    _ model: LanguageModel, tokens: [Int], _ plan: AttentionPlan,
    threads: ComputeThreads = .shared, tell: @escaping @Sendable (Progress) -> Void = { _ in },
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) {
    (self.model, self.tokens, self.plan, self.threads) = (model, tokens, plan, threads)
    (self.tell, self.isCancelled) = (tell, isCancelled)
  }

  /// Of the model.
  public var layers: Int { model.config.layers }
  /// Of a layer.
  public var heads: Int { model.config.heads }
  /// Of the model.
  public var vocabulary: Int { model.config.vocabulary }

  /// A pass for every change that was not read yet. Throws `CancellationError`.
  public func losses(_ changes: [ModelChange]) throws -> [[Float]] {
    let have = known.withLock { $0 }
    var seen: Set<ModelChange> = []
    let wanted = changes.filter { have[$0] == nil && seen.insert($0).inserted }
    let start = ContinuousClock.now
    for (done, change) in wanted.enumerated() {
      let losses = try read(tokens, change, observer: nil, wantsLosses: true).losses
      known.withLock { $0[change] = losses }
      let time = start.duration(to: .now).components
      tell(
        Progress(
          done: done + 1, passes: wanted.count,
          seconds: Double(time.seconds) + 1e-18 * Double(time.attoseconds)))
    }
    return known.withLock { known in changes.map { known[$0] ?? [] } }
  }

  /// Dequantised for this call. Throws `Missing(.weights)` for a layer that is not there.
  public func projections(_ layer: LayerNumber) throws -> Projections {
    guard let found = model.projections(layer) else { throw Missing(.weights) }
    return found
  }

  /// Another text through the unchanged model. Throws `Missing(.length)` beyond the context, and
  /// `CancellationError`.
  public func heads(reading tokens: [Int]) throws -> [[Head]] {
    guard tokens.count <= model.config.context else {
      throw Missing(.length, hint: "the model's context is \(model.config.context) tokens")
    }
    let record = QueryRecord(model.config, budget: .max, exact: true)
    let state = try read(tokens, ModelChange(), observer: record, wantsLosses: false).state
    return (0..<layers).map { layer in heads(LayerIndex(layer), record, state) }
  }

  /// The text as a dump: Q, K and V of every layer, the residual stream and what the model gave
  /// each token. One pass, whose losses are kept. Throws `CancellationError`.
  public func dump() throws -> Dump {
    let record = QueryRecord(model.config, budget: .max, exact: true)
    let stream = ResidualRecord(model.config, beside: record)
    let (state, losses) = try read(tokens, ModelChange(), observer: stream, wantsLosses: true)
    known.withLock { $0[ModelChange()] = losses }
    let n = tokens.count, dim = model.config.headDim
    let arrays = (0..<layers).map { index -> LayerArrays in
      let layer = LayerIndex(index)
      func array(_ rows: [Tensor]) -> Tensor {
        Tensor(rows.flatMap { $0.floats() }, shape: [rows.count, n, dim])
      }
      let keys = state.caches[index].map(\.snapshot)
      return LayerArrays(
        layer: index,
        arrays: [
          .query: array((0..<heads).compactMap { record.tensor(layer, head: $0, 0..<n) }),
          .key: array(keys.map(\.keyRows)), .value: array(keys.map(\.valueRows)),
        ])
    }
    let name = model.path.split(separator: "/").last.map(String.init) ?? model.path
    var dump = Dump(
      of: model.config.name, path: name, layers: arrays,
      tokens: tokens.map(model.tokenizer.piece), ids: tokens)
    dump.extras["residuals"] = stream.tensor(tokens: n)
    dump.extras["token_probabilities"] = Tensor(
      losses.map { Float(exp(-Double($0))) }, shape: [n])
    return dump
  }

  /// Query heads of a layer after a pass.
  private func heads(_ layer: LayerIndex, _ record: QueryRecord, _ state: RunState) -> [Head] {
    (0..<heads).compactMap { head in
      let cached = state.caches[layer.value][head / model.config.groupSize].snapshot
      return record.tensor(layer, head: head, 0..<state.count).map {
        Head(query: $0, cached: cached)
      }
    }
  }

  /// One pass; losses are `[tokens]`, NaN where they were not asked for and at the first. Throws
  /// `CancellationError`.
  private func read(
    _ tokens: [Int], _ change: ModelChange, observer: (any ForwardObserver)?, wantsLosses: Bool
  ) throws -> (state: RunState, losses: [Float]) {
    let state = RunState(model, threads: threads)
    var losses = [Float](repeating: .nan, count: tokens.count)
    let each: (Int, UnsafeBufferPointer<Float>) -> Void = { position, logits in
      guard position + 1 < tokens.count else { return }
      losses[position + 1] = Float(logSumExp(logits) - Double(logits[tokens[position + 1]]))
    }
    guard
      model.prefill(
        tokens, state, plan, change: change, observer: observer, threads: threads,
        isCancelled: isCancelled, everyLogit: wantsLosses ? each : nil)
    else { throw CancellationError() }
    return (state, losses)
  }
}
