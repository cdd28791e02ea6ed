public import Tensors

/// One named array of a file, known from the file's directory alone; no element has been
/// read.
public struct ArrayEntry: Sendable, Equatable {
  /// Its name in the file; `arr_0` for a plain npy.
  public let name: String
  /// How its elements are stored.
  public let dtype: DType
  /// Elements along each axis, outermost first.
  public let shape: Shape
}

/// Something in a file that was passed over: nobody needs it, so it stops nothing.
public struct LeftOut: Sendable, Equatable, CustomStringConvertible {
  /// Its name in the file.
  public let name: String
  /// Why it is not read, as a phrase.
  public let why: String

  /// Both, for a list of notes.
  public var description: String { "\(name) was left out: \(why)" }
}

/// A file of named arrays. Opening reads the directory and checks every size against the
/// file; arrays stay on disk.
///
/// Example:
/// `let file = try openArchive("maps.npz"); for e in file.entries { print(e.name, e.shape) }`.
/// The catch: tensors may point into the mapped file, which must not be truncated meanwhile.
public protocol TensorArchive: Sendable {
  /// The file as it was named.
  var path: String { get }
  /// `npy`, `npz`, `safetensors`, `pt`, `pickle`, `text` or `folder`.
  var format: String { get }
  /// In order of name, numbers by value.
  var entries: [ArrayEntry] { get }
  /// The entry of a name; nil when there is none.
  func entry(_ name: String) -> ArrayEntry?
  /// Texts by key; empty for formats that have none.
  var metadata: [String: String] { get }
  /// Sentences about what was guessed while reading (bfloat16 without a name, say).
  var notes: [String] { get }
  /// Sentences about what was not done while reading, and why.
  var remarks: [String] { get }
  /// Members that hold neither numbers nor texts, in order of name.
  var leftOut: [LeftOut] { get }
  /// Names of arrays of texts: tokens, prompts.
  var textNames: [String] { get }
  /// The texts of a name, row-major `[texts]`; nil when there are none.
  func texts(_ name: String) -> [String]?
  /// The array of a name, converted when it is read. Throws `missing` when there is none, and
  /// whatever inflating it throws.
  func tensor(_ name: String) throws(FormatError) -> Tensor
  /// The first rows of an array, cheaply, for a look at its content; may hold fewer elements
  /// than asked. Throws as `tensor` does.
  func sample(_ name: String, elements: Int) throws(FormatError) -> [Float]
}

extension TensorArchive {
  /// Most formats leave nothing to guess.
  public var notes: [String] { [] }
  public var remarks: [String] { [] }
  public var leftOut: [LeftOut] { [] }
  public var textNames: [String] { [] }
  public func texts(_ name: String) -> [String]? { nil }

  /// Looks through the list: names are few.
  public func entry(_ name: String) -> ArrayEntry? { entries.first { $0.name == name } }
}

/// How bytes without a name are to be read; each field is a flag of the commands.
public struct ArchiveOptions: Sendable {
  /// Read two-byte integers as bfloat16 (numpy has no name for it).
  public var bfloat16: Bool
  /// Which request of a recorded batch, from 0; nil: the first.
  public var request: Int?

  /// Options for one file; nothing is reinterpreted unless asked.
  public init(bfloat16: Bool = false, request: Int? = nil) {
    (self.bfloat16, self.request) = (bfloat16, request)
  }
}

/// Orders names so that `layers.9` stands before `layers.12`: runs of digits compare as
/// numbers.
func naturalOrder(_ a: String, _ b: String) -> Bool { naturalKey(a) < naturalKey(b) }

/// Many things in the natural order of their names, each of which is taken apart once.
func sortedNaturally<T>(_ items: [T], by name: (T) -> String) -> [T] {
  items.map { (naturalKey(name($0)), $0) }.sorted { $0.0 < $1.0 }.map(\.1)
}

/// A text whose plain order is the natural order of the name: the runs of letters and digits of
/// `nameParts`, each with a mark at its end, and before a number's digits how many they are.
private func naturalKey(_ name: String) -> String {
  var key: [UInt8] = []
  for part in nameParts(name) {
    let text = part.utf8
    if text.first! <= UInt8(ascii: "9") {
      let digits = text.drop { $0 == UInt8(ascii: "0") }
      let count = min(digits.count, 96 * 96 - 1)
      key += [UInt8(ascii: "0"), 32 + UInt8(count / 96), 32 + UInt8(count % 96)] + digits
    } else {
      key += text
    }
    key.append(1)
  }
  return String(decoding: key, as: UTF8.self)
}

/// The runs of letters and the runs of digits of a name, lower-cased; all else separates
/// them. `hook_q` is `hook`, `q`, and `q2` is `q`, `2`.
func nameParts(_ name: String) -> [String] {
  var parts: [String] = []
  var last = 0
  for character in name.lowercased().unicodeScalars {
    let kind = ("0"..."9").contains(character) ? 1 : (("a"..."z").contains(character) ? 2 : 0)
    if kind != 0 {
      if kind == last {
        parts[parts.count - 1].unicodeScalars.append(character)
      } else {
        parts.append(String(character))
      }
    }
    last = kind
  }
  return parts
}
