/// What is wrong with a file, where, and what to do about it: one sentence for a person.
///
/// Example: `qk.safetensors: tensor "layers.0.q" ends at byte 900 of 512: the file is truncated;
/// copy it again`. The catch: names inside come from files that nobody checked, so the printed
/// form is made one line of printable characters.
public struct FormatError: Error, Sendable, CustomStringConvertible {
  /// The sort of fault, for tests and exit codes; people read the message.
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
  /// What a library said about it, in brackets at the end.
  public let cause: String?

  /// A fault of `file`, at `place` inside it when one can be named.
  public init(
    _ code: Code, _ message: String, file: String, place: String? = nil, cause: String? = nil
  ) {
    self.code = code
    self.message = message
    self.file = file
    self.place = place
    self.cause = cause
  }

  /// File, place, message and cause, on one line.
  public var description: String {
    let where_ = place.map { "\(file): \($0)" } ?? file
    return oneLine("\(where_): \(message)" + (cause.map { " (\($0))" } ?? ""))
  }
}

/// Names in a message come from the file: whatever they hold, the message stays one line.
public func oneLine(_ text: String) -> String {
  String(text.map { $0.isNewline || ($0.asciiValue ?? 32) < 32 ? "?" : $0 })
}

/// Rethrowing closures lose the type of their error, and this whole room throws one type.
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
