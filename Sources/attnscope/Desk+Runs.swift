import Backends
import Formats
import Glibc
import Tensors

/// Live runs as they are kept while they go on: a recording each, in `runs` of the state folder,
/// for this user alone.
///
/// A run that the person leaves takes its file away; one that ends otherwise (a crash, a signal, a
/// terminal that went away) leaves it there. Of those that are left the newest three stay, as far
/// as they are 200 MB together; the newest stays in any case. `FILE.seen` says that it was opened.
extension Desk {
  /// A run that was left.
  struct LostRun {
    /// Of its recording.
    let path: String
    /// Seconds since 1970 when it was last written.
    let time: Int
    let bytes: Int

    /// It was opened before.
    var wasSeen: Bool { access(path + ".seen", F_OK) == 0 }

    /// Nobody asks for it any more.
    func markSeen() {
      let mark = open(path + ".seen", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
      if mark >= 0 { close(mark) }
    }
  }

  /// Files that stay, and their bytes together.
  private static let (mostRuns, mostRunBytes) = (3, 200_000_000)

  private static var runsFolder: String { statePath("runs") }

  /// A name for a new run, in a folder that is there; clears away what the rule lets go.
  static func newRun() -> String {
    let path = "\(runsFolder)/\(stamp(time(nil)))-\(getpid()).safetensors"
    makeFolders(path)
    sweepRuns()
    return path
  }

  /// `20261130-211605`, UTC.
  private static func stamp(_ seconds: Int) -> String {
    var seconds = time_t(seconds), parts = tm()
    gmtime_r(&seconds, &parts)
    func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let day = "\(parts.tm_year + 1900)\(two(parts.tm_mon + 1))\(two(parts.tm_mday))"
    return "\(day)-\(two(parts.tm_hour))\(two(parts.tm_min))\(two(parts.tm_sec))"
  }

  /// Those that were left, the newest first: no process holds them any more.
  static func lostRuns() -> [LostRun] {
    guard let folder = opendir(runsFolder) else { return [] }
    defer { closedir(folder) }
    var found: [LostRun] = []
    while let entry = readdir(folder) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      guard name.hasSuffix(".safetensors") else { continue }
      if let run = lostRun("\(runsFolder)/\(name)") { found.append(run) }
    }
    return found.sorted { ($0.time, $0.path) > ($1.time, $1.path) }
  }

  /// Nil for what is no file of ours, or in use.
  private static func lostRun(_ path: String) -> LostRun? {
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var status = stat()
    guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
      flock(file, LOCK_SH | LOCK_NB) == 0
    else { return nil }
    return LostRun(path: path, time: status.st_mtim.tv_sec, bytes: Int(status.st_size))
  }

  /// Removes what is more than the rule keeps.
  private static func sweepRuns() {
    var bytes = 0
    for (index, run) in lostRuns().enumerated() {
      bytes += run.bytes
      guard index > 0, index >= mostRuns || bytes > mostRunBytes else { continue }
      unlink(run.path)
      unlink(run.path + ".seen")
      bytes -= run.bytes
    }
  }

  /// One sentence where a run of a model was left and nobody has opened it since; nil otherwise.
  /// A model is known by the path of its file, or by the name that it has itself.
  static func lostRunNote(modelPath: String? = nil, model: String? = nil) -> String? {
    for run in lostRuns() where !run.wasSeen {
      guard let stream = try? SafetensorsStream(run.path) else { continue }
      let about = stream.parts[0].metadata
      let isSame =
        modelPath.map { about["model_path"] == $0 } ?? model.map { about["model"] == $0 } ?? false
      let tokens = stream.parts.dropFirst().reduce(0) {
        $0 + ($1.entry("token_ids")?.shape.count ?? 0)
      }
      guard isSame, tokens > 0 else { continue }
      let count = tokens == 1 ? "1 decoded token" : "\(tokens) decoded tokens"
      return
        "A run of this model ended unsaved (\(count)): attnscope open --recover shows it."
    }
    return nil
  }

  /// The newest run that was left, and that it was opened. Throws `Problem` when there is none.
  static func recover() throws -> String {
    guard let run = lostRuns().first else {
      throw Problem(
        """
        no run was left: a live run is kept while it goes on (in \(runsFolder)), and until it is \
        left with q
        """)
    }
    run.markSeen()
    return run.path
  }

  /// For the screen that shows a run which was left; nil for any other file.
  static func recoveredNote(_ path: String) -> String? {
    guard path.hasPrefix(runsFolder + "/") else { return nil }
    return "A run that ended unsaved; the newest \(mostRuns) are kept. cp \(path) keeps this one."
  }
}
