import CNCurses
public import Canvas
import Glibc
import Synchronization

/// Why the screen could not be taken; nothing was written to the terminal.
public struct TerminalError: Error, CustomStringConvertible {
  /// What is wrong with the terminal, and what to do.
  public let description: String
}

/// What the user said about the terminal; overrides what is found out.
///
/// Nil everywhere but for the mouse: find it out.
public struct TerminalOptions: Sendable {
  /// How many colours to use.
  public var colors: Capabilities.Colors?
  /// Whether glyphs beyond ASCII may be used.
  public var unicode: Bool?
  /// The mouse is reported to the program; the terminal's own selection then mostly needs Shift.
  public var mouse = true
  /// Whether the page is light.
  public var lightBackground: Bool?
  /// Frames a second at most; nil is ten over SSH and sixty elsewhere.
  public var framesPerSecond: Int?

  /// Everything found out, mouse on.
  public init() {}
}

/// The real terminal: one thread owns ncurses; grids reach it through a mailbox that keeps only the
/// newest.
///
/// Equal rows are not sent again. `@unchecked Sendable` is not needed: shared state sits in a
/// `Mutex`, the rest lives on the thread.
///
/// Example: `let terminal = try NCursesTerminal()`, then `for await event in terminal.events`. The
/// catch: ncurses is global state of the process, so that there can be one of these at a time; and
/// nothing else may write to standard output while it is open. Keys wait in a buffer of 1024
/// events.
public final class NCursesTerminal: Terminal {
  /// Oldest first; ends after `close`, says `.hangup` when the terminal is gone.
  public let events: AsyncStream<Event>
  /// What was found out, under what the user said.
  public let capabilities: Capabilities
  /// What was found out on the way, for the user: an unknown TERM, say.
  public let note: String?
  private let input: AsyncStream<Event>.Continuation
  private let mailbox: Mutex<Mailbox>
  /// Milliseconds between two frames, so that a slow line is never behind by more than one.
  private let pause: Double
  private let sent = Mutex(0)

  /// What the thread and its callers share: a newer grid replaces one that was not drawn yet.
  private struct Mailbox {
    var size: (width: Int, height: Int)
    var next: Grid?
    var mustClose = false
    var isClosed = false
  }

