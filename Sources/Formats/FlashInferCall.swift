import Tensors

/// One call of attention that FlashInfer recorded, with what its cache is read by.
///
/// A paged cache is `[pages, 2, page, kvHeads, dim]` (NHD) or `[pages, 2, kvHeads, page, dim]`
/// (HND); a request's pages stand in a row of a block table `[requests, pages]`, or between two
/// numbers of an index list (`paged_kv_indptr`, `paged_kv_indices`), and its last page is filled in
/// part. Queries of all requests stand one after another, `[tokens, heads, dim]`.
///
/// Example: `try call.query(request)` is `[heads, n, dim]`, `try call.keys(request, 0)` is
/// `[kvHeads, n, dim]`. The catch: every number of a table is checked before a page is read.
struct FlashInferCall {
  /// Of the call itself; `plan` of the one that went before, for wrappers.
  let record: FlashInferRecord, plan: FlashInferRecord?
  /// The file of its inputs.
  let inputs: any TensorArchive
  /// Where each request lies.
  let requests: [Request]
  /// Nil: keys and values stand one after another like queries, `[tokens, kvHeads, dim]`.
  private let cache: Tensor?
  private let isHND: Bool
  private let names: (query: String, key: String, value: String)

  /// One request's rows of the queries, and where its keys are.
  struct Request {
    let queries: Range<Int>
    /// Of `keys` tokens the pages, in order; empty where there are no pages.
    let pages: [Int]
    let keys: Range<Int>
  }

  /// Nil for a call that is no attention over Q, K and V. Throws `malformed` where a table points
  /// outside of the cache, and `unsupported` where the cache was not recorded.
  init?(
    _ record: FlashInferRecord, plan: FlashInferRecord?, planned: (any TensorArchive)?,
    layout: String?, inputs: any TensorArchive
  ) throws(FormatError) {
    (self.record, self.plan, self.inputs) = (record, plan, inputs)
    guard let query = record.tensor("query", "q"),
      let shape = inputs.entry(query)?.shape, shape.rank == 3 || shape.rank == 2
    else { return nil }
    let word = record.text("kv_layout") ?? plan?.text("kv_layout") ?? layout
    if let paged = record.tensor("kv_cache", "paged_kv_cache") {
      let all = try inputs.tensor(paged)
      guard shape.rank == 3, all.shape.rank == 5, all.shape[1] == 2, all.shape.count > 0,
        all.shape[4] == shape[2]
      else { return nil }
      names = (query, paged, paged)
      // The functions of TensorRT-LLM have HND for their standard, all others NHD.
      isHND = (word ?? (record.function.hasPrefix("trtllm") ? "HND" : "NHD")) == "HND"
      cache = all
      let size = all.shape[isHND ? 3 : 2]
      let tables = try Tables(record, inputs, plan, planned, page: size, rows: shape[0])
      requests = try tables.requests(pages: all.shape[0], record.function, inputs.path)
      return
    }
    guard !["kv_cache", "paged_kv_cache"].contains(where: record.isUnrecorded) else {
      throw FormatError(
        .unsupported,
        """
        \(record.function) was given its cache as a pair of tensors, and FlashInfer records none \
        inside a pair; give it one tensor [pages, 2, ..]
        """,
        file: inputs.path)
    }
    guard let key = record.tensor("k", "key"), let value = record.tensor("v", "value"),
      let keys = inputs.entry(key)?.shape, keys.rank == 3, keys[2] == shape.axes.last,
      inputs.entry(value)?.shape.rank == 3
    else { return nil }
    names = (query, key, value)
    cache = nil
    isHND = word == "HND"
    let rows = shape.rank == 2 ? 1 : shape[0], length = keys[isHND ? 1 : 0]
    let tables = try Tables(record, inputs, plan, planned, page: 1, rows: rows)
    requests = try tables.ragged(rows: rows, keys: length, record.function, inputs.path)
  }

  /// `[heads, n, dim]`. Throws what reading throws.
  func query(_ request: Request) throws(FormatError) -> Tensor {
    let all = try inputs.tensor(names.query)
    guard all.shape.rank == 3 else { return AxisOrder.insertOne(all, at: 1) }
    return all.slice(axis: 0, request.queries).permuted([1, 0, 2])
  }

