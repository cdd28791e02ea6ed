public import Canvas
public import Sessions

/// Everything that can change the model.
///
/// Messages are values: a test plays a session by handing them to `update`, without a terminal, a
/// clock or a thread.
public enum Message: Sendable {
  /// The person, or the terminal.
  case event(Event)
  /// The answer to a question, true of the frame that it was asked at.
  case answered(Question, Frame, Answer)
  /// Why a question has no answer.
  case failed(Question, String)
  /// The source has moved on, or says how far it is.
  case moment(Moment)
  /// No key came behind a digit: alone, it is a view.
  case digitIsLate(Int)
  /// An effect has something to say.
  case said(String)
  /// The file that is to take this one's place can be read.
  case canOpen(path: String)
  /// Bytes that the terminal has been sent so far, and when, in seconds.
  case sent(bytes: Int, at: Double)
}

/// What `update` wants done to the world. Work is not listed here: see `Needs`.
///
/// Example: `[.cancelWork, .quit]`. Effects are compared in tests like any other value.
public enum Effect: Sendable, Equatable {
  /// End the app.
  case quit
  /// Stop what is being computed.
  case cancelWork
  /// Send `digitIsLate` after the pause that makes a digit a view.
  case awaitDigit(Int)
  /// Tell the source what to do.
  case send(Command)
  /// Write what is shown to a file, in the format that its ending names.
  case export(path: String)
  /// Keep where a lesson stands.
  case progress(lesson: String, step: Int, done: [Int])
  /// Write the user's bookmarks.
  case keepMarks([Bookmark])
  /// Write a text that reopens this view.
  case saveState(path: String, text: String)
  /// See whether a file can be read, and if so open it in place of this source: `canOpen` comes.
  case reopen(path: String)
  /// What to open once this app has ended.
  case leave(for: String)
  /// Say something to the presenter's second terminal.
  case tell(String)
}
