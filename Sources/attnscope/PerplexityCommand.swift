import ArgumentParser
import Attention
import Canvas
import Formats
import Glibc
import Models

/// `attnscope perplexity --file text.txt --lambda 0.01 0.1`: what pruning costs the model itself.
///
/// Perplexity is exp of the mean negative log-likelihood in nats, mean_t -ln p(x_t | x_<t), over
/// every token but a window's first. The catch: windows do not see one another, so short ones raise
/// all figures, dense included; compare within one run only. The cost is one prefill of the text
/// for each lambda.
struct PerplexityCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "perplexity",
    abstract: "What pruning costs: mean negative log-likelihood of a text, dense and per lambda.",
    discussion: """
      The text is read in windows of --window tokens; every token but a window's first is \
      predicted. Attention is pruned \
      as in prefill.
      """)

  @OptionGroup var model: ModelArguments
  @OptionGroup var engine: EngineArguments
  @Option(name: .customLong("file"), help: "A text; - is standard input.") var file: String
  @Option(
    parsing: .upToNextOption, help: "One or more; dense is always measured first.")
  var lambda: [Double] = [0.001, 0.01, 0.1]
  /// Nil: ModelOpt's prefill tile.
  @Option(help: "Query rows that vote x keys, or a preset.") var tile: TileSides?
  @Option(help: "Who decides: head or group.") var vote: Vote?
  @Option(help: "Order of key blocks: ascending or descending.") var order: Order?
  /// 0 is all of the text.
  @Option(help: "Only the first so many tokens (default: 2048; 0: all).") var maxTokens = 2048
  /// 2 or more; nil, or one beyond it, is the model's context.
  @Option(help: "Tokens of a window (default: the model's context).") var window: Int?
  @Flag(help: "Print JSON.") var json = false

  /// Throws `ValidationError` for an impossible lambda, or for windows and texts in which
  /// nothing is predicted.
  func validate() throws {
    for x in lambda {
      do { _ = try Lambda(x) } catch { throw ValidationError("\(error)") }
    }
    if let window, window < 2 { throw ValidationError("--window is 2 or more.") }
    guard maxTokens == 0 || maxTokens >= 2 else {
      throw ValidationError("--max-tokens is 2 or more, or 0 for all.")
    }
  }

  /// One lambda's result: the mean in nats, and the blocks of all windows.
  private struct Row {
    /// 0 is dense.
    let lambda: Double
    /// Mean negative log-likelihood, in nats a token.
    let nll: Double
    /// Of all windows together.
    let counts: BlockCounts
  }

  /// Dense first, so that every row has something to be compared with. Throws `ModelError`
  /// for a text of fewer than two tokens.
  func run() throws {
    engine.apply()
    let model = try engine.open(try self.model.path())
    let text = try readWhole(file, most: PromptArguments.mostBytes)
    var tokens = model.tokenizer.encode(text)
    if maxTokens > 0 { tokens = Array(tokens.prefix(maxTokens)) }
    guard tokens.count >= 2 else {
      throw ModelError(.badSetting, "has \(tokens.count) tokens; two at least", place: file)
    }
    let size = min(window ?? model.config.context, model.config.context)
    let wanted = [0.0] + lambda.map { max($0, 0) }.filter { $0 > 0 }
    var rows: [Row] = []
    for x in wanted {
      say("lambda \(x): \(tokens.count) tokens")
      rows.append(try measure(model, tokens, size, x))
    }
    print(
      json ? self.json(model, tokens.count, size, rows) : table(model, tokens.count, size, rows))
  }

  /// One pass over all windows, each from an empty cache. Sums are double, over every
  /// predicted token.
  private func measure(
    _ model: LanguageModel, _ tokens: [Int], _ size: Int, _ lambda: Double
  ) throws -> Row {
    var tiles = try TileArguments.parse([])
    (tiles.tile, tiles.vote, tiles.order) = (tile, vote, order)
    let plan = try tiles.plan(lambda: lambda)
    var counts = BlockCounts(layers: model.config.layers, heads: model.config.heads)
    var total = 0.0, predicted = 0
    for start in stride(from: 0, to: tokens.count - 1, by: size) {
      let part = Array(tokens[start..<min(start + size, tokens.count)])
      let state = RunState(model)
      model.prefill(
        part, state, plan,
        everyLogit: { position, logits in
          guard position + 1 < part.count else { return }
          total += logSumExp(logits) - Double(logits[part[position + 1]])
          predicted += 1
        })
      counts.add(state.counts)
    }
    return Row(
      lambda: lambda, nll: total / Double(max(predicted, 1)), counts: counts)
  }

  /// Aligned columns; the last is the price in nats.
  private func table(_ model: LanguageModel, _ tokens: Int, _ size: Int, _ rows: [Row]) -> String {
    let about =
      """
      \(model.config.name), \(model.precision.rawValue), \(tokens) tokens in windows of \
      \(min(size, tokens))
      """
    let names = Numbers.column(rows.map { $0.lambda }, as: Numbers.threshold)
    let table = Table(
      ["lambda", "sparsity", "nll", "perplexity", "nll - dense"],
      rows: zip(names, rows).map { name, row in
        [
          row.lambda == 0 ? "dense" : name, Numbers.percent(row.counts.sparsity),
          Numbers.fixed(row.nll, 4), Numbers.fixed(exp(row.nll), 3),
          Numbers.fixed(row.nll - rows[0].nll, 4),
        ]
      })
    return Printable.text(about) + "\n" + table.text
  }

  /// The same numbers at full precision.
  private func json(_ model: LanguageModel, _ tokens: Int, _ size: Int, _ rows: [Row]) -> String {
    JSON.object([
      ("model", .string(model.config.name)), ("precision", .string(model.precision.rawValue)),
      ("tokens", .integer(tokens)), ("window", .integer(min(size, tokens))),
      (
        "rows",
        .array(
          rows.map { row in
            .object([
              ("lambda", .number(row.lambda)), ("sparsity", .number(row.counts.sparsity)),
              ("visible_blocks", .integer(row.counts.totalVisible)),
              ("skipped_blocks", .integer(row.counts.totalSkipped)), ("nll", .number(row.nll)),
              ("perplexity", .number(exp(row.nll))),
            ])
          })
      ),
    ]).text(pretty: true)
  }
}
