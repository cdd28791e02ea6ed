/// A layer as its file or its model calls it: 12 for the array `layers.12.q`.
///
/// This is what a person reads and types, and what stands in the names of arrays. Where a layer
/// lies among those that are there is its `LayerIndex`; a file of the layers 0, 12 and 18 has the
/// indices 0, 1 and 2. The compiler refuses one for the other, and a list of numbers (those of a
/// `SourceDescription`, say) makes one of the other.
public struct LayerNumber: Hashable, Comparable, Sendable {
  /// The number itself, at least 0.
  public let value: Int

  /// Nothing is checked: a source says which numbers it has.
  public init(_ value: Int) { self.value = value }

  /// The order of files.
  public static func < (a: LayerNumber, b: LayerNumber) -> Bool { a.value < b.value }
}

extension LayerNumber: ExpressibleByIntegerLiteral, LosslessStringConvertible {
  /// A number that is written out.
  public init(integerLiteral value: Int) { self.init(value) }

  /// Reads digits; nil for anything else.
  public init?(_ description: String) {
    guard let value = Int(description) else { return nil }
    self.init(value)
  }

  /// Its digits alone.
  public var description: String { "\(value)" }
}

/// A layer's place among the layers that are there, from 0.
///
/// It has no text of its own: what is said to a person is the layer's `LayerNumber`.
public struct LayerIndex: Hashable, Comparable, Sendable {
  /// Into an array with an element a layer.
  public var value: Int

  /// Nothing is checked: a source says which it has.
  public init(_ value: Int) { self.value = value }

  /// The order of files.
  public static func < (a: LayerIndex, b: LayerIndex) -> Bool { a.value < b.value }
}

extension LayerIndex: ExpressibleByIntegerLiteral {
  /// An index that is written out.
  public init(integerLiteral value: Int) { self.init(value) }
}

/// The one place where a number becomes an index, and an index a number.
extension [LayerNumber] {
  /// The numbers of a model of so many layers: it counts from 0, and leaves none out.
  public static func counted(_ layers: Int) -> [LayerNumber] {
    (0..<layers).map { LayerNumber($0) }
  }

  /// The index of every layer, in order.
  public var layerIndices: [LayerIndex] { indices.map { LayerIndex($0) } }

  /// Whether there is a layer at an index.
  public func has(_ index: LayerIndex) -> Bool { indices.contains(index.value) }

  /// The number of the layer at an index; traps when there is none.
  public subscript(index: LayerIndex) -> LayerNumber { self[index.value] }

  /// Where the layer of a number is; nil when it is not there.
  public func index(of number: LayerNumber) -> LayerIndex? {
    firstIndex(of: number).map { LayerIndex($0) }
  }
}
