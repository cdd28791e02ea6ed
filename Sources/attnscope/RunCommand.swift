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

/// What is said to the model. Bytes, not characters: a file may hold anything, and the
/// tokenizer takes it.
struct PromptArguments: ParsableArguments {
  /// As the shell gave it.
  @Option(help: ArgumentHelp("What to say to the model.", valueName: "text"))
  var prompt: String?

  /// Read whole, byte for byte.
  @Option(help: ArgumentHelp("A file with the prompt; - is standard input.", valueName: "file"))
  var promptFile: String?

  @Flag(help: "Wrap the prompt in the model's chat template.") var chat = false
  @Flag(help: "Give the prompt to the model as it is (the default).") var raw = false
  @Option(help: ArgumentHelp("With --chat: the system message.", valueName: "text"))
  var system: String?

  @Flag(inversion: .prefixedNo, help: "Read special tokens, such as <|im_start|>, in the prompt.")
  var special = true

  /// More than any context holds, and little enough to be held while it is read.
  static let mostBytes = 1 << 26

  /// Throws `ValidationError` when two flags say opposite things.
  func validate() throws {
    if prompt != nil, promptFile != nil {
      throw ValidationError("Give --prompt or --prompt-file, not both.")
    }
    if chat, raw { throw ValidationError("--chat and --raw exclude each other.") }
    if system != nil, !chat { throw ValidationError("--system goes with --chat.") }
  }

  /// The bytes of the prompt; nil when none was given. Throws what reading the file throws.
  func bytes() throws -> [UInt8]? {
    if let prompt { return Array(prompt.utf8) }
    guard let promptFile else { return nil }
    return try readWhole(promptFile, most: Self.mostBytes)
  }

  /// Token numbers of the prompt, wrapped in the chat template on request; `standard` is said
  /// when nothing was given. Throws `ValidationError` without any prompt, `unsupported` for a
  /// model whose template is not known.
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
///
/// Example: `--method a-shape --knob initial=4`, or `--lambda 0.01 --tile 64x64`. Prefill and
/// decode get a method each, since the tiles differ.
struct AttentionArguments: ParsableArguments {
  @OptionGroup var tiles: TileArguments
  @OptionGroup var screening: ScreenArguments
  @Option(
    help: "A method, ID[:knob=value,..]; `attnscope methods` lists them.",
    completion: MethodWord.completion)
  var method: String?
  @Option(
    help: ArgumentHelp(
      "A setting of the method, e.g. initial=64; may be repeated.", valueName: "name=value"))
  var knob: [String] = []

  /// The method named, with its knobs; nil for the one whose blocks are read off a table,
  /// which lambda and tile stand for and which the screen can change while it runs. Throws
  /// `ValidationError` for knobs of that one.
  func named() throws -> MethodSetting? {
    let setting = try Registry.standard.setting(
      method, knobs: knob, tiles, queries: 2, screen: screening.screen)
    guard Registry.standard.method(setting.id)?.card.blockTables != nil else { return setting }
    guard knob.isEmpty, screening.screen == .none, !(method?.contains(":") ?? false) else {
      throw ValidationError(
        """
        On the screen \(setting.id) takes --lambda, --tile, --vote and --order; knobs and --screen \
        go with --plain.
        """
      )
    }
    return nil
  }

  /// The methods for prompts and for tokens. Throws what making them throws.
  func plan() throws -> AttentionPlan {
    try tiles.plan(method: method, knobs: knob, screen: screening.screen)
  }
}

extension TileArguments {
  /// A method for prompts and one for single tokens, with the tiles that each phase has;
  /// `lambda` wins over the flag's. Throws what making a method throws.
  func plan(
    method: String? = nil, knobs: [String] = [], lambda: Double? = nil, screen: Screening = .none
  ) throws -> AttentionPlan {
    var tiles = self
    if let lambda { tiles.chosenLambda = lambda }
    func setting(queries: Int) throws -> MethodSetting {
      try Registry.standard.setting(method, knobs: knobs, tiles, queries: queries, screen: screen)
    }
    let (prefill, decode) = (try setting(queries: 2), try setting(queries: 1))
    let first = try Registry.standard.makeEngine(prefill)
    guard prefill != decode else { return AttentionPlan(first) }
    return AttentionPlan(prefill: first, decode: try Registry.standard.makeEngine(decode))
  }
}

/// `attnscope run --prompt "..."`: live on the screen; with `--plain`, the text alone.
///
/// A shadow computes every step with dense attention as well and tells the divergence; it
/// doubles time and memory.
struct RunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Run a model with sparse attention: live on the screen, or as plain text.")

