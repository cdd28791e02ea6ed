public import Canvas
public import Sessions

/// Everything that can change the model.
public enum Message: Sendable {
  case event(Event)
  case answered(Question, Frame, Answer)
  case failed(Question, String)
  case moment(Moment)
  /// The time in which a digit may become a count is over.
  case digitIsOver(Int)
  /// An effect has something to say.
  case said(String)
}

/// What `update` wants done to the world. Work is not listed here: see `Needs`.
public enum Effect: Sendable, Equatable {
  case quit
  /// Stop what is being computed.
  case cancelWork
  /// Send `digitIsOver` after a second.
  case awaitDigit(Int)
  /// Tell the source what to do.
  case send(Command)
  /// Write the screen beside the user under a name that is free.
  case export(name: String, text: String)
}
