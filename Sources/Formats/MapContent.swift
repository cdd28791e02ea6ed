import Tensors

/// What a look at a few rows of a map says.
///
/// Rows that sum to one are a pattern, zeros and ones a mask (255 marks what nobody sees), values
/// below 0 or above 1 scores. Whole numbers whose rows have one sum are a quantised pattern; other
/// whole numbers beyond a mask's are nothing. The catch: scores that happen to lie between 0 and 1
/// read as a pattern; `--kind` decides then.
struct MapContent {
  /// Nil: whole numbers that are no mask.
  let kind: DumpKind?
  /// The least and the largest finite value that was seen.
  let range: ClosedRange<Float>
  /// Nothing above the diagonal of the first rows; nil when they cannot tell.
  let causal: Bool?
  /// Nine rows in ten sum to 1.
  let sumsToOne: Bool
  /// What rows of whole numbers sum to, where it is the same for nine in ten.
  let rowSum: Float?

  /// Looks at up to 64 rows from the start of the array, and a quarter of a million elements
  /// at most. Throws what reading the array throws.
  init(_ archive: any TensorArchive, _ entry: ArrayEntry) throws(FormatError) {
    let keys = max(entry.shape[-1], 1)
    let values = try archive.sample(entry.name, elements: keys * min(64, max(1, (1 << 18) / keys)))
    self.init(
      values, keys: keys, queries: entry.shape.rank > 1 ? entry.shape[-2] : 1,
      integer: !entry.dtype.isFloat)
  }

  /// Judges `values`, rows of `keys` elements that begin at query `from` of `queries` aligned
  /// bottom-right. -1e4 and below count as masked, since half-precision code writes that for
  /// minus infinity.
  init(_ values: [Float], keys: Int, queries: Int, integer: Bool, from first: Int = 0) {
    let rows = values.count / keys
    var onesAndZeros = true, above = false
    var sums: [Float] = []
    for r in 0..<rows {
      let row = values[r * keys..<(r + 1) * keys]
      sums.append(row.reduce(0) { $1.isFinite ? $0 + $1 : $0 })
      onesAndZeros = onesAndZeros && row.allSatisfy { $0 == 0 || $0 == 1 || $0 == 255 }
      let visible = (r + first) % max(queries, 1) + keys - queries + 1
      if queries > 1, visible > 0, visible < keys {
        above = above || row.dropFirst(visible).contains { $0 != 0 && $0 > -1e4 }
      }
    }
    let one = sums.count { abs($0 - 1) < 1e-2 }
    sumsToOne = rows > 0 && one * 10 >= rows * 9
    rowSum = integer && !onesAndZeros ? Self.common(sums) : nil
    let known = values.prefix(rows * keys).filter(\.isFinite)
    let (least, most) = (known.min() ?? 0, known.max() ?? 0)
    range = least...most
    if onesAndZeros, integer || one * 2 < rows {
      kind = .mask
    } else if integer {
      kind = rowSum != nil && least >= 0 ? .pattern : nil
    } else {
      kind = least < 0 || most > 1.01 ? .scores : .pattern
    }
    causal = queries > 1 && rows > 1 ? !above : nil
  }

  /// The sum that nine rows in ten have, but for rounding; nil for none, and below 50, where
  /// nothing could be told by it.
  private static func common(_ sums: [Float]) -> Float? {
    guard sums.count > 1 else { return nil }
    let middle = sums.sorted()[sums.count / 2]
    let near = sums.count { abs($0 - middle) <= max(3, middle * 0.03) }
    return middle >= 50 && near * 10 >= sums.count * 9 ? middle : nil
  }
}
