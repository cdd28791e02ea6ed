import Attention
import Canvas
import Kernels
import Tensors

/// One line of a bench: what was measured, in which unit, and what it is to be compared with.
///
/// Example, as `table` prints it:
/// `attention: dense n=4096 d=64, speed  61 GFLOP/s (58 to 63), 72 % of 85`. A figure that is
/// counted and not measured has one value and no spread; ratios are taken turn by turn, so a slow
/// moment of the machine hits both sides of one.
struct BenchFigure {
  /// The group it belongs to.
  let suite: String
  /// What ran, with its sizes.
  let name: String
  /// What of it was measured.
  let metric: String
  /// One for each repetition; a single one for a count.
  var values: [Double]
  /// Of `values` and `ceiling`.
  let unit: String
  /// How many ran.
  var threads = ComputeThreads.shared.count
  /// What the machine could do at best, in the same unit; 1 for a share.
  var ceiling: Double?
  /// The baseline that took turns with it.
  var against: String?
  /// How many times as fast as the baseline, turn by turn.
  var ratios: [Double] = []

  /// The upper middle of the values; what is printed.
  var median: Double { Self.median(values) }
  /// The median of the turns' ratios, not the ratio of medians: a slow moment hits both of a
  /// turn.
  var ratio: Double? { ratios.isEmpty ? nil : Self.median(ratios) }

  /// The upper middle; traps on none.
  static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

  /// At full precision; `least` and `most` are the spread.
  var json: JSON {
    .object([
      ("suite", .string(suite)), ("case", .string(name)),
      ("isa", .string(InstructionSet.best.name)), ("threads", .integer(threads)),
      ("metric", .string(metric)), ("value", .number(median)), ("unit", .string(unit)),
      ("ceiling_share", .optional(ceiling) { .number(median / $0) }),
      ("against", .optional(against, JSON.string)), ("ratio", .optional(ratio, JSON.number)),
      ("least", .number(values.min()!)), ("most", .number(values.max()!)),
    ])
  }

  /// What holds for all lines.
  static var heading: String {
    "\(InstructionSet.best.name), \(ComputeThreads.shared.count) threads; median (least to most)"
  }

  /// Aligned lines of one suite.
  static func table(_ figures: [BenchFigure]) -> String {
    Table(listing: figures.map { ["\($0.suite): \($0.name), \($0.metric)", $0.text] }).text
  }

  /// The figure without its name: median, spread, share of the ceiling, ratio to the
  /// baseline.
  private var text: String {
    var line = "\(Numbers.short(median)) \(unit)"
    if values.count > 1 {
      line += " (\(Numbers.short(values.min()!)) to \(Numbers.short(values.max()!)))"
    }
    if let ceiling { line += ", \(Numbers.percent(median / ceiling)) of \(Numbers.short(ceiling))" }
    if let against, let ratio { line += ", \(Numbers.fixed(ratio, 2))x \(against)" }
    return line
  }
}

/// What the machine can do at best, measured on the spot with the same instructions and
/// threads as the rest.
enum Ceilings {
  /// Seconds that `body` takes.
  static func timed(_ body: () -> Void) -> Double { ContinuousClock().measure(body).seconds }

  /// Multiply-adds in registers on one thread, in GFLOP/s: three values at least, of which
  /// the median counts.
  static func peak(repeats: Int) -> [Double] {
    let isa = as_isa(rawValue: UInt32(InstructionSet.best.rawValue))
    var sink: [Float] = [0.999, 1e-3, 0]
    return (0..<max(repeats, 3)).map { _ in
      var operations = 0.0
      let seconds = timed { operations = as_peak(isa, 3_000_000, &sink) }
      return operations / seconds / 1e9
    }
  }

  /// Threads reading a buffer far larger than the caches, in GB/s. 256 MB are allocated and
  /// read once for each value.
  static func bandwidth(repeats: Int, threads: ComputeThreads = .shared) -> [Double] {
    let bytes = 256 << 20, parts = threads.count * 4
    let memory = OwnedStorage(byteCount: bytes) {
      $0.initializeMemory(as: UInt8.self, repeating: 1)
    }
    let isa = InstructionSet.best.rawValue
    return (0..<max(repeats, 3)).map { _ in
      let seconds = timed {
        threads.forEach(0..<parts, isCancelled: { false }) { part in
          let size = bytes / parts
          withExtendedLifetime(
            as_read_through(isa, memory.bytes.baseAddress! + part * size, size)
          ) {}
        }
      }
      return Double(bytes) / seconds / 1e9
    }
  }
}
