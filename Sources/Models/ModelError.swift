import Formats

/// What is wrong with a model or with what was asked of it, where, and what to do about it: one sentence.
public struct ModelError: Error, Sendable, CustomStringConvertible {
  public enum Code: String, Sendable {
    case unsupported, malformed, missing, tooLong, badSetting
  }

  public let code: Code
  /// What is wrong and what to do, without the place.
  public let message: String
  /// The file, and the tensor or metadata key.
  public let place: String
  public let cause: String?

  public init(_ code: Code, _ message: String, place: String, cause: String? = nil) {
    (self.code, self.message, self.place, self.cause) = (code, message, place, cause)
  }

  public var description: String {
    oneLine("\(place): \(message)" + (cause.map { " (\($0))" } ?? ""))
  }
}
