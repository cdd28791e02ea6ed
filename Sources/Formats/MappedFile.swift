import Glibc
import Kernels
import Synchronization
public import Tensors

/// A regular file mapped into memory, read-only. Opening one costs the same for a kilobyte
/// and a terabyte.
///
/// Example: `let file = try MappedFile("qk.npz"); file.bytes.count`. Pages come from disk
/// when they are read and leave when memory is short.
///
/// `@unchecked Sendable`: the mapping is never written. The catch: of a file that another
/// program truncates while it is mapped, what is read from there on is zero, and `takeCut` has
/// its name.
public final class MappedFile: Storage, @unchecked Sendable {
  /// The file as it was named, for messages.
  public let path: String
  /// Its number among the mappings that may be cut short; -1 when there are too many.
  private let number: Int32
  /// Whether it is noticed that somebody writes the file anew.
  private let isFollowed: Bool

  /// Maps a file. Throws `missing` when there is none, `unreadable` without permission or
  /// when mapping fails, `notAFile` for folders, pipes and devices, `empty` for no bytes.
  /// Opening does not block on a pipe. `isFollowed`: `takeChanges` tells when somebody writes it
  /// anew while it is open.
  public init(_ path: String, isFollowed: Bool = false) throws(FormatError) {
    (self.path, self.isFollowed) = (path, isFollowed)
    let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { throw Self.openError(path, errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw Self.openError(path, errno) }
    let type = status.st_mode & S_IFMT
    if type == S_IFDIR {
      throw FormatError(.notAFile, "this is a directory; name a file inside it", file: path)
    }
    if type != S_IFREG {
      throw FormatError(
        .notAFile, "this is a pipe or a device, and a dump must be mapped; save it to a file first",
        file: path)
    }
    guard status.st_size > 0 else {
      throw FormatError(.empty, "the file is empty; save the dump again", file: path)
    }
    let length = Int(status.st_size)
    guard let base = mmap(nil, length, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED
    else {
      throw FormatError(
        .unreadable, "cannot be mapped into memory: \(Self.reason(errno))", file: path)
    }
    as_mapping_watch()
    number = as_mapping_add(base, length)
    super.init(unowned: UnsafeRawBufferPointer(start: base, count: length))
    if isFollowed { FollowedFiles.follow(self, status) }
    Self.watched.withLock { $0.open[number] = path }
  }

  deinit {
    if isFollowed { FollowedFiles.leave(self) }
    let (number, path) = (self.number, self.path)
    Self.watched.withLock { watched in
      if as_mapping_is_cut(number) != 0 { watched.cut.insert(path) }
      watched.open[number] = nil
      as_mapping_remove(number)
    }
    munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress!), bytes.count)
  }

  /// The two reasons that people can mend get a hint; the others get the system's words.
  fileprivate static func openError(_ path: String, _ code: Int32) -> FormatError {
    switch code {
    case ENOENT: FormatError(.missing, "there is no such file; check the name", file: path)
    case EACCES, EPERM:
      FormatError(.unreadable, "no permission to read it; ask its owner, or chmod it", file: path)
    default: FormatError(.unreadable, "cannot be opened: \(reason(code))", file: path)
    }
  }

  /// The system's words for an error number.
  static func reason(_ code: Int32) -> String { String(cString: strerror(code)).lowercased() }
}

/// What became of files while they were open.
extension MappedFile {
  /// Files by their numbers, and those that were found cut and are closed.
  fileprivate struct Watched {
    var open: [Int32: String] = [:]
    var cut: Set<String> = []
    var told: Set<String> = []
    /// What else is wrong with what was read, each sentence once, and how many of them were taken.
    var faults: [String] = []
    var faultsTold = 0
    /// `as_mapping_cuts` when that was last looked at.
    var seen: Int32 = 0

    var allCut: Set<String> {
      cut.union(open.filter { as_mapping_is_cut($0.key) != 0 }.values)
    }
  }
  fileprivate static let watched = Mutex(Watched())

  /// Sentences about all files that were found cut short or damaged while they were read, since the
  /// program began.
  public static var cut: [String] { watched.withLock { sentences($0.allCut) + $0.faults } }

  /// Keeps a sentence about numbers that could not be read where nobody could be told by an error.
  static func tell(_ fault: String) {
    watched.withLock { if !$0.faults.contains(fault) { $0.faults.append(fault) } }
  }

  /// Those of them that were not taken yet.
  ///
  /// Example: `for sentence in MappedFile.takeCut() { say(sentence) }`. From any thread.
  public static func takeCut() -> [String] {
    watched.withLock { watched in
      let faults = Array(watched.faults[watched.faultsTold...]), now = as_mapping_cuts()
      watched.faultsTold = watched.faults.count
      guard now != watched.seen else { return faults }
      watched.seen = now
      let new = watched.allCut.subtracting(watched.told)
      watched.told.formUnion(new)
      return sentences(new) + faults
    }
  }

  private static func sentences(_ paths: Set<String>) -> [String] {
    paths.sorted().map {
      "\($0) was cut short while it was open: what is read from there on is zero; open it again"
    }
  }

  /// To be called when somebody else has begun to handle SIGBUS, as a screen does.
  public static func watchAgain() { as_mapping_watch() }
}

extension OwnedStorage {
  /// A copy of some bytes.
  convenience init(_ bytes: [UInt8]) {
    self.init(byteCount: bytes.count) { out in
      bytes.withUnsafeBytes { out.copyMemory(from: $0) }
    }
  }
}

extension UnsafeRawBufferPointer {
  /// A little-endian integer at `offset`, or nil when it would lie past the end.
  func integer<T: FixedWidthInteger>(_ type: T.Type, at offset: Int) -> T? {
    guard offset >= 0, offset <= count - MemoryLayout<T>.size else { return nil }
    return T(littleEndian: loadUnaligned(fromByteOffset: offset, as: T.self))
  }

  /// Whether `prefix` stands at `offset`; false past the end.
  func starts(with prefix: [UInt8], at offset: Int = 0) -> Bool {
    guard offset >= 0, offset <= count - prefix.count else { return false }
    return prefix.indices.allSatisfy { self[offset + $0] == prefix[$0] }
  }

  /// Bytes as UTF-8, with replacement characters where they are none: names in damaged files
  /// must still be printable.
  func text(_ range: Range<Int>) -> String { String(decoding: self[range], as: UTF8.self) }
}

/// All bytes of a text, from a file or a pipe; `-` is standard input.
///
/// Unlike a mapping it works on anything that can be read, and holds it all. `most` is in
/// bytes. Throws `missing` or `unreadable` when it cannot be opened or read, `unsupported`
/// when it is longer than `most`.
public func readWhole(_ path: String, most: Int = .max) throws(FormatError) -> [UInt8] {
  let isInput = path == "-"
  let descriptor = isInput ? 0 : open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw MappedFile.openError(path, errno) }
  defer { if !isInput { close(descriptor) } }
  var out: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = read(descriptor, &buffer, buffer.count)
    if count < 0, errno == EINTR { continue }
    guard count >= 0 else {
      throw FormatError(
        .unreadable, "cannot be read: \(MappedFile.reason(errno))",
        file: isInput ? "standard input" : path)
    }
    if count == 0 { return out }
    out += buffer[0..<count]
    guard out.count <= most else {
      throw FormatError(
        .unsupported, "is larger than \(most) bytes, which such a file never is", file: path)
    }
  }
}
