public import Formats
import Glibc
import Synchronization

/// The other end of a stream: bytes come, lines go.
///
/// `DescriptorLink` is the real one, for pipes, sockets and files; tests have one in memory. All of
/// it may be called from any thread; `read` from one at a time.
public protocol StreamLink: Sendable {
  /// Waits for bytes and puts them at the start of `buffer`: how many, 0 at the end, -1 when the
  /// connection broke.
  func read(_ buffer: UnsafeMutableRawBufferPointer) -> Int
  /// Hands over a line without waiting; false where nobody can be told, or nobody reads.
  func send(_ line: String) -> Bool
  /// A broken connection may be made again.
  var canReopen: Bool { get }
  /// Makes a broken connection again, which may take a while; false where that is not possible.
  func reopen() -> Bool
  /// Ends a `read` that waits, and every later one.
  func close()
}

/// A link over file descriptors: a pipe or a file that is only read, or a socket that is written,
/// too.
///
/// Lines go out on a thread of their own, so that a peer that does not read holds nobody up; at
/// most 256 of them wait. The descriptors are closed with the link.
public final class DescriptorLink: StreamLink {
  /// Makes a connection; nil where it fails. Called again after a break.
  public typealias Dial = @Sendable () -> (input: Int32, output: Int32)?

  /// What the lock guards.
  private struct State {
    var input: Int32, output: Int32
    /// Lines that wait to be written, and how far the first of them is.
    var outbox: [[UInt8]] = []
    var isClosed = false
    var hasWriter = false
  }

  private static let mostLines = 256
  private let state: Mutex<State>
  private let dial: Dial?

  /// Takes over descriptors; `output` is -1 where nothing can be said. `dial` connects again.
  public init(input: Int32, output: Int32 = -1, dial: Dial? = nil) {
    state = Mutex(State(input: input, output: output))
    self.dial = dial
  }

  /// A file, which is only read. Throws `unreadable` with the system's reason.
  public convenience init(reading path: String) throws(FormatError) {
    let input = open(path, O_RDONLY | O_CLOEXEC)
    guard input >= 0 else {
      let why = String(cString: strerror(errno)).lowercased()
      throw FormatError(.unreadable, "cannot be opened: \(why)", file: path)
    }
    self.init(input: input)
  }

  deinit { close() }

  /// Waits in `read`; interruptions by signals are no break.
  public func read(_ buffer: UnsafeMutableRawBufferPointer) -> Int {
    while true {
      let (input, isClosed) = state.withLock { ($0.input, $0.isClosed) }
      guard !isClosed, input >= 0, let base = buffer.baseAddress else { return 0 }
      let count = Glibc.read(input, base, buffer.count)
      if count < 0, errno == EINTR { continue }
      if count < 0, errno == EAGAIN {
        var one = pollfd(fd: input, events: Int16(POLLIN), revents: 0)
        _ = poll(&one, 1, -1)
        continue
      }
      return count
    }
  }

  public func send(_ line: String) -> Bool {
    let (isTaken, mustStart) = state.withLock { state -> (Bool, Bool) in
      guard !state.isClosed, state.output >= 0, state.outbox.count < Self.mostLines else {
        return (false, false)
      }
      state.outbox.append(Array((line + "\n").utf8))
      defer { state.hasWriter = true }
      return (true, !state.hasWriter)
    }
    if mustStart { startThread { [weak self] in self?.write() } }
    return isTaken
  }

  /// Writes what waits, and ends when nothing does.
  private func write() {
    while true {
      let (next, output) = state.withLock { state -> ([UInt8]?, Int32) in
        guard !state.isClosed, !state.outbox.isEmpty else {
          state.hasWriter = false
          return (nil, -1)
        }
        return (state.outbox.removeFirst(), state.output)
      }
      guard let next else { return }
      var rest = next[...]
      while !rest.isEmpty {
        let count = rest.withUnsafeBytes { Glibc.write(output, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { break }
        rest = rest.dropFirst(count)
      }
      // Nobody reads any more.
      if !rest.isEmpty { state.withLock { $0.outbox = [] } }
    }
  }

  public var canReopen: Bool { dial != nil && !state.withLock { $0.isClosed } }

  public func reopen() -> Bool {
    guard let dial, !state.withLock({ $0.isClosed }), let made = dial() else { return false }
    return state.withLock { state -> Bool in
      guard !state.isClosed else {
        Self.shut(made.input, made.output)
        return false
      }
      Self.shut(state.input, state.output)
      (state.input, state.output, state.outbox) = (made.input, made.output, [])
      return true
    }
  }

  /// A socket is shut down, which ends whoever reads it; others end with their peers.
  public func close() {
    state.withLock { state in
      guard !state.isClosed else { return }
      state.isClosed = true
      Self.shut(state.input, state.output)
    }
  }

  private static func shut(_ input: Int32, _ output: Int32) {
    guard input >= 0 else { return }
    shutdown(input, Int32(SHUT_RDWR))
    Glibc.close(input)
    if output >= 0, output != input { Glibc.close(output) }
  }
}

/// Runs `body` on a thread of its own: what waits in the system must not hold a thread that
/// computes.
func startThread(_ body: @escaping @Sendable () -> Void) {
  var thread = pthread_t()
  pthread_create(
    &thread, nil,
    { raw in
      Unmanaged<Box>.fromOpaque(raw!).takeRetainedValue().body()
      return nil
    }, Unmanaged.passRetained(Box(body)).toOpaque())
  pthread_detach(thread)
}

/// A closure as an object, to be handed over a C call.
private final class Box: Sendable {
  let body: @Sendable () -> Void

  init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}
