/// How the cost of a method's choice grows with the length n of a text, as its card counts it.
///
/// For a mask it is the work of deciding what to keep; attention over what is kept is not part of
/// it. For a map it is the work of making the whole map.
///
/// Example: `Growth("128 n + (n/128)²") { 128 * $0 + $0 * $0 / 16384 }`. The catch: knobs are at
/// the paper's standard, and block sizes do not grow with the text.
public struct Growth: Sendable {
  /// In the notation of the field, for a person.
  public let text: String
  /// Work at n tokens, up to a factor: query-key dot products where a method makes some. Zero
  /// where nothing is searched.
  public let cost: @Sendable (_ tokens: Double) -> Double

  /// A formula in both forms.
  public init(_ text: String, _ cost: @escaping @Sendable (_ tokens: Double) -> Double) {
    (self.text, self.cost) = (text, cost)
  }

  /// A fixed shape: nothing of the text is looked at.
  public static let noSearch = Growth("no search") { _ in 0 }
  /// Every entry of the map that is there already is read.
  public static let wholeMap = Growth("n², reads the map") { $0 * $0 }

  /// Whether anything of the text is looked at.
  public var isSearch: Bool { cost(1024) > 0 }
}
