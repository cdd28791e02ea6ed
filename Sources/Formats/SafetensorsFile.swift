import Tensors

/// A `.safetensors` file: eight bytes of header length, a JSON header, and the data.
///
/// Checked before anything is used: the header lies inside the file, every name stands once,
/// every tensor's range is as long as its shape says and ends inside the file, and the ranges
/// follow one another from the first byte of the data to the last, as the format demands. The
/// catch: offsets need not be aligned to the element, so nothing may be loaded through a typed
/// pointer. The layout is that of the safetensors format (Hugging Face, 2022).
struct SafetensorsFile: TensorArchive {
  /// A mapped file, or bytes in memory.
  let file: Storage
  let path: String
  /// By name, numbers by value.
  let entries: [ArrayEntry]
  /// Tensors of element types that are not read.
  let leftOut: [LeftOut]
  /// The header's `__metadata__`.
  let metadata: [String: String]
  /// Each tensor, and the bytes from the start of the mapping to its data.
  private let places: [String: (entry: ArrayEntry, offset: Int)]

  var format: String { "safetensors" }

  /// A larger header is not a dump's: 131072 tokens with their texts are under two megabytes.
  static let largestHeader = 32 << 20

  /// Where this file ends, when others follow it in the same mapping.
  let end: Int

  /// A tensor's bytes, counted from the start of the data.
  private typealias Span = (range: Range<Int>, name: String)

  /// `start` is where the file begins in the mapping, in bytes: recordings are files one
  /// after another, and others follow a part of one. Throws `truncated` when header or data run
  /// past the end, `tooLarge` for a header over 32 MiB, `malformed` when it is not JSON, a name
  /// stands twice or ranges lie, overlap or leave bytes out, `unsupported` when no element type is
  /// known.
  init(_ file: MappedFile, at start: Int = 0, isPart: Bool = false) throws(FormatError) {
    try self.init(file, path: file.path, at: start, isPart: isPart)
  }

  /// The same of any bytes; `path` is for messages.
  init(
    _ file: Storage, path: String, at start: Int = 0, isPart: Bool = false
  ) throws(FormatError) {
    (self.file, self.path) = (file, path)
    let (header, dataStart) = try Self.header(file, path: path, at: start)
    metadata = header.metadata
    let dataBytes = file.bytes.count - dataStart
    var places: [String: (entry: ArrayEntry, offset: Int)] = [:]
    var entries: [ArrayEntry] = []
    var spans: [Span] = []
    var refusal: FormatError?, leftOut: [LeftOut] = []
    for item in header.tensors {
      let range = try Self.range(item, dataBytes: dataBytes, path: path)
      spans.append((range, item.name))
      do throws(FormatError) {
        let entry = try Self.check(item, range, path: path)
        entries.append(entry)
        places[item.name] = (entry, dataStart + range.lowerBound)
      } catch {
        guard error.code == .unsupported else { throw error }
        refusal = refusal ?? error
        leftOut.append(LeftOut(name: item.name, why: error.message))
      }
    }
    let used = try Self.used(spans, path: path)
    // Others follow a part, and the first part of a recording that is opened as a file.
    guard isPart || used == dataBytes || metadata["kind"] == "prefill" else {
      throw FormatError(
        .malformed,
        """
        \(dataBytes - used) bytes behind the last tensor belong to none, which the format forbids; \
        save the file again
        """,
        file: path, place: "byte \(dataStart + used)")
    }
    if entries.isEmpty, let refusal { throw refusal }
    self.leftOut = sortedNaturally(leftOut, by: \.name)
    self.places = places
    end = dataStart + used
    self.entries = sortedNaturally(entries, by: \.name)
  }

  /// How many bytes the tensors take, one after another. Throws `malformed` where two overlap or
  /// bytes between them belong to none.
  private static func used(_ spans: [Span], path: String) throws(FormatError) -> Int {
    let order = spans.sorted {
      ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
    }
    var at = 0, last = ""
    for (range, name) in order {
      let place = "tensor \"\(name)\""
      guard range.lowerBound >= at else {
        throw FormatError(
          .malformed,
          "its bytes overlap those of \"\(last)\"; the header lies, save the file again",
          file: path, place: place)
      }
      guard range.lowerBound == at else {
        throw FormatError(
          .malformed,
          """
          \(range.lowerBound - at) bytes before it belong to no tensor, which the format forbids; \
          save the file again
          """,
          file: path, place: place)
      }
      (at, last) = (range.upperBound, name)
    }
    return at
  }

  /// The metadata of a file's first header, without a look at its tensors' ranges. Throws as `init`
  /// does.
  static func metadata(_ file: MappedFile) throws(FormatError) -> [String: String] {
    try header(file, path: file.path, at: 0).0.metadata
  }

