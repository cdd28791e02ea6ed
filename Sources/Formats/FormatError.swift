/// What is wrong with a file, where, and what to do about it: one sentence for a person.
///
/// Example: `qk.safetensors: tensor "layers.0.q" ends at byte 900 of 512: the file is truncated; copy it again`.
public struct FormatError: Error, Sendable, CustomStringConvertible {
  public enum Code: String, Sendable {
    case missing, unreadable, notAFile, empty, truncated, malformed, unsupported, tooLarge,
      mismatch, exists
  }

  public let code: Code
  /// What is wrong and what to do, without the place.
  public let message: String
  /// The file.
  public let file: String
  /// The tensor, member or offset, when there is one.
  public let place: String?
  public let cause: String?

  public init(
    _ code: Code, _ message: String, file: String, place: String? = nil, cause: String? = nil
  ) {
    self.code = code
    self.message = message
    self.file = file
    self.place = place
    self.cause = cause
  }

  public var description: String {
    let where_ = place.map { "\(file): \($0)" } ?? file
    return oneLine("\(where_): \(message)" + (cause.map { " (\($0))" } ?? ""))
  }
}

/// Names in a message come from the file: whatever they hold, the message stays one line.
public func oneLine(_ text: String) -> String {
  String(text.map { $0.isNewline || ($0.asciiValue ?? 32) < 32 ? "?" : $0 })
}

extension Array {
  /// `withUnsafeBytes` for a body that throws a `FormatError`.
  func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws(FormatError) -> R) throws(FormatError)
    -> R
  {
    let result = withUnsafeBytes { bytes -> Result<R, FormatError> in
      do throws(FormatError) { return .success(try body(bytes)) } catch { return .failure(error) }
    }
    return try result.get()
  }
}
