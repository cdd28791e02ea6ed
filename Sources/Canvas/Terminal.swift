import Synchronization

/// How much a terminal can show.
public struct Capabilities: Sendable, Hashable {
  public enum Colors: String, Sendable, Hashable, CaseIterable {
    /// No colour: bold, dim and reverse only.
    case mono
    /// Eight or sixteen.
    case basic
    /// The 256-colour palette.
    case palette
  }

  public var colors: Colors
  public var unicode: Bool
  public var lightBackground: Bool

  public init(colors: Colors = .palette, unicode: Bool = true, lightBackground: Bool = false) {
    (self.colors, self.unicode, self.lightBackground) = (colors, unicode, lightBackground)
  }
}

/// The glass: events come out of it, grids go onto it. Real: `NCursesTerminal`; in memory: `VirtualTerminal`.
public protocol Terminal: Sendable {
  /// Bounded; the terminal itself decides what to forget.
  var events: AsyncStream<Event> { get }
  var capabilities: Capabilities { get }
  var size: (width: Int, height: Int) { get }
  /// Shows a grid soon; of several presented in a row only the last need appear.
  func present(_ grid: Grid)
  /// Gives the terminal back as it was.
  func close()
}

/// A terminal in memory: tests press keys and read grids.
public final class VirtualTerminal: Terminal {
  public let events: AsyncStream<Event>
  public let capabilities: Capabilities
  private let input: AsyncStream<Event>.Continuation
  private let state: Mutex<State>
  /// A stream of everything presented, newest kept.
  public let frames: AsyncStream<Grid>
  private let output: AsyncStream<Grid>.Continuation

  private struct State {
    var size: (width: Int, height: Int)
    var last: Grid?
    var count = 0
    var isClosed = false
  }

  public init(width: Int, height: Int, capabilities: Capabilities = .init()) {
    (events, input) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1024))
    (frames, output) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(64))
    self.capabilities = capabilities
    state = Mutex(State(size: (width, height)))
  }

  public var size: (width: Int, height: Int) { state.withLock { $0.size } }
  public var lastGrid: Grid? { state.withLock { $0.last } }
  public var frameCount: Int { state.withLock { $0.count } }
  public var isClosed: Bool { state.withLock { $0.isClosed } }

  public func present(_ grid: Grid) {
    state.withLock { state in
      state.last = grid
      state.count += 1
    }
    output.yield(grid)
  }

  public func close() {
    state.withLock { $0.isClosed = true }
    input.finish()
    output.finish()
  }

  public func send(_ event: Event) {
    if case .resize(let width, let height) = event { state.withLock { $0.size = (width, height) } }
    input.yield(event)
  }

  public func press(_ keys: Key...) { for key in keys { send(.key(key)) } }

  public func type(_ text: String) { for character in text { send(.key(.character(character))) } }
}