  /// The header, and where the data begins in the mapping, in bytes. Throws as `init` does.
  private static func header(
    _ file: Storage, path: String, at start: Int
  ) throws(FormatError) -> (SafetensorsHeader, Int) {
    guard let length = file.bytes.integer(UInt64.self, at: start),
      length <= UInt64(file.bytes.count - start - 8)
    else {
      throw FormatError(
        .truncated, "the header runs past the end of the file; copy the file again", file: path)
    }
    guard length <= largestHeader else {
      throw FormatError(
        .tooLarge, "a header of \(length) bytes is absurd (32 MiB at most); the file is damaged",
        file: path)
    }
    let data = start + 8 + Int(length)
    let bytes = UnsafeRawBufferPointer(rebasing: file.bytes[start + 8..<data])
    return (try parsed(bytes, path: path), data)
  }

  /// The JSON of a header. Throws `malformed` where it is none, or names something twice.
  private static func parsed(
    _ bytes: UnsafeRawBufferPointer, path: String
  ) throws(FormatError) -> SafetensorsHeader {
    do throws(JSONFault) { return try SafetensorsHeader(bytes) } catch {
      if let name = error.duplicate {
        throw FormatError(
          .malformed, "stands twice in the header, which the format forbids; save the file again",
          file: path, place: "\"\(name)\"")
      }
      throw FormatError(
        .malformed, "the header is not the JSON of a safetensors file; save it again",
        file: path, cause: error.what)
    }
  }

  /// Bytes of data that a header promises, its claims checked one against another before a byte of
  /// them is there. Throws as `init` does.
  static func dataBytes(
    header: UnsafeRawBufferPointer, path: String
  ) throws(FormatError) -> Int {
    var spans: [Span] = []
    for item in try parsed(header, path: path).tensors {
      let range = try range(item, dataBytes: .max, path: path)
      spans.append((range, item.name))
      do throws(FormatError) { _ = try check(item, range, path: path) } catch {
        guard error.code == .unsupported else { throw error }
      }
    }
    return try used(spans, path: path)
  }

  /// Where a tensor says that it lies. Throws where that is no range of the data.
  private static func range(
    _ item: SafetensorsHeader.Item, dataBytes: Int, path: String
  ) throws(FormatError) -> Range<Int> {
    let place = "tensor \"\(item.name)\"", offsets = item.offsets
    guard offsets.count == 2, offsets[0] >= 0, offsets[0] <= offsets[1] else {
      throw FormatError(
        .malformed, "its data_offsets are not a range; the header lies", file: path, place: place)
    }
    guard offsets[1] <= dataBytes else {
      throw FormatError(
        .truncated,
        "ends at byte \(offsets[1]) of \(dataBytes): the file is truncated; copy it again",
        file: path, place: place)
    }
    return offsets[0]..<offsets[1]
  }

  /// One tensor's claims against its type and its shape.
  private static func check(
    _ item: SafetensorsHeader.Item, _ range: Range<Int>, path: String
  ) throws(FormatError) -> ArrayEntry {
    let place = "tensor \"\(item.name)\""
    guard let dtype = DType(rawValue: item.dtype) else {
      throw FormatError(
        .unsupported,
        "element type \(item.dtype.prefix(24)) is not read; save as F16, F32 or an integer type",
        file: path, place: place)
    }
    guard let shape = Shape(checked: item.shape, byteWidth: dtype.byteWidth), item.shape.count <= 8
    else {
      throw FormatError(
        .malformed, "the shape \(item.shape.prefix(9)) is absurd; the header lies", file: path,
        place: place)
    }
    guard range.count == shape.count * dtype.byteWidth else {
      throw FormatError(
        .malformed,
        """
        \(shape) of \(dtype.rawValue) takes \(shape.count * dtype.byteWidth) bytes and the header \
        gives \(range.count); save it again
        """,
        file: path, place: place)
    }
    return ArrayEntry(name: item.name, dtype: dtype, shape: shape)
  }

  /// Nil when there is none.
  func entry(_ name: String) -> ArrayEntry? { places[name]?.entry }

  /// The tensor of a name, in place. Throws `missing` when there is none.
  func tensor(_ name: String) throws(FormatError) -> Tensor {
    guard let (entry, offset) = places[name] else {
      throw FormatError(
        .missing, "there is no tensor of this name in the file", file: path, place: name)
    }
    return Tensor(storage: file, dtype: entry.dtype, shape: entry.shape, byteOffset: offset)
  }

  /// The first rows, which cost nothing more than any other. Throws as `tensor` does.
  func sample(_ name: String, elements: Int) throws(FormatError) -> [Float] {
    firstElements(of: try tensor(name), elements)
  }
}
