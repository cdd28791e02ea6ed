import Foundation
import Testing

/// A program on a pseudo-terminal of its own: what it writes is collected, and markers are waited
/// for.
final class PseudoTerminal {
  private let master: Int32
  private let slave: Int32
  let child: pid_t
  private(set) var output = ""
  private var before = termios()
  private let started = ContinuousClock.now
  private(set) var status: Int32?

  init(
    _ arguments: [String], environment: [String: String] = [:], columns: UInt16 = 100,
    rows: UInt16 = 30
  ) throws {
    // What posix_openpt, unlockpt and ptsname do; Swift's Glibc does not show them.
    master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
    var unlock: Int32 = 0, number: UInt32 = 0
    _ = ioctl(master, 0x4004_5431, &unlock)
    _ = ioctl(master, 0x8004_5430, &number)
    let name = "/dev/pts/\(number)"
    slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)
    var size = winsize(ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
    _ = ioctl(master, UInt(TIOCSWINSZ), &size)
    tcgetattr(slave, &before)
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    // Opened first in the new session, it becomes the controlling terminal.
    posix_spawn_file_actions_addopen(&actions, 0, name, O_RDWR, 0)
    posix_spawn_file_actions_adddup2(&actions, 0, 1)
    posix_spawn_file_actions_adddup2(&actions, 0, 2)
    child = try Program.spawn(arguments, environment: environment, actions: &actions, flags: 0x80)
  }

  deinit {
    if status == nil {
      kill(child, SIGKILL)
      waitpid(child, nil, 0)
    }
    close(master)
    close(slave)
  }

  func send(_ text: String) {
    let bytes = Array(text.utf8)
    _ = bytes.withUnsafeBytes { write(master, $0.baseAddress, $0.count) }
  }

  func resize(columns: UInt16, rows: UInt16) {
    var size = winsize(ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
    _ = ioctl(master, UInt(TIOCSWINSZ), &size)
  }

  /// Reads until the text appears in what was written after `mark`; the limit only ends a broken
  /// test.
  @discardableResult func sees(
    _ text: String, after mark: Int = 0, sourceLocation: SourceLocation = #_sourceLocation
  ) -> Bool {
    let end = ContinuousClock.now + .seconds(30)
    while ContinuousClock.now < end {
      if output.utf8.count > mark,
        String(decoding: output.utf8.dropFirst(mark), as: UTF8.self).contains(text)
      {
        return true
      }
      if !read(milliseconds: 200), hasEnded() { break }
    }
    _ = read(milliseconds: 0)
    if String(decoding: output.utf8.dropFirst(mark), as: UTF8.self).contains(text) { return true }
    Issue.record(
      "never saw \(text.debugDescription) in \(output.suffix(600).debugDescription)",
      sourceLocation: sourceLocation)
    return false
  }

  /// Asks for the whole screen (Ctrl-L) until it holds the text: a change alone is sent in pieces.
  func redraws(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) {
    let end = ContinuousClock.now + .seconds(30)
    while ContinuousClock.now < end, !hasEnded() {
      let mark = mark
      send("\u{c}")
      for _ in 0..<4 where read(milliseconds: 100) {}
      if String(decoding: output.utf8.dropFirst(mark), as: UTF8.self).contains(text) { return }
    }
    Issue.record(
      "no redraw showed \(text.debugDescription): \(output.suffix(600).debugDescription)",
      sourceLocation: sourceLocation)
  }

  /// `q` brings the prompt "ready> " back, and the shell ends without an error.
  func leavesToTheShell(sourceLocation: SourceLocation = #_sourceLocation) {
    let before = mark
    send("q")
    sees("ready> ", after: before, sourceLocation: sourceLocation)
    send("exit\n")
    #expect(end() == 0, sourceLocation: sourceLocation)
  }

  var mark: Int { output.utf8.count }

  private var pending: [UInt8] = []

  private func read(milliseconds: Int32) -> Bool {
    var fd = pollfd(fd: master, events: Int16(POLLIN), revents: 0)
    guard poll(&fd, 1, milliseconds) > 0 else { return false }
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    let count = Foundation.read(master, &buffer, buffer.count)
    guard count > 0 else { return false }
    // A character may be split between two reads.
    pending += buffer[0..<count]
    var whole = pending.count
    while whole > 0, whole > pending.count - 4, pending[whole - 1] & 0xc0 == 0x80 { whole -= 1 }
    if whole > 0, pending[whole - 1] >= 0xc0 { whole -= 1 } else { whole = pending.count }
    output += String(decoding: pending[0..<whole], as: UTF8.self)
    pending.removeFirst(whole)
    return true
  }

  private func hasEnded() -> Bool {
    if status != nil { return true }
    var code: Int32 = 0
    if waitpid(child, &code, WNOHANG) == child { status = code }
    return status != nil
  }

  /// Waits for the end; the exit code, or 128 + signal.
  func end() -> Int32 {
    let limit = ContinuousClock.now + .seconds(30)
    while !hasEnded(), ContinuousClock.now < limit { _ = read(milliseconds: 20) }
    while read(milliseconds: 20) {}
    guard let code = status else { return -1 }
    return code & 0x7f == 0 ? (code >> 8) & 0xff : 128 + (code & 0x7f)
  }

  /// The line discipline as it was before the program started.
  var modesAreRestored: Bool {
    var now = termios()
    tcgetattr(slave, &now)
    return now.c_lflag == before.c_lflag && now.c_iflag == before.c_iflag
      && now.c_oflag == before.c_oflag
  }

  /// The main screen is back, the cursor shows, the mouse is off: each was last switched that way.
  var screenIsRestored: Bool {
    func last(_ on: String, _ off: String) -> Bool {
      guard let a = output.range(of: on, options: .backwards) else { return true }
      guard let b = output.range(of: off, options: .backwards) else { return false }
      return b.lowerBound > a.lowerBound
    }
    return last("\u{1b}[?1049h", "\u{1b}[?1049l") && last("\u{1b}[?25l", "\u{1b}[?25h")
      && last("\u{1b}[?1002h", "\u{1b}[?1002l")
      && last("\u{1b}[?1000h", "\u{1b}[?1000l")
  }

  var seconds: Double {
    let time = (ContinuousClock.now - started).components
    return Double(time.seconds) + Double(time.attoseconds) * 1e-18
  }
}
