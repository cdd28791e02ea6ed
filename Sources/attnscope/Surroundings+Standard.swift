import Canvas
import Formats
import Glibc
import Interface
import NCursesTerminal
import Synchronization
import Tensors

extension Surroundings {
  /// The user's own: config, bookmarks of a source, recent files, and files that are written
  /// for real.
  ///
  /// The app itself knows no file and no clock; here its effects meet the machine. Tests give
  /// it other surroundings. An effect returns a sentence to show, or nil.
  static func standard(_ terminal: TerminalArguments, source: String) -> Surroundings {
    var all = Surroundings()
    let config = Desk.config()
    (all.keymap, all.theme) = (Keymap(config.keys), terminal.theme ?? config.theme)
    all.marks = Desk.marks(of: source)
    let known = KnownMarks(all.marks)
    all.recent = Desk.recent
    all.presents = terminal.present
    all.export = Exporter.write
    all.log = terminal.log.map(Log.init).map { log in { log.write($0) } }
    all.carry = { effect in
      await Disk.value {
        switch effect {
        case .progress(let lesson, let step, let done):
          Desk.keep(lesson: lesson, step: step, done: done)
        case .keepMarks(let marks): known.keep(marks, of: source)
        case .saveState(let path, let text): Self.save(text, path)
        case .reopen(let path): Self.cannotOpen(path)
        default: nil
        }
      }
    }
    return all
  }

  /// A file that is not there must not end what is on the screen: nil when it can be opened,
  /// else why not.
  private static func cannotOpen(_ path: String) -> String? {
    do {
      if SafetensorsStream.isRecording(path) || SafetensorsStream.isWire(path) { return nil }
      _ = try Dump.open(path)
      return nil
    } catch {
      return "\(error)"
    }
  }

  /// Writes a state and says how to reopen it; never replaces a file.
  private static func save(_ text: String, _ path: String) -> String {
    do throws(FormatError) {
      try writeText(text, to: path, force: false)
      return "Written to \(path); attnscope --state \(path) reopens this view."
    } catch {
      return "\(error)"
    }
  }

  /// Notes go to the presenter's other terminal from now on; all other effects as before.
  mutating func tell(to notes: NotesServer) {
    let others = carry
    carry = { effect in
      guard case .tell(let text) = effect else { return await others(effect) }
      notes.tell(text)
      return nil
    }
  }
}

/// The bookmarks of a source as this window has them: what it changes is changed in the file, and
/// what another window has added stays there.
private final class KnownMarks: Sendable {
  /// As they were read, or last kept.
  private let marks: Mutex<[Bookmark]>

  /// As they were read.
  init(_ marks: [Bookmark]) { self.marks = Mutex(marks) }

  /// Nil, or a sentence that says that they hold for this session only.
  func keep(_ new: [Bookmark], of source: String) -> String? {
    let old = marks.withLock { marks in
      defer { marks = new }
      return marks
    }
    return Desk.keep(new, instead: old, of: source)
  }
}

/// The thread that touches files while a screen is open: neither the screen nor Swift's pool of
/// threads, which may have a single one, waits for a disk.
enum Disk {
  private static let thread = ComputeThreads(count: 1)

  /// Begins at once there, without a turn in a pool that computes.
  static func begin(_ body: @escaping @Sendable () -> Void) {
    Task(executorPreference: thread) { body() }
  }

  static func value<R: Sendable>(_ body: @escaping @Sendable () -> R) async -> R {
    await Task(executorPreference: thread) { body() }.value
  }

  /// Throws what `body` throws.
  static func value<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    try await Task(executorPreference: thread) { try body() }.value
  }
}

/// What has become of the files that are open, looked for on the thread of the disk: a folder of
/// another machine may answer late, and the screen does not wait for it.
final class Changes: Sendable {
  private struct State {
    var found: [String] = []
    var isLooking = false
  }
  private let state = Mutex(State())

  /// What was found since the last time, in sentences; begins to look again.
  func take() -> [String] {
    let (found, begins) = state.withLock { state in
      defer { (state.found, state.isLooking) = ([], true) }
      return (state.found, !state.isLooking)
    }
    if begins { Disk.begin { self.look() } }
    return found
  }

  private func look() {
    let new = FollowedFiles.takeChanges().map(\.sentence)
    state.withLock { state in
      state.found += new
      state.isLooking = false
    }
  }
}

/// `--log FILE`: a line an event, with the seconds since the start. What cannot be opened is said
/// before the screen is taken (`refusal`), and logs nothing.
final class Log: Sendable {
  /// -1 where it could not be opened.
  private let file: Mutex<Int32>
  /// Seconds are counted from here.
  private let start = ContinuousClock.now

  /// Appends to what is there; made for this user alone.
  init(_ path: String) { file = Mutex(Self.opened(path)) }

  /// Without waiting for a reader of a pipe.
  private static func opened(_ path: String) -> Int32 {
    open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0o600)
  }

  /// Why nothing could be written there, nil when it can. Makes the file.
  static func refusal(_ path: String) -> String? {
    let file = opened(path)
    guard file < 0 else {
      close(file)
      return nil
    }
    return errno == ENXIO ? "nobody reads this pipe" : String(cString: strerror(errno)).lowercased()
  }

  /// One write a line, so lines of several threads never mix.
  func write(_ text: String) {
    let seconds = (ContinuousClock.now - start).components
    let time = Double(seconds.seconds) + Double(seconds.attoseconds) * 1e-18
    let line = Array("\(Numbers.fixed(time, 3)) \(Printable.text(text))\n".utf8)
    file.withLock { file in if file >= 0 { _ = Glibc.write(file, line, line.count) } }
  }
}
