import Formats
import Foundation
import Testing

/// What is written appears whole under its name, and nowhere else: neither a link that somebody
/// planted nor a device that was named is replaced.
@Suite struct FileWriterTests {
  private func scratch(_ body: (String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try body(folder.path)
  }

  private func text(_ path: String) -> String? {
    try? String(contentsOfFile: path, encoding: .utf8)
  }

  /// What stands under the name itself, links not followed.
  private func kind(_ path: String) -> mode_t {
    var status = stat()
    return lstat(path, &status) == 0 ? status.st_mode & S_IFMT : 0
  }

  private func names(_ folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
  }

  private func refuses(_ path: String, force: Bool, _ words: String) {
    let writing = #expect(throws: FormatError.self) {
      try writeText("new", to: path, force: force)
    }
    #expect(writing?.message.contains(words) ?? false, "\(path): \(writing.map { "\($0)" } ?? "")")
    let asking = #expect(throws: FormatError.self) { try checkWritable(path, force: force) }
    #expect(asking?.message.contains(words) ?? false, "\(path): \(asking.map { "\($0)" } ?? "")")
  }

  @Test func aNameThatIsForeseenIsNotFollowed() throws {
    try scratch { folder in
      let victim = folder + "/victim", path = folder + "/fig.svg"
      try Data("old".utf8).write(to: URL(filePath: victim))
      for name in ["\(path).\(getpid()).partial", path + ".partial", path + ".tmp"] {
        #expect(symlink(victim, name) == 0)
      }
      try writeText("new", to: path, force: false)
      #expect(text(victim) == "old" && text(path) == "new" && kind(path) == S_IFREG)
    }
  }

  /// What a process that was killed left behind goes with the next writing of the same file; what
  /// somebody still writes stays, and so does all that is no such file.
  @Test func leftoversGo() throws {
    try scratch { folder in
      let path = folder + "/fig.svg", held = path + ".held1.partial"
      let others = [
        "fig.svg.partial", "fig.svg.not a word.partial", "other.svg.dead1.partial", "fig.svg.dead1",
        "fig.svg.held1.partial",
      ]
      for name in others + ["fig.svg.dead1.partial", "fig.svg.dead2.partial"] {
        try Data("half".utf8).write(to: URL(filePath: folder + "/" + name))
      }
      #expect(mkdir(path + ".dir1.partial", 0o700) == 0)
      let holder = open(held, O_RDONLY | O_CLOEXEC)
      #expect(flock(holder, LOCK_EX | LOCK_NB) == 0)
      try writeText("new", to: path, force: false)
      let kept = (others + ["fig.svg", "fig.svg.dir1.partial"]).sorted()
      #expect(try names(folder) == kept)
      close(holder)
      try writeText("newer", to: path, force: true)
      #expect(try names(folder) == kept.filter { $0 != "fig.svg.held1.partial" })
      #expect(text(path) == "newer")
    }
  }

  @Test func nothingIsLeftBesideTheFile() throws {
    try scratch { folder in
      for force in [false, true] { try writeText("\(force)", to: folder + "/a", force: force) }
      #expect(text(folder + "/a") == "true")
      #expect(try names(folder) == ["a"])
    }
  }

  @Test func aLinkStaysALink() throws {
    try scratch { folder in
      let real = folder + "/real", link = folder + "/link", far = folder + "/sub/far"
      try FileManager.default.createDirectory(
        atPath: folder + "/sub", withIntermediateDirectories: true)
      try Data("old".utf8).write(to: URL(filePath: real))
      #expect(chmod(real, 0o640) == 0)
      // A relative link in another folder, to a link, to a file.
      #expect(symlink("real", link) == 0 && symlink("../link", far) == 0)
      refuses(far, force: false, "--force")
      #expect(text(real) == "old")
      try checkWritable(far, force: true)
      try writeText("new", to: far, force: true)
      #expect(kind(far) == S_IFLNK && kind(link) == S_IFLNK && kind(real) == S_IFREG)
      #expect(text(real) == "new" && text(far) == "new")
      var status = stat()
      #expect(stat(real, &status) == 0 && status.st_mode & 0o777 == 0o640)
      #expect(try names(folder) == ["link", "real", "sub"])
      #expect(try names(folder + "/sub") == ["far"])
    }
  }

  @Test func aLinkToNothingIsNotReplaced() throws {
    try scratch { folder in
      let link = folder + "/link", there = folder + "/there"
      #expect(symlink("there", link) == 0)
      refuses(link, force: false, "a link to")
      #expect(kind(link) == S_IFLNK && kind(there) == 0)
      try writeText("new", to: link, force: true)
      #expect(kind(link) == S_IFLNK && text(there) == "new")
      let circle = folder + "/circle"
      #expect(symlink("circle", circle) == 0)
      for force in [false, true] { refuses(circle, force: force, "link") }
      #expect(kind(circle) == S_IFLNK)
    }
  }

  @Test func aPipeGetsTheBytesAndStaysAPipe() throws {
    try scratch { folder in
      let pipe = folder + "/pipe", link = folder + "/link"
      #expect(mkfifo(pipe, 0o600) == 0 && symlink("pipe", link) == 0)
      let reader = open(pipe, O_RDONLY | O_NONBLOCK)
      defer { close(reader) }
      refuses(pipe, force: false, "--force")
      for path in [pipe, link] {
        try checkWritable(path, force: true)
        try writeText("through", to: path, force: true)
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = read(reader, &buffer, buffer.count)
        #expect(String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self) == "through")
        #expect(kind(pipe) == S_IFIFO && kind(link) == S_IFLNK)
      }
      #expect(try names(folder) == ["link", "pipe"])
    }
  }

  /// The far side of a pseudo-terminal: a device that nobody misses.
  @Test func aDeviceGetsTheBytesAndStaysADevice() throws {
    // What posix_openpt, unlockpt and ptsname do; Swift's Glibc does not show them.
    let master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
    defer { close(master) }
    var unlock: Int32 = 0, number: UInt32 = 0
    try #require(ioctl(master, 0x4004_5431, &unlock) == 0)
    try #require(ioctl(master, 0x8004_5430, &number) == 0)
    let device = "/dev/pts/\(number)"
    refuses(device, force: false, "--force")
    try checkWritable(device, force: true)
    try writeText("through", to: device, force: true)
    var buffer = [UInt8](repeating: 0, count: 64)
    let count = read(master, &buffer, buffer.count)
    #expect(String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self) == "through")
    #expect(kind(device) == S_IFCHR)
  }

  @Test func aFolderAndASocketAreRefused() throws {
    try scratch { folder in
      refuses(folder, force: true, "folder")
      let file = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
      defer { close(file) }
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      let path = folder + "/s"
      // A name that is too long for a socket's address would leave nothing to refuse.
      try #require(path.utf8.count < 100)
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
      let bound = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(file, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
      }
      try #require(bound == 0)
      refuses(path, force: true, "socket")
      #expect(kind(path) == S_IFSOCK)
    }
  }
}
