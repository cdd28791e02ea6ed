import Attention
import Kernels
import Tensors

/// One token through the model, in the order of the paper (Vaswani et al., Attention Is All
/// You Need, 2017, arXiv 1706.03762, with the norms, SwiGLU and rotary positions of Llama).
/// Shapes are on `DecodeScratch` and `LayerWeights`.
///
/// Every product is one pass over the weights as the file holds them, split over the team by
/// rows; attention is the method's, one KV head an item. The cost is that of reading all
/// weights once.
extension LanguageModel {
  /// Feeds one token and leaves the logits `[vocabulary]` of what follows in the state. Traps
  /// when the context is full; ask `state.room` before.
  public func decode(
    _ token: Int, _ state: RunState, _ plan: AttentionPlan, observer: (any ForwardObserver)? = nil
  ) {
    precondition(state.room > 0, "the context of \(config.context) tokens is full")
    state.begin(plan, rows: 1)
    state.counter.reset()
    state.team.run { step(token, state, plan, observer) }
  }

  /// The whole pass, top to bottom. Keys and values enter the cache before attention, since a
  /// token sees itself.
  private func step(
    _ token: Int, _ state: RunState, _ plan: AttentionPlan, _ observer: (any ForwardObserver)?
  ) {
    let s = state.scratch, position = state.count, here = position..<position + 1
    let width = config.width
    weights.embedding.floats(row: token, into: s.x)
    rope.fill(position, cos: s.cos, sin: s.sin)
    let residuals = observer.flatMap { $0.wantsResiduals ? $0 : nil }
    residuals?.residual(0, here, s.x)
    for (index, layer) in weights.layers.enumerated() {
      normalise(s.x, layer.attentionNorm, into: s.normed)
      project(layer, state)
      rotate(layer, s)
      observer?.queries(LayerIndex(index), here, s.query)
      for kv in 0..<config.kvHeads {
        let at = kv * config.headDim
        state.caches[index][kv].append(key: s.key + at, value: s.value + at)
      }
      attend(index, state, plan)
      multiply(layer.output, s.normed, into: s.mixed, state, bias: layer.outputBias)
      residuals?.residual(2 * index + 1, here, s.mixed)
      as_add(isa, s.x, s.mixed, Int32(width))

      normalise(s.x, layer.hiddenNorm, into: s.normed)
      feedForward(layer, state)
      residuals?.residual(2 * index + 2, here, s.mixed)
      as_add(isa, s.x, s.mixed, Int32(width))
      observer?.finished(LayerIndex(index), here)
    }
    normalise(s.x, weights.norm, into: s.normed)
    if state.logits.count != config.vocabulary {
      state.logits = [Float](repeating: 0, count: config.vocabulary)
    }
    state.logits.withUnsafeMutableBufferPointer {
      multiply(weights.head, s.normed, into: $0.baseAddress!, state)
    }
    state.append([token])
  }

  /// RMS norm (Zhang and Sennrich, 2019, arXiv 1910.07467): no mean is taken off.
  private func normalise(
    _ x: UnsafePointer<Float>, _ weight: [Float], into out: UnsafeMutablePointer<Float>
  ) {
    as_rms_norm(isa, x, weight, Int32(weight.count), config.epsilon, out)
  }

  /// The activations as bytes when the matrix wants them. One buffer serves all products, so
  /// a result is good until the next call.
  private func quantised(_ x: UnsafePointer<Float>, for matrix: Matrix, _ s: DecodeScratch)
    -> UnsafeMutableRawPointer?
  {
    guard precision == .int8, matrix.type.isQuantised else { return nil }
    as_quantise(isa, x, Int32(matrix.columns), s.q8)
    return s.q8
  }

