/// How far two lists of numbers go together, in -1...1.
public enum Correlation {
  /// Spearman's: the correlation of ranks, ties sharing their mean rank; nil below two values or
  /// where all are equal.
  public static func ofRanks(_ a: [Double], _ b: [Double]) -> Double? {
    guard a.count > 1 else { return nil }
    return pearson(ranks(a), ranks(b))
  }

  /// Pearson's; nil below two values or where one side is constant.
  public static func pearson(_ a: [Double], _ b: [Double]) -> Double? {
    guard a.count > 1 else { return nil }
    let n = Double(a.count), meanA = a.reduce(0, +) / n, meanB = b.reduce(0, +) / n
    var xy = 0.0, xx = 0.0, yy = 0.0
    for (x, y) in zip(a, b) {
      xy += (x - meanA) * (y - meanB)
      xx += (x - meanA) * (x - meanA)
      yy += (y - meanB) * (y - meanB)
    }
    return xx > 0 && yy > 0 ? xy / (xx * yy).squareRoot() : nil
  }

  private static func ranks(_ values: [Double]) -> [Double] {
    let order = values.indices.sorted { values[$0] < values[$1] }
    var ranks = [Double](repeating: 0, count: values.count), start = 0
    while start < order.count {
      var end = start
      while end + 1 < order.count, values[order[end + 1]] == values[order[start]] { end += 1 }
      for place in start...end { ranks[order[place]] = Double(start + end) / 2 }
      start = end + 1
    }
    return ranks
  }
}
