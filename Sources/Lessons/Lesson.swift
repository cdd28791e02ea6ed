public import Canvas

/// A lesson: an introduction and steps, each with something to do on the real screen and a check that it was done.
public struct Lesson: Sendable {
  public enum Need: String, Sendable, CaseIterable { case sample, model }

  /// From its file's name: `1-reading-a-map`.
  public var name: String
  public var title: String
  public var minutes: Int
  public var needs: Need
  /// Dumps to open instead of the sample, beside the lesson's file or among the samples.
  public var files: [String]
  public var introduction: [String]
  public var steps: [LessonStep]
}

/// One step.
public struct LessonStep: Sendable {
  public struct Setting: Sendable {
    public let name: String
    public let value: String
    public let line: Int
  }

  /// A press of keys, or a condition to wait for before the next ones.
  public enum Move: Sendable {
    case press([Key])
    case wait(Condition)
  }

  public var title: String
  /// Paragraphs.
  public var text: [String]
  /// The view when the step begins.
  public var show: [Setting]
  public var task: String
  public var check: Condition
  /// What meets the check, for "show me" and for the tests.
  public var moves: [Move]
  /// From gentle to plain.
  public var hints: [String]
  /// What to see once it is done.
  public var notice: String
  /// For the presenter's second terminal.
  public var notes: String
  /// Of its heading in the file.
  public var line: Int
}

/// What is wrong with a lesson file, and where.
public struct LessonProblem: Error, Sendable, Equatable, CustomStringConvertible {
  public let line: Int
  public let text: String

  public init(line: Int, text: String) { (self.line, self.text) = (line, text) }

  public var description: String { "line \(line): \(text)" }
}
