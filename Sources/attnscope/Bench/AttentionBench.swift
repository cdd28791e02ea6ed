import Attention
import Backends
import Canvas
import Formats
import Tensors

/// Forward passes of one causal head: dense, BLASST, screened, and the statistics pass.
///
/// One thread unless a line says otherwise: kernels are compared, not schedulers. Heads are
/// synthetic, from a fixed seed; how often the bound decides is taken from heads of a real
/// model.
struct AttentionBench {
  /// Turns of each figure.
  let repeats: Int
  /// Takes turns with the dense pass; nil for none.
  let baseline: Baseline?
  /// A single thread, for comparing kernels.
  private let one = ComputeThreads(count: 1)
  /// Multiply-adds in registers, in GFLOP/s, one a repetition.
  private let peak: [Double]

  /// Heads of a real model, for how often the bound decides.
  private let dump: Dump

  /// Measures the ceiling at once, so that every figure has one to stand beside.
  init(_ dump: Dump, repeats: Int, baseline: Baseline?) {
    (self.dump, self.repeats, self.baseline) = (dump, repeats, baseline)
    peak = Ceilings.peak(repeats: repeats)
  }

  /// ModelOpt's tile, as in all figures here.
  private static let spec = TileSpec(rows: 128, keys: 128)

  /// Counts before times: operations follow from the shape and can be checked by hand.
  func figures() -> [BenchFigure] {
    let shapes = [(4096, 64), (4096, 128), (16384, 64), (16384, 128)]
    var out = shapes.map { n, d in
      BenchFigure(
        suite: "attention", name: "dense n=\(n) d=\(d)", metric: "operations",
        values: [Self.operations(n, d) / 1e9], unit: "GFLOP", threads: 1)
    }
    out.append(
      BenchFigure(
        suite: "attention", name: "one core", metric: "FMA peak", values: peak, unit: "GFLOP/s",
        threads: 1))
    for (n, d) in shapes {
      let head = Self.head(n, d)
      out.append(dense(head, n, d))
      if n == 16384 { out += sparse(head, n, d) }
    }
    return out + screened()
  }

  /// How often the bound decides, over all heads of a dump of a real model.
  private func screened() -> [BenchFigure] {
    let heads = DumpHeads(dump)
    let spec = Self.spec
    return [1e-3, 1e-2, 1e-1].map { lambda in
      var (skipped, decided) = (0, 0)
      for layer in heads.layers.layerIndices {
        for number in 0..<heads.heads(layer) {
          guard let head = heads.head(layer, number), head.value != nil, head.queries > 1,
            let output = pass(head).forward(spec, .blasst(lambda: lambda), screen: .int8)?[0]
          else { continue }
          skipped += output.mask.verdicts.filter { $0 == .skipped }.count
          decided += output.decidedByBound
        }
      }
      return BenchFigure(
        suite: "attention",
        name:
          """
          screened BLASST, all heads of \(heads.dump.path.split(separator: "/").last ?? ""), \
          lambda \(Numbers.scientific(lambda))
          """,
        metric: "decided by the bound", values: [Double(decided) / Double(max(1, skipped))],
        unit: "of \(skipped) skipped")
    }
  }

  /// Two products of two operations each for every visible entry: 2 n (n + 1) d of a causal head.
  static func operations(_ n: Int, _ d: Int) -> Double { 2 * Double(n) * Double(n + 1) * Double(d) }

  /// One synthetic head of `n` tokens and `d` elements; the same for every run.
  static func head(_ n: Int, _ d: Int, pattern: SyntheticHeads.Pattern = .vertical) -> Head {
    let made = SyntheticHeads(tokens: n, dim: d, pattern: pattern)
    return Head(
      query: made.tensor(made.queries, 0), key: made.tensor(made.keys, 0),
      value: made.tensor(made.values, 0), causal: true)
  }

  /// With values and in float, as a model would compute.
  private func pass(_ head: Head) -> TilePass {
    TilePass(HeadGroup([head]), keysPerTile: 128, withValues: true, precision: .float)
  }

  /// Our dense pass and the baseline in turns; a ratio above 1 means that ours is faster.
  private func dense(_ head: Head, _ n: Int, _ d: Int) -> BenchFigure {
    let pass = pass(head)
    var speeds: [Double] = [], ratios: [Double] = []
    let request = JSON.object([
      ("suite", .string("attention")), ("case", .string("dense")), ("queries", .integer(n)),
      ("keys", .integer(n)), ("dim", .integer(d)), ("value_dim", .integer(d)),
      ("causal", .bool(true)), ("threads", .integer(1)),
    ])
    for _ in 0..<repeats {
      let seconds = Ceilings.timed { _ = pass.forward(Self.spec, .blasst(lambda: 0), threads: one) }
      speeds.append(Self.operations(n, d) / seconds / 1e9)
      if let theirs = baseline?.seconds(request) { ratios.append(theirs / seconds) }
    }
    return BenchFigure(
      suite: "attention", name: "dense n=\(n) d=\(d)", metric: "speed", values: speeds,
      unit: "GFLOP/s", threads: 1, ceiling: BenchFigure.median(peak),
      against: ratios.isEmpty ? nil : baseline?.name, ratios: ratios)
  }

