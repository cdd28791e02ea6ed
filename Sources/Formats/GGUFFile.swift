import Tensors

/// A `.gguf` model file, version 2 or 3: metadata, a directory of tensors, and their mapped data.
///
/// Example: `let file = try GGUFFile("model.gguf"); file.tensors["token_embd.weight"]`.
/// Checked before anything is used: every count and length against what is left of the file,
/// every name once and not empty, every tensor's shape against its type's blocks, its offset
/// against the alignment, its end against the file and its bytes against the other tensors'. The
/// catch: what a key's value means is not known here. The layout is that of the GGUF specification
/// (ggml, 2023).
public struct GGUFFile: Sendable {
  /// The mapping that all tensors point into.
  public let file: MappedFile
  /// 2 or 3, which differ only in byte order being allowed to vary.
  public let version: Int
  /// By key, `general.architecture` for instance; arrays still in the file.
  public let metadata: [String: GGUFValue]
  /// By name, `blk.0.attn_q.weight` for instance.
  public let tensors: [String: GGUFTensor]

  /// The file as it was named.
  public var path: String { file.path }

  /// Opens and checks a model; costs its head, not its weights. Throws `missing`, `notAFile`
  /// or `unreadable` from the mapping, `unsupported` for another format, version or weight
  /// type, `truncated` when something runs past the end, `malformed` when a name stands twice or
  /// is empty, a shape cannot be or two tensors overlap.
  public init(_ path: String) throws(FormatError) {
    let file = try MappedFile(path)
    var cursor = Cursor(file)
    guard file.bytes.starts(with: Array("GGUF".utf8)) else {
      throw FormatError(
        .unsupported, "not a GGUF model: it does not begin with GGUF; name a .gguf file", file: path
      )
    }
    cursor.at = 4
    version = try Self.version(&cursor)
    let tensorCount = try cursor.count(atLeast: 24, "tensors")
    let pairCount = try cursor.count(atLeast: 13, "metadata entries")
    var metadata: [String: GGUFValue] = [:]
    metadata.reserveCapacity(pairCount)
    for _ in 0..<pairCount {
      let key = try cursor.name("a metadata key", most: 65_535)
      let value = try cursor.value(key)
      guard metadata.updateValue(value, forKey: key) == nil else {
        throw FormatError(
          .malformed, "stands twice in the metadata; the file is damaged", file: path, place: key)
      }
    }
    self.metadata = metadata
    var tensors: [String: GGUFTensor] = [:]
    tensors.reserveCapacity(tensorCount)
    for _ in 0..<tensorCount {
      let tensor = try Self.entry(&cursor)
      guard tensors.updateValue(tensor, forKey: tensor.name) == nil else {
        throw FormatError(
          .malformed, "stands twice among the tensors; the file is damaged", file: path,
          place: tensor.name)
      }
    }
    let alignment = try Self.alignment(metadata, path)
    let dataStart = (cursor.at + alignment - 1) / alignment * alignment
    for (name, tensor) in tensors {
      tensors[name] = try Self.placed(tensor, dataStart, alignment, file)
    }
    try Self.checkOverlap(tensors.values.sorted { $0.offset < $1.offset }, path)
    self.tensors = tensors
    self.file = file
  }

  /// A number that makes sense only with its bytes swapped is a big-endian file, which
  /// deserves a message of its own.
  private static func version(_ cursor: inout Cursor) throws(FormatError) -> Int {
    let number = try cursor.integer(UInt32.self, "the version")
    guard number == 2 || number == 3 else {
      let isSwapped = [2, 3].contains(number.byteSwapped)
      throw FormatError(
        .unsupported,
        isSwapped
          ? "big-endian GGUF, which is not read; convert it for a little-endian machine"
          : "GGUF version \(number); versions 2 and 3 are read, convert the model again",
        file: cursor.file.path)
    }
    return Int(number)
  }

