import Analysis
import Glibc

/// Logarithms and the like, so that no other file needs the C library.
enum Scale {
  /// Decimal logarithm.
  static func log10(_ x: Double) -> Double { Glibc.log10(x) }
  /// 10 to the power of x.
  static func pow10(_ x: Double) -> Double { pow(10, x) }
  /// Natural logarithm.
  static func ln(_ x: Double) -> Double { log(x) }
  /// e to the power of x.
  static func exp(_ x: Double) -> Double { Glibc.exp(x) }
}

/// A pooled map turned into 0...1 for colouring, with the numbers a legend needs.
///
/// Example: `HeatScale(map, viewpoint)[0, 3]` is the shade of a cell in 0...1. `rank` spreads
/// colours evenly over the cells, so that faint structure shows; its legend then says `top` instead
/// of a number.
struct HeatScale {
  /// Shades, `[rows * columns]`; NaN where nothing is visible, infinity where the data are not
  /// numbers.
  let values: [Float]
  /// Cells from top to bottom.
  let rows: Int
  /// Cells from left to right.
  let columns: Int
  /// What 0 stands for, a probability or the field's own unit.
  let low: Double
  /// What 1 stands for.
  let high: Double

  /// Decades shown on the log scale.
  static let decades = 4.0

  /// `wholeTop`: the largest value of the whole map, so that a colour means the same at every zoom.
  /// A mean depends on how much a cell holds, so means are scaled by what is shown.
  init(_ map: PooledMap, _ viewpoint: Viewpoint, wholeTop: Float? = nil) {
    rows = map.rows
    columns = map.columns
    var raw = viewpoint.pooling == .max ? map.max : map.mean
    if viewpoint.normaliseRows { Self.normaliseRows(&raw, rows, columns) }
    var top = raw.reduce(Float(0)) { $1 > $0 && $1.isFinite ? $1 : $0 }
    if let wholeTop, viewpoint.pooling == .max, !viewpoint.normaliseRows {
      top = max(top, wholeTop)
    }
    high = Double(top)
    switch viewpoint.scale {
    case .linear:
      low = 0
      values = raw.map { x in
        if !x.isFinite { return x }
        return top > 0 ? x / top : 0
      }
    case .log:
      low = high * Scale.pow10(-Self.decades)
      let bottom = low
      values = raw.map { x in
        if !x.isFinite { return x }
        if Double(x) <= bottom || bottom <= 0 { return 0 }
        return Float(1 + Scale.log10(Double(x / top)) / Self.decades)
      }
    case .rank:
      low = 0
      values = Self.ranks(raw)
    }
  }

  /// Values between two given ends, linearly.
  init(_ raw: [Float], rows: Int, columns: Int, low: Float, high: Float) {
    (self.rows, self.columns) = (rows, columns)
    (self.low, self.high) = (Double(low), Double(high))
    let span = max(high - low, .leastNormalMagnitude)
    values = raw.map { $0.isNaN ? .nan : min(max(($0 - low) / span, 0), 1) }
  }

  /// Divides each row by its largest finite value.
  private static func normaliseRows(_ raw: inout [Float], _ rows: Int, _ columns: Int) {
    for r in 0..<rows {
      let range = r * columns..<(r + 1) * columns
      let top = raw[range].reduce(Float(0)) { $1 > $0 && $1.isFinite ? $1 : $0 }
      guard top > 0 else { continue }
      for index in range { raw[index] /= top }
    }
  }

  /// The share of cells with smaller values; what is not finite keeps its meaning.
  private static func ranks(_ raw: [Float]) -> [Float] {
    let order = raw.indices.filter { raw[$0].isFinite }.sorted { raw[$0] < raw[$1] }
    var values = raw.map { $0.isFinite ? .nan : $0 }
    var rank = 0
    for (position, index) in order.enumerated() {
      // Equal values share a rank.
      if position > 0, raw[index] != raw[order[position - 1]] { rank = position }
      values[index] = Float(rank) / Float(max(order.count - 1, 1))
    }
    return values
  }

  /// The shade of a cell.
  subscript(row: Int, column: Int) -> Float { values[row * columns + column] }
}

/// Round numbers for an axis.
///
/// Example: `Ticks.of(0..<832, most: 9)` gives 0, 100, 200 and so on to 800.
enum Ticks {
  /// Multiples of 1, 2 or 5 times a power of ten in a range, at most `most` of them.
  static func of(_ range: Range<Int>, most: Int) -> [Int] {
    var step = 1
    while range.count / step > most {
      let digits = String(step)
      step = digits.first == "2" ? step / 2 * 5 : step * 2
    }
    let first = (range.lowerBound + step - 1) / step * step
    return Array(stride(from: first, to: range.upperBound, by: step))
  }
}
