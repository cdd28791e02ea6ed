import ArgumentParser
import Attention
import Canvas
import Formats
@preconcurrency import Glibc
import Tensors

/// `attnscope`: wires the rooms together. Exit codes: 0 ok, 1 failed, 2 bad usage.
///
/// The order of the subcommands is that of the help and the manual page: looking first, then
/// models, measuring, learning, and the small ones. The name is written here once; version
/// and abstract go from here into everything that prints them.
struct AttnScope: AsyncParsableCommand {
  /// The one list of commands; help, completions and the manual page are made from it.
  static let configuration = CommandConfiguration(
    commandName: "attnscope",
    abstract: "Look at attention maps and at their block sparsity, in the terminal.",
    discussion:
      "With no arguments it opens the bundled sample. `attnscope FILE` is `attnscope open FILE`.",
    version: "attnscope 0.1.0",
    subcommands: [
      OpenCommand.self, ReportCommand.self, InfoCommand.self, CheckCommand.self, RenderCommand.self,
      SliceCommand.self,
      RunCommand.self, ServeCommand.self, CaptureCommand.self, SynthCommand.self,
      CalibrateCommand.self,
      PerplexityCommand.self, BenchCommand.self,
      TokenizeCommand.self,
      MethodsCommand.self, CompareCommand.self, LessonCommand.self, NotesCommand.self,
      ConfigCommand.self, CompletionsCommand.self, ManCommand.self, DoctorCommand.self,
    ],
    defaultSubcommand: OpenCommand.self)

  /// The command that a word is two letters from at most; nil when there is none of four letters
  /// or more: shorter ones are near to everything.
  static func command(near word: String) -> String? {
    // A difference costs the product of the lengths.
    guard word.utf8.count < 20 else { return nil }
    return configuration.subcommands.compactMap { $0.configuration.commandName }.first {
      $0.count > 3 && $0.difference(from: word).count <= 2
    }
  }
}

/// The entry point. Not `AttnScope.main`: that would print errors its own way, with its own
/// exit codes, and not notice that standard output failed.
@main
enum Program {
  /// Parses, runs, and says what went wrong. A closed pipe must come back as an error of a
  /// write and not end the program by SIGPIPE.
  static func main() async {
    signal(SIGPIPE, SIG_IGN)
    do {
      let words = NegativeLambdas.joined(CommandWords.all)
      var command = try AttnScope.parseAsRoot(words)
      checkVariables(before: command)
      if var async = command as? any AsyncParsableCommand {
        try await async.run()
      } else {
        try command.run()
      }
      flush()
      if sayCut() { exit(1) }
    } catch {
      _ = sayCut()
      leave(error)
    }
  }

  /// Names the files that were cut short or damaged while they were read, or written anew: numbers
  /// of them are wrong, whatever else was said. One that was replaced is named as well, and does no
  /// harm. True when numbers may be wrong.
  private static func sayCut() -> Bool {
    let cut = MappedFile.cut
    let changes = FollowedFiles.changes().filter { change in
      !cut.contains { $0.hasPrefix(change.path + " was cut") }
    }
    for sentence in cut + changes.map(\.sentence) {
      say(Printable.text("attnscope: \(sentence)"))
    }
    return !cut.isEmpty || changes.contains(where: \.isMixed)
  }

  /// A variable that says nothing sensible ends every command; help, which is none of ours,
  /// is given all the same.
  private static func checkVariables(before command: any ParsableCommand) {
    guard String(reflecting: type(of: command)).hasPrefix("attnscope."),
      let refusal = InstructionSet.refusal ?? ComputeThreads.refusal
    else { return }
    say(Printable.text("attnscope: \(refusal)"))
    exit(2)
  }

  /// What was printed must have arrived: a full disk is an error, a reader that has seen
  /// enough is not.
  ///
  /// Ends the program with code 1 and a sentence when it has not.
  private static func flush() {
    if fflush(nil) != 0 {
      guard errno != EPIPE else { return }
      let why = String(cString: strerror(errno)).lowercased()
      say("attnscope: writing to standard output failed: \(why)")
      exit(1)
    }
    // A long text is written before it ends: what failed then shows only in the stream's
    // error sign.
    guard ferror(stdout) != 0 else { return }
    var output = pollfd(fd: 1, events: Int16(POLLOUT), revents: 0)
    let isGone = poll(&output, 1, 0) > 0 && output.revents & Int16(POLLERR) != 0
    guard !isGone else { return }
    say("attnscope: writing to standard output failed: what was written is not whole")
    exit(1)
  }

  /// A line that a person reads: what quotes a name of 70 KB shows its two ends.
  private static func shortened(_ line: Substring) -> String {
    line.utf8.count <= 4000 ? String(line) : "\(line.prefix(1500)) … \(line.suffix(500))"
  }

  /// Help and version are errors to the parser and successes to the user. Everything else
  /// goes to standard error, made printable, since messages quote names from files.
  private static func leave(_ error: any Error) -> Never {
    let code = AttnScope.exitCode(for: error)
    if code == .success {
      print(AttnScope.fullMessage(for: error))
      flush()
      exit(0)
    }
    if error is ExitCode { exit(code.rawValue) }
    let isUsage = code == .validationFailure
    let text = isUsage ? AttnScope.fullMessage(for: error) : "attnscope: \(error)"
    say(
      text.split(separator: "\n", omittingEmptySubsequences: false).map {
        Printable.text(shortened($0))
      }.joined(separator: "\n"))
    exit(isUsage ? 2 : 1)
  }
}
