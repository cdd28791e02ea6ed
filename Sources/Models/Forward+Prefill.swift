public import Attention
import Kernels
public import Tensors

/// A prompt through the model, a block of positions at a time.
///
/// Each weight matrix is unpacked sixteen rows at a time into a panel that stays in the first-level
/// cache while all positions of the block pass over it; nothing of a layer's weights is kept.
/// Attention is the method's, over the block's queries and all keys so far; a block holds whole
/// tiles of it, so that they lie where they would in one large pass.
extension LanguageModel {
  /// Positions of a block at most, unless one tile has more rows.
  public static let block = 512

  /// Positions of a block of whole tiles.
  static func block(of rows: Int) -> Int { max(rows, block / rows * rows) }

  /// Feeds tokens; the logits of the last stay in the state. `everyLogit` is called with each
  /// position's logits, in order.
  ///
  /// False when cancelled: whole blocks before that are in the state, the rest is not. Tokens
  /// beyond the context are the caller's mistake. `change` says what is not as the model has it.
  ///
  /// Example: `model.prefill(ids, state, plan)`. The catch: `everyLogit` multiplies the
  /// output matrix with every position, which for a small model is a good part of the pass.
  @discardableResult
  public func prefill(
    _ tokens: some Collection<Int>, _ state: RunState, _ plan: AttentionPlan,
    change: ModelChange = ModelChange(), observer: (any ForwardObserver)? = nil,
    threads: ComputeThreads = .shared,
    isCancelled: @escaping @Sendable () -> Bool = { false },
    everyLogit: ((_ position: Int, _ logits: UnsafeBufferPointer<Float>) -> Void)? = nil
  ) -> Bool {
    precondition(tokens.count <= state.room, "\(tokens.count) tokens for \(state.room) positions")
    let all = Array(tokens)
    if !all.isEmpty { state.begin(plan, rows: all.count) }
    state.counter.reset()
    for layer in state.caches { for cache in layer { cache.reserve(state.count + all.count) } }
    let most = Self.block(of: plan.prefill.rowsTogether)
    var done = 0
    while done < all.count {
      // Blocks end where a prompt from the start would end them.
      let size = min(most - state.count % most, all.count - done)
      let pass = BlockPass(
        self, state, Array(all[done..<done + size]), plan, observer, threads, isCancelled)
      (pass.change, pass.length) = (change, state.count + all.count - done)
      let isLast = done + size == all.count
      guard pass.run() else { return false }
      if let everyLogit {
        pass.everyLogit(everyLogit)
      }
      if isLast { pass.lastLogits() }
      done += size
    }
    return true
  }
}

/// One block on its way: buffers of `rows` positions.
///
/// `@unchecked Sendable`: loops on several threads touch rows of their own, and the block
/// waits for each loop.
private final class BlockPass: @unchecked Sendable {
  let model: LanguageModel
  let state: RunState
  let tokens: [Int]
  let plan: AttentionPlan
  let observer: (any ForwardObserver)?
  let threads: ComputeThreads
  /// Asked before every layer, so that Esc answers within a fraction of a block.
  let isCancelled: @Sendable () -> Bool
  /// What is not as the model has it.
  var change = ModelChange()
  /// Tokens of the whole text.
  var length = 0
  /// Positions of this block; the last of a prompt may be short.
  let rows: Int
  /// Position of the block's first token.
  let start: Int
  /// What was remembered before it, `[layers][kvHeads][methods][heads]`.
  let past: [[[[any RowMemory]]]]
  /// `[rows][...]`, each leading dimension a multiple of 16.
  let x, normed, mixed, query, key, value, gate, up: Rows
  /// `[rows][half]` used; taken as wide as a head.
  let cos, sin: Rows
  /// Quantised activations of all rows, for the widest input of a product.
  let q8: UnsafeMutableRawPointer

  init(
    _ model: LanguageModel, _ state: RunState, _ tokens: [Int], _ plan: AttentionPlan,
    _ observer: (any ForwardObserver)?, _ threads: ComputeThreads,
    _ isCancelled: @escaping @Sendable () -> Bool
  ) {
    (self.model, self.state, self.tokens, self.plan) = (model, state, tokens, plan)
    (self.observer, self.threads, self.isCancelled) = (observer, threads, isCancelled)
    rows = tokens.count
    start = state.count
    past = state.remembered
    let config = model.config
    let queries = config.heads * config.headDim, keys = config.kvHeads * config.headDim
    x = Rows(rows, config.width)
    normed = Rows(rows, max(config.width, queries))
    mixed = Rows(rows, config.width)
    query = Rows(rows, queries)
    key = Rows(rows, keys)
    value = Rows(rows, keys)
    gate = Rows(rows, config.hidden)
    up = Rows(rows, config.hidden)
    cos = Rows(rows, config.headDim)
    sin = Rows(rows, config.headDim)
    let widest = max(config.width, queries, config.hidden)
    q8 = .allocate(
      byteCount: rows * as_q8_bytes(Int32((widest + 31) / 32 * 32)), alignment: 64)
  }

