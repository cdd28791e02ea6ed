/// Numbers as a screen and a table show them, without the C library's formats.
public enum Numbers {
  /// `0.0012` as `1.2e-3`, `0.25` as `0.25`, `1234` as `1234`: about three digits, six characters.
  public static func short(_ x: Double) -> String {
    guard x.isFinite else { return x.isNaN ? "NaN" : (x > 0 ? "inf" : "-inf") }
    let magnitude = abs(x)
    if magnitude == 0 { return "0" }
    if magnitude >= 1e5 || magnitude < 0.001 { return scientific(x) }
    if magnitude >= 100 { return fixed(x, 0) }
    return fixed(x, magnitude >= 10 ? 1 : (magnitude >= 1 ? 2 : 4))
  }

  /// A threshold: `0.01`, `0.0178`, `0.5`, and `1.0e-4` below 0.001; three digits, none of them a
  /// zero at the end.
  public static func threshold(_ x: Double) -> String {
    guard x.isFinite, x >= 0.001, x < 1 else { return x == 1 ? "1" : short(x) }
    let digits = x >= 0.1 ? 3 : (x >= 0.01 ? 4 : 5)
    var text = fixed(x, digits)
    while text.hasSuffix("0") { text.removeLast() }
    return text.hasSuffix(".") ? String(text.dropLast()) : text
  }

  /// `1.2e-3`
  public static func scientific(_ x: Double) -> String {
    guard x != 0, x.isFinite else { return short(x) }
    var mantissa = abs(x), exponent = 0
    while mantissa >= 10 { (mantissa, exponent) = (mantissa / 10, exponent + 1) }
    while mantissa < 1 { (mantissa, exponent) = (mantissa * 10, exponent - 1) }
    if (mantissa * 10).rounded() >= 100 { (mantissa, exponent) = (1, exponent + 1) }
    return (x < 0 ? "-" : "") + fixed(mantissa, 1) + "e\(exponent)"
  }

  /// `digits` decimals, rounded half away from zero; with a power of ten where that is no number of
  /// an integer's size.
  public static func fixed(_ x: Double, _ digits: Int) -> String {
    guard x.isFinite, abs(x) < 1e15 else { return x.isFinite ? scientific(x) : short(x) }
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    guard abs(x) * scale < 9e18 else { return scientific(x) }
    let scaled = Int((abs(x) * scale).rounded())
    let sign = x < 0 && scaled != 0 ? "-" : ""
    guard digits > 0 else { return sign + String(scaled) }
    let text = String(scaled)
    let padded = String(repeating: "0", count: max(0, digits + 1 - text.count)) + text
    return sign + padded.dropLast(digits) + "." + padded.suffix(digits)
  }

  /// The numbers of a column, each as `format` writes it but with as many decimals as the one that
  /// has most: points stand under one another.
  ///
  /// Example: `column([0.891, 0.0312, nil])` is `0.8910`, `0.0312`, `-`. What is no plain decimal
  /// (a power of ten, a per cent, an exact 0) stays as it is; nil cannot be known.
  public static func column(_ values: [Double?], as format: (Double) -> String = short) -> [String]
  {
    let texts = values.map { $0.map(format) ?? "-" }
    let digits = zip(values, texts).compactMap { $0 == 0 ? nil : decimals($1) }.max() ?? 0
    return zip(values, texts).map { value, text in
      guard let value, value != 0, decimals(text) != nil else { return text }
      return fixed(value, digits)
    }
  }

  /// Digits behind the point of a plain decimal; nil for any other text.
  private static func decimals(_ text: String) -> Int? {
    let parts = text.drop { $0 == "-" }.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count <= 2,
      parts.allSatisfy({ !$0.isEmpty && $0.allSatisfy { $0.isASCII && $0.isNumber } })
    else { return nil }
    return parts.count == 2 ? parts[1].count : 0
  }

  /// As many digits as `width` characters hold, two at least: for cells of a matrix.
  public static func brief(_ x: Double, _ width: Int) -> String {
    guard x.isFinite else { return short(x) }
    for digits in stride(from: 2, through: 0, by: -1) {
      let text = fixed(x, digits)
      if text.count <= max(width, 2) { return text }
    }
    return fixed(x, 0)
  }

  /// `0.494` as `49.4 %`
  public static func percent(_ x: Double) -> String {
    x.isFinite ? fixed(100 * x, 1) + " %" : short(x)
  }

  /// How many there are of what, `1 query`, `2 queries`; `many` where an s is not enough.
  public static func count(_ number: Int, _ one: String, _ many: String? = nil) -> String {
    "\(number) \(number == 1 ? one : many ?? one + "s")"
  }

  /// Into 0...1, so that it can be a place on the screen; what is not a number is 0.
  public static func unit(_ x: Double) -> Double { x.isNaN ? 0 : Swift.min(Swift.max(x, 0), 1) }
}
