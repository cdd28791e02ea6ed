import Glibc

/// Writes a file that has no name until all is there: a full disk, a crash or a signal leaves
/// nothing behind. Where the file system has no such files it has a temporary name, and is renamed.
///
/// Example: `let w = try FileWriter(path, force: false); try w.write(text); try w.finish()`.
/// The temporary name cannot be foreseen and is opened only as a new file, so that nobody can
/// plant a link there. What `Destination` says is written through is opened as it is, and gets
/// the bytes as they come. The catch: dropping it without `finish` leaves its descriptor behind,
/// and the `.partial` file where it has a name. So does a process that is killed; the next one that
/// writes the same file takes that away (`Leftovers`).
struct FileWriter {
  private let path: String
  private let destination: Destination
  /// What the bytes are written to: beside the target, since a file is renamed only within one
  /// file system.
  private let opened: Destination.Opened
  private var descriptor: Int32 { opened.descriptor }

  /// Begins a file. Throws `exists` when the path is taken and `force` is false, `notAFile`
  /// for folders and sockets, `unreadable` when the folder cannot be written or a link leads
  /// nowhere.
  init(_ path: String, force: Bool) throws(FormatError) {
    self.path = path
    destination = try Destination(path, force: force)
    if !destination.isStream { Leftovers(of: destination.target).remove() }
    opened = destination.open()
    guard opened.descriptor >= 0 else {
      throw FormatError(.unreadable, "cannot be written: \(MappedFile.reason(errno))", file: path)
    }
  }

  /// Begins a file that has its name from the first byte on, for this user alone, and that nobody
  /// takes for finished while it grows: `flock` holds it until the process ends. Throws `exists`
  /// when the path is taken, `unreadable` when the folder cannot be written.
  init(growing path: String) throws(FormatError) {
    self.path = path
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
    let descriptor = Glibc.open(path, flags, 0o600)
    guard descriptor >= 0 else {
      let why = errno
      throw FormatError(
        why == EEXIST ? .exists : .unreadable, "cannot be written: \(MappedFile.reason(why))",
        file: path)
    }
    _ = flock(descriptor, LOCK_EX | LOCK_NB)
    destination = Destination(stream: path)
    opened = Destination.Opened(descriptor: descriptor, kind: .stream)
  }

  /// Waits until what was written is on the disk; what cannot be waited for is passed over.
  func sync() { fdatasync(descriptor) }

  /// Appends bytes. Throws `unreadable` with the system's reason when the disk is full or
  /// gone, and removes what was written.
  func write(_ bytes: UnsafeRawBufferPointer) throws(FormatError) {
    var rest = bytes
    while !rest.isEmpty {
      let count = Glibc.write(descriptor, rest.baseAddress!, min(rest.count, 1 << 30))
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw failed() }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
  }

  /// Appends a text as UTF-8; throws as `write` of bytes does.
  func write(_ text: String) throws(FormatError) {
    try Array(text.utf8).withBytes { (bytes) throws(FormatError) in try write(bytes) }
  }

  /// Makes the file appear under its name, once its bytes are on the disk. Throws
  /// `unreadable` when they do not get there. Some file systems have no fsync (EINVAL), which
  /// is no reason to fail.
  func finish() throws(FormatError) {
    if opened.kind != .stream {
      guard fsync(descriptor) == 0 || errno == EINVAL, destination.takeName(opened) else {
        throw failed()
      }
      FollowedFiles.wrote(path)
    }
    close(descriptor)
  }

  /// Cleans up and says why. The system's reason is read first, before closing changes it.
  private func failed() -> FormatError {
    let why = errno
    close(descriptor)
    if case .named(let temporary) = opened.kind { unlink(temporary) }
    guard why != EEXIST else {
      return FormatError(
        .exists, "somebody has made this file meanwhile; choose another name, or add --force",
        file: path)
    }
    let end = opened.kind == .stream ? "" : "; nothing was left behind"
    return FormatError(
      .unreadable, "writing stopped: \(MappedFile.reason(why))\(end)", file: path)
  }
}

/// Where the bytes of a file go: a new file, one that is replaced where the links to it lead,
/// or what is no file and is written through.
private struct Destination {
  /// The name behind all links.
  let target: String
  /// A device or a pipe: opened and written, never replaced.
  let isStream: Bool
  /// The permissions of the file that is replaced.
  let mode: mode_t?
  /// What was made meanwhile is replaced as well.
  let force: Bool

