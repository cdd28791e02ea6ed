import Tensors

/// Arrays that are parts of one: a head each, or a step of decoding each.
extension DumpReader {
  /// One array as `[heads, rows, columns]`, and what of its layer it is.
  struct Piece {
    let tensor: Tensor
    let head: Int?
    let step: Int?
    let name: String
  }

  /// A layer's array of its pieces: heads under one another, then the rows of every step below
  /// those of the step before.
  ///
  /// Rows of a map see more keys with every step; what a row does not reach is 0, or -infinity
  /// before the softmax. Of keys and values each step may have all so far, and then the last step
  /// has them all. Throws `mismatch` where the pieces do not fit each other.
  mutating func join(_ pieces: [Piece], _ role: ArrayRole) throws(FormatError) -> Tensor {
    guard pieces.count > 1 else { return pieces[0].tensor }
    var steps: [(number: Int, tensor: Tensor)] = []
    for (number, part) in Dictionary(grouping: pieces, by: { $0.step ?? 0 }) {
      steps.append((number, try stack(part.sorted { ($0.head ?? 0) < ($1.head ?? 0) })))
    }
    steps.sort { $0.number < $1.number }
    guard steps.count > 1 else { return steps[0].tensor }
    let tensors = steps.map(\.tensor), heads = tensors[0].shape[0]
    let width = role == .pattern || role == .scores ? nil : tensors[0].shape[2]
    guard tensors.allSatisfy({ $0.shape[0] == heads && (width == nil || $0.shape[2] == width) })
    else {
      throw FormatError(
        .mismatch, "its steps have different numbers of heads; slice them apart", file: path,
        place: "array \"\(pieces[0].name)\"")
    }
    let (first, last) = (steps[0].number, steps[steps.count - 1].number)
    let guess = Guess("steps \(first) to \(last) joined, one below the other", flag: "--array NAME")
    if !guesses.contains(guess) { guesses.append(guess) }
    let rows = tensors.reduce(0) { $0 + $1.shape[1] }
    if role == .key || role == .value, let all = tensors.last, all.shape[1] >= rows { return all }
    return try ragged(tensors, rows: rows, fill: role == .scores ? -.infinity : 0)
  }

  /// Heads under one another. Where they lie evenly in one file nothing is copied.
  private func stack(_ parts: [Piece]) throws(FormatError) -> Tensor {
    guard parts.count > 1 else { return parts[0].tensor }
    let first = parts[0].tensor
    guard parts.allSatisfy({ $0.tensor.shape == first.shape }) else {
      throw FormatError(
        .mismatch, "heads of one layer have different shapes; slice them apart", file: path,
        place: "array \"\(parts[0].name)\"")
    }
    let step = parts[1].tensor.byteOffset - first.byteOffset
    let isEven = parts.enumerated().allSatisfy { index, part in
      part.tensor.storage === first.storage && part.tensor.strides == first.strides
        && part.tensor.dtype == first.dtype
        && part.tensor.byteOffset == first.byteOffset + index * step
    }
    if isEven, step > 0, step % first.dtype.byteWidth == 0, first.shape[0] == 1 {
      return Tensor(
        storage: first.storage, dtype: first.dtype,
        shape: Shape([parts.count] + first.shape.axes.dropFirst()),
        strides: [step / first.dtype.byteWidth] + first.strides.dropFirst(),
        byteOffset: first.byteOffset)
    }
    let values = parts.flatMap { $0.tensor.floats() }
    return Tensor(
      values, shape: [parts.count * first.shape[0]] + Array(first.shape.axes.dropFirst()))
  }

  /// Rows below rows, each filled up to the widest. Throws `tooLarge` where that is far more than
  /// the parts hold.
  private func ragged(_ parts: [Tensor], rows: Int, fill: Float) throws(FormatError) -> Tensor {
    let heads = parts[0].shape[0], width = parts.map { $0.shape[2] }.max() ?? 0
    let held = parts.reduce(0) { $0 + $1.count }
    guard let shape = Shape(checked: [heads, rows, width], byteWidth: 4),
      shape.count <= 16 * held + (1 << 12)
    else {
      throw FormatError(
        .tooLarge, "its steps do not make one map: the widest has \(width) keys", file: path)
    }
    var values = [Float](repeating: fill, count: shape.count)
    var row = 0
    for part in parts {
      for head in 0..<heads {
        let floats = part[head].floats(), columns = part.shape[2]
        for r in 0..<part.shape[1] {
          let at = (head * rows + row + r) * width
          values.replaceSubrange(at..<at + columns, with: floats[r * columns..<(r + 1) * columns])
        }
      }
      row += part.shape[1]
    }
    return Tensor(values, shape: shape.axes)
  }
}