  /// Bytes that tensor offsets are multiples of: the metadata's power of two, or 32.
  private static func alignment(_ metadata: [String: GGUFValue], _ path: String)
    throws(FormatError) -> Int
  {
    guard let value = metadata["general.alignment"] else { return 32 }
    guard case .integer(let bytes) = value, bytes >= 1, bytes <= 1 << 20, bytes & (bytes - 1) == 0
    else {
      throw FormatError(
        .malformed, "an alignment must be a power of two; the file is damaged", file: path,
        place: "general.alignment")
    }
    return bytes
  }

  /// A directory entry; its offset is still counted from the start of the data.
  private static func entry(_ cursor: inout Cursor) throws(FormatError) -> GGUFTensor {
    let path = cursor.file.path
    let name = try cursor.name("a tensor's name", most: 1024)
    let rank = try cursor.integer(UInt32.self, "the rank of \(name)")
    guard (1...4).contains(rank) else {
      throw FormatError(
        .malformed, "has \(rank) axes, and 1 to 4 are possible; the file is damaged", file: path,
        place: name)
    }
    var extents: [Int] = []
    for _ in 0..<rank {
      extents.append(Int(clamping: try cursor.integer(UInt64.self, "the shape of \(name)")))
    }
    let number = try cursor.integer(UInt32.self, "the type of \(name)")
    guard let type = WeightType(rawValue: number) else {
      let known = WeightType.allCases.map(\.name).joined(separator: ", ")
      throw FormatError(
        .unsupported,
        """
        is of type \(WeightType.name(of: number)), which is not read; quantise the model to one of \
        \(known)
        """,
        file: path, place: name)
    }
    let offset = Int(clamping: try cursor.integer(UInt64.self, "the offset of \(name)"))
    let shape = extents.map(String.init).joined(separator: "x")
    guard Shape(checked: extents, byteWidth: 8) != nil, !extents.contains(0) else {
      throw FormatError(
        .malformed, "has the absurd shape \(shape); the file is damaged", file: path, place: name)
    }
    guard extents[0] % type.block == 0 else {
      throw FormatError(
        .malformed,
        "\(shape) of \(type.name): a row must be a multiple of \(type.block); the file is damaged",
        file: path, place: name)
    }
    return GGUFTensor(name: name, type: type, extents: extents, offset: offset)
  }

  /// The entry with its offset counted from the start of the file, once it is known to end
  /// inside it.
  private static func placed(
    _ tensor: GGUFTensor, _ dataStart: Int, _ alignment: Int, _ file: MappedFile
  ) throws(FormatError) -> GGUFTensor {
    guard tensor.offset % alignment == 0 else {
      throw FormatError(
        .malformed,
        "begins at \(tensor.offset), which is not a multiple of \(alignment); the file is damaged",
        file: file.path, place: tensor.name)
    }
    let room = file.bytes.count - dataStart
    guard tensor.offset <= room, tensor.byteCount <= room - tensor.offset else {
      throw FormatError(
        .truncated,
        """
        needs \(tensor.byteCount) bytes from \(tensor.offset) on and the file has \(max(room, 0)): \
        it is truncated; download it again
        """,
        file: file.path, place: tensor.name)
    }
    return GGUFTensor(
      name: tensor.name, type: tensor.type, extents: tensor.extents,
      offset: dataStart + tensor.offset)
  }

  /// In the order of their places. Throws `malformed` where two have bytes in common.
  private static func checkOverlap(_ tensors: [GGUFTensor], _ path: String) throws(FormatError) {
    for (a, b) in zip(tensors, tensors.dropFirst()) where a.offset + a.byteCount > b.offset {
      throw FormatError(
        .malformed, "its bytes overlap those of \(b.name); the file is damaged, download it again",
        file: path, place: a.name)
    }
  }

  /// The tensor's bytes in the mapped file, valid as long as the file is held.
  public func bytes(_ tensor: GGUFTensor) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(
      rebasing: file.bytes[tensor.offset..<tensor.offset + tensor.byteCount])
  }
}

