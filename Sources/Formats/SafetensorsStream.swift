import Tensors

/// Safetensors files one after another in one file, as recordings are: each tells its own
/// length from its header.
///
/// Example: `try SafetensorsStream("run.rec").parts.count` is the number of passes. A
/// recording that was cut off keeps its whole parts, with a note. Opening reads every header
/// and no data.
public struct SafetensorsStream: Sendable {
  /// The file as it was named.
  public let path: String
  /// In the order of the file.
  public let parts: [any TensorArchive]
  /// What was left out at the end, when the last part is not whole.
  public let note: String?

  /// Opens all whole parts. Throws as a single safetensors file does when not even the first
  /// part is whole.
  public init(_ path: String) throws(FormatError) {
    let file = try MappedFile(path)
    var parts: [any TensorArchive] = []
    var at = 0, note: String?
    while at < file.bytes.count {
      do throws(FormatError) {
        let part = try SafetensorsFile(file, at: at, isPart: true)
        parts.append(part)
        at = part.end
      } catch {
        if parts.isEmpty { throw error }
        note = "the recording is cut off after \(parts.count) parts: the rest is not whole"
        break
      }
    }
    (self.path, self.parts, self.note) = (path, parts, note)
  }

  /// Whether a file is what somebody sent over the wire, `hello` first.
  public static func isWire(_ path: String) -> Bool { firstKind(path) == "hello" }

  /// Whether a file is a recording: its first header says so. Never throws: a file that
  /// cannot be read is none.
  public static func isRecording(_ path: String) -> Bool { firstKind(path) == "prefill" }

  /// The `kind` of the first header; nil where there is none.
  private static func firstKind(_ path: String) -> String? {
    guard let file = try? MappedFile(path), file.bytes.count > 9, file.bytes[8] == 123,
      let metadata = try? SafetensorsFile.metadata(file)
    else { return nil }
    return metadata["kind"]
  }
}

/// Writes frames that are bytes already into one file, which appears when all are there. Returns
/// the bytes written. Throws `exists` when the name is taken, `unreadable` when writing fails.
public func writeFrames(_ frames: [[UInt8]], to path: String) throws(FormatError) -> Int {
  let writer = try FileWriter(path, force: false)
  for frame in frames {
    try frame.withBytes { (bytes) throws(FormatError) in try writer.write(bytes) }
  }
  try writer.finish()
  return frames.reduce(0) { $0 + $1.count }
}
