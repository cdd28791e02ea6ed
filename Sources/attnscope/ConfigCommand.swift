import ArgumentParser
import Canvas
import Formats
import Glibc
import Interface

/// `attnscope config`: without more it checks the file, because that is what one wants when a
/// setting does nothing.
struct ConfigCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config",
    abstract: "The settings file: where it is, what is wrong with it, and how to begin one.",
    subcommands: [Init.self, Path.self, Check.self], defaultSubcommand: Check.self)

  /// Writes every setting with its standard value, commented out: the file is its own manual.
  /// Throws `exists` unless `--force` is given.
  struct Init: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "init", abstract: "Write a settings file with everything in it, commented out.")

    @Flag(help: "Replace the file that is there.") var force = false

    /// Makes the folders above it, too. Throws `exists`, and what writing throws.
    func run() throws {
      let path = Desk.configPath
      Desk.makeFolders(path)
      try writeText(Config.standardText, to: path, force: force)
      print("written to \(Printable.text(path))")
    }
  }

  /// For scripts and editors: `vi "$(attnscope config path)"`.
  struct Path: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "path", abstract: "Print where the settings file is, or would be.")

    /// Says where it would be even when there is none.
    func run() { print(Desk.configPath) }
  }

  /// Names every line that was not understood, and exits with 1 if there is one; a missing
  /// file is nothing wrong.
  struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "check", abstract: "Name the lines that cannot be read.")

    /// A sentence a line that was not understood. Throws exit code 1 when there is one.
    func run() throws {
      let path = Printable.text(Desk.configPath)
      if let problem = Desk.configProblem {
        print("\(path): \(Printable.text(problem))")
        throw ExitCode(1)
      }
      guard access(Desk.configPath, F_OK) == 0 else {
        print("there is no settings file; attnscope config init writes \(path)")
        return
      }
      let problems = Desk.config().problems
      for problem in problems { print("\(path): \(Printable.text(problem))") }
      if problems.isEmpty { print("\(path): nothing wrong") } else { throw ExitCode(1) }
    }
  }
}

/// `attnscope completions zsh > _attnscope`: made from the commands' own declarations.
struct CompletionsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "completions", abstract: "Print the completion script of a shell.")

  /// The shells that the parser can write for.
  enum Shell: String, ExpressibleByArgument, CaseIterable { case bash, zsh, fish }

  @Argument(help: "bash, zsh or fish.") var shell: Shell

  /// The script of one shell, made by the parser.
  func run() {
    let kind: CompletionShell =
      switch shell {
      case .bash: .bash
      case .zsh: .zsh
      case .fish: .fish
      }
    print(AttnScope.completionScript(for: kind))
  }
}