/// Reads the head of a GGUF file from front to back, and never past its end.
private struct Cursor {
  let file: MappedFile
  var at = 0

  init(_ file: MappedFile) { self.file = file }

  /// What `what` would need is not there any more.
  private func truncated(_ what: String) -> FormatError {
    FormatError(
      .truncated, "\(what) runs past the end of the file; download it again", file: file.path,
      place: "byte \(at)")
  }

  /// The next little-endian integer. Throws `truncated` at the end of the file.
  mutating func integer<T: FixedWidthInteger>(_ type: T.Type, _ what: String) throws(FormatError)
    -> T
  {
    guard let value = file.bytes.integer(type, at: at) else { throw truncated(what) }
    at += MemoryLayout<T>.size
    return value
  }

  /// A number of things that take at least so many bytes each. A lying count is refused here,
  /// before anything is reserved for it. Throws `truncated`.
  mutating func count(atLeast bytes: Int, _ what: String) throws(FormatError) -> Int {
    let number = try integer(UInt64.self, "the number of \(what)")
    guard number <= UInt64((file.bytes.count - at) / bytes) else {
      throw FormatError(
        .truncated, "\(number) \(what) do not fit in the file; it is damaged, download it again",
        file: file.path, place: "byte \(at - 8)")
    }
    return Int(number)
  }

  /// The next string, its length in front. Throws `truncated` when it is longer than the file
  /// or than `most` bytes.
  mutating func text(_ what: String, most: Int = .max) throws(FormatError) -> String {
    let length = try integer(UInt64.self, what)
    guard length <= UInt64(min(most, file.bytes.count - at)) else { throw truncated(what) }
    defer { at += Int(length) }
    return file.bytes.text(at..<at + Int(length))
  }

  /// The next string, which names something. Throws as `text` does, and `malformed` when it is
  /// empty.
  mutating func name(_ what: String, most: Int) throws(FormatError) -> String {
    let start = at, name = try text(what, most: most)
    guard !name.isEmpty else {
      throw FormatError(
        .malformed, "\(what) is empty; the file is damaged, download it again", file: file.path,
        place: "byte \(start)")
    }
    return name
  }

  /// The next metadata value, its type in front. Throws `truncated`, `malformed` for an
  /// unknown type, `unsupported` for nested arrays.
  mutating func value(_ key: String) throws(FormatError) -> GGUFValue {
    let type = try self.type(key)
    switch type {
    case .text: return .text(try text(key))
    case .array: return .array(try array(key))
    default:
      guard let value = type.scalar(file.bytes, at: at), let width = type.width else {
        throw truncated(key)
      }
      at += width
      return value
    }
  }

  /// A type number, refused unless it is one of the format's thirteen.
  private mutating func type(_ key: String) throws(FormatError) -> GGUFType {
    let number = try integer(UInt32.self, key)
    guard let type = GGUFType(rawValue: number) else {
      throw FormatError(
        .malformed, "is of the unknown type \(number); the file is damaged", file: file.path,
        place: key)
    }
    return type
  }

  /// Steps over an array and remembers where it lies: vocabularies have a hundred thousand
  /// strings that most commands never look at. Strings must be walked, numbers are one step.
  private mutating func array(_ key: String) throws(FormatError) -> GGUFArray {
    let type = try self.type(key)
    guard type != .array else {
      throw FormatError(
        .unsupported, "is an array of arrays, which no known model has", file: file.path, place: key
      )
    }
    let count = try self.count(atLeast: type.width ?? 8, "elements of \(key)")
    let start = at
    if let width = type.width {
      at += count * width
    } else {
      for _ in 0..<count {
        let length = try integer(UInt64.self, key)
        guard length <= UInt64(file.bytes.count - at) else { throw truncated(key) }
        at += Int(length)
      }
    }
    return GGUFArray(file: file, type: type, count: count, range: start..<at)
  }
}
