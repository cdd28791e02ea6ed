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

/// A file of named arrays. Opening reads the directory and checks every size against the
/// file; arrays stay on disk.
///
/// Example:
/// `let file = try openArchive("maps.npz"); for e in file.entries { print(e.name, e.shape) }`.
/// The catch: tensors may point into the mapped file, which must not be truncated meanwhile.
public protocol TensorArchive: Sendable {
  /// The file as it was named.
  var path: String { get }
  /// `npy`, `npz` or `safetensors`.
  var format: String { get }
  /// In order of name, numbers by value.
  var entries: [ArrayEntry] { get }
  /// Texts by key; empty for formats that have none.
  var metadata: [String: String] { get }
  /// Sentences about what was guessed while reading (bfloat16 without a name, say).
  var notes: [String] { get }
  /// Sentences about what was not done while reading, and why.
  var remarks: [String] { get }
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

  /// The entry of a name; nil when there is none. Looks through the list: names are few.
  public func entry(_ name: String) -> ArrayEntry? { entries.first { $0.name == name } }
}

/// How bytes without a name are to be read; each field is a flag of the commands.
public struct ArchiveOptions: Sendable {
  /// Read two-byte integers as bfloat16 (numpy has no name for it).
  public var bfloat16: Bool

  /// Options for one file; nothing is reinterpreted unless asked.
  public init(bfloat16: Bool = false) { self.bfloat16 = bfloat16 }
}

/// Opens a file by what its first bytes say it is; its name does not matter.
///
/// Throws `missing`, `notAFile`, `empty` or `unreadable` from the mapping, what the format's
/// own reader throws, and `unsupported` for everything else, with the way out when the format
/// is a known one.
public func openArchive(_ path: String, options: ArchiveOptions = .init()) throws(FormatError)
  -> any TensorArchive
{
  let file = try MappedFile(path)
  let bytes = file.bytes
  if bytes.starts(with: NpyHeader.magic) { return try NpyFile(file, options: options) }
  if bytes.starts(with: [0x50, 0x4b, 3, 4]) || bytes.starts(with: [0x50, 0x4b, 5, 6]) {
    return try NpzArchive(file, options: options)
  }
  if let refusal = knownButUnsupported(bytes) {
    throw FormatError(.unsupported, refusal, file: path)
  }
  if bytes.count >= 9, bytes[8] == UInt8(ascii: "{") { return try SafetensorsFile(file) }
  if bytes.count < 16 {
    throw FormatError(
      .truncated, "only \(bytes.count) bytes, too short for any format; copy it again", file: path)
  }
  throw FormatError(
    .unsupported,
    """
    not a safetensors, npy or npz file; save arrays with numpy.savez or \
    safetensors.numpy.save_file
    """,
    file: path)
}

/// What to tell somebody who brings a file of a format that is recognised and not read; nil
/// for the unknown.
private func knownButUnsupported(_ bytes: UnsafeRawBufferPointer) -> String? {
  let resave = "load it where it was made and save arrays with numpy.savez or safetensors"
  if bytes.starts(with: Array("GGUF".utf8)) {
    return
      """
      this is a GGUF model, not an attention dump; attnscope run --model runs it, attnscope \
      capture makes a dump
      """
  }
  if bytes.starts(with: [0x89] + Array("HDF".utf8)) {
    return "this is HDF5, which is not read; \(resave)"
  }
  if bytes.starts(with: [0x80, 2]) || bytes.starts(with: [0x80, 4]) {
    return "this is a Python pickle, which is never executed here; \(resave)"
  }
  guard let first = bytes.first(where: { ![9, 10, 13, 32].contains($0) }) else { return nil }
  if bytes[0] == first, first == UInt8(ascii: "{") || first == UInt8(ascii: "[") {
    return "this is JSON text, which is not read yet; \(resave)"
  }
  return nil
}

/// Orders names so that `layers.9` stands before `layers.12`: runs of digits compare as
/// numbers.
func naturalOrder(_ a: String, _ b: String) -> Bool {
  let x = nameParts(a), y = nameParts(b)
  for (p, q) in zip(x, y) where p != q {
    if let m = Int(p), let n = Int(q) { return m < n }
    return p < q
  }
  return x.count < y.count
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
