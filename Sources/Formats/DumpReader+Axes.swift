import Tensors

/// Axes that shapes alone do not tell: heads side by side, and maps whose rows do not sum to 1.
extension DumpReader {
  /// Q and K whose last axis holds several heads, `[tokens, heads * dim]`.
  struct Flat {
    /// Width of a head.
    let dim: Int?
    let order: String
    let guess: Guess?
  }

  /// Widths of a head that models have.
  private static let usualDims = [16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 256]

  /// How to read arrays without an axis of heads; nil for those that have one. `--query-heads` says
  /// how many stand side by side; without it one is taken where that can be, and said. Throws
  /// `mismatch` where it cannot, with what the numbers allow.
  func flatHeads(_ query: Found, _ key: Found) throws(FormatError) -> Flat? {
    let q = query.entry.shape, k = key.entry.shape
    let isFlat = q.rank == 2 || q.rank == 3 && q[0] == 1 && k.rank == 3 && k[0] == 1
    guard options.layout == nil, isFlat, k.rank == q.rank, q.count > 0, k.count > 0,
      options.heads != nil || !isOwnName(query.entry.name)
    else {
      guard options.heads == nil else {
        throw FormatError(
          .mismatch, "--query-heads is for arrays without an axis of heads, and q is \(q)",
          file: path)
      }
      return nil
    }
    let order = q.rank == 2 ? "n" : "bn"
    let allowed = Self.usualDims.compactMap { dim -> (heads: Int, shared: Int, dim: Int)? in
      guard q[-1] % dim == 0, k[-1] % dim == 0 else { return nil }
      let heads = q[-1] / dim, shared = k[-1] / dim
      return heads > 1 && heads % shared == 0 ? (heads, shared, dim) : nil
    }
    let list = allowed.map {
      "\($0.heads) of \($0.dim)" + ($0.shared == $0.heads ? "" : " over \($0.shared)")
    }.joined(separator: ", ")
    if let heads = options.heads {
      guard heads > 0, q[-1] % heads == 0, k[-1] % (q[-1] / heads) == 0 else {
        throw FormatError(
          .mismatch,
          "--query-heads \(heads) does not fit q \(q) and k \(k)"
            + (list.isEmpty ? "" : "; what fits: \(list)"), file: path)
      }
      return Flat(dim: q[-1] / heads, order: order + "hd", guess: nil)
    }
    let isProjection = nameParts(query.entry.name).last == "proj"
    guard q[-1] == k[-1], q[-1] <= 256, !isProjection else {
      let what =
        isProjection
        ? "\"\(query.entry.name)\" is the output of a projection, before rotary positions, with "
          + "its heads side by side" : "heads stand side by side in q \(q) and k \(k)"
      throw FormatError(
        .mismatch,
        "\(what): --query-heads N says how many"
          + (list.isEmpty ? "" : " (what fits: \(list))")
          + (isProjection ? "; better save Q and K after the rotation" : ""), file: path)
    }
    guard q.rank == 2 || !list.isEmpty else { return nil }
    return Flat(
      dim: nil, order: q.rank == 2 ? "nd" : "bnd",
      guess: list.isEmpty
        ? nil
        : Guess("one head of \(q[-1]); or several side by side: \(list)", flag: "--query-heads"))
  }

  /// The last axis as heads of `dim` and their elements; nothing is copied. Throws `mismatch`
  /// where it does not divide.
  func split(_ tensor: Tensor, _ dim: Int?, _ item: Found) throws(FormatError) -> Tensor {
    guard let dim else { return tensor }
    guard tensor.shape[-1] % dim == 0, let last = tensor.strides.last else {
      throw FormatError(
        .mismatch, "its last axis of \(tensor.shape[-1]) is no number of heads of \(dim)",
        file: path, place: "array \"\(item.entry.name)\"")
    }
    return Tensor(
      storage: tensor.storage, dtype: tensor.dtype,
      shape: Shape(tensor.shape.axes.dropLast() + [tensor.shape[-1] / dim, dim]),
      strides: tensor.strides.dropLast() + [last * dim, last], byteOffset: tensor.byteOffset)
  }

  /// The order of a map whose rows do not sum to 1 while another axis does: keys before queries,
  /// or heads last. Nil where rows do, or nothing does.
  mutating func otherOrder(_ item: Found, kind: DumpKind, isNamed: Bool) -> (AxisOrder, Guess?)? {
    guard kind == .pattern, let content = try? MapContent(item.archive, item.entry),
      let axis = try? otherAxis(item, content),
      let plain = AxisOrder.guessMap(item.entry.shape, named: isNamed)?.0
    else { return nil }
    if axis == 1, item.entry.shape.rank == 3, item.entry.shape[0] == item.entry.shape[1] {
      return (
        AxisOrder("qkh"),
        Guess("rows sum to 1 along the middle axis: read as qkh, heads last", flag: "--layout")
      )
    }
    let order = String(plain.letters.map { $0 == "q" ? "k" : $0 == "k" ? "q" : $0 })
    return (
      AxisOrder(order),
      Guess(
        "columns sum to 1, rows do not: keys before queries, read as \(order)", flag: "--layout")
    )
  }

  /// The axis along which an array sums to 1 when its last one does not: the one before it in a
  /// square, the middle one of `[queries, keys, heads]`. Nil: none. Throws what reading throws.
  func otherAxis(_ item: Found, _ content: MapContent) throws(FormatError) -> Int? {
    let shape = item.entry.shape
    guard !content.sumsToOne, shape.rank >= 2, item.entry.dtype.isFloat else { return nil }
    let isHeadsLast = shape.rank == 3 && shape[0] == shape[1] && shape[2] < shape[0]
    guard isHeadsLast || shape[-1] == shape[-2], shape[-1] > 1 else { return nil }
    let axis = isHeadsLast ? 1 : shape.rank - 2
    return Self.sumsToOne(try item.archive.tensor(item.entry.name), along: axis) ? axis : nil
  }

  /// Whether 64 vectors, spread over the array, sum to 1 along an axis: nine in ten of them.
  private static func sumsToOne(_ tensor: Tensor, along axis: Int) -> Bool {
    var order = Array(tensor.shape.axes.indices)
    order.append(order.remove(at: axis))
    let moved = tensor.permuted(order)
    let count = moved.count / max(moved.shape[-1], 1), most = min(count, 64)
    guard most > 0 else { return false }
    var good = 0
    for index in 0..<most {
      var rest = count / most * index, part = moved
      for left in (1..<moved.shape.rank).reversed() {
        let inner = part.shape.axes[1..<left].reduce(1, *)
        part = part[rest / inner]
        rest %= inner
      }
      let sum = part.floats().reduce(0) { $1.isFinite ? $0 + $1 : $0 }
      if abs(sum - 1) < 1e-2 { good += 1 }
    }
    return good * 10 >= most * 9
  }
}
