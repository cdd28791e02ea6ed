public import ArgumentParser
import Attention
import Canvas
import Formats
import Glibc
import Methods
import Models
import Tensors
import Backends
import Sessions
import Interface

/// What is said to the model, and how it answers.
struct PromptArguments: ParsableArguments {
  @Option(help: ArgumentHelp("What to say to the model.", valueName: "text"))
  var prompt: String?

  @Option(help: ArgumentHelp("A file with the prompt; - is standard input.", valueName: "file"))
  var promptFile: String?

  @Flag(help: "Wrap the prompt in the model's chat template.") var chat = false
  @Flag(help: "Give the prompt to the model as it is (the default).") var raw = false
  @Option(help: ArgumentHelp("With --chat: the system message.", valueName: "text"))
  var system: String?

  @Flag(inversion: .prefixedNo, help: "Read special tokens, such as <|im_start|>, in the prompt.")
  var special = true

  func validate() throws {
    if prompt != nil, promptFile != nil {
      throw ValidationError("Give --prompt or --prompt-file, not both.")
    }
    if chat, raw { throw ValidationError("--chat and --raw exclude each other.") }
    if system != nil, !chat { throw ValidationError("--system goes with --chat.") }
  }

  /// The bytes of the prompt; nil when none was given.
  func bytes() throws -> [UInt8]? {
    if let prompt { return Array(prompt.utf8) }
    guard let promptFile else { return nil }
    return try readWhole(promptFile)
  }

  func tokens(_ model: LanguageModel, standard: [UInt8] = []) throws -> [Int] {
    guard let text = try bytes() ?? (standard.isEmpty ? nil : standard) else {
      throw ValidationError("Give a prompt: --prompt TEXT or --prompt-file FILE.")
    }
    guard chat else { return model.tokenizer.encode(text, special: special) }
    guard let template = ChatTemplate(model) else {
      throw ModelError(
        .unsupported, "has no chat template that is known; use --raw", place: model.path)
    }
    return template.tokens(
      text, system: system.map { Array($0.utf8) }, model.tokenizer, special: special)
  }
}

/// How attention is computed while the model runs.
struct AttentionArguments: ParsableArguments {
  @OptionGroup var tiles: TileArguments
  @OptionGroup var screening: ScreenArguments
  @Option(help: "A method, ID[:knob=value,..]; `attnscope methods` lists them.")
  var method: String?
  @Option(
    help: ArgumentHelp(
      "A setting of the method, e.g. initial=64; may be repeated.", valueName: "name=value"))
  var knob: [String] = []

  /// The method named, with its knobs; nil for the one whose blocks are read off a table, which lambda and tile stand for.
  func named() throws -> MethodSetting? {
    let setting = try Registry.standard.setting(
      method, knobs: knob, tiles, queries: 2, screen: screening.screen)
    guard Registry.standard.method(setting.id)?.card.blockTables != nil else { return setting }
    guard knob.isEmpty, screening.screen == .none, !(method?.contains(":") ?? false) else {
      throw ValidationError(
        "On the screen \(setting.id) takes --lambda, --tile, --vote and --order; knobs and --screen go with --plain."
      )
    }
    return nil
  }

  func plan() throws -> AttentionPlan {
    try tiles.plan(method: method, knobs: knob, screen: screening.screen)
  }
}

extension TileArguments {
  /// A method for prompts and one for single tokens, with the tiles that each phase has.
  func plan(
    method: String? = nil, knobs: [String] = [], lambda: Double? = nil, screen: Screening = .none
  ) throws -> AttentionPlan {
    var tiles = self
    if let lambda { tiles.chosenLambda = lambda }
    func make(queries: Int) throws -> any EngineMethod {
      try Registry.standard.makeEngine(
        try Registry.standard.setting(
          method, knobs: knobs, tiles, queries: queries, screen: screen))
    }
    return AttentionPlan(prefill: try make(queries: 2), decode: try make(queries: 1))
  }
}