  /// out = matrix x + bias, `[rows]` from `[columns]`; an empty bias adds nothing.
  private func multiply(
    _ matrix: Matrix, _ x: UnsafePointer<Float>, into out: UnsafeMutablePointer<Float>,
    _ state: RunState, bias: [Float] = []
  ) {
    let q8 = quantised(x, for: matrix, state.scratch)
    let parts = Parts(rows: matrix.rows, state.team)
    state.team.forEach(parts.count) { part in
      matrix.multiply(isa, parts[part], x, q8, into: out)
    }
    if !bias.isEmpty { as_add(isa, out, bias, Int32(bias.count)) }
  }

  /// Query, key and value in one loop over the rows of all three.
  private func project(_ layer: LayerWeights, _ state: RunState) {
    let s = state.scratch
    // Each type of weight has its own form of the same activations; the bytes are the same
    // for all quantised ones.
    let q8 = [layer.query, layer.key, layer.value].first { $0.type.isQuantised }
      .flatMap { quantised(s.normed, for: $0, s) }
    let all = layer.query.rows + layer.key.rows + layer.value.rows
    let parts = Parts(rows: all, state.team)
    state.team.forEach(parts.count) { part in
      var start = 0
      for (matrix, out) in [(layer.query, s.query), (layer.key, s.key), (layer.value, s.value)] {
        let mine = parts[part].clamped(to: start..<start + matrix.rows)
        let rows = mine.lowerBound - start..<mine.upperBound - start
        if !rows.isEmpty { matrix.multiply(isa, rows, s.normed, q8, into: out) }
        start += matrix.rows
      }
    }
    for (bias, out) in [
      (layer.queryBias, s.query), (layer.keyBias, s.key), (layer.valueBias, s.value),
    ] where !bias.isEmpty {
      as_add(isa, out, bias, Int32(bias.count))
    }
  }

  /// Queries and keys turn, values do not.
  private func rotate(_ layer: LayerWeights, _ s: DecodeScratch) {
    rotate(s.query, heads: config.heads, norm: layer.queryNorm, cos: s.cos, sin: s.sin)
    rotate(s.key, heads: config.kvHeads, norm: layer.keyNorm, cos: s.cos, sin: s.sin)
  }

  /// Norms each head where the model does, and turns it by its position.
  func rotate(
    _ x: UnsafeMutablePointer<Float>, heads: Int, norm: [Float], cos: UnsafePointer<Float>,
    sin: UnsafePointer<Float>
  ) {
    let dim = config.headDim
    if !norm.isEmpty {
      for head in 0..<heads {
        as_rms_norm(isa, x + head * dim, norm, Int32(dim), config.epsilon, x + head * dim)
      }
    }
    as_rope(
      x, Int32(heads), Int32(dim), Int32(rope.half), config.rope.isInterleaved ? 1 : 0, cos, sin)
  }

  /// softmax(Q K^T) V by the method, for the one new row of every head; the result lies in
  /// `normed`.
  ///
  /// Methods with a shortcut for one row write in place and allocate nothing; the others go
  /// the general way below.
  private func attend(_ index: Int, _ state: RunState, _ plan: AttentionPlan) {
    let s = state.scratch, dim = config.headDim, size = config.groupSize
    let hasListener = state.hasListener(plan, .decode)
    state.team.forEach(config.kvHeads) { kv in
      let keys = state.caches[index][kv].snapshot, row = s.rows[kv], at = kv * size
      if plan.decode.decode(s.query + at * dim, keys, row, into: s.normed + at * dim) {
        for slot in 0..<size {
          state.counter.add(
            index, at + slot, visible: row.visible[slot], skipped: row.skipped[slot])
        }
        guard hasListener else { return }
        let heads = group(kv, keys, state)
        precondition(
          state.tellOthers(plan, .decode, heads, layer: index, kv: kv, .callerOnly),
          "a method gave up in the middle of a token")
      } else {
        attend(index, kv, keys, state, plan)
      }
    }
  }

