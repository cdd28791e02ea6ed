import ArgumentParser
import Attention
import Backends
import Canvas
import Formats
import Glibc
import Models
import Synchronization
import Tensors

/// A prompt that a model reads here and now, in the place of a file.
///
/// Example: `report --method layerboost --prompt-file text.txt`. The model stays at hand, so that
/// methods may ask what the text costs when heads are masked or layers skipped. Float unless told
/// otherwise, since small differences of losses are what is asked for.
struct ReadingArguments: ParsableArguments {
  @OptionGroup var model: ModelArguments
  @OptionGroup var prompt: PromptArguments
  /// Of activations; weights are as the file holds them.
  @Option(help: "With --prompt: float, or int8 as `run` computes.")
  var precision: LanguageModel.Precision = .float
  /// Nil: ATTNSCOPE_THREADS, else as many as the machine has.
  @Option(parsing: .unconditional, help: "Threads that compute.") var threads: Int?

  /// A model or a prompt was named.
  var isAsked: Bool { model.model != nil || prompt.prompt != nil || prompt.promptFile != nil }

  /// Throws `ValidationError` for numbers of threads that no machine has.
  func validate() throws { try EngineArguments.check(threads: threads) }

  /// Reads the prompt once; Ctrl-C from now on ends the pass under way. Throws what opening throws,
  /// `ModelError` for prompts that are empty or too long, and `CancellationError`.
  func source(_ texts: TokenArguments) throws -> (dump: Dump, backend: FileBackend) {
    if let threads { ComputeThreads.setSharedCount(threads) }
    let opened = try LanguageModel(try model.path(), precision: precision)
    let tokens = try prompt.tokens(opened)
    try opened.check(prompt: tokens)
    say("\(Printable.text(opened.config.name)) reads \(tokens.count) tokens")
    Interrupt.watch()
    let told = Told()
    let reader = EngineReader(
      opened, tokens: tokens, try TileArguments.parse(["--lambda", "0"]).plan(),
      tell: { told.hear($0) }, isCancelled: { Interrupt.wasAsked })
    let dump = try reader.dump()
    return (dump, try texts.backend(dump, reader: reader))
  }

  /// Says how far it is at the first pass, then every two seconds, and when it is done.
  private final class Told: Sendable {
    private let last = Mutex(-Double.infinity)

    func hear(_ now: EngineReader.Progress) {
      let isDue = last.withLock { last in
        if now.done == 1 { last = -.infinity }
        guard now.seconds - last >= 2 || now.done == now.passes else { return false }
        last = now.seconds
        return true
      }
      guard isDue, now.passes > 1 else { return }
      let left = now.seconds / Double(now.done) * Double(now.passes - now.done)
      let rest =
        now.done == now.passes
        ? "\(Numbers.fixed(now.seconds, 1)) s" : "about \(Numbers.fixed(left, 0)) s left"
      say("pass \(now.done) of \(now.passes), \(rest)")
    }
  }
}
