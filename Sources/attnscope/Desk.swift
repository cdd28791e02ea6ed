import Formats
import Glibc
import Interface
import Lessons

/// Where the user's settings and the program's memory lie, by the XDG rules: `config` under the
/// configuration folder, bookmarks, lesson progress and recent files under the state folder. What
/// cannot be read is as if it were not there; what cannot be written is said, and nothing else is
/// lost by it.
///
///     recent      an absolute path a line, the latest first
///     bookmarks   [name] path, then the lines of the view, as a state file has them
///     lessons     name step done,done,..
///
/// All files are short texts, a line an entry, so that people can read and mend them. Each is read,
/// changed and written whole while others wait (`changing`): two windows keep what both have added.
enum Desk {
  /// The program's folder below one of the XDG variables, or below its standard place in the
  /// home folder.
  private static func folder(_ variable: String, _ standard: String) -> String {
    // Relative paths are to be ignored, says the specification.
    if let value = getenv(variable).map({ String(cString: $0) }), value.hasPrefix("/") {
      return value + "/attnscope"
    }
    return home + "/" + standard + "/attnscope"
  }

  /// HOME, else what the system knows of this user: never the folder that one happens to be in.
  static var home: String {
    if let value = getenv("HOME").map({ String(cString: $0) }), value.hasPrefix("/"), value != "/" {
      return value
    }
    var entry = passwd(), found: UnsafeMutablePointer<passwd>?
    var buffer = [CChar](repeating: 0, count: 1 << 14)
    guard getpwuid_r(getuid(), &entry, &buffer, buffer.count, &found) == 0, found != nil,
      let folder = entry.pw_dir.map({ String(cString: $0) }), folder.hasPrefix("/"), folder != "/"
    else { return "/nonexistent" }
    return folder
  }

  /// ATTNSCOPE_CONFIG, or the usual place.
  static var configPath: String {
    if let path = getenv("ATTNSCOPE_CONFIG").map({ String(cString: $0) }), !path.isEmpty {
      return path
    }
    return folder("XDG_CONFIG_HOME", ".config") + "/config"
  }
  /// A file of the program's memory by its name.
  static func statePath(_ name: String) -> String {
    folder("XDG_STATE_HOME", ".local/state") + "/" + name
  }

  /// For the presenter's notes: one user's own folder.
  static var notesPath: String {
    if let run = getenv("XDG_RUNTIME_DIR").map({ String(cString: $0) }), run.hasPrefix("/") {
      return run + "/attnscope-notes"
    }
    return statePath("notes.socket")
  }

  /// A short file that people write, whole. Throws `notAFile` for folders and for pipes, which
  /// could be waited for without end, and what reading throws.
  static func whole(_ path: String) throws(FormatError) -> [UInt8] {
    var status = stat()
    if stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG, path != "/dev/null" {
      let what = status.st_mode & S_IFMT == S_IFDIR ? "a folder" : "no file but a pipe or a device"
      throw FormatError(.notAFile, "is \(what); it should be a short text", file: path)
    }
    return try readWhole(path, most: 1 << 20)
  }

  /// Nil when there is no such file, or none that can be read.
  static func text(_ path: String) -> String? {
    (try? whole(path)).map { String(decoding: $0, as: UTF8.self) }
  }

