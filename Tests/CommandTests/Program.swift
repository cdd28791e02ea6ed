import Foundation
import Support
import Testing

/// The built program, run as a user runs it.
enum Program {
  static let path: String = {
    let tests = CommandLine.arguments[0]
    return (tests as NSString).deletingLastPathComponent + "/attnscope"
  }()

  static let isRelease: Bool = {
    #if DEBUG
      return false
    #else
      return true
    #endif
  }()

  static var sample: String { checkout() + "/samples/smollm2-log-832.safetensors" }

  /// Stands for the folders of settings and state; nothing is kept from one run of the tests to the
  /// next.
  private static let home =
    FileManager.default.temporaryDirectory.path + "/attnscope-tests-\(getpid())"

  struct Result {
    let status: Int32
    let output: String
    let error: String
    let seconds: Double
  }

  /// Runs it with no terminal and waits.
  static func run(
    _ arguments: String..., environment: [String: String] = [:], input: String = "/dev/null"
  ) throws -> Result {
    try run(arguments, environment: environment, input: input)
  }

  /// Foundation's `Process` is not used: started from a pool thread, its child would inherit
  /// blocked signals.
  static func run(
    _ arguments: [String], program: String = path, environment: [String: String] = [:],
    input: String = "/dev/null"
  ) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let (out, err) = (folder.appending(path: "out").path, folder.appending(path: "err").path)
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, out, O_WRONLY | O_CREAT, 0o600)
    posix_spawn_file_actions_addopen(&actions, 2, err, O_WRONLY | O_CREAT, 0o600)
    let start = ContinuousClock.now
    let child = try spawn(
      [program] + arguments, environment: environment, actions: &actions, flags: 0)
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0, errno == EINTR {}
    let time = (ContinuousClock.now - start).components
    return Result(
      status: status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f),
      output: String(decoding: try Data(contentsOf: URL(filePath: out)), as: UTF8.self),
      error: String(decoding: try Data(contentsOf: URL(filePath: err)), as: UTF8.self),
      seconds: Double(time.seconds) + Double(time.attoseconds) * 1e-18)
  }

  /// Whether `measured` can say anything here.
  static var canMeasure: Bool { FileManager.default.isExecutableFile(atPath: python) }
  private static let python = "/usr/bin/python3"

  /// Runs it and tells its largest resident set, in megabytes.
  ///
  /// A child's record begins with the memory of the process that started it, and this one is large
  /// after an hour of tests: a small process stands between the two and does the waiting.
  static func measured(_ arguments: [String]) throws -> (result: Result, megabytes: Int) {
    let between = """
      import os, sys
      child = os.fork()
      if child == 0: os.execv(sys.argv[2], sys.argv[2:])
      _, status, usage = os.wait4(child, 0)
      open(sys.argv[1], "w").write(str(usage.ru_maxrss // 1024))
      code = os.waitstatus_to_exitcode(status)
      os._exit(code if code >= 0 else 128 - code)
      """
    return try scratch { folder in
      let note = folder + "/megabytes"
      let result = try run(["-c", between, note, path] + arguments, program: python)
      let text = try String(contentsOfFile: note, encoding: .utf8)
      return (result, try #require(Int(text)))
    }
  }

  static func spawn(
    _ arguments: [String], environment: [String: String], actions: inout posix_spawn_file_actions_t,
    flags: Int32
  ) throws -> pid_t {
    var variables = ProcessInfo.processInfo.environment
    for name in ["NO_COLOR", "COLORTERM", "TMUX", "COLORFGBG", "SSH_CONNECTION"] {
      variables[name] = nil
    }
    variables["LC_ALL"] = "C.UTF-8"
    variables["TERM"] = "xterm-256color"
    // Neither what the user has set nor what the user has done.
    variables["ATTNSCOPE_CONFIG"] = nil
    for name in ["XDG_CONFIG_HOME", "XDG_STATE_HOME"] { variables[name] = home }
    variables.merge(environment) { $1 }
    var argv = arguments.map { strdup($0) } + [nil]
    var envp = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for pointer in argv + envp { free(pointer) } }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    // A session of its own, and no signal ignored or blocked that the test runner ignores or
    // blocks.
    posix_spawnattr_setflags(
      &attributes, Int16(flags | Int32(POSIX_SPAWN_SETSIGDEF) | Int32(POSIX_SPAWN_SETSIGMASK)))
    var all = sigset_t(), none = sigset_t()
    sigfillset(&all)
    sigemptyset(&none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setsigmask(&attributes, &none)
    var child = pid_t()
    let code = posix_spawn(&child, arguments[0], &actions, &attributes, &argv, &envp)
    guard code == 0 else { throw NSError(domain: NSPOSIXErrorDomain, code: Int(code)) }
    return child
  }

  static func scratch<T>(_ body: (String) throws -> T) throws -> T {
    let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try body(folder.path)
  }
}
