import Tensors

/// Where a value lies in a `PickleHeap`.
typealias PickleRef = Int

/// Bytes of a pickle: a stretch of the stream itself, or decoded ones.
enum PickleBytes {
  /// Bytes from the start of the storage that the pickle lies in.
  case place(Range<Int>)
  /// Shared by all arrays that are made of it.
  case own(Storage)
}

/// What one value of a pickle is. Nothing here acts: an object of a class that is not known
/// is its name and what it was made from.
enum PickleValue {
  case none
  case bool(Bool)
  case int(Int)
  case double(Double)
  case text(String)
  case bytes(PickleBytes)
  case tuple([PickleRef])
  case list([PickleRef])
  case dict([(key: PickleRef, value: PickleRef)])
  /// A class or a function, `module.name`: a name and nothing else.
  case global(String)
  /// What a persistent id stands for, torch's storages.
  case persistent(PickleRef)
  /// An element type of numpy, `<f4`.
  case elementType(String)
  // The largest lies apart, or every number would be as large.
  indirect case array(PickledArray)
  /// A thing of a class that is not known here.
  case object(PickledObject)
}

/// A thing that was not made: the class it would be of, and what it would be made from.
struct PickledObject {
  let name: String
  var arguments: [PickleRef]
  var state: PickleRef?
  var items: [PickleRef] = []
  var pairs: [(key: PickleRef, value: PickleRef)] = []
}

/// An array in a pickle, its claims unchecked: `PickledTensors` holds them against the bytes.
struct PickledArray {
  /// Where its elements are.
  enum Source {
    /// A storage of torch, by key.
    case storage(String)
    case bytes(PickleBytes)
  }

  /// torch's or numpy's name of the element type: `FloatStorage`, `float32`, `<f4`.
  let type: String
  /// Elements along each axis, outermost first.
  let shape: [Int]
  /// Elements between neighbours along each axis; nil: row-major.
  let strides: [Int]?
  let isFortran: Bool
  /// Elements before the first one.
  let offset: Int
  let source: Source
}

/// All values of one pickle, by number.
///
/// Values name each other by number, so that a pickle which holds itself, or is nested a
/// million deep, is neither a cycle of references nor a stack that overflows. Memory: one
/// value an opcode, and `most` of them.
struct PickleHeap {
  /// Values that a pickle may make: dumps make some thousands.
  static let most = 1 << 22

  private(set) var values: [PickleValue] = [.none, .bool(false), .bool(true)]

  subscript(_ ref: PickleRef) -> PickleValue {
    get { values[ref] }
    set { values[ref] = newValue }
  }

  /// Keeps a value; the three that every pickle repeats are kept once. Nil: too many.
  mutating func add(_ value: PickleValue) -> PickleRef? {
    switch value {
    case .none: return 0
    case .bool(let yes): return yes ? 2 : 1
    default:
      guard values.count < Self.most else { return nil }
      values.append(value)
      return values.count - 1
    }
  }

  /// Bytes of a value without those of what it names.
  func size(_ ref: PickleRef) -> Int {
    switch values[ref] {
    case .text(let text): text.utf8.count
    case .tuple(let refs), .list(let refs): 8 * refs.count
    case .dict(let pairs): 16 * pairs.count
    case .object(let object):
      8 * (object.arguments.count + object.items.count) + 16 * object.pairs.count
    default: 8
    }
  }

  func text(_ ref: PickleRef) -> String? {
    if case .text(let text) = values[ref] { return text }
    return nil
  }

  func int(_ ref: PickleRef) -> Int? {
    switch values[ref] {
    case .int(let value): return value
    case .bool(let value): return value ? 1 : 0
    default: return nil
    }
  }

  func global(_ ref: PickleRef) -> String? {
    if case .global(let name) = values[ref] { return name }
    return nil
  }

  /// The members of a tuple or a list; nil for anything else.
  func members(_ ref: PickleRef) -> [PickleRef]? {
    switch values[ref] {
    case .tuple(let refs), .list(let refs): return refs
    default: return nil
    }
  }

  /// A tuple or a list of whole numbers; nil for anything else.
  func integers(_ ref: PickleRef) -> [Int]? {
    guard let refs = members(ref) else { return nil }
    let numbers = refs.compactMap(int)
    return numbers.count == refs.count ? numbers : nil
  }
}