struct RunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Run a model with sparse attention: live on the screen, or as plain text.")

  @OptionGroup var model: ModelArguments
  @OptionGroup var prompt: PromptArguments
  @OptionGroup var attention: AttentionArguments
  @OptionGroup var engine: EngineArguments
  @OptionGroup var sampling: SamplingArguments
  @Option(parsing: .unconditional, help: "Stop after so many tokens.") var maxTokens: Int?
  @Option(help: "Compare every step with dense attention on the same tokens: dense or none.")
  var shadow: Shadow = .none
  @Flag(help: "On the screen: read the prompt, then wait for Space.") var paused = false
  @OptionGroup var terminal: TerminalArguments
  @Flag(help: "Print the text as it comes, without a screen.") var plain = false
  @Flag(help: "With --plain: one JSON line a step.") var json = false

  enum Shadow: String, ExpressibleByArgument, CaseIterable { case dense, none }

  func validate() throws {
    if json, !plain { throw ValidationError("--json goes with --plain.") }
    if let maxTokens, maxTokens < 0 { throw ValidationError("--max-tokens cannot be negative.") }
  }

  func run() async throws {
    engine.apply()
    let model = try engine.open(try self.model.path())
    guard plain else { return try await live(model) }
    let tokens = try prompt.tokens(model)
    let generator = Generator(
      model, try attention.plan(), sampler: Sampler(sampling.settings),
      dense: shadow == .dense ? try Self.densePlan() : nil)
    try PlainRun(generator, json: json, most: maxTokens ?? 256).run(tokens)
  }

  private func live(_ model: LanguageModel) async throws {
    guard isatty(0) == 1, isatty(1) == 1 else {
      throw ValidationError("There is no terminal; --plain prints the text.")
    }
    // Said when nobody says anything: long enough that there is something to prune.
    var standard: [UInt8] = []
    if try prompt.bytes() == nil, let path = try? Sample.path(Sample.text) {
      standard = try readWhole(path)
    }
    let tokens = try prompt.tokens(model, standard: standard)
    let choice = AttentionChoice(
      method: try attention.named(), lambda: max(0, attention.tiles.lambda),
      prefill: attention.tiles.spec(queries: 2), decode: attention.tiles.spec(queries: 1))
    let backend = try LocalBackend(
      model, prompt: tokens,
      LocalBackend.Options(
        attention: choice, sampler: sampling.settings, maxTokens: maxTokens ?? .max,
        hasShadow: shadow == .dense, startsPaused: paused))
    _ = try await Screen.run(
      backend, self.terminal, Surroundings.standard(self.terminal, source: model.path),
      begin: { selection in
        selection.view = .tokens
        selection.lambda = choice.lambda
        selection.spec = choice.prefill
        selection.head = HeadID(layer: model.config.layers / 2, head: 0)
      }, whenReady: { backend.start() })
    await backend.finish()
  }

  static func densePlan() throws -> AttentionPlan {
    AttentionPlan(prefill: try Dense(knobs: [:]), decode: try Dense(knobs: [:]))
  }
}

/// How the engine computes.
struct EngineArguments: ParsableArguments {
  @Option(help: "int8 (quantised activations, fast) or float.")
  var precision: LanguageModel.Precision = .int8
  @Option(parsing: .unconditional, help: "Threads that compute.") var threads: Int?

  func validate() throws { try Self.check(threads: threads) }

  static func check(threads: Int?) throws {
    let counts = ComputeThreads.counts
    if let threads, !counts.contains(threads) {
      throw ValidationError("--threads is \(counts.lowerBound) to \(counts.upperBound).")
    }
  }

  /// Before anything computes: the threads are made once.
  func apply() { if let threads { ComputeThreads.setSharedCount(threads) } }

  func open(_ path: String) throws -> LanguageModel {
    try LanguageModel(path, precision: precision)
  }
}

struct SamplingArguments: ParsableArguments {
  @Option(
    parsing: .unconditional, help: "0 takes the most likely token; larger is more even.")
  var temperature = 0.0
  @Option(parsing: .unconditional, help: "Choose among the k most likely; 0: among all.")
  var topK = 0
  @Option(
    parsing: .unconditional,
    help: "Choose among the fewest that hold this much probability.")
  var topP = 1.0
  @Option(help: "The same seed gives the same text.") var seed: UInt64 = 0

  func validate() throws {
    guard temperature >= 0, temperature.isFinite else {
      throw ValidationError("--temperature is 0 or more.")
    }
    guard topK >= 0, topP > 0, topP <= 1 else {
      throw ValidationError("--top-k is 0 or more; --top-p is above 0, at most 1.")
    }
  }

  var settings: SamplerSettings {
    SamplerSettings(temperature: temperature, topK: topK, topP: topP, seed: seed)
  }
}

extension LanguageModel.Precision: ExpressibleByArgument {}
