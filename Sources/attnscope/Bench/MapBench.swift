import Analysis
import Attention
import Backends
import Formats
import FoundationEssentials
import Glibc
import Kernels
import Synchronization
import Tensors

/// The map of one long head from a mapped file: first picture, exact picture, block table,
/// lambda step, memory.
///
/// Files are written to a temporary folder and removed. The last lines fit a power of the
/// length to time and memory: the work grows with the square, memory should not.
struct MapBench {
  /// Openings of each file; half as many of the longest.
  let repeats: Int

  /// Tokens of the heads.
  private static let lengths = [16384, 32768, 65536, 131072]
  /// Width of the heads.
  private static let dim = 64

  /// All lengths, the longest with half the repetitions. Throws when the temporary folder
  /// cannot be written.
  func figures() throws -> [BenchFigure] {
    let folder = FileManager.default.temporaryDirectory.appending(
      path: "attnscope-bench-\(getpid())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let threads = ComputeThreads.shared.count
    let peak = BenchFigure.median(Ceilings.peak(repeats: repeats)) * Double(threads)
    var out = Self.lengths.map {
      BenchFigure(
        suite: "map", name: "exact n=\($0) d=\(Self.dim)", metric: "operations of Q K^T",
        values: [Double($0) * Double($0 + 1) * Double(Self.dim) / 1e9], unit: "GFLOP")
    }
    var measured: [(n: Int, runs: [Run])] = []
    for n in Self.lengths {
      let path = folder.appending(path: "\(n).safetensors").path
      try Self.write(n, to: path)
      let runs = try (0..<(n > 65536 ? max(1, repeats / 2) : repeats)).map { _ in try Run(path) }
      try FileManager.default.removeItem(atPath: path)
      measured.append((n, runs))
      let name = "n=\(n) d=\(Self.dim)"
      func line(_ what: String, _ metric: String, _ unit: String, _ value: (Run) -> Double)
        -> BenchFigure
      {
        BenchFigure(
          suite: "map", name: "\(what) \(name)", metric: metric, values: runs.map(value), unit: unit
        )
      }
      out.append(line("sampled, from opening the file,", "first picture", "ms") { 1000 * $0.first })
      out.append(line("exact, from opening the file,", "picture", "s") { $0.exact })
      var speed = line("exact", "speed of Q K^T", "GFLOP/s") {
        Double(n) * Double(n + 1) * Double(Self.dim) / $0.exactAlone / 1e9
      }
      speed.ceiling = peak
      out.append(speed)
      out.append(line("block table", "time", "s") { $0.table })
      out.append(line("lambda step", "time", "ms") { 1000 * $0.step })
      out.append(line("exact", "memory beyond the file", "MB") { $0.megabytes })
    }
    for (metric, value) in [
      ("time", { (run: Run) in run.exact }), ("memory", { (run: Run) in run.megabytes }),
    ] {
      let points = measured.map { (log(Double($0.n)), log(BenchFigure.median($0.runs.map(value)))) }
      out.append(
        BenchFigure(
          suite: "map", name: "exact, all lengths", metric: "\(metric) grows as n to the power",
          values: [Self.slope(points)], unit: ""))
    }
    return out
  }

  /// A synthetic head of `n` tokens, in pieces. Throws what writing throws.
  private static func write(_ n: Int, to path: String) throws {
    let made = SyntheticHeads(tokens: n, dim: dim, pattern: .vertical)
    func array(_ name: String, _ make: @escaping @Sendable (Int, Range<Int>) -> [Float])
      -> ArrayToWrite
    {
      ArrayToWrite(name, shape: [1, n, dim], half: true, parts: n / 8192) {
        make(0, $0 * 8192..<($0 + 1) * 8192)
      }
    }
    try writeSafetensors(
      [
        array("layers.0.q", made.queries), array("layers.0.k", made.keys),
        array("layers.0.v", made.values),
      ], metadata: ["model": "synthetic", "causal": "true", "rope_applied": "true"], to: path,
      force: true)
  }

  /// Least squares through points of logarithms: the exponent of a power law.
  private static func slope(_ points: [(x: Double, y: Double)]) -> Double {
    let x = points.map(\.x).reduce(0, +) / Double(points.count)
    let y = points.map(\.y).reduce(0, +) / Double(points.count)
    let up = points.reduce(0) { $0 + ($1.x - x) * ($1.y - y) }
    return up / points.reduce(0) { $0 + ($1.x - x) * ($1.x - x) }
  }

  /// One opening of a file and what follows.
  private struct Run {
    /// Seconds from opening to the sampled and to the exact picture.
    let first, exact: Double
    /// Seconds: the exact picture without opening, the block table, one step of lambda (the
    /// median of nine).
    let exactAlone, table, step: Double
    /// Memory of its own at most, above what there was before.
    let megabytes: Double

    /// Does it all once, from opening the file, as a user would. Throws what opening throws.
    init(_ path: String) throws {
      // What earlier suites freed goes back first: memory that is used again would count as none.
      as_trim_memory()
      let before = Self.anonymousMegabytes(), most = Mutex(before)
      let watch = Progress { _ in
        let now = Self.anonymousMegabytes()
        most.withLock { $0 = max($0, now) }
      }
      let clock = ContinuousClock(), start = clock.now
      let heads = DumpHeads(try Dump.open(path))
      let head = heads.head(0, 0)!
      let window = MapWindow(queries: 0..<head.queries, keys: 0..<head.keys)
      let pass = MapPass(head)!
      _ = PooledMap.of(head, pass: pass, window: window, rows: 70, columns: 100, sampled: 1)
      first = (clock.now - start).seconds
      let middle = clock.now
      _ = PooledMap.of(head, pass: pass, window: window, rows: 70, columns: 100, progress: watch)
      exactAlone = (clock.now - middle).seconds
      exact = (clock.now - start).seconds
      let spec = TileSpec(rows: 128, keys: 128)
      var tables: [BlockTable] = []
      table = Ceilings.timed { tables = pass.tables([spec], progress: watch) ?? [] }
      var lambda = 1e-3
      var times: [Double] = []
      for _ in 0..<9 {
        lambda *= 1.5
        let exact = try Lambda(lambda)
        times.append(
          Ceilings.timed {
            _ = (tables[0].mask(exact), tables[0].droppedMass(exact), tables[0].sparsity(exact))
          })
      }
      step = BenchFigure.median(times)
      megabytes = max(most.withLock { $0 }, Self.anonymousMegabytes()) - before
    }

    /// Memory that belongs to no file, in MiB; 0 where the system does not tell.
    static func anonymousMegabytes() -> Double {
      guard let text = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
        let line = text.split(separator: "\n").first(where: { $0.hasPrefix("RssAnon:") }),
        let kilobytes = line.split(whereSeparator: { !$0.isNumber }).first.flatMap({ Double($0) })
      else { return 0 }
      return kilobytes / 1024
    }
  }
}
