public import Formats

/// What a frame of the wire is about; `samples/python/WIRE.md` says what each holds.
public enum WireKind: String, Sendable, CaseIterable {
  case hello, prefill, step, table, picture, findings, answer, moment, error, bye
}

/// One frame of the wire: a safetensors blob whose metadata says its kind and its place.
///
/// Example: `WireFrame.bytes(.bye, seq: 9, ["why": "done"])` makes one, `FrameReader` reads them
/// back. A recording is frames in a file. The catch: nothing but the framing is checked here; what
/// a kind must hold is checked where its typed value is made (`Hello`, `StepFrame` and others).
public struct WireFrame: Sendable {
  /// What it is about.
  public let kind: WireKind
  /// Counts the frames of a sender that somebody who comes late may want: hello is 0, then every
  /// part of the prompt, step and findings. Nil of all others, and in recordings of a run.
  public let seq: Int?
  /// Its arrays and its metadata.
  public let archive: any TensorArchive
  /// All of it, as it came.
  public let bytes: [UInt8]

  /// Texts by key.
  public var metadata: [String: String] { archive.metadata }

  /// Reads one whole frame; nil for a kind that is not known, which a newer sender may have. Throws
  /// `malformed` where it says no kind, and what reading the blob throws.
  public init?(_ bytes: [UInt8], path: String) throws(FormatError) {
    let archive = try SafetensorsFrame.open(bytes, path: path)
    guard let word = archive.metadata["kind"] else {
      throw FormatError(.malformed, "a frame says no \"kind\" in its metadata", file: path)
    }
    guard let kind = WireKind(rawValue: word) else { return nil }
    (self.kind, self.archive, self.bytes) = (kind, archive, bytes)
    seq = archive.metadata["seq"].flatMap { Int($0) }
      .flatMap { (0...1 << 40).contains($0) ? $0 : nil }
  }

  /// The bytes of a frame. `metadata` must not name `kind` or `seq`.
  public static func bytes(
    _ kind: WireKind, seq: Int?, _ metadata: [String: String], _ arrays: [ArrayToWrite] = []
  ) -> [UInt8] {
    var all = metadata
    all["kind"] = kind.rawValue
    if let seq { all["seq"] = "\(seq)" }
    return safetensorsBytes(arrays, metadata: all)
  }
}

/// Bytes in, frames out: whatever the cuts between two reads, the same frames.
///
/// Example: `reader.add(bytes)`, then `while let frame = try reader.next() { ... }`. It holds the
/// bytes that came and no more: a size that is only claimed makes no room. After an error the place
/// of the next frame is not known, and every later `next` throws the same.
public struct FrameReader: Sendable {
  /// Data of one frame at most, in bytes: 1 GiB.
  public static let standardBudget = 1 << 30

  /// Who sends, for messages.
  private let path: String
  /// Bytes of one frame's data at most.
  private let most: Int
  private var buffer: [UInt8] = []
  /// Where the next frame begins in the buffer.
  private var start = 0
  /// Bytes of the next frame, once its header is there.
  private var extent: Int?
  private var failure: FormatError?
  /// Whole frames that were given out or passed over.
  public private(set) var frames = 0
  /// Frames of kinds that are not known here.
  public private(set) var passedOver = 0

  /// `path` names the sender, `most` bounds the data of a frame in bytes.
  public init(path: String, most: Int = standardBudget) { (self.path, self.most) = (path, most) }

  /// Bytes that came and belong to no whole frame yet, or to frames that were not taken yet.
  public var waiting: Int { buffer.count - start }

  /// Takes what came.
  public mutating func add(_ bytes: UnsafeRawBufferPointer) { buffer.append(contentsOf: bytes) }

  /// Takes what came.
  public mutating func add(_ bytes: [UInt8]) { buffer.append(contentsOf: bytes) }

  /// The next whole frame; nil until more bytes come. Throws `malformed` and `tooLarge` as soon as
  /// the bytes show it.
  public mutating func next() throws(FormatError) -> WireFrame? {
    if let failure { throw failure }
    do throws(FormatError) {
      while let bytes = try nextBytes() {
        frames += 1
        if let frame = try WireFrame(bytes, path: path) { return frame }
        passedOver += 1
      }
      return nil
    } catch {
      failure = FormatError(
        error.code, error.message, file: path,
        place: "frame \(frames)" + (error.place.map { ", \($0)" } ?? ""), cause: error.cause)
      (buffer, start) = ([], 0)
      throw failure!
    }
  }

  /// The bytes of the next frame, taken out of the buffer.
  private mutating func nextBytes() throws(FormatError) -> [UInt8]? {
    if extent == nil {
      let (start, most, path) = (start, most, path)
      extent = try buffer.reading { (all) throws(FormatError) in
        try SafetensorsFrame.extent(
          UnsafeRawBufferPointer(rebasing: all[start...]), most: most, path: path)
      }
    }
    guard let size = extent, waiting >= size else { return nil }
    let bytes = Array(buffer[start..<start + size])
    (start, extent) = (start + size, nil)
    if start == buffer.count {
      // A large one leaves no large buffer behind.
      buffer.removeAll(keepingCapacity: buffer.capacity <= 1 << 20)
      start = 0
    } else if start > 1 << 16, start > buffer.count / 2 {
      buffer.removeFirst(start)
      start = 0
    }
    return bytes
  }
}

extension Array {
  /// `withUnsafeBytes` for a body that throws a `FormatError`.
  fileprivate func reading<R>(
    _ body: (UnsafeRawBufferPointer) throws(FormatError) -> R
  ) throws(FormatError) -> R {
    let result = withUnsafeBytes { bytes -> Result<R, FormatError> in
      do throws(FormatError) { return .success(try body(bytes)) } catch { return .failure(error) }
    }
    return try result.get()
  }
}