  /// What is written as the bytes come.
  init(stream path: String) { (target, isStream, mode, force) = (path, true, nil, false) }

  /// Refuses what exists, unless `force`, and what can only be damaged.
  init(_ path: String, force: Bool) throws(FormatError) {
    self.force = force
    var status = stat()
    guard stat(path, &status) == 0 else {
      let why = errno
      (target, isStream, mode) = (try Self.unreached(path, why, force), false, nil)
      return
    }
    let type = status.st_mode & S_IFMT
    if type == S_IFDIR {
      throw FormatError(.notAFile, "this is a folder; name a file inside it", file: path)
    }
    if type == S_IFSOCK {
      throw FormatError(.notAFile, "this is a socket; choose another name", file: path)
    }
    guard force else {
      throw FormatError(.exists, "the file exists; choose another name, or add --force", file: path)
    }
    guard type == S_IFREG else {
      (target, isStream, mode) = (path, true, nil)
      return
    }
    target = try Self.followed(path)
    var found = stat()
    guard lstat(target, &found) == 0, (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino)
    else {
      throw FormatError(
        .unreadable, "where this link leads has no name; choose another name", file: path)
    }
    (isStream, mode) = (false, status.st_mode & 0o777)
  }

  /// A name under which nothing is found: new, or a link to nothing.
  private static func unreached(_ path: String, _ why: Int32, _ force: Bool) throws(FormatError)
    -> String
  {
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFLNK else { return path }
    guard why != ELOOP else {
      throw FormatError(
        .unreadable, "this link leads back to itself; remove it, or choose another name",
        file: path)
    }
    let end = try followed(path)
    guard force else {
      throw FormatError(
        .exists,
        """
        this is a link to \"\(end)\", where nothing is; choose another name, or add --force to \
        write there
        """,
        file: path)
    }
    return end
  }