  deinit { q8.deallocate() }

  /// Where the block stands in the sequence.
  var positions: Range<Int> { start..<start + rows }

  /// All layers for all rows; false when cancelled, with the caches as they were before.
  /// Residual sources are told in the order that `ForwardObserver.residual` numbers them.
  func run() -> Bool {
    let width = model.config.width
    for r in 0..<rows {
      model.weights.embedding.floats(row: tokens[r], into: x[r])
      model.rope.fill(start + r, cos: cos[r], sin: sin[r])
    }
    tell(x, source: 0)
    for (index, layer) in model.weights.layers.enumerated() {
      if isCancelled() { return forget(index) }
      normalise(layer.attentionNorm)
      multiply(
        [
          (layer.query, query, layer.queryBias), (layer.key, key, layer.keyBias),
          (layer.value, value, layer.valueBias),
        ], normed)
      rotate(layer)
      for kv in 0..<model.config.kvHeads {
        let at = kv * model.config.headDim
        for r in 0..<rows {
          state.caches[index][kv].append(key: key[r] + at, value: value[r] + at)
        }
      }
      query.withRows { observer?.queries(LayerIndex(index), positions, $0) }
      guard attend(index) else { return forget(index + 1) }
      if !change.isEmpty { replace(LayerNumber(index)) }
      if change.skipped.contains(LayerNumber(index)) {
        each { [self] r in mixed[r].update(repeating: 0, count: width) }
      } else {
        multiply([(layer.output, mixed, layer.outputBias)], normed)
      }
      tell(mixed, source: 2 * index + 1)
      each { [self] r in as_add(model.isa, x[r], mixed[r], Int32(width)) }

      normalise(layer.hiddenNorm)
      multiply([(layer.gate, gate, []), (layer.up, up, [])], normed)
      each { [self] r in as_swiglu(model.isa, gate[r], up[r], Int32(model.config.hidden)) }
      multiply([(layer.down, mixed, [])], gate)
      tell(mixed, source: 2 * index + 2)
      each { [self] r in as_add(model.isa, x[r], mixed[r], Int32(width)) }
      observer?.finished(LayerIndex(index), positions)
    }
    state.append(tokens)
    return true
  }

  /// Copies activations only for an observer that asked.
  private func tell(_ rows: Rows, source: Int) {
    guard let observer, observer.wantsResiduals else { return }
    rows.withRows { observer.residual(source, positions, $0) }
  }

  /// Takes the block's keys out of the first layers again, and its rows out of what is remembered.
  private func forget(_ layers: Int) -> Bool {
    state.restore(past)
    for layer in state.caches.prefix(layers) { for cache in layer { cache.truncate(start) } }
    return false
  }

  /// Rows in groups of 16 over the threads. Never cancelled: a half-done norm would poison
  /// what follows.
  private func each(_ body: @escaping @Sendable (Int) -> Void) {
    let size = 16
    threads.forEach(0..<(rows + size - 1) / size, isCancelled: { false }) { [rows] part in
      for r in part * size..<min((part + 1) * size, rows) { body(r) }
    }
  }

  /// `normed` from `x`.
  private func normalise(_ weight: [Float]) {
    each { [model, x, normed] r in
      as_rms_norm(model.isa, x[r], weight, Int32(weight.count), model.config.epsilon, normed[r])
    }
  }

  /// Queries and keys of every row, each by its own position.
  private func rotate(_ layer: LayerWeights) {
    each { [self] r in
      model.rotate(
        query[r], heads: model.config.heads, norm: layer.queryNorm, cos: cos[r], sin: sin[r])
      model.rotate(
        key[r], heads: model.config.kvHeads, norm: layer.keyNorm, cos: cos[r], sin: sin[r])
    }
  }

