import Glibc

/// Writes a file under a temporary name and renames it when all is there: a full disk or a
/// crash leaves no half file.
///
/// Example: `let w = try FileWriter(path, force: false); try w.write(text); try w.finish()`.
/// The catch: dropping it without `finish` leaves the `.partial` file and its descriptor
/// behind.
struct FileWriter {
  private let path: String
  /// Beside the target, since a rename works only within one file system, and with the
  /// process number, so that two writers do not meet.
  private let temporary: String
  private let descriptor: Int32

  /// Begins a file. Throws `exists` when the path is taken and `force` is false, `unreadable`
  /// when the folder cannot be written.
  init(_ path: String, force: Bool) throws(FormatError) {
    self.path = path
    var status = stat()
    if !force, stat(path, &status) == 0 {
      throw FormatError(.exists, "the file exists; choose another name, or add --force", file: path)
    }
    temporary = "\(path).\(getpid()).partial"
    descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw FormatError(.unreadable, "cannot be written: \(MappedFile.reason(errno))", file: path)
    }
  }

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
    guard fsync(descriptor) == 0 || errno == EINVAL, rename(temporary, path) == 0 else {
      throw failed()
    }
    close(descriptor)
  }

  /// Cleans up and says why. The system's reason is read first, before closing changes it.
  private func failed() -> FormatError {
    let reason = MappedFile.reason(errno)
    close(descriptor)
    unlink(temporary)
    return FormatError(
      .unreadable, "writing stopped: \(reason); nothing was left behind", file: path)
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
  var status = stat()
  if stat(path, &status) == 0 {
    guard force else {
      throw FormatError(.exists, "the file exists; choose another name, or add --force", file: path)
    }
    return
  }
  let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
  guard access(folder.isEmpty ? "/" : folder, W_OK) == 0 else {
    throw FormatError(.unreadable, "cannot be written: \(MappedFile.reason(errno))", file: path)
  }
}
