import ArgumentParser
import Attention
import Canvas
import FoundationEssentials
import Formats
import Models
import Tensors

/// `attnscope capture --prompt-file p.txt --layers 12 -o p.safetensors`: a dump made here,
/// with the names that `open` knows.
///
/// Runs the prompt once and keeps queries while it runs; keys and values are taken from the
/// cache at the end. The catch: memory holds the queries of all chosen layers at once. Float
/// is the default, since a dump is for looking closely.
struct CaptureCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "capture",
    abstract: "Run a prompt through a model and save Q, K and V of chosen layers as a dump.",
    discussion:
      """
      Computes in float unless --precision says otherwise, with dense attention unless --lambda is \
      given.
      """
  )

  @OptionGroup var model: ModelArguments
  @OptionGroup var prompt: PromptArguments
  /// Float unless told otherwise: a dump is for looking closely.
  @Option(help: "float, or int8 as `run` computes.") var precision: LanguageModel.Precision = .float
  /// Nil: ATTNSCOPE_THREADS, else as many as the machine has.
  @Option(help: "Threads that compute.") var threads: Int?
  /// As the model counts them, from 0; nil: all.
  @Option(help: "Layer numbers, e.g. 0,12,18-20 (default: all).") var layers: NumberList?
  @Option(help: "Positions whose queries are saved, e.g. 0-2047; keys are saved up to the last.")
  var positions: NumberList?
  @Option(help: "Arrays to save: q, k, v, comma-separated.") var arrays = "q,k,v"
  @Flag(
    help:
      """
      Also save what every sublayer adds to the residual stream: residuals [sources, tokens, \
      width].
      """
  )
  var residuals = false
  /// Of all arrays but `token_ids`.
  @Option(help: "Element type: f16 or f32.") var dtype: ElementType = .f16
  /// 0 is dense; 1 at most.
  @Option(help: "Capture from a run that prunes with this lambda.") var lambda: Double = 0
  @Option(help: "Only the first so many tokens of the prompt.") var maxTokens: Int?
  @Option(name: [.customShort("o"), .long], help: "File to write, .safetensors.") var output: String
  @Flag(help: "Replace an existing file.") var force = false

  /// Half floats are enough for pictures and half as large; float32 is for comparing numbers.
  enum ElementType: String, ExpressibleByArgument, CaseIterable { case f16, f32 }

  /// Throws `ValidationError` for another ending, other arrays than q, k and v, an impossible
  /// lambda and fewer than one token.
  func validate() throws {
    guard output.hasSuffix(".safetensors") else {
      throw ValidationError("-o names a .safetensors file.")
    }
    let known: Set<Substring> = ["q", "k", "v"]
    guard !arrays.isEmpty, Set(arrays.split(separator: ",")).isSubset(of: known) else {
      throw ValidationError("--arrays takes q, k and v, e.g. q,k.")
    }
    do { _ = try Lambda(lambda) } catch { throw ValidationError("\(error)") }
    if let maxTokens, maxTokens < 1 { throw ValidationError("--max-tokens is 1 or more.") }
    try EngineArguments.check(threads: threads)
  }

  /// One dense (or pruned) prefill with an observer, then the file. The path is checked
  /// first: nobody wants to wait for a run whose result has no place.
  func run() throws {
    var engine = try EngineArguments.parse(["--precision", precision.rawValue])
    engine.threads = threads
    engine.apply()
    try checkWritable(output, force: force)
    let model = try engine.open(try self.model.path())
    var tokens = try prompt.tokens(model)
    if let maxTokens { tokens = Array(tokens.prefix(maxTokens)) }
    let range = try queryRange(tokens.count)
    tokens = Array(tokens.prefix(range.upperBound))
    try model.check(prompt: tokens)
    let chosen = try model.layers(layers).sorted()
    let record = QueryRecord(
      model.config, layers: Set(chosen), budget: .max, exact: dtype == .f32)
    let state = RunState(model)
    let plan = try TileArguments.parse(["--lambda", "\(lambda)"]).plan()
    let stream = residuals ? ResidualRecord(model.config, beside: record) : nil
    model.prefill(tokens, state, plan, observer: stream ?? record)
    let dump = CapturedDump(model: model, state: state, record: record, tokens: tokens)
    var saved = dump.arrays(chosen, range, Set(arrays.map { "\($0)" }), half: dtype == .f16)
    if let tensor = stream?.tensor(tokens: tokens.count) {
      saved.append(
        ArrayToWrite(
          "residuals", floats: tensor.floats(), shape: tensor.shape.axes, half: dtype == .f16))
    }
    try writeSafetensors(
      saved, metadata: try dump.metadata(range), to: output, force: force)
    let kinds = Set(arrays.split(separator: ","))
    if !kinds.isSuperset(of: ["q", "k"]) {
      say("attnscope opens a dump only with both q and k; this one is for other programs")
    }
    say(
      """
      written to \(Printable.text(output)): \(Numbers.count(chosen.count, "layer")), \
      \(Numbers.count(range.count, "query", "queries")) by \
      \(Numbers.count(tokens.count, "key")) of \(Printable.text(model.config.name))
      """
    )
  }

  /// The positions whose queries are saved: one unbroken range within the prompt. Throws
  /// `ModelError` otherwise.
  private func queryRange(_ count: Int) throws -> Range<Int> {
    guard count > 0 else {
      throw ModelError(.badSetting, "the prompt has no tokens; say something", place: "--prompt")
    }
    guard let positions else { return 0..<count }
    guard let range = positions.range(below: count) else {
      throw ModelError(
        .badSetting, "is one range within 0-\(count - 1)", place: "--positions")
    }
    return range
  }
}

