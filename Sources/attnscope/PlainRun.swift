import Tensors
import Attention
import Canvas
import Glibc
import Models
import Synchronization

/// `run --plain`: the text as it comes, or a JSON line a step; speed and sparsity at the end,
/// on standard error.
///
/// Standard output is the model's text and nothing else. `most` is the number of tokens at
/// most.
struct PlainRun {
  /// Has read nothing yet.
  private let generator: Generator
  /// A line of JSON a step in place of the text.
  private let json: Bool
  /// Tokens at most.
  private let most: Int

  /// Computes nothing yet.
  init(_ generator: Generator, json: Bool, most: Int) {
    (self.generator, self.json, self.most) = (generator, json, most)
  }

  /// Reads the prompt, decodes, and says how it went. Throws `ModelError` for a prompt that
  /// does not fit, or when Ctrl-C came before it was read.
  func run(_ prompt: [Int]) throws {
    let model = generator.model
    try model.check(prompt: prompt)
    Interrupt.watch()
    let clock = ContinuousClock()
    let start = clock.now
    guard generator.prefill(prompt, isCancelled: { Interrupt.wasAsked }) else {
      throw ModelError(.badSetting, "stopped before the prompt was read", place: "run")
    }
    var summary = RunSummary(
      promptTokens: prompt.count, promptSeconds: (clock.now - start).seconds,
      prefill: generator.lastPass.counts)
    let decoding = clock.now
    try generator.state.team.run { try decode(&summary) }
    summary.decodeSeconds = (clock.now - decoding).seconds
    say(summary.text(model))
  }

  /// One token after another until the model, the user, the limit or the context ends it.
  /// Helpers stay awake for the whole text.
  private func decode(_ summary: inout RunSummary) throws {
    let tokenizer = generator.model.tokenizer
    var text = UTF8Stream()
    for step in 0..<most {
      guard let choice = generator.choose() else { break }
      summary.add(choice, isFirst: step == 0)
      if json {
        print(line(step, choice).text())
      } else if !tokenizer.ends(choice.token) {
        print(text.add(tokenizer.bytes(choice.token)), terminator: "")
      }
      // Nobody can read any more: what is decoded from here on would be lost.
      guard fflush(nil) == 0 else {
        summary.end = "standard output takes no more"
        break
      }
      if tokenizer.ends(choice.token) {
        summary.end = "the model ended its text"
        break
      }
      if Interrupt.wasAsked {
        summary.end = "stopped by Ctrl-C"
        break
      }
      if step == most - 1 {
        summary.end = "--max-tokens \(most)"
        break
      }
      guard generator.room > 0 else {
        summary.end = "the context of \(generator.model.config.context) tokens is full"
        break
      }
      generator.feed(choice.token)
      summary.decoded += 1
    }
    if !json { print(text.finish()) }
    // What follows goes to standard error, and must not come before the end of the line.
    fflush(nil)
  }

  /// A step as JSON: the choice, the best candidates with their logits, blocks of all layers,
  /// KL in nats, and milliseconds.
  private func line(_ step: Int, _ choice: Generator.Choice) -> JSON {
    .object([
      ("step", .integer(step)), ("token", .integer(choice.token)),
      ("piece", .string(generator.model.tokenizer.piece(choice.token))),
      ("logprob", .number(choice.logProbability)),
      (
        "top",
        .array(choice.top.map { .array([.integer($0.token), .number(Double($0.logit))]) })
      ),
      ("visible_blocks", .integer(choice.counts.totalVisible)),
      ("skipped_blocks", .integer(choice.counts.totalSkipped)),
      ("kl", .optional(choice.divergence) { .number($0) }),
      ("ms", .number((choice.seconds * 1e5).rounded() / 100)),
    ])
  }
}

/// Ctrl-C while text streams: the run ends after the token under way, and what is there is
/// kept. A signal handler may do nothing but set a flag.
enum Interrupt {
  /// Set by the handler, read between tokens.
  private static let asked = Atomic<Bool>(false)

  /// Asked between tokens.
  static var wasAsked: Bool { asked.load(ordering: .relaxed) }

  /// The first Ctrl-C stops; the second ends the program as ever.
  static func watch() {
    signal(SIGINT) { _ in
      Interrupt.asked.store(true, ordering: .relaxed)
      signal(SIGINT, SIG_DFL)
    }
  }
}

/// What a run came to, gathered while it goes. Speeds are tokens a second; blocks are counted
/// over all layers and heads, the prompt's apart from the decoded tokens'.
struct RunSummary {
  /// Tokens of the prompt.
  let promptTokens: Int
  /// How long reading them took.
  let promptSeconds: Double
  /// Blocks of the prompt's pass.
  let prefill: BlockCounts
  /// Of choosing and feeding tokens, the prompt left out.
  var decodeSeconds = 0.0
  /// Tokens that were fed, one fewer than were chosen.
  var decoded = 0
  /// Why it ended, in words.
  var end = "nothing was asked for"
  /// Blocks of all decoded tokens; nil before the first.
  private var decode: BlockCounts?
  /// KL(dense ‖ this) in nats, one a token; empty without a shadow.
  private var divergences: [Double] = []
  /// Tokens that dense attention would have chosen, too.
  private var agreements = 0

  /// The prompt alone.
  init(promptTokens: Int, promptSeconds: Double, prefill: BlockCounts) {
    (self.promptTokens, self.promptSeconds, self.prefill) = (promptTokens, promptSeconds, prefill)
  }

  /// Takes in a step. The first choice was made from the prompt's pass, whose blocks are
  /// counted as prefill.
  mutating func add(_ choice: Generator.Choice, isFirst: Bool) {
    if let kl = choice.divergence {
      divergences.append(kl)
      agreements += choice.agrees == true ? 1 : 0
    }
    guard !isFirst else { return }
    if decode == nil { decode = choice.counts } else { decode?.add(choice.counts) }
  }

  /// Three or four lines for standard error; with a shadow, how far the distributions were
  /// apart.
  func text(_ model: LanguageModel) -> String {
    func speed(_ count: Int, _ seconds: Double) -> String {
      "\(count) tokens in \(Numbers.fixed(seconds, 3)) s"
        + (count > 0 ? ", \(Numbers.fixed(Double(count) / max(seconds, 1e-9), 1)) tokens/s" : "")
    }
    func pruned(_ counts: BlockCounts?) -> String {
      guard let counts, counts.totalVisible > 0 else { return "" }
      return
        """
        ; pruned \(counts.totalSkipped) of \(counts.totalVisible) blocks, \
        \(Numbers.percent(counts.sparsity))
        """
    }
    var lines = [
      ["prefill", "\(speed(promptTokens, promptSeconds))\(pruned(prefill))"],
      ["decode", "\(speed(decoded, decodeSeconds))\(pruned(decode))"],
    ]
    if !divergences.isEmpty {
      let mean = divergences.reduce(0, +) / Double(divergences.count)
      lines.append([
        "shadow",
        """
        KL(dense || this) mean \(Numbers.short(mean)) worst \(Numbers.short(divergences.max()!)) \
        nats; same most likely token in \(agreements) of \(divergences.count)
        """,
      ])
    }
    lines.append(["ended", end])
    return Table(listing: lines).text
  }
}
