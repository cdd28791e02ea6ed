import ArgumentParser
import Attention
import Canvas
import Formats
import Glibc
import Kernels
import Methods
import Models
import Tensors

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure this machine: operation counts first, then medians with their spread.",
    discussion: "Each figure stands beside the ceiling that was measured in the same run.")

  enum Suite: String, ExpressibleByArgument, CaseIterable { case engine }

  @Argument(help: "Suites to run: engine.") var suites: [Suite] = Suite.allCases
  @OptionGroup var model: ModelArguments
  @OptionGroup var engine: EngineArguments
  @Option(help: "Repetitions of each figure.") var repeats = 5
  @Flag(help: "Print a JSON array.") var json = false

  func validate() throws {
    guard (1...1000).contains(repeats) else { throw ValidationError("--repeats is 1 to 1000.") }
  }

  func run() throws {
    engine.apply()
    let bench = EngineBench(try engine.open(try model.path()), repeats: repeats)
    let figures = bench.figures()
    print(json ? JSON.array(figures.map(\.json)).text(pretty: true) : Figure.table(figures))
  }
}

/// One line of a bench.
struct Figure {
  let suite: String
  let name: String
  let metric: String
  /// Median, least and most; one value for a count.
  let values: [Double]
  let unit: String
  /// What the machine could do at best, in the same unit.
  let ceiling: Double?

  var median: Double { values.sorted()[values.count / 2] }

  var json: JSON {
    .object([
      ("suite", .string(suite)), ("case", .string(name)),
      ("isa", .string(InstructionSet.best.name)),
      ("threads", .integer(ComputeThreads.shared.count)), ("metric", .string(metric)),
      ("value", .number(median)), ("unit", .string(unit)),
      ("ceiling_share", .optional(ceiling) { .number(median / $0) }), ("against", .null),
      ("ratio", .null), ("least", .number(values.min()!)), ("most", .number(values.max()!)),
    ])
  }

  static func table(_ figures: [Figure]) -> String {
    let heading =
      "\(InstructionSet.best.name), \(ComputeThreads.shared.count) threads; median (least to most)"
    let names = figures.map { "\($0.name) \($0.metric)" }
    let width = names.map(\.count).max() ?? 0
    return
      ([heading]
      + zip(names, figures).map { name, figure in
        var line = name + String(repeating: " ", count: width - name.count + 2)
        line += "\(Numbers.short(figure.median)) \(figure.unit)"
        if figure.values.count > 1 {
          line +=
            " (\(Numbers.short(figure.values.min()!)) to \(Numbers.short(figure.values.max()!)))"
        }
        if let ceiling = figure.ceiling {
          line += ", \(Numbers.percent(figure.median / ceiling)) of \(Numbers.short(ceiling))"
        }
        return line
      }).joined(separator: "\n")
  }
}

/// How fast the engine reads prompts and decodes, beside the memory bandwidth that bounds it.
struct EngineBench {
  let model: LanguageModel
  let repeats: Int

  init(_ model: LanguageModel, repeats: Int) { (self.model, self.repeats) = (model, repeats) }

  private static let prompt = 512
  private static let decoded = 128

  func figures() -> [Figure] {
    let bandwidth = readBandwidth()
    var out = [
      count("a token", "weights read", Double(model.weightBytes) / 1e6, "MB"),
      count(
        "a position", "cache", Double(RunState.cacheBytesPerToken(model.config)) / 1e3, "KB"),
      count(
        "a position", "queries recorded",
        Double(QueryRecord.bytesPerPosition(model.config)) / 1e3, "KB"),
      Figure(
        suite: "engine", name: "memory", metric: "read", values: bandwidth, unit: "GB/s",
        ceiling: nil),
    ]
    let best = bandwidth.sorted()[bandwidth.count / 2]
    out.append(prefill())
    for context in [0, 1024] { out.append(decode(after: context, bandwidth: best)) }
    return out
  }

  private func count(_ name: String, _ metric: String, _ value: Double, _ unit: String) -> Figure {
    Figure(
      suite: "engine", name: name, metric: metric, values: [value], unit: unit, ceiling: nil)
  }

  private func timed(_ body: () -> Void) -> Double {
    let clock = ContinuousClock()
    return clock.measure(body).seconds
  }

  /// All threads reading a buffer far larger than the caches.
  private func readBandwidth() -> [Double] {
    let bytes = 256 << 20, parts = ComputeThreads.shared.count * 4
    let memory = OwnedStorage(byteCount: bytes) {
      $0.initializeMemory(as: UInt8.self, repeating: 1)
    }
    let isa = InstructionSet.best.rawValue
    return (0..<max(repeats, 3)).map { _ in
      let seconds = timed {
        ComputeThreads.shared.forEach(0..<parts, isCancelled: { false }) { part in
          let size = bytes / parts
          withExtendedLifetime(
            as_read_through(isa, memory.bytes.baseAddress! + part * size, size)
          ) {}
        }
      }
      return Double(bytes) / seconds / 1e9
    }
  }

  private func plan() -> AttentionPlan {
    AttentionPlan(prefill: try! Dense(knobs: [:]), decode: try! Dense(knobs: [:]))
  }

  private func tokens(_ count: Int) -> [Int] {
    (0..<count).map { 1000 + $0 * 7919 % (model.config.vocabulary / 2) }
  }

  private func prefill() -> Figure {
    let tokens = tokens(Self.prompt)
    _ = state(tokens)
    let speeds = (0..<repeats).map { _ in Double(tokens.count) / timed { _ = state(tokens) } }
    return Figure(
      suite: "engine", name: "prefill \(tokens.count)", metric: "speed", values: speeds,
      unit: "tokens/s", ceiling: nil)
  }

  private func state(_ tokens: [Int]) -> RunState {
    let state = RunState(model)
    model.prefill(tokens, state, plan())
    return state
  }

  /// Every token reads all weights, and the keys and values of all positions before it.
  private func decode(after context: Int, bandwidth: Double) -> Figure {
    let start = max(context, 4), plan = plan()
    let speeds = (0..<repeats).map { _ in
      let state = state(tokens(start))
      let seconds = timed {
        state.team.run {
          for token in tokens(Self.decoded) { model.decode(token, state, plan) }
        }
      }
      return Double(Self.decoded) / seconds
    }
    let positions = Double(start + Self.decoded / 2)
    let bytes =
      Double(model.weightBytes) + positions * Double(RunState.cacheBytesPerToken(model.config))
    return Figure(
      suite: "engine", name: "decode \(Self.decoded) after \(start)", metric: "speed",
      values: speeds, unit: "tokens/s", ceiling: bandwidth * 1e9 / bytes)
  }
}