extension LanguageModel {
  /// The places of all numbers of a list, or of all layers. Throws `ModelError` when one is
  /// missing, or all.
  func layers(_ list: NumberList?) throws(ModelError) -> [LayerIndex] {
    let numbers = config.layerNumbers
    guard let list else { return numbers.layerIndices }
    let (indices, missing) = list.layers(among: numbers)
    if let missing {
      throw ModelError(
        .badSetting, "there is no layer \(missing); layers are 0 to \(config.layers - 1)",
        place: path)
    }
    return indices
  }
}

/// What a run leaves for a dump: arrays `layers.{l}.q`, `.k` and `.v` of
/// `[heads, positions, headDim]`, and the facts beside them. Queries are those after
/// rotation, as the scores were made from them.
struct CapturedDump {
  /// Whose shapes the arrays have.
  let model: LanguageModel
  /// Caches after the run: keys and values of every layer.
  let state: RunState
  /// Queries after rotation.
  let record: QueryRecord
  /// Token numbers that were read.
  let tokens: [Int]

  /// The arrays of some layers: queries of a range, keys and values from the start to its end
  /// (a query sees no later ones), and `token_ids` of the keys.
  func arrays(_ layers: [LayerIndex], _ queries: Range<Int>, _ kinds: Set<String>, half: Bool)
    -> [ArrayToWrite]
  {
    let config = model.config, keys = queries.upperBound, numbers = config.layerNumbers
    var out: [ArrayToWrite] = []
    for layer in layers {
      /// One array of all heads, unless its kind was not asked for.
      func add(_ name: String, _ heads: [Tensor], _ rows: Int) {
        guard kinds.contains(name) else { return }
        out.append(
          ArrayToWrite(
            "layers.\(numbers[layer]).\(name)", floats: heads.flatMap { $0.floats() },
            shape: [heads.count, rows, config.headDim], half: half))
      }
      add(
        "q",
        (0..<config.heads).compactMap { record.tensor(layer, head: $0, queries) }, queries.count)
      let caches = state.caches[layer.value].map { $0.snapshot.prefix(keys) }
      add("k", caches.map(\.keyRows), keys)
      add("v", caches.map(\.valueRows), keys)
    }
    let ids = tokens.prefix(keys).map { Int32($0) }
    out.append(ArrayToWrite("token_ids", int32: ids, shape: [ids.count]))
    return out
  }

  /// What `Dump.open` reads back: the offset of the first query, the scale, and the texts as
  /// JSON. Throws when the texts cannot be encoded.
  func metadata(_ queries: Range<Int>) throws -> [String: String] {
    let texts = tokens.prefix(queries.upperBound).map(model.tokenizer.piece)
    return [
      "model": model.config.name, "causal": "true", "rope_applied": "true",
      "query_offset": "\(queries.lowerBound)",
      "scale": "\(1 / Double(model.config.headDim).squareRoot())",
      "tokens": String(decoding: try JSONEncoder().encode(Array(texts)), as: UTF8.self),
    ]
  }
}