  @OptionGroup var model: ModelArguments
  @OptionGroup var prompt: PromptArguments
  @OptionGroup var attention: AttentionArguments
  @OptionGroup var engine: EngineArguments
  @OptionGroup var sampling: SamplingArguments
  /// Nil: 256 as plain text, on the screen as far as the context goes.
  @Option(parsing: .unconditional, help: "Stop after so many tokens.") var maxTokens: Int?
  /// Dense doubles time and memory.
  @Option(help: "Compare every step with dense attention on the same tokens: dense or none.")
  var shadow: Shadow = .none
  @Flag(help: "On the screen: read the prompt, then wait for Space.") var paused = false
  @OptionGroup var terminal: TerminalArguments
  @Flag(help: "Print the text as it comes, without a screen.") var plain = false
  @Flag(help: "With --plain: one JSON line a step.") var json = false

  /// What runs beside, for comparison.
  enum Shadow: String, ExpressibleByArgument, CaseIterable { case dense, none }

  /// Throws `ValidationError` for flags that do not go together.
  func validate() throws {
    if json, !plain { throw ValidationError("--json goes with --plain.") }
    if let maxTokens, maxTokens < 0 { throw ValidationError("--max-tokens cannot be negative.") }
  }

  /// Opens the model and runs it on the screen or as text. Throws what opening, and a prompt
  /// that does not fit, throw.
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

  /// On the screen the model runs in the background and the app asks it; leaving the screen
  /// stops it and waits for it.
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
    let source = Desk.full(model.path) ?? model.path
    let lost = Desk.lostRunNote(modelPath: source)
    let backend = try LocalBackend(
      model, prompt: tokens,
      LocalBackend.Options(
        attention: choice, sampler: sampling.settings, maxTokens: maxTokens ?? .max,
        hasShadow: shadow == .dense, startsPaused: paused,
        autosave: AutosavePlan(path: Desk.newRun(), source: source)))
    var losesTokens = true
    _ = try await Screen.run(
      backend, self.terminal, Surroundings.standard(self.terminal, source: model.path),
      begin: { selection in
        selection.view = .tokens
        selection.lambda = choice.lambda
        selection.spec = choice.prefill
        selection.head = HeadID(layer: backend.describe().middleLayer, head: 0)
      }, whenReady: { backend.start() }, whenOver: { losesTokens = $0.losesTokens }, note: lost)
    await backend.finish()
    if !losesTokens { backend.dropAutosave() }
  }

  /// Dense in both phases, for a shadow. Throws nothing that a user could cause.
  static func densePlan() throws -> AttentionPlan {
    AttentionPlan(prefill: try Dense(knobs: [:]), decode: try Dense(knobs: [:]))
  }
}

/// How the engine computes. Both settings must hold before the first kernel runs.
struct EngineArguments: ParsableArguments {
  /// Activations; weights are as the file holds them.
  @Option(help: "int8 (quantised activations, fast) or float.")
  var precision: LanguageModel.Precision = .int8
  /// Nil: ATTNSCOPE_THREADS, else as many as the machine has.
  @Option(parsing: .unconditional, help: "Threads that compute.") var threads: Int?

  /// Throws `ValidationError` for numbers of threads that no machine has.
  func validate() throws { try Self.check(threads: threads) }

  /// The same for commands that have a flag of this name and no other of these.
  static func check(threads: Int?) throws {
    let counts = ComputeThreads.counts
    if let threads, !counts.contains(threads) {
      throw ValidationError("--threads is \(counts.lowerBound) to \(counts.upperBound).")
    }
  }

  /// Before anything computes: the threads are made once.
  func apply() { if let threads { ComputeThreads.setSharedCount(threads) } }

  /// Opens a model with this precision. Throws what opening throws.
  func open(_ path: String) throws -> LanguageModel {
    try LanguageModel(path, precision: precision)
  }
}

/// How tokens are chosen; without any flag the most likely one.
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

  /// Throws `ValidationError` for values outside their ranges.
  func validate() throws {
    guard temperature >= 0, temperature.isFinite else {
      throw ValidationError("--temperature is 0 or more.")
    }
    guard topK >= 0, topP > 0, topP <= 1 else {
      throw ValidationError("--top-k is 0 or more; --top-p is above 0, at most 1.")
    }
  }

  /// The flags as the sampler takes them.
  var settings: SamplerSettings {
    SamplerSettings(temperature: temperature, topK: topK, topP: topP, seed: seed)
  }
}

extension LanguageModel.Precision: ExpressibleByArgument {}
