package import Sessions

/// What an engine's loop tells whoever lets it run, and the one thing it asks. Called on the loop's
/// thread; all of it must be quick, as the model waits.
package protocol StepSink: Sendable {
  /// True while the loop shall go on with an order: asked between two tokens, and between the
  /// blocks of a prompt.
  func stands(_ order: RunControl.Order) -> Bool
  /// Takes in what became of an order, step by step.
  func tell(_ event: RunControl.Event)
  /// Takes in where the run stands: what it says can be asked about from now on.
  func tell(_ standing: Standing)
  /// Takes in that a recording was written: `lengths` are tokens of each branch in it.
  func saved(_ lengths: [Int])
  /// Takes in a sentence for the reader.
  func say(_ sentence: String)
}

/// Where a run stands: its newest frame, and what is recorded of each branch.
package struct Standing: Sendable {
  /// The newest branch and its tokens.
  package let frame: Frame
  /// `[branches]`, each safe to read while the run goes on.
  package let stores: [BranchStore]
  /// `[branches]`, tokens of each.
  package let lengths: [Int]
  /// Speed of the last turn; nil when it decoded nothing.
  package let tokensPerSecond: Double?

  /// Lengths are those of `stores` at this moment.
  init(_ frame: Frame, _ stores: [BranchStore], tokensPerSecond: Double? = nil) {
    (self.frame, self.stores, lengths) = (frame, stores, stores.map(\.count))
    self.tokensPerSecond = tokensPerSecond
  }
}