  /// `[heads, queries, dim]` and `[kvHeads, keys, dim]`, without reading them.
  func shapes(_ request: Request) -> (query: Shape, keys: Shape) {
    let q = inputs.entry(names.query)!.shape, k = inputs.entry(names.key)!.shape
    let dim = q.axes.last!, heads = q.axes[q.rank - 2]
    let kvHeads = cache == nil ? k[isHND ? 0 : 1] : k[isHND ? 2 : 3]
    return (
      Shape([heads, request.queries.count, dim]), Shape([kvHeads, request.keys.count, dim])
    )
  }

  /// Element type of queries, and of keys and values.
  var types: (query: DType, keys: DType) {
    (inputs.entry(names.query)!.dtype, inputs.entry(names.key)!.dtype)
  }

  /// Keys (0) or values (1) of a request, `[kvHeads, n, dim]`, its pages one after another. Throws
  /// what reading throws.
  func keys(_ request: Request, _ which: Int) throws(FormatError) -> Tensor {
    guard let cache else {
      let all = try inputs.tensor(which == 0 ? names.key : names.value)
      let order = isHND ? all : all.permuted([1, 0, 2])
      return order.slice(axis: 1, request.keys)
    }
    let size = cache.shape[isHND ? 3 : 2], heads = cache.shape[isHND ? 2 : 3]
    let dim = cache.shape[4], count = request.keys.count, width = cache.dtype.byteWidth
    let storage = OwnedStorage(byteCount: max(1, heads * count * dim * width)) { bytes in
      for (index, page) in request.pages.enumerated() {
        let used = min(size, count - index * size)
        // [kvHeads, page, dim], whichever way it lies.
        let one = cache[page][which]
        let piece = (isHND ? one : one.permuted([1, 0, 2])).slice(axis: 1, 0..<used)
        for head in 0..<heads {
          let at = (head * count + index * size) * dim * width
          piece[head].copyBytes(
            into: UnsafeMutableRawBufferPointer(rebasing: bytes[at..<at + used * dim * width]))
        }
      }
    }
    return Tensor(storage: storage, dtype: cache.dtype, shape: Shape([heads, count, dim]))
  }

  // MARK: Rules

  /// What products are multiplied by; nil: the usual 1 / sqrt(dim).
  var scale: Double? {
    let named = record.number("bmm1_scale", "sm_scale") ?? plan?.number("bmm1_scale", "sm_scale")
    return named ?? single("bmm1_scale")
  }

  /// A tensor of one number.
  private func single(_ name: String) -> Double? {
    guard let key = record.tensor(name), inputs.entry(key)?.shape.count == 1 else { return nil }
    return (try? inputs.tensor(key).floats().first).flatMap { $0.map(Double.init) }
  }

  /// Keys that a query sees at most, its own among them; nil: all.
  var window: Int? {
    let left = record.number("window_left") ?? plan?.number("window_left") ?? -1
    return left >= 0 && left < 0x1p30 ? Int(left) + 1 : nil
  }

  var softcap: Double? {
    let cap = record.number("logits_soft_cap") ?? plan?.number("logits_soft_cap") ?? 0
    return cap > 0 ? cap : nil
  }

  /// Functions of batches that take no such flag are causal, all others as they were told.
  var isCausal: Bool {
    let isBatch = record.function.hasPrefix("trtllm") || record.function.contains("ecode")
    return record.truth("causal") ?? plan?.truth("causal") ?? isBatch
  }

  /// The logits of learned sinks, `[heads]`; nil where there are none.
  var sinks: Tensor? {
    record.tensor("sinks", "attention_sinks").flatMap { try? inputs.tensor($0) }
  }

  /// lambda times the number of keys; nil where nothing was skipped.
  var skipFactor: Double? { record.number("skip_softmax_threshold_scale_factor") }
}

/// The lists of a call that say where its requests are.
private struct Tables {
  /// Rows of queries before each request, `[requests + 1]`; nil: equally many each.
  var starts: [Int]?
  /// The pages of each request.
  var pages: [[Int]]?
  /// Tokens of each request.
  var lengths: [Int]?
  /// Of keys that stand one after another, as `starts`.
  var keyStarts: [Int]?
  private let page: Int, rows: Int

  /// More numbers than any batch has.
  private static let most = 1 << 24

