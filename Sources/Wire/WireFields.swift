import Attention
import Formats
import FoundationEssentials
import Tensors

/// The metadata and arrays of a frame, read with bounds: every fault names the frame, the key, and
/// what was expected.
struct WireFields {
  /// Whose fields.
  let frame: WireFrame
  /// `step 12`, or the kind alone.
  private let place: String

  /// Of one frame.
  init(_ frame: WireFrame) {
    self.frame = frame
    place = frame.kind.rawValue + (frame.seq.map { " \($0)" } ?? "")
  }

  /// A sentence about this frame.
  func fault(_ what: String) -> FormatError {
    FormatError(.malformed, "\(what); WIRE.md says what is due", file: "the stream", place: place)
  }

  /// A text of at most so many characters; nil where there is none.
  func text(_ key: String, most: Int = 200) -> String? {
    frame.metadata[key].map { String($0.prefix(most)) }
  }

  /// A whole number within bounds; nil where there is none. Throws for anything else.
  func number(_ key: String, _ bounds: ClosedRange<Int>) throws(FormatError) -> Int? {
    guard let text = frame.metadata[key] else { return nil }
    guard let value = Int(text), bounds.contains(value) else {
      throw fault(
        "\"\(key)\" is \(text.prefix(24)), not \(bounds.lowerBound) to "
          + "\(bounds.upperBound)")
    }
    return value
  }

  /// The same where it must be there.
  func needed(_ key: String, _ bounds: ClosedRange<Int>) throws(FormatError) -> Int {
    guard let value = try number(key, bounds) else { throw fault("\"\(key)\" is missing") }
    return value
  }

  /// A finite number; nil where there is none.
  func real(_ key: String) throws(FormatError) -> Double? {
    guard let text = frame.metadata[key] else { return nil }
    guard let value = Double(text), value.isFinite else {
      throw fault("\"\(key)\" is \(text.prefix(24)), not a finite number")
    }
    return value
  }

  /// JSON of a type; nil where there is none.
  func json<T: Decodable>(_ key: String, _ type: T.Type) throws(FormatError) -> T? {
    guard let text = frame.metadata[key] else { return nil }
    guard let value = try? JSONDecoder().decode(type, from: Data(text.utf8)) else {
      throw fault("\"\(key)\" is not the JSON that is due")
    }
    return value
  }

  /// A tile from `tile` or another key, and `vote`, `order`, `criterion` and `splits` with the same
  /// prefix; nil without its sides.
  func tile(_ key: String = "tile", prefix: String = "") throws(FormatError) -> TileSpec? {
    guard let text = frame.metadata[key] else { return nil }
    guard let sides = TileSpec.sides(text) else {
      throw fault("\"\(key)\" is \(text.prefix(24)), not rows x keys such as 128x64")
    }
    func word<T: RawRepresentable>(_ name: String, _ standard: T) throws(FormatError) -> T
    where T.RawValue == String {
      guard let text = frame.metadata[prefix + name] ?? frame.metadata[name] else {
        return standard
      }
      guard let value = T(rawValue: text) else {
        throw fault("\"\(prefix + name)\" is \(text.prefix(24))")
      }
      return value
    }
    return TileSpec(
      rows: sides.rows, keys: sides.keys, vote: try word("vote", Vote.head),
      order: try word("order", Order.ascending), criterion: try word("criterion", Criterion.max),
      splits: try number("splits", 1...1 << 16) ?? 1)
  }

  /// An array of a shape; nil where there is none. Throws where it has another.
  func array(_ name: String, _ axes: [Int]) throws(FormatError) -> Tensor? {
    guard let entry = frame.archive.entry(name) else { return nil }
    guard entry.shape == Shape(axes) else {
      throw fault("\(name) is \(entry.shape), not \(Shape(axes))")
    }
    return try frame.archive.tensor(name)
  }

  /// A list of whole numbers; nil where there is none. Throws beyond `most` of them.
  func integers(_ name: String, most: Int) throws(FormatError) -> [Int]? {
    guard let entry = frame.archive.entry(name) else { return nil }
    guard entry.shape.rank == 1, entry.shape.count <= most, !entry.dtype.isFloat else {
      throw fault(
        "\(name) is \(entry.shape) of \(entry.dtype.rawValue), not a list of whole "
          + "numbers, \(most) at most")
    }
    return try frame.archive.tensor(name).integers()
  }
}
