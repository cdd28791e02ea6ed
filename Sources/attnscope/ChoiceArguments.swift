import ArgumentParser
import Formats

/// The flags that choose among the arrays of a file, and say what its model does beside scaling.
///
/// Example: `--array cross_attentions`, `--query-heads 8`, `--window 4096 --softcap 50`.
struct ChoiceArguments: ParsableArguments {
  /// Nil: the likeliest; `info` lists them all.
  @Option(
    help: ArgumentHelp(
      "Which arrays are shown where several could be: a name that info lists, or a part of one.",
      valueName: "name"))
  var array: String?

  /// Above 0; `validate` refuses others.
  @Option(help: "How many query heads stand side by side in arrays of tokens x (heads * dim).")
  var queryHeads: Int?

  /// In tokens.
  @Option(help: "A query sees this many keys at most, its own among them (default: the file's).")
  var window: Int?

  /// Finite and above 0; `validate` refuses others.
  @Option(help: "Scores x become c * tanh(x / c) before the softmax (default: the file's).")
  var softcap: Double?

  @Flag(
    inversion: .prefixedNo, help: "Leave positions that look like padding out of every number.")
  var padding = true

  @Flag(help: "Show token texts as a tokenizer spells them.") var rawTokens = false

  /// Options that hold these and no others.
  var options: DumpOptions {
    var options = DumpOptions()
    (options.array, options.heads, options.window) = (array, queryHeads, window)
    (options.softcap, options.padding, options.rawTokens) = (softcap, padding, rawTokens)
    return options
  }

  /// Throws `ValidationError` for numbers that mean nothing.
  func validate() throws {
    if let queryHeads, queryHeads < 1 { throw ValidationError("--query-heads is 1 or more.") }
    if let window, window < 1 { throw ValidationError("--window is 1 or more.") }
    if let softcap, !(softcap.isFinite && softcap > 0) {
      throw ValidationError("--softcap must be a positive number.")
    }
  }
}
