import Tensors

/// A safetensors blob in memory, such as a frame of a stream, and how long one is that is still on
/// its way.
///
/// Example: `try SafetensorsFrame.extent(bytes, most: 1 << 30, path: "a pipe")` as bytes come in,
/// then `try SafetensorsFrame.open(bytes, path: "a pipe")`.
public enum SafetensorsFrame {
  /// Bytes of the length that stands first.
  public static let lengthBytes = 8
  /// A larger header is refused.
  public static let largestHeader = SafetensorsFile.largestHeader

  /// How many bytes the blob takes that begins here; nil while its header is not whole.
  ///
  /// Every size is checked as soon as it is there: a length beyond 32 MiB and a header that does
  /// not begin with `{` are refused at once, data beyond `most` bytes before any of it came. Throws
  /// `tooLarge` and `malformed`.
  public static func extent(
    _ bytes: UnsafeRawBufferPointer, most: Int, path: String
  ) throws(FormatError) -> Int? {
    guard let length = bytes.integer(UInt64.self, at: 0) else { return nil }
    guard length >= 2, length <= UInt64(largestHeader) else {
      throw FormatError(
        .malformed,
        "no frame begins here: a header of \(length) bytes is none; is the other side attnscope's?",
        file: path)
    }
    if bytes.count > lengthBytes, bytes[lengthBytes] != UInt8(ascii: "{") {
      throw FormatError(.malformed, "no frame begins here: its header is no JSON", file: path)
    }
    let data = lengthBytes + Int(length)
    guard bytes.count >= data else { return nil }
    let header = UnsafeRawBufferPointer(rebasing: bytes[lengthBytes..<data])
    let size = try SafetensorsFile.dataBytes(header: header, path: path)
    guard size <= most else {
      throw FormatError(
        .tooLarge, "a frame of \(size) bytes is beyond the budget of \(most); send it in parts",
        file: path)
    }
    return data + size
  }

  /// The arrays of a whole blob; the bytes are copied to memory of their own. Throws as a file
  /// does.
  public static func open(_ bytes: [UInt8], path: String) throws(FormatError) -> any TensorArchive {
    try SafetensorsFile(OwnedStorage(bytes), path: path)
  }
}
