import Formats

/// What is wrong with a model or with what was asked of it, where, and what to do about it:
/// one sentence.
///
/// Example: `m.gguf: general.architecture: is 'mamba', which is not computed; supported are
/// llama, qwen2, qwen3`. Faults of the file itself are `FormatError`s.
public struct ModelError: Error, Sendable, CustomStringConvertible {
  /// The sort of fault, for tests and exit codes.
  public enum Code: String, Sendable {
    case unsupported, malformed, missing, tooLong, badSetting
  }

  /// The sort of fault.
  public let code: Code
  /// What is wrong and what to do, without the place.
  public let message: String
  /// The file, and the tensor or metadata key.
  public let place: String
  /// What lay under it, in brackets at the end.
  public let cause: String?

  /// A fault at `place`.
  public init(_ code: Code, _ message: String, place: String, cause: String? = nil) {
    (self.code, self.message, self.place, self.cause) = (code, message, place, cause)
  }

  /// Place, message and cause on one line.
  public var description: String {
    oneLine("\(place): \(message)" + (cause.map { " (\($0))" } ?? ""))
  }
}
