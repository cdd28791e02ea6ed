/// The extent of each axis, outermost first, in elements.
///
/// Example: `Shape([9, 2048, 64]).count == 1179648`. The catch: sizes come from files, so the
/// product is computed with overflow checks once, at `init(checked:)`, and is trusted after
/// that. A shape without axes is a scalar and has one element.
public struct Shape: Sendable, Hashable, CustomStringConvertible {
  /// Elements along each axis; never negative when it came through `init(checked:)`.
  public let axes: [Int]

  /// Takes the axes as they are: for sizes the program made itself, not for those a file
  /// claims.
  public init(_ axes: [Int]) { self.axes = axes }

  /// Nil when an axis is negative, or the element count times `byteWidth` (bytes of an
  /// element) does not fit in an `Int`.
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

  /// The number of axes.
  public var rank: Int { axes.count }
  /// The number of elements; 1 for a scalar, 0 when any axis is empty.
  public var count: Int { axes.reduce(1, *) }
  /// Elements along one axis; -1 is the last, -2 the one before it. Traps beyond the rank.
  public subscript(_ axis: Int) -> Int { axes[axis < 0 ? axes.count + axis : axis] }

  /// Row-major (C order) strides in elements; column-major when `fortran`. An empty axis
  /// counts as one element long, so strides stay positive.
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

  /// `9x2048x64`, as messages print it.
  public var description: String {
    axes.isEmpty ? "scalar" : axes.map(String.init).joined(separator: "x")
  }
}