  /// The new row of every head of a KV head.
  private func group(_ kv: Int, _ keys: CachedKeys, _ state: RunState) -> HeadGroup {
    let dim = config.headDim
    return HeadGroup(
      (kv * config.groupSize..<(kv + 1) * config.groupSize).map { head in
        let row = UnsafeBufferPointer(start: state.scratch.query + head * dim, count: dim)
        return Head(query: Tensor(Array(row), shape: [1, dim]), cached: keys)
      })
  }

  /// The general way, for methods without a shortcut: one-row heads on this thread, because
  /// the team already shares out the KV heads.
  private func attend(
    _ index: Int, _ kv: Int, _ keys: CachedKeys, _ state: RunState, _ plan: AttentionPlan
  ) {
    let s = state.scratch, dim = config.headDim
    let heads = kv * config.groupSize..<(kv + 1) * config.groupSize
    var trace = Trace()
    guard
      let outputs = state.attend(
        plan, .decode, group(kv, keys, state), layer: index, kv: kv, threads: .callerOnly, &trace)
    else { preconditionFailure("a method gave up in the middle of a token") }
    for (output, head) in zip(outputs, heads) {
      (s.normed + head * dim).update(from: output, count: dim)
    }
    for (mask, head) in zip(trace.masks, heads) { state.counter.add(index, head, mask) }
  }

  /// mixed = down(silu(gate x) * up x), the SwiGLU net (Shazeer, 2020, arXiv 2002.05202).
  /// Gate and up share their rows of an item, so the product of the two needs no loop of its
  /// own.
  private func feedForward(_ layer: LayerWeights, _ state: RunState) {
    let s = state.scratch
    let q8 = quantised(s.normed, for: layer.gate, s) ?? quantised(s.normed, for: layer.up, s)
    let parts = Parts(rows: layer.gate.rows, state.team)
    state.team.forEach(parts.count) { part in
      let rows = parts[part]
      layer.gate.multiply(isa, rows, s.normed, q8, into: s.gate)
      layer.up.multiply(isa, rows, s.normed, q8, into: s.up)
      as_swiglu(isa, s.gate + rows.lowerBound, s.up + rows.lowerBound, Int32(rows.count))
    }
    multiply(layer.down, s.gate, into: s.mixed, state)
  }
}

/// Rows split for a team: one part a thread, because a stream that starts anew costs a third
/// of a microsecond; more only where they are large, so that a late helper still finds work.
private struct Parts {
  let count: Int
  private let rows: Int
  private let step: Int

  init(rows: Int, _ team: Team) {
    self.rows = rows
    let wanted = team.count == 1 ? 1 : max(team.count, min(rows / 4096, 64))
    step = max(16, (rows / wanted + 15) / 16 * 16)
    count = (rows + step - 1) / step
  }

  /// Rows of a part; the last may have fewer.
  subscript(part: Int) -> Range<Int> { part * step..<min((part + 1) * step, rows) }
}

extension Matrix {
  /// One row as `[columns]` floats.
  func floats(row index: Int) -> [Float] {
    var out = [Float](repeating: 0, count: columns)
    floats(row: index, into: &out)
    return out
  }

  /// Writes one row as `[columns]` floats: an embedding, or a norm stored as a matrix of one
  /// row.
  func floats(row index: Int, into out: UnsafeMutablePointer<Float>) {
    as_dequantise(type.kernelType, row(index), 0, columns, out)
  }

  /// The outputs `rows` of matrix x, each at its own place in `out`: integer products when
  /// the activations come as bytes in `q8`, float products otherwise.
  func multiply(
    _ isa: Int32, _ rows: Range<Int>, _ x: UnsafePointer<Float>, _ q8: UnsafeRawPointer?,
    into out: UnsafeMutablePointer<Float>
  ) {
    as_gemv(
      isa, type.kernelType, row(rows.lowerBound), rowBytes, Int32(columns), Int32(rows.count), x,
      q8,
      out + rows.lowerBound)
  }
}
