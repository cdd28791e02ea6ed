import Glibc
import Synchronization

/// Dumps that are open, and whether somebody has written them anew since.
///
/// A file is known by its place on the disk, its size and the time of its last change. One that is
/// overwritten in place is read as a mixture of both; of one that another file has replaced the old
/// one goes on being read. Either is said once, by `takeChanges` or `changes`. The catch: a change
/// within a tick of the file system's clock that leaves the size is not noticed.
public enum FollowedFiles {
  /// What tells one state of a file from another.
  private struct Mark: Equatable {
    let device, inode: UInt64
    let size, seconds, nanoseconds: Int

    init(_ status: stat) {
      (device, inode) = (UInt64(status.st_dev), UInt64(status.st_ino))
      size = Int(status.st_size)
      (seconds, nanoseconds) = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
    }
  }

  private struct Files {
    var open: [ObjectIdentifier: (path: String, mark: Mark)] = [:]
    /// What became of those that were closed meanwhile, by path.
    var closed: [String: Change] = [:]
    var told: Set<String> = []
    var last: ContinuousClock.Instant?
  }

  private static let files = Mutex(Files())

  /// From now on; `status` is that of the descriptor which was mapped.
  static func follow(_ file: MappedFile, _ status: stat) {
    files.withLock { $0.open[ObjectIdentifier(file)] = (file.path, Mark(status)) }
  }

  /// No longer; what has become of it is kept.
  static func leave(_ file: MappedFile) {
    files.withLock { files in
      guard let (path, mark) = files.open.removeValue(forKey: ObjectIdentifier(file)) else {
        return
      }
      if let change = change(of: path, since: mark) { files.closed[path] = change }
    }
  }

  /// A file that this program writes itself is no news.
  static func wrote(_ path: String) { files.withLock { _ = $0.told.insert(path) } }

  /// What became of a file while it was open.
  public struct Change: Sendable, Equatable {
    /// As it was named.
    public let path: String
    /// It was written in place: what is read may be of the old file and of the new one. Else
    /// another file has its name, and the old one goes on being read.
    public let isMixed: Bool

    /// A sentence that says so.
    public var sentence: String {
      isMixed
        ? """
        \(path) was written anew while it was open: numbers may be of the old file and of the new \
        one; open it again
        """
        : "\(path) was replaced while it was open: this is still the old one; open it again"
    }
  }

  /// Files that have changed, each said once. Looks a few times a second at most, however often it
  /// is asked.
  ///
  /// Example: `for change in FollowedFiles.takeChanges() { say(change.sentence) }`. For any thread.
  public static func takeChanges() -> [Change] {
    files.withLock { files in
      let now = ContinuousClock.now
      if let last = files.last, now - last < .milliseconds(200) { return [] }
      files.last = now
      return take(&files)
    }
  }

  /// The same, at the end of a command: looks in any case.
  public static func changes() -> [Change] { files.withLock { take(&$0) } }

  private static func take(_ files: inout Files) -> [Change] {
    var found = files.closed
    for (path, mark) in files.open.values where !files.told.contains(path) {
      if let change = change(of: path, since: mark) { found[path] = change }
    }
    let new = found.values.filter { !files.told.contains($0.path) }.sorted { $0.path < $1.path }
    files.told.formUnion(new.map(\.path))
    return new
  }

  /// Nil for a file that is as it was, and for one that is gone: it is read on.
  private static func change(of path: String, since mark: Mark) -> Change? {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    let now = Mark(status)
    guard now != mark else { return nil }
    return Change(path: path, isMixed: now.inode == mark.inode && now.device == mark.device)
  }
}
