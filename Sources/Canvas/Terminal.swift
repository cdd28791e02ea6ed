import Synchronization

/// How much a terminal can show.
public struct Capabilities: Sendable, Hashable {
  /// How many colours can be shown.
  public enum Colors: String, Sendable, Hashable, CaseIterable {
    /// No colour: bold, dim and reverse only.
    case mono
    /// Eight or sixteen.
    case basic
    /// The 256-colour palette.
    case palette
    /// Any colour, three channels of eight bits.
    case direct

    /// What `doctor` says of it.
    public var words: String {
      switch self {
      case .mono: "none"
      case .basic: "basic, eight; TERM=xterm-256color gives more"
      case .palette: "palette, 256; COLORTERM=truecolor or --color truecolor gives all"
      case .direct: "truecolor"
      }
    }

    /// Enough for ramps and half blocks.
    public var hasRamps: Bool { self == .palette || self == .direct }
  }

  /// How many colours can be shown.
  public var colors: Colors
  /// Glyphs beyond ASCII can be shown.
  public var unicode: Bool
  /// The page is light: ramps run the other way.
  public var lightBackground: Bool

  /// The most, on a dark background, unless told otherwise.
  public init(colors: Colors = .palette, unicode: Bool = true, lightBackground: Bool = false) {
    (self.colors, self.unicode, self.lightBackground) = (colors, unicode, lightBackground)
  }
}

/// The glass: events come out of it, grids go onto it. Real: `NCursesTerminal`; in memory:
/// `VirtualTerminal`.
public protocol Terminal: Sendable {
  /// Bounded; the terminal itself decides what to forget.
  var events: AsyncStream<Event> { get }
  /// What it can show; does not change.
  var capabilities: Capabilities { get }
  /// Cells across and down, now.
  var size: (width: Int, height: Int) { get }
  /// Shows a grid soon; of several presented in a row only the last need appear.
  func present(_ grid: Grid)
  /// Gives the terminal back as it was.
  func close()
}

/// A terminal in memory: tests press keys and read grids.
///
/// Example: `terminal.press(.down)`, then `terminal.lastGrid?.lines`. Drawing never waits: a test
/// that wants every frame must read `frames` as they come, of which it keeps 64.
public final class VirtualTerminal: Terminal {
  /// What was sent, oldest first, 1024 at most.
  public let events: AsyncStream<Event>
  /// As the test said.
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

  /// Open, with nothing presented.
  public init(width: Int, height: Int, capabilities: Capabilities = .init()) {
    (events, input) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1024))
    (frames, output) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(64))
    self.capabilities = capabilities
    state = Mutex(State(size: (width, height)))
  }

  /// As the test said, or the last resize.
  public var size: (width: Int, height: Int) { state.withLock { $0.size } }
  /// The newest grid; nil before the first.
  public var lastGrid: Grid? { state.withLock { $0.last } }
  /// Grids presented so far.
  public var frameCount: Int { state.withLock { $0.count } }
  /// True after `close`.
  public var isClosed: Bool { state.withLock { $0.isClosed } }

  /// Keeps it as the newest and adds it to `frames`.
  public func present(_ grid: Grid) {
    state.withLock { state in
      state.last = grid
      state.count += 1
    }
    output.yield(grid)
  }

  /// Ends both streams.
  public func close() {
    state.withLock { $0.isClosed = true }
    input.finish()
    output.finish()
  }

  /// An event from the person; a resize changes `size` first.
  public func send(_ event: Event) {
    if case .resize(let width, let height) = event { state.withLock { $0.size = (width, height) } }
    input.yield(event)
  }

  /// Keys, one after another.
  public func press(_ keys: Key...) { for key in keys { send(.key(key)) } }

  /// A key for each character.
  public func type(_ text: String) { for character in text { send(.key(.character(character))) } }
}
