import ArgumentParser
import Backends
import Canvas
import Formats
import Glibc
import Sessions

/// `attnscope serve FILE --socket PATH`: the other end of the wire, from a file.
///
/// A dump is served as a prompt, a recording token by token. Over a socket it answers pictures,
/// tables and rows, and may be paused. The catch: one viewer at a time; the next one waits.
struct ServeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve",
    abstract: "Stream a dump or a recording to a viewer: attnscope open unix:PATH.")

  @Argument(help: "A dump with Q and K, or a recording.") var file: String
  @Option(help: ArgumentHelp("A socket for this user alone.", valueName: "path"))
  var socket: String?
  @Option(help: ArgumentHelp("A port of this machine, for viewers on it.", valueName: "port"))
  var tcp: UInt16?
  @Flag(help: "To standard output; nothing is answered.") var stdout = false
  /// 0: as fast as they are taken.
  @Option(help: "Tokens a second of a recording; 0: as fast as they are taken.") var speed = 20.0
  @Option(help: "What a viewer must say to be let in.") var token: String?
  @Flag(help: "Serve one viewer and end.") var once = false

  /// Throws `ValidationError` unless one way out is named.
  func validate() throws {
    guard [socket != nil, tcp != nil, stdout].filter({ $0 }).count == 1 else {
      throw ValidationError("Give one of --socket PATH, --tcp PORT and --stdout.")
    }
    guard speed >= 0, speed <= 1e6 else { throw ValidationError("--speed is 0 or more.") }
    if stdout, isatty(1) == 1 {
      throw ValidationError(
        "--stdout is for a pipe: attnscope serve FILE --stdout | attnscope open -")
    }
  }

  /// Serves until it is ended. Throws what opening throws, and when the door cannot be made.
  func run() async throws {
    let served = try ServedStream(file)
    guard !stdout else {
      // Another descriptor: what is printed by accident must not be in the stream.
      let output = dup(1)
      dup2(2, 1)
      await serve(served, input: -1, output: output)
      return
    }
    let door = try StreamDoor(socket: socket, port: tcp)
    defer { door.close() }
    say("serving \(Printable.text(file)): attnscope open \(Printable.text(door.name))")
    repeat {
      let viewer = try door.accept()
      await serve(served, input: viewer, output: viewer)
      Glibc.close(viewer)
    } while !once
  }

  /// Not on Swift's pool, which answers questions meanwhile.
  private func serve(_ served: ServedStream, input: Int32, output: Int32) async {
    let session = ServeSession(
      served, input: input, output: output, speed: speed, token: input < 0 ? nil : token)
    await Disk.value { session.run() }
  }
}

/// Where viewers come in: a socket of this user's, or a port of this machine.
struct StreamDoor {
  /// As `attnscope open` takes it.
  let name: String
  private let listening: Int32
  private let path: String?

  /// A socket that a crash has left is replaced, and nothing else is. Throws `exists` where
  /// something else lies there, `unreadable` where the system refuses.
  init(socket path: String?, port: UInt16?) throws(FormatError) {
    if let path {
      self = try Self.socket(at: path)
    } else {
      self = try Self.port(port ?? 0)
    }
  }

  private init(_ name: String, _ listening: Int32, _ path: String?) {
    (self.name, self.listening, self.path) = (name, listening, path)
  }

  private static func socket(at path: String) throws(FormatError) -> StreamDoor {
    Desk.makeFolders(path)
    let made = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    if Unix.isSocket(path) { unlink(path) }
    let mask = umask(0o177)
    errno = ENAMETOOLONG
    let isBound = Unix.withAddress(path) { bind(made, $0, $1) } == 0 && listen(made, 4) == 0
    let why = errno
    umask(mask)
    guard isBound else { throw refused(path, made, why) }
    return StreamDoor("unix:\(path)", made, path)
  }

  private static func port(_ port: UInt16) throws(FormatError) -> StreamDoor {
    let made = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    var yes: Int32 = 1
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &yes, 4)
    let isBound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(made, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 && listen(made, 4) == 0
      }
    }
    guard isBound else { throw refused("127.0.0.1:\(port)", made, errno) }
    return StreamDoor("tcp:127.0.0.1:\(port)", made, nil)
  }

  private static func refused(_ name: String, _ made: Int32, _ why: Int32) -> FormatError {
    Glibc.close(made)
    return why == EADDRINUSE
      ? FormatError(.exists, "something else is there; choose another name or port", file: name)
      : FormatError(
        .unreadable, "cannot be served: \(String(cString: strerror(why)).lowercased())",
        file: name)
  }

  /// The next viewer. Throws when the door is broken.
  func accept() throws(FormatError) -> Int32 {
    while true {
      let viewer = Glibc.accept(listening, nil, nil)
      if viewer >= 0 { return viewer }
      guard errno == EINTR || errno == ECONNABORTED else {
        throw Self.refused(name, listening, errno)
      }
    }
  }

  func close() {
    Glibc.close(listening)
    if let path { unlink(path) }
  }
}
