import Tensors
import Backends
import Canvas
import Formats
import Interface

/// Key press to presented frame on a terminal in memory, while the heads of the bundled
/// sample are computed.
///
/// What a user feels: the median and the 95th percentile of 120 keys, in milliseconds. The
/// terminal itself is left out.
struct UIBench {
  /// Apps that are started, 120 keys each.
  let repeats: Int

  /// One app for each repetition. Throws when the sample is not there.
  func figures() async throws -> [BenchFigure] {
    let keys = 120
    var medians: [Double] = [], nearly: [Double] = []
    for _ in 0..<repeats {
      let times = try await run(keys).sorted()
      medians.append(1000 * times[keys / 2])
      nearly.append(1000 * times[keys * 95 / 100])
    }
    return [
      BenchFigure(
        suite: "ui", name: "120x40, bundled sample", metric: "keys", values: [Double(keys)],
        unit: ""),
      BenchFigure(
        suite: "ui", name: "120x40, bundled sample", metric: "key to frame, median",
        values: medians, unit: "ms"),
      BenchFigure(
        suite: "ui", name: "120x40, bundled sample", metric: "key to frame, p95", values: nearly,
        unit: "ms", ceiling: nil),
    ] + (try await KnobBench().figures())
  }

  /// Seconds from each key to the next frame. Keys move and change heads, so that there is
  /// always something to compute.
  private func run(_ keys: Int) async throws -> [Double] {
    let terminal = VirtualTerminal(width: 120, height: 40)
    let app = App(FileBackend(try Dump.open(try Sample.path())), terminal: terminal)
    let running = Task { await app.run() }
    while terminal.frameCount == 0 { try await Task.sleep(for: .milliseconds(1)) }
    var times: [Double] = []
    for step in 0..<keys {
      let before = terminal.frameCount, start = ContinuousClock.now
      terminal.press(
        [.right, .character("]"), .up, .character("."), .left, .character("[")][step % 6])
      while terminal.frameCount == before { try await Task.sleep(for: .microseconds(200)) }
      times.append((ContinuousClock.now - start).seconds)
      try await Task.sleep(for: .milliseconds(5))
    }
    terminal.send(.hangup)
    await running.value
    return times
  }
}
