public import Canvas

/// A lesson: an introduction and steps, each with something to do on the real screen and a check
/// that it was done.
///
/// Plain text in a file of its own, so that teachers write lessons without building anything;
/// `LessonReader` reads it. Every lesson carries the keys that solve it, and the tests press them.
public struct Lesson: Sendable {
  /// What must be open: a saved sample, or a model that runs.
  public enum Need: String, Sendable, CaseIterable { case sample, model }

  /// From its file's name: `1-reading-a-map`.
  public var name: String
  /// For lists and the first page.
  public var title: String
  /// About how long it takes, 1 to 60.
  public var minutes: Int
  /// What must be open when it begins.
  public var needs: Need
  /// Dumps to open instead of the sample, beside the lesson's file or among the samples.
  public var files: [String]
  /// Paragraphs before the first step.
  public var introduction: [String]
  /// In order, at least one.
  public var steps: [LessonStep]
}

/// One step.
public struct LessonStep: Sendable {
  /// A value of the screen that a step begins with: `view=map`.
  public struct Setting: Sendable {
    /// Name of a fact.
    public let name: String
    /// As it is written, without quotes.
    public let value: String
    /// Of the file, from 1.
    public let line: Int
  }

  /// A press of keys, or a condition to wait for before the next ones.
  public enum Move: Sendable {
    case press([Key])
    case wait(Condition)
  }

  /// Its heading.
  public var title: String
  /// Paragraphs.
  public var text: [String]
  /// The view when the step begins.
  public var show: [Setting]
  /// What to do, in a sentence.
  public var task: String
  /// Holds once it is done.
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
  /// Of the file, from 1.
  public let line: Int
  /// A sentence without the line.
  public let text: String

  /// `line` counts from 1.
  public init(line: Int, text: String) { (self.line, self.text) = (line, text) }

  /// As a person reads it.
  public var description: String { "line \(line): \(text)" }
}