  /// Reads what is there: a block table, or the lists of a plan.
  init(
    _ record: FlashInferRecord, _ inputs: any TensorArchive, _ plan: FlashInferRecord?,
    _ planned: (any TensorArchive)?, page: Int, rows: Int
  ) throws(FormatError) {
    (self.page, self.rows) = (page, rows)
    func list(_ names: String...) throws(FormatError) -> Tensor? {
      for name in names {
        let found =
          record.tensor(name).map { ($0, inputs) }
          ?? plan?.tensor(name).flatMap { key in planned.map { (key, $0) } }
        if let (key, archive) = found, let shape = archive.entry(key)?.shape,
          shape.count <= Self.most
        {
          return try archive.tensor(key)
        }
      }
      return nil
    }
    starts = try list("cum_seq_lens_q", "qo_indptr")?.integers()
    keyStarts = try list("kv_indptr", "cum_seq_lens_kv")?.integers()
    lengths = try list("seq_lens")?.integers()
    if let table = try list("block_tables"), table.shape.rank == 2 {
      pages = (0..<table.shape[0]).map { table[$0].integers() }
      return
    }
    guard let first = try list("paged_kv_indptr", "indptr")?.integers(),
      let indices = try list("paged_kv_indices", "indices")?.integers(),
      let last = try list("paged_kv_last_page_len", "last_page_len")?.integers(),
      first.count == last.count + 1, first.first == 0,
      zip(first, first.dropFirst()).allSatisfy({ $0 <= $1 }), first.last! <= indices.count
    else { return }
    pages = last.indices.map { Array(indices[first[$0]..<first[$0 + 1]]) }
    lengths = last.indices.map {
      max(0, first[$0 + 1] - first[$0] - 1) * page + max(-1, min(last[$0], page))
    }
  }

  /// Rows of queries by request; nil where they do not go up to the last.
  private func queries(_ count: Int) -> [Range<Int>]? {
    guard let starts else {
      return rows % count == 0
        ? (0..<count).map { $0 * (rows / count)..<($0 + 1) * (rows / count) } : nil
    }
    return Self.ranges(starts, upTo: rows, count)
  }

  /// `[0, 3, 7]` as 0..<3 and 3..<7, where it rises and stays within.
  private static func ranges(_ starts: [Int], upTo end: Int, _ count: Int) -> [Range<Int>]? {
    guard starts.count == count + 1, let first = starts.first, first >= 0,
      zip(starts, starts.dropFirst()).allSatisfy({ $0 <= $1 }), starts.last! <= end
    else { return nil }
    return zip(starts, starts.dropFirst()).map { $0..<$1 }
  }

  /// Requests in pages. Throws `malformed` for numbers that make no sense.
  func requests(pages all: Int, _ function: String, _ file: String) throws(FormatError)
    -> [FlashInferCall.Request]
  {
    func wrong(_ what: String) -> FormatError {
      FormatError(.malformed, "\(function): \(what); record the call again", file: file)
    }
    guard let pages, let lengths, !pages.isEmpty, lengths.count == pages.count else {
      throw wrong("no block table and lengths go with its paged cache (its plan must be there)")
    }
    guard let queries = queries(pages.count) else {
      throw wrong("its lists do not say which of \(rows) queries are of which request")
    }
    var out: [FlashInferCall.Request] = []
    for (index, row) in pages.enumerated() {
      let length = lengths[index]
      guard length >= 0, length <= row.count * page else {
        throw wrong("request \(index) has \(length) tokens on \(row.count) pages of \(page)")
      }
      let used = Array(row.prefix((length + page - 1) / page))
      guard used.allSatisfy({ (0..<all).contains($0) }), Set(used).count == used.count else {
        throw wrong("request \(index) names a page twice, or one that the cache of \(all) has not")
      }
      out.append(.init(queries: queries[index], pages: used, keys: 0..<length))
    }
    return out
  }

  /// Requests whose keys stand one after another; one, where no list says otherwise.
  func ragged(rows: Int, keys: Int, _ function: String, _ file: String) throws(FormatError)
    -> [FlashInferCall.Request]
  {
    guard let starts, let keyStarts else {
      return [.init(queries: 0..<rows, pages: [], keys: 0..<keys)]
    }
    guard let queries = Self.ranges(starts, upTo: rows, starts.count - 1),
      let ranges = Self.ranges(keyStarts, upTo: keys, starts.count - 1)
    else {
      throw FormatError(
        .malformed, "\(function): its lists of requests make no sense; record the call again",
        file: file)
    }
    return zip(queries, ranges).map { .init(queries: $0, pages: [], keys: $1) }
  }
}
