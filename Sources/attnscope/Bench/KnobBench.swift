import Analysis
import Attention
import Backends
import Canvas
import Formats
import FoundationEssentials
import Glibc
import Interface
import Methods
import Tensors

/// A method's knob that is moved, to the frame that holds the new map and to the one that holds all
/// of its numbers, on a terminal in memory; and what another key waits for meanwhile.
///
/// Every method that mixes values by another whole matrix, has a number as its main knob and needs
/// no more than Q, K and V; a synthetic head of 512 tokens of 64 channels. Solvers, whose whole
/// maps end below 2048 tokens, and fits on the head are left out.
struct KnobBench {
  /// Length of the head, and moves of each knob.
  private static let tokens = 512, moves = 8
  private static let title = "120x40, \(tokens) tokens, knob"

  /// Over all methods, and the slowest of them by its median. Throws what writing the head throws.
  func figures() async throws -> [BenchFigure] {
    let path = FileManager.default.temporaryDirectory.appending(
      path: "attnscope-knob-\(getpid()).safetensors"
    ).path
    defer { unlink(path) }
    let head = AttentionBench.head(Self.tokens, 64)
    let pair = head.queryAndKey!, shape = [1, Self.tokens, 64]
    let arrays = [("q", pair.query), ("k", pair.key), ("v", head.value!)].map { name, tensor in
      ArrayToWrite("layers.0.\(name)", floats: tensor.floats(), shape: shape)
    }
    try writeSafetensors(arrays, metadata: [:], to: path, force: false)
    var maps: [Double] = [], answers: [Double] = [], keys: [Double] = []
    var slowest = (id: "", median: 0.0)
    let chosen = Registry.standard.methods.filter(Self.isMoved)
    for type in chosen {
      let times = try await run(path, type.card)
      guard !times.maps.isEmpty else { continue }
      maps += times.maps
      answers += times.answers
      keys += times.keys
      let median = times.maps.sorted()[times.maps.count / 2]
      if median > slowest.median { slowest = (type.card.id, median) }
    }
    guard !maps.isEmpty, !answers.isEmpty, !keys.isEmpty else { return [] }
    maps.sort()
    answers.sort()
    keys.sort()
    func figure(_ metric: String, _ values: [Double]) -> BenchFigure {
      BenchFigure(
        suite: "ui", name: Self.title, metric: metric, values: values.map { 1000 * $0 }, unit: "ms")
    }
    return [
      BenchFigure(
        suite: "ui", name: Self.title, metric: "methods", values: [Double(chosen.count)], unit: ""),
      figure("knob to map, median", [maps[maps.count / 2]]),
      figure("knob to map, p95", [maps[maps.count * 95 / 100]]),
      figure("knob to all numbers, median", [answers[answers.count / 2]]),
      figure("knob to all numbers, p95", [answers[answers.count * 95 / 100]]),
      figure("slowest, \(slowest.id)", [slowest.median]),
      figure("key to frame meanwhile, p95", [keys[keys.count * 95 / 100]]),
    ]
  }

  /// Row-wise, linear and kernel maps with a number to move.
  private static func isMoved(_ type: any AttentionMethod.Type) -> Bool {
    let card = type.card
    guard type is any MapMethod.Type, card.wholeMap >= 2048 else { return false }
    if case .surrogate(.U2, _) = card.fidelity { return false }
    guard card.needs.isSubset(of: [.queryKey, .values]) else { return false }
    return card.mainKnob.map { if case .number = $0.standard { true } else { false } } ?? false
  }

  /// Where a knob's way begins, a few steps below its standard, and how many steps up it goes from
  /// there: each is a map that was not made before.
  private static func way(_ knob: KnobFacts) -> (start: KnobValue, steps: Int) {
    var start = knob.standard
    for _ in 0..<moves / 2 { start = knob.stepped(start, by: -1) }
    var steps = 0, value = start
    while steps < moves, knob.stepped(value, by: 1) != value {
      value = knob.stepped(value, by: 1)
      steps += 1
    }
    return (start, steps)
  }

  /// Seconds of each move.
  private struct Times {
    /// To the first frame whose map is the new one.
    var maps: [Double] = []
    /// To the frame that is exact again: every number is there.
    var answers: [Double] = []
    /// To the frames that the move and a cursor key after it bring.
    var keys: [Double] = []
  }

  /// Cells of a frame that the map alone fills: its upper left, which the cursor, in the last row,
  /// does not touch.
  private static func map(_ grid: Grid) -> [Cell] {
    var cells: [Cell] = []
    for y in 5..<grid.height / 2 {
      for x in 8..<grid.width / 2 { cells.append(grid[x, y]) }
    }
    return cells
  }

  /// Moves the knob of one method; throws what opening the file throws.
  private func run(_ path: String, _ card: MethodCard) async throws -> Times {
    let terminal = VirtualTerminal(width: 120, height: 40)
    let dump = try Dump.open(path), about = FileBackend(dump).describe()
    let knob = card.mainKnob!, (begin, steps) = Self.way(knob)
    let app = App(FileBackend(dump), terminal: terminal) { viewpoint in
      let setting = "\(card.id):\(knob.name)=\(begin)"
      try? ViewSetting.take("method", setting, into: &viewpoint, [about])
      try? ViewSetting.take("field", "map", into: &viewpoint, [about])
    }
    let running = Task { await app.run() }
    func isExact() -> Bool { terminal.lastGrid?.lines.first?.contains("exact") == true }
    func wait(_ isThere: () -> Bool) async throws {
      let start = ContinuousClock.now
      while !isThere(), (ContinuousClock.now - start).seconds < 20 {
        try await Task.sleep(for: .microseconds(100))
      }
    }
    try await wait(isExact)
    var times = Times()
    for step in 0..<steps {
      let start = ContinuousClock.now
      var seen: [(seconds: Double, map: [Cell])] = [], count = terminal.frameCount
      func look() {
        guard terminal.frameCount > count, let grid = terminal.lastGrid else { return }
        count = terminal.frameCount
        seen.append(((ContinuousClock.now - start).seconds, Self.map(grid)))
      }
      var before = terminal.frameCount
      terminal.press(.character("]"))
      try await wait { terminal.frameCount > before }
      times.keys.append((ContinuousClock.now - start).seconds)
      let second = ContinuousClock.now
      before = terminal.frameCount
      terminal.press(step % 2 == 0 ? .left : .right)
      try await wait { terminal.frameCount > before }
      times.keys.append((ContinuousClock.now - second).seconds)
      try await wait {
        look()
        return isExact()
      }
      look()
      times.answers.append((ContinuousClock.now - start).seconds)
      let last = seen.lastIndex { $0.map != seen.last!.map } ?? -1
      if seen.indices.contains(last + 1) { times.maps.append(seen[last + 1].seconds) }
    }
    terminal.send(.hangup)
    await running.value
    return times
  }
}
