import Tensors

/// Blocks of tokens by their means, for methods that judge a block at once.
enum Pooled {
  /// Means over runs of `size` rows of `[rows, d]`: `[⌈rows / size⌉][d]`, the last over the rows it
  /// has.
  static func means(_ rows: Tensor, _ size: Int) -> [[Double]] {
    let dim = rows.shape[1], values = rows.floats()
    return stride(from: 0, to: rows.shape[0], by: size).map { start in
      let end = min(start + size, rows.shape[0])
      var mean = [Double](repeating: 0, count: dim)
      for row in start..<end {
        for x in 0..<dim { mean[x] += Double(values[row * dim + x]) }
      }
      return mean.map { $0 / Double(end - start) }
    }
  }

  /// Σ a_x b_x, in order.
  static func dot(_ a: [Double], _ b: [Double]) -> Double {
    zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
  }
}