  /// The name at the end of the links that begin at `path`; folders on the way are the
  /// system's to follow.
  private static func followed(_ path: String) throws(FormatError) -> String {
    var name = path
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
    for _ in 0..<40 {
      let count = readlink(name, &buffer, buffer.count - 1)
      guard count > 0 else { return name }
      let next = String(decoding: buffer[0..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
      name = next.hasPrefix("/") ? next : folder(name) + next
    }
    throw FormatError(
      .unreadable, "too many links lead from one to the next; choose another name", file: path)
  }

  /// With its slash; empty for the current one.
  fileprivate static func folder(_ path: String) -> String {
    path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
  }

  /// What temporary names of a file begin with. A name may have 255 bytes.
  fileprivate static func stem(_ path: String) -> String {
    let name = path.dropFirst(folder(path).count)
    return String(name.utf8.count > 200 ? name.prefix(40) : name) + "."
  }

  /// What they end with.
  fileprivate static let ending = ".partial"

  /// What bytes are written to until the file is whole.
  struct Opened {
    enum Kind: Equatable {
      /// A device or a pipe: the bytes have arrived.
      case stream
      /// A file without a name, which is gone when the program is.
      case nameless
      /// A file under a name to rename from.
      case named(String)
    }

    /// Negative, with `errno`, when there is none.
    let descriptor: Int32
    let kind: Kind
  }

  /// Opens what the bytes go to.
  func open() -> Opened {
    if isStream {
      let descriptor = Glibc.open(target, O_WRONLY | O_NOCTTY | O_CLOEXEC)
      return Opened(descriptor: descriptor, kind: .stream)
    }
    let permissions: mode_t = mode == nil ? 0o644 : 0o600
    let folder = Self.folder(target)
    // O_TMPFILE, a macro that Swift does not see.
    let nameless = Glibc.open(
      folder.isEmpty ? "." : folder, 0o20_000_000 | O_DIRECTORY | O_WRONLY | O_CLOEXEC, permissions)
    if nameless >= 0 {
      if access(Self.link(nameless), F_OK) == 0 {
        if let mode { fchmod(nameless, mode) }
        // It has a name for the moment in which it replaces another.
        _ = Leftovers.hold(nameless)
        return Opened(descriptor: nameless, kind: .nameless)
      }
      close(nameless)
    }
    return begin { temporary in
      let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
      let descriptor = Glibc.open(temporary, flags, permissions)
      if let mode, descriptor >= 0 { fchmod(descriptor, mode) }
      guard descriptor < 0 || Leftovers.hold(descriptor) else {
        close(descriptor)
        errno = EEXIST
        return -1
      }
      return descriptor
    }
  }

  /// Tries names beside the target that cannot be foreseen until one is free.
  private func begin(_ make: (String) -> Int32) -> Opened {
    var temporary = "", result: Int32 = -1
    for _ in 0..<8 {
      let word = String(UInt64.random(in: .min ... .max), radix: 36)
      temporary = Self.folder(target) + Self.stem(target) + word + Self.ending
      result = make(temporary)
      if result >= 0 || errno != EEXIST { break }
    }
    return Opened(descriptor: result, kind: .named(temporary))
  }

  /// The file appears under its name; false with `errno` when it does not. A file without a name
  /// can take one that is free, and takes another one first to replace what is there.
  func takeName(_ opened: Opened) -> Bool {
    if case .named(let temporary) = opened.kind { return rename(temporary, target) == 0 }
    let file = Self.link(opened.descriptor)
    func link(to name: String) -> Int32 {
      linkat(AT_FDCWD, file, AT_FDCWD, name, Int32(AT_SYMLINK_FOLLOW))
    }
    if link(to: target) == 0 { return true }
    guard errno == EEXIST, force else { return false }
    let between = begin(link)
    guard between.descriptor == 0, case .named(let temporary) = between.kind else { return false }
    guard rename(temporary, target) != 0 else { return true }
    let why = errno
    unlink(temporary)
    errno = why
    return false
  }

  /// How the system names a file that has no name.
  private static func link(_ descriptor: Int32) -> String { "/proc/self/fd/\(descriptor)" }

  /// Whether `open` will succeed, as far as permissions tell.
  var isWritable: Bool {
    let folder = Self.folder(target)
    return access(isStream ? target : (folder.isEmpty ? "." : folder), W_OK) == 0
  }
}

/// Temporary files of one target that nobody writes any more: whoever writes one holds a lock on
/// it, which ends with the process however that ends.
private struct Leftovers {
  /// The file that they were to become.
  let target: String

  init(of target: String) { self.target = target }

  /// Takes the lock of a file that is being written; false when its name was taken away meanwhile,
  /// and for one that has none. Where files cannot be locked nobody takes anything away.
  static func hold(_ descriptor: Int32) -> Bool {
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { return errno != EWOULDBLOCK }
    var status = stat()
    return fstat(descriptor, &status) != 0 || status.st_nlink > 0
  }

  /// Removes those of this user that nobody holds. What cannot be removed stays: it does no harm.
  func remove() {
    let folder = Destination.folder(target)
    guard let entries = opendir(folder.isEmpty ? "." : folder) else { return }
    defer { closedir(entries) }
    let stem = Destination.stem(target)
    while let entry = readdir(entries) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
      }
      guard name.hasPrefix(stem), name.hasSuffix(Destination.ending),
        name.utf8.count > stem.utf8.count + Destination.ending.utf8.count,
        UInt64(name.dropFirst(stem.count).dropLast(Destination.ending.count), radix: 36) != nil
      else { continue }
      removeUnheld(folder + name)
    }
  }

  private func removeUnheld(_ path: String) {
    let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
      status.st_uid == geteuid(), flock(descriptor, LOCK_EX | LOCK_NB) == 0
    else { return }
    unlink(path)
  }
}

/// Writes text to a new file, whole or not at all. Throws `exists` when it is there and
/// `force` is false, `unreadable` when it cannot be written.
public func writeText(_ text: String, to path: String, force: Bool) throws(FormatError) {
  let writer = try FileWriter(path, force: force)
  try writer.write(text)
  try writer.finish()
}

/// Writes bytes to a new file, whole or not at all. Throws `exists` when it is there and
/// `force` is false, `unreadable` when it cannot be written.
public func writeBytes(_ bytes: [UInt8], to path: String, force: Bool) throws(FormatError) {
  let writer = try FileWriter(path, force: force)
  try bytes.withBytes { (bytes) throws(FormatError) in try writer.write(bytes) }
  try writer.finish()
}

/// Refuses at once what writing would refuse in the end: worth asking before a long
/// computation. Throws `exists` or `unreadable` as a `FileWriter` would; only a full disk can
/// still come as a surprise.
public func checkWritable(_ path: String, force: Bool) throws(FormatError) {
  guard try Destination(path, force: force).isWritable else {
    throw FormatError(.unreadable, "cannot be written: \(MappedFile.reason(errno))", file: path)
  }
}
