import FoundationEssentials
import Glibc

/// A program that is kept alive and takes turns: one line of JSON out, one line in (see
/// `attnscope bench --help`).
///
///     it prints   {"name": "torch 2.9"}
///     we write    {"suite":"attention","case":"dense","queries":4096,"keys":4096,"dim":64, ..}
///     it prints   {"seconds": 0.081}      or {"unsupported": "no causal mask"}
///
/// Taking turns is the point: both sides meet the same heat, the same neighbours and the same
/// caches, so their ratio is worth more than either figure. A program that does not do a case says
/// so and is left out of it. The catch: it is trusted with its own clock, and what it prints beside
/// these lines belongs on standard error.
final class Baseline {
  /// As it calls itself, for the tables.
  let name: String
  /// Its process, to be ended.
  private let child: pid_t
  /// Where requests are written.
  private let input: Int32
  /// Where replies are read, a line at a time.
  private let output: UnsafeMutablePointer<FILE>

  /// Its first line.
  private struct Greeting: Decodable { let name: String }
  /// Its answer to a request: one of the two.
  private struct Reply: Decodable {
    /// Of one run of the case.
    let seconds: Double?
    /// Why it does not do the case.
    let unsupported: String?
  }

  /// `command` is run by a shell that it takes the place of (exec), so that ending the child
  /// ends the program itself. Throws `BaselineError` when it cannot be started or does not
  /// say its name.
  init(_ command: String) throws {
    var (toChild, fromChild): ([Int32], [Int32]) = ([0, 0], [0, 0])
    guard pipe(&toChild) == 0, pipe(&fromChild) == 0 else {
      throw BaselineError("no pipe for the baseline: \(String(cString: strerror(errno)))")
    }
    for end in toChild + fromChild { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, toChild[0], 0)
    posix_spawn_file_actions_adddup2(&actions, fromChild[1], 1)
    var pid: pid_t = 0
    let arguments = ["/bin/sh", "-c", "exec " + command]
    var argv = arguments.map { strdup($0) } + [nil]
    defer { for pointer in argv { free(pointer) } }
    guard posix_spawn(&pid, "/bin/sh", &actions, nil, &argv, environ) == 0 else {
      throw BaselineError("the baseline cannot be started: \(command)")
    }
    close(toChild[0])
    close(fromChild[1])
    (child, input) = (pid, toChild[1])
    output = fdopen(fromChild[0], "r")
    guard let line = Self.line(output),
      let greeting = try? JSONDecoder().decode(Greeting.self, from: Data(line.utf8))
    else {
      kill(pid, SIGTERM)
      throw BaselineError(
        """
        the baseline did not say {\"name\": ..} on its first line; what it printed to standard \
        error says why: \(command)
        """
      )
    }
    name = greeting.name
  }

  /// Seconds of one run, or nil when it does not do such a case or has gone.
  func seconds(_ request: JSON) -> Double? {
    let text = request.text() + "\n"
    guard text.withCString({ write(input, $0, strlen($0)) }) == text.utf8.count,
      let line = Self.line(output),
      let reply = try? JSONDecoder().decode(Reply.self, from: Data(line.utf8))
    else { return nil }
    // Threads of its own may still spin for a moment: they are not ours to measure.
    usleep(10_000)
    return reply.seconds
  }

  /// Closes its input, which a well-behaved program takes as the end, and makes sure.
  func end() {
    close(input)
    fclose(output)
    kill(child, SIGTERM)
    var status: Int32 = 0
    waitpid(child, &status, 0)
  }

  /// A line of any length; nil at the end.
  private static func line(_ file: UnsafeMutablePointer<FILE>) -> String? {
    var buffer: UnsafeMutablePointer<CChar>?
    var size = 0
    defer { free(buffer) }
    guard getline(&buffer, &size, file) > 0, let buffer else { return nil }
    return String(cString: buffer)
  }
}

/// Why there is no baseline, in a sentence.
struct BaselineError: Error, CustomStringConvertible {
  /// The sentence for the user.
  let description: String

  /// A sentence without a full stop.
  init(_ description: String) { self.description = description }
}