  /// Takes the screen. Throws `TerminalError` when there is no terminal or it cannot be used; then
  /// nothing was written.
  public init(options: TerminalOptions = .init()) throws {
    guard isatty(0) == 1, isatty(1) == 1 else {
      throw TerminalError(
        description: "standard input and output must be a terminal for the screen")
    }
    let found = try TerminalFacts.usable()
    if let tooLarge = TerminalFacts.tooLarge { throw tooLarge }
    note = found.note
    let unicode = cn_locale_is_utf8(TerminalFacts.mayTryUTF8 ? 1 : 0) != 0
    let wanted = options.colors ?? TerminalFacts.colors(Int(cn_probe(found.name).colors))
    let status = cn_start(found.name, options.mouse ? 1 : 0, wanted == .direct ? 1 : 0)
    guard status == 0 else { throw TerminalFacts.refusal(status, found.name) }
    // A description that ncurses does not take leaves the terminal's own, with its palette.
    let isDirect = wanted == .direct && cn_colors() > 256
    capabilities = Capabilities(
      colors: wanted == .direct && !isDirect ? .palette : wanted,
      unicode: options.unicode ?? unicode,
      lightBackground: options.lightBackground ?? TerminalFacts.looksLight)
    pause = 1000 / Double(max(1, options.framesPerSecond ?? Self.standardRate))
    mailbox = Mutex(Mailbox(size: Self.currentSize()))
    (events, input) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1024))
    if options.lightBackground == nil, TerminalFacts.mayAskColours { cn_ask_background() }
    startThread()
  }

  /// Cells across and down, as of the last resize.
  public var size: (width: Int, height: Int) { mailbox.withLock { $0.size } }

  /// Frames a second at most when nobody says anything: few over SSH.
  public static var standardRate: Int { TerminalFacts.variable("SSH_CONNECTION") != nil ? 10 : 60 }

  /// Bytes that were written to the terminal so far; 0 where the system does not count them.
  public var bytesSent: Int { sent.withLock { $0 } }

  /// Never waits; the thread draws at its own pace.
  public func present(_ grid: Grid) {
    mailbox.withLock { $0.next = grid }
    cn_wake()
  }

  /// Returns when the terminal is as it was.
  /// It blocks until the thread has drawn what it was drawing.
  public func close() {
    mailbox.withLock { $0.mustClose = true }
    cn_leave()
    cn_wake()
    while !mailbox.withLock({ $0.isClosed }) { usleep(500) }
  }

  /// Ends the program badly, for the tests of the ways out.
  public static func die(_ how: String) { cn_die(how) }

  /// As ncurses has it; on the thread only, or before it runs.
  private static func currentSize() -> (width: Int, height: Int) {
    var width: Int32 = 0, height: Int32 = 0
    cn_size(&width, &height)
    return (Int(width), Int(height))
  }

  // MARK: The thread

  /// A thread of its own and not a task: it sleeps in `poll`, which would hold up Swift's pool.
  private func startThread() {
    var thread = pthread_t()
    let me = Unmanaged.passRetained(self)
    pthread_create(
      &thread, nil,
      { raw in
        Unmanaged<NCursesTerminal>.fromOpaque(raw!).takeRetainedValue().run()
        return nil
      }, me.toOpaque())
    pthread_detach(thread)
  }

  /// Waits, reads, draws: everything that touches ncurses, until it is told to close. A grid waits
  /// for its turn in the mailbox, not here, so that a newer one can take its place.
  private func run() {
    cn_own_thread()
    var shown: Grid?
    let before = Self.bytesWritten()
    var last = ContinuousClock.now - .seconds(1)
    var wait: Int32 = -1
    var paste = Paste()
    while true {
      let happened = Int(cn_wait(paste.isOpen ? (wait < 0 ? 500 : min(wait, 500)) : wait))
      if happened & CN_INPUT == 0, let text = paste.closeIfQuiet() { input.yield(.paste(text)) }
      if happened & CN_RESIZED != 0 {
        cn_resize()
        shown = nil
        resized()
      }
      if happened & CN_CONTINUED != 0 { retake(cn_continue(), &shown) }
      if happened & CN_SUSPEND != 0 { retake(cn_suspend(), &shown) }
      if happened & CN_INTERRUPTED != 0 { input.yield(.interrupt) }
      if happened & CN_INTERRUPTED_AGAIN != 0 { input.yield(.interrupt) }
      if happened & CN_INPUT != 0, !readKeys(&shown, &paste) { hangUp() }
      let since = (ContinuousClock.now - last).components
      let passed = Double(since.seconds) * 1e3 + Double(since.attoseconds) * 1e-15
      let (grid, mustClose, isWaiting) = mailbox.withLock { box -> (Grid?, Bool, Bool) in
        // What comes too early stays in the box, where something newer may take its place.
        guard passed >= pause || shown == nil else { return (nil, box.mustClose, box.next != nil) }
        defer { box.next = nil }
        return (box.next, box.mustClose, false)
      }
      if mustClose { break }
      wait = isWaiting ? Int32(max(1, (pause - passed).rounded(.up))) : -1
      guard let grid else { continue }
      draw(grid, over: &shown)
      last = ContinuousClock.now
      let written = Self.bytesWritten() - before
      sent.withLock { $0 = written }
    }
    cn_stop()
    input.finish()
    mailbox.withLock { $0.isClosed = true }
  }

  /// What this thread alone has written: it writes to nothing but the terminal.
  private static func bytesWritten() -> Int {
    let file = open("/proc/thread-self/io", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return 0 }
    defer { Glibc.close(file) }
    var buffer = [UInt8](repeating: 0, count: 512)
    let count = read(file, &buffer, buffer.count)
    let text = String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    let line = text.split(separator: "\n").first { $0.hasPrefix("wchar:") }
    return line.flatMap { Int($0.dropFirst(6).filter(\.isNumber)) } ?? 0
  }

  /// Tells the size to callers and to the person's events.
  private func resized() {
    let size = Self.currentSize()
    mailbox.withLock { $0.size = size }
    input.yield(.resize(width: size.width, height: size.height))
  }

  /// After a stop: the screen is another's work by now and must be drawn anew, unless it did not
  /// come back (`status`).
  private func retake(_ status: Int32, _ shown: inout Grid?) {
    guard status == 0 else { return hangUp() }
    shown = nil
    resized()
  }

  /// The terminal is gone: waits to be closed, without spinning on a descriptor that is always
  /// ready.
  private func hangUp() {
    input.yield(.hangup)
    while !mailbox.withLock({ $0.mustClose }) { usleep(2000) }
  }

  /// False when the terminal has gone away.
  private func readKeys(_ shown: inout Grid?, _ paste: inout Paste) -> Bool {
    var mouse = cn_mouse()
    var any = false
    while true {
      let key = cn_key(&mouse)
      guard key >= 0 else {
        if any { return true }
        var fd = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
        return poll(&fd, 1, 0) == 0 || fd.revents & Int16(POLLHUP | POLLERR | POLLNVAL) == 0
      }
      any = true
      let part = paste.take(key)
      if case .whole(let text) = part { input.yield(.paste(text)) }
      guard part == .key else { continue }
      if key == 26 {
        retake(cn_suspend(), &shown)
      } else if key == 12 {  // Ctrl-L: somebody else has written on the screen
        cn_touch()
        shown = nil
        resized()
      } else if let event = Keys.event(key, mouse) {
        input.yield(event)
      }
    }
  }

  /// Sends the rows that differ from what is shown, each as a whole: ncurses finds the cells that
  /// changed.
  private func draw(_ grid: Grid, over shown: inout Grid?) {
    let size = Self.currentSize()
    for y in 0..<min(grid.height, size.height) {
      if let shown, shown.width == grid.width, shown.height == grid.height,
        (0..<grid.width).allSatisfy({ grid[$0, y] == shown[$0, y] })
      {
        continue
      }
      let cells = (0..<min(grid.width, size.width)).map { grid[$0, y] }
      let row = Economy.row(cells, unicode: capabilities.unicode).map {
        Keys.cell($0, capabilities.colors)
      }
      cn_row(Int32(y), row, Int32(row.count))
    }
    shown = grid
    // Nobody has read it, and a key waits: the key first, then a whole screen.
    guard cn_show() != 0 else { return }
    shown = nil
    resized()
  }
}
