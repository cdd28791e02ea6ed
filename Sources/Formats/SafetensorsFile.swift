import FoundationEssentials
import Tensors

/// A `.safetensors` file: eight bytes of header length, a JSON header, and the data.
///
/// Checked before anything is used: the header lies inside the file, every tensor's range is
/// as long as its shape says, ends inside the file, and overlaps no other. The catch: offsets
/// need not be aligned to the element, so nothing may be loaded through a typed pointer. The
/// layout is that of the safetensors format (Hugging Face, 2022).
struct SafetensorsFile: TensorArchive {
  let file: MappedFile
  /// By name, numbers by value; the header's own order is not kept by JSON.
  let entries: [ArrayEntry]
  /// Tensors of element types that are not read.
  let leftOut: [LeftOut]
  /// The header's `__metadata__`.
  let metadata: [String: String]
  /// Bytes from the start of the mapping to each tensor's data.
  private let offsets: [String: Int]

  var path: String { file.path }
  var format: String { "safetensors" }

  /// A larger header is not a dump's: 131072 tokens with their texts are under two megabytes.
  private static let largestHeader = 32 << 20

  /// Where this file ends, when others follow it in the same mapping.
  let end: Int

  /// `start` is where the file begins in the mapping, in bytes: recordings are files one
  /// after another. Throws `truncated` when header or data run past the end, `tooLarge` for a
  /// header over 32 MiB, `malformed` when it is not JSON or its ranges lie, `unsupported` for
  /// an unknown element type.
  init(_ file: MappedFile, at start: Int = 0) throws(FormatError) {
    self.file = file
    let path = file.path
    let (header, dataStart) = try Self.header(file, at: start)
    metadata = header.metadata
    var offsets: [String: Int] = [:]
    var entries: [ArrayEntry] = []
    var ranges: [(Range<Int>, String)] = []
    var refusal: FormatError?, leftOut: [LeftOut] = []
    for (name, item) in header.tensors {
      let entry: ArrayEntry, range: Range<Int>
      do throws(FormatError) {
        (entry, range) = try Self.check(
          name, item, dataBytes: file.bytes.count - dataStart, path: path)
      } catch {
        guard error.code == .unsupported else { throw error }
        refusal = refusal ?? error
        leftOut.append(LeftOut(name: name, why: error.message))
        continue
      }
      entries.append(entry)
      offsets[name] = dataStart + range.lowerBound
      if !range.isEmpty { ranges.append((range, name)) }
    }
    if entries.isEmpty, let refusal { throw refusal }
    self.leftOut = leftOut.sorted { naturalOrder($0.name, $1.name) }
    ranges.sort { $0.0.lowerBound < $1.0.lowerBound }
    for (a, b) in zip(ranges, ranges.dropFirst()) where a.0.upperBound > b.0.lowerBound {
      throw FormatError(
        .malformed, "its bytes overlap those of \"\(b.1)\"; the header lies, save the file again",
        file: path,
        place: "tensor \"\(a.1)\"")
    }
    self.offsets = offsets
    end = dataStart + (ranges.map(\.0.upperBound).max() ?? 0)
    self.entries = entries.sorted { naturalOrder($0.name, $1.name) }
  }

  /// The header, and where the data begins in the mapping, in bytes. Throws as `init` does.
  private static func header(_ file: MappedFile, at start: Int) throws(FormatError) -> (Header, Int)
  {
    guard let length = file.bytes.integer(UInt64.self, at: start),
      length <= UInt64(file.bytes.count - start - 8)
    else {
      throw FormatError(
        .truncated, "the header runs past the end of the file; copy the file again",
        file: file.path)
    }
    guard length <= largestHeader else {
      throw FormatError(
        .tooLarge, "a header of \(length) bytes is absurd (32 MiB at most); the file is damaged",
        file: file.path)
    }
    let data = start + 8 + Int(length)
    do {
      return (
        try JSONDecoder().decode(Header.self, from: Data(file.bytes[start + 8..<data])), data
      )
    } catch {
      throw FormatError(
        .malformed, "the header is not the JSON of a safetensors file; save it again",
        file: file.path, cause: shortReason(error))
    }
  }

  /// One tensor's claims against its type, its shape and the bytes there are.
  private static func check(
    _ name: String, _ item: Header.Item, dataBytes: Int, path: String
  ) throws(FormatError) -> (ArrayEntry, Range<Int>) {
    let place = "tensor \"\(name)\""
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
    guard item.data_offsets.count == 2, item.data_offsets[0] >= 0,
      item.data_offsets[0] <= item.data_offsets[1]
    else {
      throw FormatError(
        .malformed, "its data_offsets are not a range; the header lies", file: path, place: place)
    }
    let range = item.data_offsets[0]..<item.data_offsets[1]
    guard range.upperBound <= dataBytes else {
      throw FormatError(
        .truncated,
        "ends at byte \(range.upperBound) of \(dataBytes): the file is truncated; copy it again",
        file: path, place: place)
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
    return (ArrayEntry(name: name, dtype: dtype, shape: shape), range)
  }

  /// Where in the JSON decoding stopped; the decoder's own description is a page long.
  private static func shortReason(_ error: any Error) -> String? {
    switch error as? DecodingError {
    case .dataCorrupted(let context), .keyNotFound(_, let context), .typeMismatch(_, let context),
      .valueNotFound(_, let context):
      let at = context.codingPath.map(\.stringValue).joined(separator: ".")
      return at.isEmpty ? nil : "at \(at)"
    default: return nil
    }
  }

  /// The tensor of a name, in place. Throws `missing` when there is none.
  func tensor(_ name: String) throws(FormatError) -> Tensor {
    guard let entry = entry(name), let offset = offsets[name] else {
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

/// The JSON header: tensors by name, and `__metadata__`, a map of strings.
private struct Header: Decodable {
  /// One tensor as the header describes it; `data_offsets` are first and last byte, counted
  /// from the data.
  struct Item: Decodable {
    let dtype: String
    let shape: [Int]
    let data_offsets: [Int]
  }

  /// Keys are the tensors' own names, so any string is one.
  struct Name: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  var tensors: [String: Item] = [:]
  var metadata: [String: String] = [:]

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Name.self)
    for key in container.allKeys {
      if key.stringValue == "__metadata__" {
        metadata = try container.decode([String: String].self, forKey: key)
      } else {
        tensors[key.stringValue] = try container.decode(Item.self, forKey: key)
      }
    }
  }
}
