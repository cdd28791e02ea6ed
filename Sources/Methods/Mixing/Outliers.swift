import Analysis
import Attention
import Tensors

/// How far activations reach beyond their own spread: what attention that cannot do nothing leaves
/// behind.
///
/// Kurtosis μ₄ / (σ⁴ + 1e-6) of the flattened values, σ the sample standard deviation; the
/// infinity norm, the largest |x|. Paper: "Quantizable Transformers", 2023, arXiv 2306.12929.
enum Outliers {
  /// About 3 for Gaussian values; nil below two values.
  static func kurtosis(_ values: [Double]) -> Double? {
    guard values.count > 1 else { return nil }
    let n = Double(values.count), mean = values.reduce(0, +) / n
    var second = 0.0, fourth = 0.0
    for x in values {
      let square = (x - mean) * (x - mean)
      second += square
      fourth += square * square
    }
    let variance = second / (n - 1)
    return fourth / n / (variance * variance + 1e-6)
  }

  /// The largest |x|; nil of nothing.
  static func largest(_ values: [Double]) -> Double? { values.lazy.map(\.magnitude).max() }

  /// `output_max`, `output_kurtosis` of W V and the same of A V, up to so many tokens as the map
  /// is whole. Throws what the rows throw, and `CancellationError`.
  static func addOutputs(
    _ map: any RowField, _ head: Head, _ run: MethodRun, to findings: inout Findings
  ) throws {
    guard let value = head.value else { return }
    let (floats, width) = (value.floats(), value.shape[1])
    func all(_ field: any RowField) throws -> [Double] {
      let parts = try RowPicks.spread(field.rows.count, by: 16, run) { rows in
        [Result { try product(field, rows, floats, width) }]
      }
      return try parts.flatMap { try $0.get() }
    }
    let (after, before) = (try all(map), try all(run.pattern(head)))
    findings.number("output_max", largest(after), title: "largest |output|")
    findings.number("output_max_dense", largest(before), title: "largest |output| of softmax")
    findings.number("output_kurtosis", kurtosis(after), title: "kurtosis of the output")
    findings.number("output_kurtosis_dense", kurtosis(before), title: "kurtosis under softmax")
  }

  /// `[rows * width]` of a map times V; NaN, which marks what is not seen, counts as nothing.
  private static func product(
    _ field: any RowField, _ rows: Range<Int>, _ values: [Float], _ width: Int
  ) throws -> [Double] {
    var all: [Double] = []
    try field.withRows(rows) { _, weights in
      var out = [Double](repeating: 0, count: width)
      for (key, weight) in weights.enumerated() where weight != 0 && !weight.isNaN {
        for x in 0..<width { out[x] += Double(weight) * Double(values[key * width + x]) }
      }
      all += out
    }
    return all
  }

  /// `max_inf_norm` and `kurtosis` of what the sublayers of the model added to the residual stream,
  /// and both by sublayer; unknown where a source holds no residuals. Throws `CancellationError`.
  static func addResiduals(_ subject: Subject, _ run: MethodRun, to findings: inout Findings) throws
  {
    let array = try? subject.array(.residuals)
    guard let array, array.shape.rank == 3, array.shape[0] > 1, array.shape[1] > 0 else {
      findings.number("max_inf_norm", nil, title: "largest |activation| of any sublayer")
      findings.number("kurtosis", nil, title: "kurtosis of activations")
      findings.note("outliers of activations need residuals: capture --residuals")
      return
    }
    var norms: [Float] = [], tails: [Float] = []
    for source in 1..<array.shape[0] {
      try run.checkCancellation()
      let values = array[source].floats().map(Double.init)
      norms.append(Float(largest(values) ?? .nan))
      tails.append(Float(kurtosis(values) ?? .nan))
    }
    let labels = norms.indices.map { "\($0 % 2 == 0 ? "attention" : "mlp") \($0 / 2)" }
    let axis = Axis(.sublayer, norms.count, labels: labels), known = tails.filter { !$0.isNaN }
    findings.number(
      "max_inf_norm", norms.max().map(Double.init), title: "largest |activation| of any sublayer")
    findings.number(
      "kurtosis",
      known.isEmpty ? nil : known.reduce(0.0) { $0 + Double($1) } / Double(known.count),
      title: "kurtosis of activations, mean over sublayers")
    findings.series("inf_norms", axis, norms, title: "largest |activation| by sublayer")
    findings.series("kurtoses", axis, tails, title: "kurtosis by sublayer")
  }
}