  /// The block's queries against all keys so far, one KV group after another; the method
  /// spreads its tiles over the threads itself. False when it gave up.
  private func attend(_ index: Int) -> Bool {
    let config = model.config, dim = config.headDim, size = config.groupSize
    for kv in 0..<config.kvHeads {
      let cached = state.caches[index][kv].snapshot
      let heads = (kv * size..<(kv + 1) * size).map { head in
        Head(query: query.columns(head * dim..<(head + 1) * dim), cached: cached, offset: start)
      }
      var trace = Trace()
      guard
        let outputs = state.attend(
          plan, .prefill, HeadGroup(heads), layer: index, kv: kv, threads: threads, &trace)
      else { return false }
      for (slot, output) in outputs.enumerated() {
        let at = (kv * size + slot) * dim
        output.withUnsafeBufferPointer { from in
          for r in 0..<rows {
            (normed[r] + at).update(from: from.baseAddress! + r * dim, count: dim)
          }
        }
      }
      for (slot, mask) in trace.masks.enumerated() {
        state.counter.add(index, kv * size + slot, mask)
      }
    }
    return true
  }

  /// Writes the outputs of heads that are not as the model has them over those in `normed`. Layers
  /// are counted from 0, as the model counts them.
  private func replace(_ layer: LayerNumber) {
    let config = model.config, dim = config.headDim
    let window = change.windows[layer]
    for head in 0..<config.heads {
      let cached = state.caches[layer.value][head / config.groupSize].snapshot
      let output: [Float]
      if change.heads.contains(ModelChange.Place(layer, head)) {
        output = ReplacedAttention.masked(
          change.mask, cached.valueRows, positions, length: length)
      } else if let window,
        let map = LinearWindow(
          Head(
            query: query.columns(head * dim..<(head + 1) * dim), cached: cached, offset: start),
          window: window)
      {
        output = map.output(cached.valueRows, threads: threads)
      } else {
        continue
      }
      output.withUnsafeBufferPointer { from in
        for r in 0..<rows {
          (normed[r] + head * dim).update(from: from.baseAddress! + r * dim, count: dim)
        }
      }
    }
  }

  // MARK: Products

  /// out = matrix x + bias for every row, several matrices on the same activations.
  private func multiply(
    _ products: [(matrix: Matrix, out: Rows, bias: [Float])], _ input: Rows
  ) {
    let columns = products[0].matrix.columns
    if model.precision == .int8, products.contains(where: { $0.matrix.type.isQuantised }) {
      let stride = as_q8_bytes(Int32(columns))
      let to = SendablePointer(q8)
      each { [model] r in as_quantise(model.isa, input[r], Int32(columns), to.base + r * stride) }
    }
    for (matrix, out, bias) in products {
      Panels(matrix, model).multiply(rows, input, q8, into: out, threads)
      if !bias.isEmpty { each { [model] r in as_add(model.isa, out[r], bias, Int32(bias.count)) } }
    }
  }

  // MARK: Logits

  /// Logits of the last row alone: what a prompt is usually run for.
  func lastLogits() {
    let model = model
    var normedRow = [Float](repeating: 0, count: model.config.width)
    as_rms_norm(
      model.isa, x[rows - 1], model.weights.norm, Int32(model.config.width), model.config.epsilon,
      &normedRow)
    let head = model.weights.head
    var logits = [Float](repeating: 0, count: model.config.vocabulary)
    var q8: UnsafeMutableRawPointer?
    if model.precision == .int8, head.type.isQuantised {
      as_quantise(model.isa, normedRow, Int32(head.columns), self.q8)
      q8 = self.q8
    }
    let bytes = q8.map { SendablePointer($0) }
    logits.withUnsafeMutableBufferPointer { out in
      let base = SendablePointer(UnsafeMutableRawPointer(out.baseAddress!))
      let size = 1024, row = normedRow
      threads.forEach(0..<(head.rows + size - 1) / size, isCancelled: { false }) { part in
        head.multiply(
          model.isa, part * size..<min((part + 1) * size, head.rows), row, bytes?.base,
          into: base.base.assumingMemoryBound(to: Float.self))
      }
    }
    state.logits = logits
  }

  /// Logits of every row, 64 at a time so that `[64, vocabulary]` floats are the most that is
  /// held.
  func everyLogit(_ body: (Int, UnsafeBufferPointer<Float>) -> Void) {
    normalise(model.weights.norm)
    let size = 64
    let out = Rows(min(size, rows), model.config.vocabulary)
    for first in stride(from: 0, to: rows, by: size) {
      let count = min(size, rows - first)
      let part = normed.rows(first..<first + count)
      if model.precision == .int8, model.weights.head.type.isQuantised {
        let stride = as_q8_bytes(Int32(model.weights.head.columns))
        for r in 0..<count {
          as_quantise(model.isa, part[r], Int32(model.weights.head.columns), q8 + r * stride)
        }
      }
      Panels(model.weights.head, model).multiply(count, part, q8, into: out, threads)
      for r in 0..<count {
        body(start + first + r, UnsafeBufferPointer(start: out[r], count: model.config.vocabulary))
      }
    }
  }
}
