/// The extent of each axis, outermost first, in elements.
///
/// Example: `Shape([9, 2048, 64]).count == 1179648`. The catch: sizes come from files, so the product is computed with
/// overflow checks once, at `init(checked:)`, and is trusted after that.
public struct Shape: Sendable, Hashable, CustomStringConvertible {
  public let axes: [Int]

  public init(_ axes: [Int]) { self.axes = axes }

  /// Nil when an axis is negative, or the element count times `byteWidth` does not fit in an `Int`.
  public init?(checked axes: [Int], byteWidth: Int) {
    var total = byteWidth
    for axis in axes {
      guard axis >= 0 else { return nil }
      // An empty axis hides no absurd one: strides multiply the others.
      let (product, overflow) = total.multipliedReportingOverflow(by: max(axis, 1))
      guard !overflow else { return nil }
      total = product
    }
    self.axes = axes
  }

  public var rank: Int { axes.count }
  public var count: Int { axes.reduce(1, *) }
  public subscript(_ axis: Int) -> Int { axes[axis < 0 ? axes.count + axis : axis] }

  /// Row-major (C order) strides in elements; column-major when `fortran`.
  public func strides(fortran: Bool = false) -> [Int] {
    var strides = [Int](repeating: 1, count: axes.count)
    let order = fortran ? Array(axes.indices) : Array(axes.indices.reversed())
    var step = 1
    for axis in order {
      strides[axis] = step
      step *= max(axes[axis], 1)
    }
    return strides
  }

  public var description: String {
    axes.isEmpty ? "scalar" : axes.map(String.init).joined(separator: "x")
  }
}
