import Glibc

/// What was typed behind the program's name.
enum CommandWords {
  /// From the system's own copy: a program with Swift's libraries inside finds its words from where
  /// the environment begins, and that place moves when a variable is set before `main`, as the
  /// screen's description is. Where there is no such copy, Swift's words are taken.
  static let all: [String] = {
    let standard = Array(CommandLine.arguments.dropFirst())
    guard let bytes = whole("/proc/self/cmdline"), bytes.last == 0 else { return standard }
    let words = bytes.dropLast().split(separator: 0, omittingEmptySubsequences: false)
    return words.dropFirst().map { String(decoding: $0, as: UTF8.self) }
  }()

  /// A file whose size nobody tells; nil where it cannot be read.
  private static func whole(_ path: String) -> [UInt8]? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = read(file, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return count == 0 && !bytes.isEmpty ? bytes : nil }
      bytes += buffer[..<count]
    }
  }
}
