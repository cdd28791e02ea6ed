import ArgumentParser
import Backends
import Formats
import Glibc

/// Where a stream comes from, as it is typed in the place of a file.
///
/// Example: `-`, `unix:/run/user/1000/run.sock`, `tcp:127.0.0.1:7000`. A TCP stream is unprotected:
/// other hosts than this one are dialled only with a token.
enum StreamAddress: Equatable {
  case input
  case unix(String)
  case tcp(host: String, port: String)

  /// Nil for what is a file. Throws `ValidationError` for an address that is none.
  init?(_ word: String) throws {
    if word == "-" {
      self = .input
    } else if word.hasPrefix("unix:") {
      guard word.utf8.count > 5 else { throw ValidationError("unix: needs a path behind it.") }
      self = .unix(String(word.dropFirst(5)))
    } else if word.hasPrefix("tcp:") {
      let rest = word.dropFirst(4)
      guard let colon = rest.lastIndex(of: ":"), colon != rest.startIndex,
        let port = UInt16(rest[rest.index(after: colon)...]), port > 0
      else { throw ValidationError("tcp: is followed by HOST:PORT, such as 127.0.0.1:7000.") }
      self = .tcp(host: String(rest[..<colon]), port: "\(port)")
    } else {
      return nil
    }
  }

  /// Whether it leaves this machine.
  var isFar: Bool {
    guard case .tcp(let host, _) = self else { return false }
    return !["127.0.0.1", "::1", "localhost"].contains(host)
  }

  /// A connection. Throws `unreadable` with the system's reason.
  func connected() throws(FormatError) -> Int32 {
    switch self {
    case .input: return dup(0)
    case .unix(let path):
      let made = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Self.closeOnExec, 0)
      errno = ENAMETOOLONG
      guard Unix.withAddress(path, { connect(made, $0, $1) }) == 0 else {
        let why = errno
        Glibc.close(made)
        throw Self.failed(path, why)
      }
      return made
    case .tcp(let host, let port):
      guard let made = Self.dial(host, port) else { throw Self.failed("\(host):\(port)", errno) }
      return made
    }
  }

  private static let closeOnExec = Int32(SOCK_CLOEXEC.rawValue)

  private static func failed(_ name: String, _ why: Int32) -> FormatError {
    let reason =
      why == ENOENT || why == ECONNREFUSED
      ? "nobody serves a stream there; start the sender first"
      : "cannot be connected: \(String(cString: strerror(why)).lowercased())"
    return FormatError(.unreadable, reason, file: name)
  }

  /// The first address of a host that takes the connection; nil with `errno` set.
  private static func dial(_ host: String, _ port: String) -> Int32? {
    var hints = addrinfo()
    var found: UnsafeMutablePointer<addrinfo>?
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    guard getaddrinfo(host, port, &hints, &found) == 0 else {
      errno = EHOSTUNREACH
      return nil
    }
    defer { freeaddrinfo(found) }
    var why = EHOSTUNREACH
    var next = found
    while let one = next?.pointee {
      let made = socket(one.ai_family, one.ai_socktype | closeOnExec, one.ai_protocol)
      if made >= 0, connect(made, one.ai_addr, one.ai_addrlen) == 0 { return made }
      why = errno
      if made >= 0 { Glibc.close(made) }
      next = one.ai_next
    }
    errno = why
    return nil
  }

  /// A link to it; a socket that breaks is dialled again for half a minute.
  func link() throws(FormatError) -> DescriptorLink {
    let made = try connected()
    guard self != .input else { return DescriptorLink(input: made) }
    return DescriptorLink(input: made, output: made) {
      for attempt in 0..<60 {
        if attempt > 0 { usleep(500_000) }
        if let again = try? connected() { return (again, again) }
      }
      return nil
    }
  }
}

/// A command whose standard output is a stream, and whose standard input hears the viewer.
struct SpawnedStream {
  let link: DescriptorLink
  private let child: pid_t

  /// Runs `command` by the shell, in a session of its own: what is typed here is not for it. What
  /// it says on standard error goes to `log`, else nowhere, for the screen is ours. Throws
  /// `unreadable` when it cannot be run.
  init(_ command: String, log: String?) throws(FormatError) {
    guard let down = Self.pipe(), let up = Self.pipe() else {
      throw FormatError(.unreadable, "cannot be run: no pipes are left", file: command)
    }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, up[0], 0)
    posix_spawn_file_actions_adddup2(&actions, down[1], 1)
    posix_spawn_file_actions_addopen(
      &actions, 2, log ?? "/dev/null", O_WRONLY | O_CREAT | O_APPEND, 0o600)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // POSIX_SPAWN_SETSID, and SIGPIPE as any program expects it.
    var pipes = sigset_t()
    sigemptyset(&pipes)
    sigaddset(&pipes, SIGPIPE)
    posix_spawnattr_setsigdefault(&attributes, &pipes)
    posix_spawnattr_setflags(&attributes, Int16(0x80 | Int32(POSIX_SPAWN_SETSIGDEF)))
    let texts: [String] = ["/bin/sh", "-c", command]
    var words: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var made = pid_t()
    let status = posix_spawn(&made, "/bin/sh", &actions, &attributes, &words, environ)
    Glibc.close(up[0])
    Glibc.close(down[1])
    guard status == 0 else {
      throw FormatError(
        .unreadable, "cannot be run: \(String(cString: strerror(status)).lowercased())",
        file: command)
    }
    (link, child) = (DescriptorLink(input: down[0], output: up[1]), made)
  }

  /// The two ends of a pipe, which a child does not inherit; nil where none is left.
  private static func pipe() -> [Int32]? {
    var ends: [Int32] = [0, 0]
    guard Glibc.pipe(&ends) == 0 else { return nil }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return ends
  }

  /// Ends the command and all that it started.
  func end() {
    link.close()
    kill(-child, SIGTERM)
    waitpid(child, nil, WNOHANG)
  }
}
