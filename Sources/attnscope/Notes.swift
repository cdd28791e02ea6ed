import ArgumentParser
import Canvas
import Glibc
import Interface
import Synchronization

/// Tells the presenter's other terminal where the lesson is: whoever connects gets the present
/// notes, then each new one.
///
/// The socket lies in the user's own folder and only the user may open it. A reader that does not
/// read is dropped: a stuck second terminal must not hold up the first. Messages are texts in
/// UTF-8, each ended by a zero byte; nothing is read from a reader.
///
/// Example: `attnscope lesson 1 --present` here, `attnscope notes` there. One lesson at a time: a
/// second one takes over the path, and keeps it when the first one leaves.
final class NotesServer: Sendable {
  /// What was said last, and who listens.
  private struct State {
    /// The present notes.
    var text = ""
    /// Descriptors of those who still read.
    var readers: [Int32] = []
    /// No more readers are taken.
    var isClosed = false

    /// A new reader gets the present notes, or the first ones as soon as there are any, or is let
    /// go when there are too many: those who have left are noticed here.
    mutating func greet(_ reader: Int32, most: Int) {
      readers = readers.filter { reader in
        let isThere = !Unix.hasLeft(reader)
        if !isThere { Glibc.close(reader) }
        return isThere
      }
      if !isClosed, readers.count < most, text.isEmpty || NotesServer.send(text, to: reader) {
        readers.append(reader)
      } else {
        Glibc.close(reader)
      }
    }
  }

  /// Told by the app, read by the thread that accepts.
  private let state = Mutex(State())
  /// -1 where there is none.
  private let socket: Int32
  /// Where it lies, and which file it is there.
  private let path: String
  private let file: Unix.FileID?
  /// Why there are no notes, if so.
  let problem: String?

  /// Makes the socket and begins to listen on a thread of its own. Never fails: a lesson
  /// without notes is still a lesson, and `problem` says why. A socket left over from a crash
  /// is replaced, and nothing else is.
  init(path: String = Desk.notesPath) {
    self.path = path
    Desk.makeFolders(path)
    let made = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    if Unix.isSocket(path) { unlink(path) }
    let mask = umask(0o077)
    errno = ENAMETOOLONG
    let isBound = Unix.withAddress(path) { bind(made, $0, $1) } == 0 && listen(made, 8) == 0
    let why = errno
    umask(mask)
    socket = isBound ? made : -1
    file = isBound ? Unix.FileID(path) : nil
    let reason =
      why == EADDRINUSE ? "something else lies there" : String(cString: strerror(why)).lowercased()
    problem = isBound ? nil : "No notes for a second terminal: \(reason) (\(path))"
    if !isBound { Glibc.close(made) } else { start() }
  }

  /// The thread keeps the server alive until the socket is closed.
  private func start() {
    var thread = pthread_t()
    pthread_create(
      &thread, nil,
      { raw in
        Unmanaged<NotesServer>.fromOpaque(raw!).takeRetainedValue().accept()
        return nil
      }, Unmanaged.passRetained(self).toOpaque())
    pthread_detach(thread)
  }

  /// More readers than any audience has; each is a descriptor.
  private static let mostReaders = 64

  /// Greets each reader with the present notes; ends when the socket is shut down. When there
  /// are no descriptors left, it waits until there are.
  private func accept() {
    while true {
      let reader = Glibc.accept(socket, nil, nil)
      if reader < 0 {
        let isOver = state.withLock(\.isClosed)
        guard !isOver, [EINTR, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(errno) else {
          return
        }
        usleep(20_000)
        continue
      }
      state.withLock { $0.greet(reader, most: Self.mostReaders) }
    }
  }

  /// New notes for everybody who still listens.
  func tell(_ text: String) {
    state.withLock { state in
      state.text = text
      state.readers = state.readers.filter { reader in
        let isThere = Self.send(text, to: reader)
        if !isThere { Glibc.close(reader) }
        return isThere
      }
    }
  }

  /// Sends without waiting; false when the reader is gone or its buffer is full. A message
  /// ends with a zero byte.
  fileprivate static func send(_ text: String, to reader: Int32) -> Bool {
    let bytes = text.utf8.filter { $0 != 0 } + [0]
    return Glibc.send(reader, bytes, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
      == bytes.count
  }

  /// Ends the listening thread and lets every reader go. The path goes with it unless somebody
  /// else has it by now.
  func close() {
    guard socket >= 0 else { return }
    state.withLock { state in
      state.isClosed = true
      for reader in state.readers { Glibc.close(reader) }
      state.readers = []
    }
    if Unix.FileID(path) == file { unlink(path) }
    shutdown(socket, Int32(SHUT_RDWR))
    Glibc.close(socket)
  }
}

/// Sockets with a path.
enum Unix {
  /// Which file it is that lies under a name, links not followed.
  struct FileID: Equatable {
    private let device: dev_t, number: ino_t

    /// Nil when nothing is there.
    init?(_ path: String) {
      var status = stat()
      guard lstat(path, &status) == 0 else { return nil }
      (device, number) = (status.st_dev, status.st_ino)
    }
  }

  /// Whether a socket lies there, links not followed.
  static func isSocket(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
  }

  /// Whether the other side has closed the connection.
  static func hasLeft(_ descriptor: Int32) -> Bool {
    var what = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&what, 1, 0) > 0 else { return false }
    var byte: UInt8 = 0
    return recv(descriptor, &byte, 1, Int32(MSG_DONTWAIT)) == 0
      || what.revents & Int16(POLLHUP | POLLERR) != 0
  }

  /// Calls `body` with the address of a path and returns its result; -1 when the path is too
  /// long for a socket.
  static func withAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32)
    -> Int32
  {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8CString)
    guard bytes.count <= MemoryLayout.size(ofValue: address.sun_path) else { return -1 }
    withUnsafeMutableBytes(of: &address.sun_path) { place in
      bytes.withUnsafeBytes { place.copyMemory(from: $0) }
    }
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
  }
}

/// `attnscope notes`, in a second terminal: prints the notes of the running lesson as they
/// change. Throws `Problem` when none is presented.
struct NotesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "notes",
    abstract:
      "In a second terminal: the presenter's notes of a lesson that is played with --present.")

  @Flag(help: "Print the present notes and end.") var once = false

  /// Bytes of one message at most: what is longer is no note.
  private static let mostBytes = 1 << 20

  /// Reads messages until the lesson ends, or one with `--once`.
  func run() throws {
    let file = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(file) }
    guard Unix.withAddress(Desk.notesPath, { connect(file, $0, $1) }) == 0 else {
      throw Problem("no lesson is being presented; start one with: attnscope lesson 1 --present")
    }
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = recv(file, &buffer, buffer.count, 0)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return }
      guard text.count <= Self.mostBytes else {
        throw Problem("what is said there are no notes of a lesson: \(Desk.notesPath)")
      }
      for byte in buffer.prefix(count) {
        guard byte == 0 else {
          text.append(byte)
          continue
        }
        show(String(decoding: text, as: UTF8.self))
        text = []
        if once { return }
      }
    }
  }

  /// On a terminal each message replaces the one before; in a pipe they follow one another.
  private func show(_ text: String) {
    // A screen of its own each time, when there is one.
    if isatty(1) == 1 { emit("\u{1b}[H\u{1b}[2J") }
    print(text + "\n")
    fflush(nil)
  }
}

/// A sentence for standard error, for faults that concern no file and no model.
struct Problem: Error, CustomStringConvertible {
  /// The sentence for the user.
  let description: String

  /// A sentence without a full stop.
  init(_ description: String) { self.description = description }
}
