import Glibc

/// Writes a file under a temporary name and renames it when all is there: a full disk or a crash leaves no half file.
struct FileWriter {
  private let path: String
  private let temporary: String
  private let descriptor: Int32

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

  func write(_ bytes: UnsafeRawBufferPointer) throws(FormatError) {
    var rest = bytes
    while !rest.isEmpty {
      let count = Glibc.write(descriptor, rest.baseAddress!, min(rest.count, 1 << 30))
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw failed() }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
  }

  func write(_ text: String) throws(FormatError) {
    try Array(text.utf8).withBytes { (bytes) throws(FormatError) in try write(bytes) }
  }

  /// Makes the file appear under its name.
  func finish() throws(FormatError) {
    guard fsync(descriptor) == 0 || errno == EINVAL, rename(temporary, path) == 0 else {
      throw failed()
    }
    close(descriptor)
  }

  private func failed() -> FormatError {
    let reason = MappedFile.reason(errno)
    close(descriptor)
    unlink(temporary)
    return FormatError(
      .unreadable, "writing stopped: \(reason); nothing was left behind", file: path)
  }
}

/// Writes text to a new file, whole or not at all.
public func writeText(_ text: String, to path: String, force: Bool) throws(FormatError) {
  let writer = try FileWriter(path, force: force)
  try writer.write(text)
  try writer.finish()
}

/// Writes bytes to a new file, whole or not at all.
public func writeBytes(_ bytes: [UInt8], to path: String, force: Bool) throws(FormatError) {
  let writer = try FileWriter(path, force: force)
  try bytes.withBytes { (bytes) throws(FormatError) in try writer.write(bytes) }
  try writer.finish()
}

/// Refuses at once what writing would refuse in the end: worth asking before a long computation.
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
