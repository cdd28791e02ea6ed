import Analysis
import Attention
import Canvas
import Formats
import Glibc

/// Published factors: lines of target sparsity, prefill factor and, if there is one, decode factor.
///
/// Lines may end as Unix, Windows or old Macs end them, what follows `#` is a remark, and the first
/// line may name the columns.
struct FactorTable {
  /// The file, without its folder.
  private let name: String
  /// Points of prefill, then of decode.
  private var columns: [[(sparsity: Double, factor: Double)]] = [[], []]
  /// More than any context has tokens.
  private static let largest = 1e12

  /// Reads a table. Throws `mismatch` with the line that is none.
  init(_ path: String) throws {
    name = path.split(separator: "/").last.map(String.init) ?? path
    var text = Substring(String(decoding: try readWhole(path, most: 1 << 24), as: UTF8.self))
    // Spreadsheets mark their UTF-8.
    if text.first == "\u{FEFF}" { text = text.dropFirst() }
    if text.first(where: { !$0.isWhitespace }) == "{" {
      throw FormatError(
        .mismatch,
        """
        is JSON, and a table is wanted: lines of target sparsity, prefill factor, decode factor; \
        what --write modelopt writes is a fit already
        """,
        file: path)
    }
    var isFirst = true
    let lines = text.split(omittingEmptySubsequences: false) { $0.isNewline }
    for (number, line) in lines.enumerated() {
      let content = line.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)[0]
      let fields = content.split { ", \t;".contains($0) }
      guard !fields.isEmpty else { continue }
      let isHeading = isFirst && fields.allSatisfy { Double($0) == nil }
      isFirst = false
      if isHeading {
        try check(heading: content.lowercased(), number + 1, path)
      } else {
        try add(fields.map { Double($0) }, number + 1, path)
      }
    }
  }

  /// Columns have one order; a heading that names another one is no table of ours. Throws
  /// `mismatch`.
  private func check(heading: String, _ line: Int, _ path: String) throws {
    guard let decode = heading.firstRange(of: "decode")?.lowerBound else { return }
    if let prefill = heading.firstRange(of: "prefill")?.lowerBound, prefill < decode { return }
    throw FormatError(
      .mismatch,
      """
      line \(line) names decode before prefill; the columns are target sparsity, prefill factor, \
      decode factor
      """,
      file: path)
  }

  /// Takes in a line of two or three numbers: a share, then factors in tokens. Throws `mismatch`
  /// with the number of the line for anything else.
  private mutating func add(_ values: [Double?], _ line: Int, _ path: String) throws {
    guard (2...3).contains(values.count), values.allSatisfy({ $0?.isFinite ?? false }) else {
      throw FormatError(
        .mismatch, "line \(line) is not: target sparsity, prefill factor, decode factor",
        file: path)
    }
    guard (0...1).contains(values[0]!) else {
      throw FormatError(
        .mismatch, "line \(line): sparsity is a share between 0 and 1, not \(values[0]!)",
        file: path)
    }
    for (column, value) in values.dropFirst().enumerated() {
      guard abs(value!) <= Self.largest else {
        throw FormatError(
          .mismatch,
          """
          line \(line): a factor is lambda times a length of tokens, at most \
          \(Numbers.short(Self.largest)), not \(value!)
          """,
          file: path)
      }
      columns[column].append((values[0]!, value!))
    }
  }

  /// The fits of both columns, and nothing else: a table has no curves and no prices. Throws
  /// `mismatch` for a column of fewer than two points between 10 and 90 %.
  func report(_ targets: [Double], _ logarithmic: Bool) throws -> CalibrationReport {
    var report = CalibrationReport(name: name, phases: [])
    for (phase, points) in zip(Phase.allCases, columns) where !points.isEmpty {
      guard let fit = ExponentialFit(points, logarithmic: logarithmic) else {
        throw FormatError(
          .mismatch, "has fewer than two \(phase.rawValue) points between 10 and 90 %", file: name)
      }
      report.fits.append((phase, fit))
    }
    return report
  }
}