  /// Reads, changes and writes a file of the program's memory while nobody else does. Whoever
  /// waits for longer than two seconds waits for somebody who hangs, and goes on.
  private static func changing<R>(_ path: String, _ body: () -> R) -> R {
    makeFolders(path)
    let flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
    let lock = open(path + ".lock", flags, 0o600)
    defer { if lock >= 0 { close(lock) } }
    if lock >= 0 {
      for _ in 0..<200 {
        guard flock(lock, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK || errno == EINTR else {
          break
        }
        usleep(10_000)
      }
    }
    return body()
  }

  /// Writes a file, and the folders it needs; nil, or a sentence that says what went wrong.
  static func write(_ text: String, to path: String) -> String? {
    makeFolders(path)
    do throws(FormatError) {
      try writeText(text, to: path, force: true)
      return nil
    } catch {
      // Why, before where: a line of the screen may be short.
      return "\(error.message) (\(error.file))"
    }
  }

  /// Makes the folders above a file, for this user alone, as far as they are missing;
  /// failures show when the file is written.
  static func makeFolders(_ path: String) {
    var at = path.startIndex
    while let slash = path[path.index(after: at)...].firstIndex(of: "/") {
      mkdir(String(path[..<slash]), 0o700)
      at = slash
    }
  }

  /// Read once: what changes in the file holds from the next start on.
  static func config() -> Config { loaded }
  private static let loaded = Config(text(configPath) ?? "")

  /// Why nothing of the settings file could be read; nil when it could, and when there is none.
  static var configProblem: String? {
    guard access(configPath, F_OK) == 0 else { return nil }
    do throws(FormatError) {
      _ = try whole(configPath)
      return nil
    } catch {
      return error.message
    }
  }

  /// For `doctor`.
  static var configNote: String {
    if let problem = configProblem { return "\(configPath): \(problem)" }
    guard access(configPath, F_OK) == 0 else {
      return "none; attnscope config init writes \(configPath)"
    }
    let problems = config().problems.count
    return configPath
      + (problems == 0 ? "" : ": \(problems) lines cannot be read, attnscope config names them")
  }

  // MARK: Recent files

  /// Recent files that are kept.
  private static let mostRecent = 20

  /// Files opened lately, the latest first; lines that are no absolute path are passed over.
  static var recent: [String] {
    (text(statePath("recent")) ?? "").split(separator: "\n").map(String.init).filter {
      $0.hasPrefix("/") && $0.utf8.count < 4096
    }
  }

  /// A path from the root, without links; nil where nothing is.
  static func full(_ path: String) -> String? {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
    guard realpath(path, &buffer) != nil else { return nil }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Puts a file in front; that it cannot be remembered is no reason to say anything.
  static func remember(_ path: String) {
    guard let full = full(path), !full.contains("\n") else { return }
    changing(statePath("recent")) {
      let all = [full] + recent.filter { $0 != full }
      _ = write(all.prefix(mostRecent).map { $0 + "\n" }.joined(), to: statePath("recent"))
    }
  }

  // MARK: Bookmarks

  /// All bookmarks of all files, in the order of the file: `[name] path`, then the lines of
  /// the view. At most a thousand, so that a file of something else costs nothing.
  private static func allMarks() -> [(path: String, mark: Bookmark)] {
    var marks: [(path: String, mark: Bookmark)] = []
    for line in (text(statePath("bookmarks")) ?? "").split(separator: "\n").map(String.init) {
      if line.hasPrefix("["), let end = line.firstIndex(of: "]") {
        let name = String(line[line.index(after: line.startIndex)..<end])
        marks.append(
          (
            String(line[line.index(after: end)...].drop { $0 == " " }),
            Bookmark(name: name, state: "")
          ))
      } else if let last = marks.last {
        marks[marks.count - 1].mark = Bookmark(
          name: last.mark.name, state: last.mark.state + line + "\n")
      }
      if marks.count > 1000 { break }
    }
    return marks
  }

  /// The bookmarks of one source.
  static func marks(of path: String) -> [Bookmark] {
    allMarks().filter { $0.path == path }.map(\.mark)
  }

  /// A file that is there and holds nothing that can be read is put aside, not written over.
  private static func setAside(_ file: String) {
    var status = stat()
    guard stat(file, &status) == 0, status.st_size > 0 else { return }
    rename(file, file + ".damaged")
  }

  /// What a window has changed of the bookmarks of a source, where `old` is what it knew: what
  /// others have added meanwhile stays. Nil, or a sentence that says they hold for this session
  /// only.
  static func keep(_ new: [Bookmark], instead old: [Bookmark], of path: String) -> String? {
    let only = "Bookmarked for this session only: "
    guard !path.contains(where: \.isNewline) else {
      return only + "the name of the file has more than one line"
    }
    let file = statePath("bookmarks")
    let why = changing(file) {
      let there = allMarks()
      if there.isEmpty { setAside(file) }
      let lost = Set(old.map(\.name)).subtracting(new.map(\.name))
      var mine = there.filter { $0.path == path && !lost.contains($0.mark.name) }.map(\.mark)
      for mark in new where !old.contains(mark) {
        if let place = mine.firstIndex(where: { $0.name == mark.name }) {
          mine[place] = mark
        } else {
          mine.append(mark)
        }
      }
      let all = there.filter { $0.path != path } + mine.map { (path, $0) }
      return write(all.map { text(of: $0.mark, $0.path) }.joined(), to: file)
    }
    return why.map { only + $0 }
  }

  /// A bookmark as the file has it.
  private static func text(of mark: Bookmark, _ path: String) -> String {
    "[\(mark.name.filter { $0 != "]" && !$0.isNewline })] \(path)\n\(mark.state)"
  }

  // MARK: Lessons

  /// How far each lesson is: `name step done,done,..` a line, where step -1 is the
  /// introduction and `done` are numbers of steps.
  static func progress() -> [String: (step: Int, done: Set<Int>)] {
    var all: [String: (step: Int, done: Set<Int>)] = [:]
    for line in (text(statePath("lessons")) ?? "").split(separator: "\n") {
      let words = line.split(separator: " ").map(String.init)
      guard words.count >= 2, let step = Int(words[1]), (-1...10_000).contains(step) else {
        continue
      }
      let done = words.count > 2 ? words[2].split(separator: ",").compactMap { Int($0) } : []
      all[words[0]] = (step, Set(done))
    }
    return all
  }

  /// Replaces one lesson's line; nil, or a sentence that says why not.
  static func keep(lesson: String, step: Int, done: [Int]) -> String? {
    let file = statePath("lessons")
    let why = changing(file) {
      var all = progress()
      if all.isEmpty { setAside(file) }
      all[lesson] = (step, Set(done))
      let lines = all.sorted { $0.key < $1.key }.map { name, value in
        "\(name) \(value.step) \(value.done.sorted().map(String.init).joined(separator: ","))\n"
      }
      return write(lines.joined(), to: file)
    }
    return why.map { "Progress is not kept: \($0)" }
  }
}
