import Canvas

/// A condition on a number of a head: `error>0.1`.
///
/// Example: `NumberFilter("error>0.1")?.holds(0.2)`. Which numbers there are is the affair of the
/// method; the filter knows names only.
public struct NumberFilter: Sendable, Hashable, CustomStringConvertible {
  /// Name of a finding: lower case, digits and `_`.
  public let name: String
  /// Above the limit, or below it.
  public let isAbove: Bool
  /// In the finding's own unit; shares in 0...1.
  public let limit: Double

  /// Reads `name>x` or `name<x`; nil for anything else.
  init?(_ text: String) {
    let squeezed = text.filter { $0 != " " }
    guard let sign = squeezed.firstIndex(where: { $0 == ">" || $0 == "<" }),
      let limit = Double(squeezed[squeezed.index(after: sign)...]), limit.isFinite
    else { return nil }
    let name = String(squeezed[..<sign])
    guard let first = name.first, first.isLetter,
      name.allSatisfy({ $0 == "_" || ($0.isASCII && ($0.isLowercase || $0.isNumber)) })
    else { return nil }
    (self.name, isAbove, self.limit) = (name, squeezed[sign] == ">", limit)
  }

  /// Whether a number lies on the side that is asked for.
  func holds(_ value: Double) -> Bool { isAbove ? value > limit : value < limit }

  /// As it is typed.
  public var description: String { "\(name)\(isAbove ? ">" : "<")\(limit)" }
}
