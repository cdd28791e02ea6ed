import ArgumentParser
import Canvas
import Formats
import Glibc
import Interface

struct ConfigCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config",
    abstract: "The settings file: where it is, what is wrong with it, and how to begin one.",
    subcommands: [Init.self, Path.self, Check.self], defaultSubcommand: Check.self)

  struct Init: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "init", abstract: "Write a settings file with everything in it, commented out.")

    @Flag(help: "Replace the file that is there.") var force = false

    func run() throws {
      let path = Desk.configPath
      Desk.makeFolders(path)
      try writeText(Config.standardText, to: path, force: force)
      print("written to \(Printable.text(path))")
    }
  }

  struct Path: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "path", abstract: "Print where the settings file is, or would be.")

    func run() { print(Desk.configPath) }
  }

  struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "check", abstract: "Name the lines that cannot be read.")

    func run() throws {
      let path = Printable.text(Desk.configPath)
      guard access(Desk.configPath, R_OK) == 0 else {
        print("there is no settings file; attnscope config init writes \(path)")
        return
      }
      let problems = Desk.config().problems
      for problem in problems { print("\(path): \(Printable.text(problem))") }
      if problems.isEmpty { print("\(path): nothing wrong") } else { throw ExitCode(1) }
    }
  }
}

struct CompletionsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "completions", abstract: "Print the completion script of a shell.")

  enum Shell: String, ExpressibleByArgument, CaseIterable { case bash, zsh, fish }

  @Argument(help: "bash, zsh or fish.") var shell: Shell

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