  /// Everything else is measured beside our own dense pass, turn by turn: threads, Q K^T
  /// alone, the statistics of all presets, and skipping at two sparsities.
  private func sparse(_ head: Head, _ n: Int, _ d: Int) -> [BenchFigure] {
    let beside = Beside(pass(head), name: "n=\(n) d=\(d)", repeats: repeats, one: one)
    let pass = beside.pass, spec = Self.spec
    var out: [BenchFigure] = []
    let count = ComputeThreads.shared.count
    if count > 1 {
      out.append(beside.time("dense, \(count) threads,", count) { beside.dense(.shared) })
    }
    let scores = beside.time("Q K^T alone") { pass.scoresAlone(spec, threads: one) }
    let statistics = beside.time("statistics, all presets") {
      _ = pass.tables(TilePreset.all.map(\.prefill), threads: one)
    }
    out += [scores, statistics]
    out.append(
      BenchFigure(
        suite: "attention", name: statistics.name, metric: "cost",
        values: statistics.ratios.map { 1 / $0 }, unit: "of own dense", threads: 1))
    let table = pass.tables(spec)![0]
    for target in [0.72, 0.75] {
      guard let lambda = table.lambda(forSparsity: target), let exact = try? Lambda(lambda) else {
        continue
      }
      out += skipping(beside, exact, table, share: 1 / scores.ratio!)
    }
    return out
  }

  /// BLASST at one lambda, plain and screened. `share` is that of Q K^T in a dense pass: what
  /// skipping cannot save. The ceiling of the speedup follows from it; screening may save the
  /// scores as well, so its ceiling knows no share.
  private func skipping(_ beside: Beside, _ lambda: Lambda, _ table: BlockTable, share: Double)
    -> [BenchFigure]
  {
    let sparsity = table.sparsity(lambda), selection = Selection.blasst(lambda: lambda.value)
    var out: [BenchFigure] = []
    for screen in [Screening.none, .int8] {
      let label = screen == .none ? "BLASST" : "screened BLASST"
      let figure = beside.time("\(label) \(Numbers.percent(sparsity)) skipped") {
        _ = beside.pass.forward(Self.spec, selection, screen: screen, threads: one)
      }
      out.append(figure)
      out.append(
        BenchFigure(
          suite: "attention", name: figure.name, metric: "speedup", values: figure.ratios,
          unit: "x", threads: 1,
          ceiling: 1 / (1 - sparsity * (1 - (screen == .none ? share : 0)))))
    }
    let output = beside.pass.forward(Self.spec, selection, screen: .int8)![0]
    out.append(
      BenchFigure(
        suite: "attention", name: out[2].name, metric: "decided by the bound",
        values: [Double(output.decidedByBound) / Double(max(1, table.skippedBlocks(lambda)))],
        unit: "of the skipped", threads: 1))
    return out
  }

  /// Times something and our own dense pass on one thread in turns.
  private struct Beside {
    /// Keys packed once for all turns.
    let pass: TilePass
    /// The shape, for the names of figures.
    let name: String
    /// Turns of each figure.
    let repeats: Int
    /// What the reference runs on.
    let one: ComputeThreads

    /// Measures nothing yet.
    init(_ pass: TilePass, name: String, repeats: Int, one: ComputeThreads) {
      (self.pass, self.name, self.repeats, self.one) = (pass, name, repeats, one)
    }

    /// The reference: nothing skipped.
    func dense(_ threads: ComputeThreads) {
      _ = pass.forward(AttentionBench.spec, .blasst(lambda: 0), threads: threads)
    }

    /// `body` in milliseconds, with its ratio to the dense pass of the same turn.
    func time(_ label: String, _ threads: Int = 1, _ body: () -> Void) -> BenchFigure {
      var times: [Double] = [], ratios: [Double] = []
      for _ in 0..<repeats {
        let reference = Ceilings.timed { dense(one) }, seconds = Ceilings.timed(body)
        times.append(1000 * seconds)
        ratios.append(reference / seconds)
      }
      return BenchFigure(
        suite: "attention", name: "\(label) \(name)", metric: "time", values: times, unit: "ms",
        threads: threads, against: "own dense, 1 thread", ratios: ratios)
    }
  }
}
