import Analysis
import Attention
import Canvas
import Interface
import Sessions
import Synchronization
import Testing

/// What the screen does about a head of 131072 tokens: a sample first, then progress, then the
/// exact picture, and only then everything else.
@Suite(.serialized) struct LongTests {
  @Test func aSampleComesFirstAndSaysSo() async throws {
    let backend = LongBackend()
    let pilot = Pilot(backend, width: 110, height: 32)
    await pilot.sees("sampled: 1 row in")
    await pilot.until("the second look") { _ in backend.asked.contains("sketch 16") }
    await pilot.until("the exact map asked for") { _ in backend.asked.contains("map") }
    #expect(!backend.asked.contains("blocks"), "the block table was asked before the picture")
    backend.tell(0.5, 2)
    await pilot.sees("50 %, 2.0 s left")
    #expect(pilot.screen.contains("map 50 %"))
    // Keys are answered while it computes.
    pilot.press("s")
    await pilot.sees("Scale: linear")
    backend.release()
    await pilot.until("the exact picture") { !$0.contains("sampled") }
    await pilot.until("the block table asked for") { _ in backend.asked.contains("blocks") }
    let asked = backend.asked
    #expect(
      Array(asked.filter { $0.hasPrefix("sketch") || $0 == "map" || $0 == "blocks" }.prefix(4)) == [
        "sketch 1", "sketch 16", "map", "blocks",
      ])
    await pilot.quit()
  }

  @Test func controlCStopsAndANewKeyGoesOn() async throws {
    let backend = LongBackend()
    let pilot = Pilot(backend, width: 80, height: 24)
    await pilot.until("the exact map asked for") { _ in backend.asked.contains("map") }
    pilot.terminal.send(.interrupt)
    await pilot.sees("stopped")
    await pilot.until("the work cancelled") { _ in backend.cancelled > 0 }
    backend.release()
    pilot.press("]")
    await pilot.until("the exact picture") { !$0.contains("sampled") && !$0.contains("stopped") }
    await pilot.quit()
  }

  /// A table that another session left is shown beside the sample, before the exact map.
  @Test func aKeptTableIsShownAtOnce() async throws {
    let backend = LongBackend(hasTable: true)
    let pilot = Pilot(backend, width: 110, height: 32)
    await pilot.sees("/16384 blocks")
    #expect(pilot.screen.contains("sampled"))
    #expect(!backend.asked.contains("blocks"))
    backend.release()
    await pilot.quit()
  }

  /// A still waits for every answer, though each question waits for the one before it: no number is
  /// left open.
  @Test func aStillOfLongHeadsIsWhole() async throws {
    let backend = LongBackend()
    backend.release()
    let model = try await Still.model(backend, width: 200, height: 60) {
      $0.view = .compare
      $0.other = Counterpart(HeadID(layer: 0, head: 1))
    }
    let text = ComparisonTable(model).text
    #expect(!text.contains("…") && text.contains("entropy"), "\(text)")
    #expect(backend.asked.contains("blocks"))
  }
}

/// Answers sketches at once and the exact map when it is released.
private final class LongBackend: Backend {
  private struct State {
    var asked: [String] = []
    var cancelled = 0
    var isOpen = false
  }

  private let state = Mutex(State())
  private let hasTable: Bool
  let moments: AsyncStream<Moment>
  private let told: AsyncStream<Moment>.Continuation
  private static let n = 131072

  init(hasTable: Bool = false) {
    self.hasTable = hasTable
    (moments, told) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(16))
  }

  var asked: [String] { state.withLock { $0.asked } }
  var cancelled: Int { state.withLock { $0.cancelled } }

  func release() { state.withLock { $0.isOpen = true } }

  private let exact = Mutex<Question?>(nil)

  func tell(_ share: Double, _ seconds: Double) {
    if let question = exact.withLock({ $0 }) {
      told.yield(.progress(question, share: share, seconds: seconds))
    }
  }

  func describe() -> SourceDescription {
    SourceDescription(
      name: "long", kind: "qkv", model: nil, layers: [0], heads: 2, kvHeads: 1, queries: Self.n,
      keys: Self.n, headDim: 64,
      visibility: Visibility(causal: true, queries: Self.n, keys: Self.n), tokens: [],
      hasValues: true)
  }

  func answer(_ question: Question, at frame: Frame) async throws -> Answer {
    switch question {
    case .picture(_, let request) where request.perCell != nil:
      state.withLock { $0.asked.append("sketch \(request.perCell ?? 0)") }
      return .picture(map(request, sampled: request.perCell))
    case .picture(_, let request):
      state.withLock { $0.asked.append("map") }
      exact.withLock { $0 = question }
      while !state.withLock({ $0.isOpen }) {
        if Task.isCancelled {
          state.withLock { $0.cancelled += 1 }
          throw CancellationError()
        }
        try? await Task.sleep(for: .milliseconds(1))
      }
      return .picture(map(request, sampled: nil))
    case .table(_, let request) where request.extent == .kept && hasTable:
      let side = Self.n / 1024
      return .table(
        BlockTable(
          storedMask: [UInt8](repeating: 0, count: side * side),
          margins: [Float](repeating: -3, count: side * side),
          spec: TileSpec(rows: 1024, keys: 1024), queries: Self.n, keys: Self.n))
    case .table(_, let request) where request.extent == .whole:
      state.withLock { $0.asked.append("blocks") }
    default: break
    }
    return .unavailable("not here")
  }

  private func map(_ request: PictureRequest, sampled: Int?) -> PooledMap {
    let window = request.window
    let r = PooledMap.edges(window.queries, cells: request.rows)
    let k = PooledMap.edges(window.keys, cells: request.columns)
    let values = [Float](repeating: 0.5, count: (r.count - 1) * (k.count - 1))
    return PooledMap(
      window: window, rowEdges: r, keyEdges: k, max: values, mean: values, muted: nil,
      sampled: sampled)
  }
}
