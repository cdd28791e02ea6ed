/// A dense matrix of doubles, row by row: element (i, j) is `elements[i * columns + j]`.
///
/// Example: `Matrix(rows: 2, columns: 3) { i, j in Double(i + j) }`. A matrix may have no rows or
/// no columns. Memory 8 bytes an element; a copy is shared until one of the two is changed.
public struct Matrix: Sendable, Equatable {
  /// How many rows, 0 or more.
  public let rows: Int
  /// How many columns, 0 or more.
  public let columns: Int
  /// `[rows * columns]`, row by row.
  public var elements: [Double]

  /// Takes elements row by row: `[rows][columns]`.
  public init(rows: Int, columns: Int, elements: [Double]) {
    precondition(rows >= 0 && columns >= 0, "a matrix of negative size")
    precondition(elements.count == rows * columns, "elements do not fill the matrix")
    (self.rows, self.columns, self.elements) = (rows, columns, elements)
  }

  /// Fills with one value.
  public init(rows: Int, columns: Int, repeating value: Double = 0) {
    precondition(rows >= 0 && columns >= 0, "a matrix of negative size")
    self.init(
      rows: rows, columns: columns, elements: [Double](repeating: value, count: rows * columns))
  }

  /// Asks for every element, row by row.
  public init(rows: Int, columns: Int, _ element: (_ row: Int, _ column: Int) -> Double) {
    self.init(rows: rows, columns: columns)
    for i in 0..<rows {
      for j in 0..<columns { elements[i * columns + j] = element(i, j) }
    }
  }

  /// Ones on the diagonal: `[order][order]`.
  public static func identity(_ order: Int) -> Matrix {
    Matrix(rows: order, columns: order) { $0 == $1 ? 1 : 0 }
  }

  /// One element; traps outside the matrix.
  @inlinable public subscript(row: Int, column: Int) -> Double {
    get {
      precondition(row >= 0 && row < rows && column >= 0 && column < columns, "outside the matrix")
      return elements[row * columns + column]
    }
    set {
      precondition(row >= 0 && row < rows && column >= 0 && column < columns, "outside the matrix")
      elements[row * columns + column] = newValue
    }
  }

  /// A copy of one row: `[columns]`.
  public func row(_ index: Int) -> [Double] {
    Array(elements[index * columns..<(index + 1) * columns])
  }

  /// The mirror image: `[columns][rows]`, in tiles so that both sides stay in cache.
  public func transposed() -> Matrix {
    let tile = 16, rows = rows, columns = columns
    var result = Matrix(rows: columns, columns: rows)
    result.elements.withUnsafeMutableBufferPointer { to in
      elements.withUnsafeBufferPointer { from in
        for top in stride(from: 0, to: rows, by: tile) {
          for left in stride(from: 0, to: columns, by: tile) {
            for i in top..<min(top + tile, rows) {
              for j in left..<min(left + tile, columns) { to[j * rows + i] = from[i * columns + j] }
            }
          }
        }
      }
    }
    return result
  }

  /// A^T A: `[columns][columns]`, symmetric to the last bit; rows · columns² multiplications.
  public func gram() -> Matrix { transposed().multiplied(by: self) }

  /// The root of the sum of squares; neither overflows nor underflows on the way.
  public var frobeniusNorm: Double {
    let scale = largestMagnitude
    guard scale > 0 && scale.isFinite else { return scale }
    return scale * elements.reduce(0) { $0 + ($1 / scale) * ($1 / scale) }.squareRoot()
  }

  /// The largest |element|; 0 without elements, NaN where an element is NaN.
  public var largestMagnitude: Double {
    var largest = 0.0
    for element in elements {
      if element.isNaN { return element }
      largest = max(largest, element.magnitude)
    }
    return largest
  }

  /// Throws `AlgebraError.notFinite` at the first element that is infinite or NaN.
  func requireFinite() throws(AlgebraError) {
    guard let index = elements.firstIndex(where: { !$0.isFinite }) else { return }
    throw .notFinite(row: index / columns, column: index % columns)
  }

  /// The matrix over a power of two that brings its largest |element| to 1..<2, and that power; a
  /// zero matrix as it is.
  func scaled() -> (matrix: Matrix, scale: Double) {
    let largest = largestMagnitude
    guard largest > 0 && largest.isFinite else { return (self, 1) }
    let scale = Double(sign: .plus, exponent: largest.exponent, significand: 1)
    return (Matrix(rows: rows, columns: columns, elements: elements.map { $0 / scale }), scale)
  }
}
