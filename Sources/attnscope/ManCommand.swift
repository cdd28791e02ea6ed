import ArgumentParser
import Canvas
import Interface

/// `attnscope man | man -l -`. Nothing is written twice: what the page says is what the
/// program does.
struct ManCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "man",
    abstract: "Print the manual page, made from the tables of commands and keys.")

  /// To standard output; `man -l -` reads it.
  func run() { print(ManualPage.text) }
}

/// The manual page in roff. Commands come from their own help, keys from the key table,
/// settings from the config table.
///
/// Only files and environment variables have tables here, since no other place lists them.
enum ManualPage {
  /// The whole page.
  static var text: String {
    var out = """
      .TH ATTNSCOPE 1 "" "\(AttnScope.configuration.version)" "User Commands"
      .SH NAME
      attnscope \\- \(escaped(AttnScope.configuration.abstract))
      .SH SYNOPSIS
      .B attnscope
      [\\fICOMMAND\\fR] [\\fIOPTIONS\\fR] [\\fIFILE\\fR...]
      .SH DESCRIPTION
      \(escaped(AttnScope.configuration.discussion))
      .SH COMMANDS

      """
    for command in AttnScope.configuration.subcommands {
      out += ".SS \(escaped(command.configuration.commandName ?? ""))\n"
      out +=
        ".nf\n"
        + escaped(AttnScope.helpMessage(for: command, includeHidden: false, columns: 78))
        + "\n.fi\n"
    }
    out += ".SH KEYS\nDigits before a move are a count: 20j.\n"
    var group = ""
    for row in KeyTable.bindings {
      if row.group != group {
        group = row.group
        out += ".SS \(escaped(group))\n"
      }
      let keys = row.keys.map { escaped($0.name) }.joined(separator: ", ")
      out += ".TP\n.B \(keys)\n\(escaped(row.name)) [\(escaped(row.action.rawValue))]\n"
    }
    out += ".SH PALETTE\nBehind : stands any action by its name, or\n"
    for command in KeyTable.commands {
      out += ".TP\n.B \(escaped(command.text))\n\(escaped(command.what))\n"
    }
    out += ".SH FILES\n"
    for (path, what) in files { out += ".TP\n.I \(escaped(path))\n\(escaped(what))\n" }
    out += ".SH ENVIRONMENT\n"
    for (name, what) in environment { out += ".TP\n.B \(name)\n\(escaped(what))\n" }
    out += ".SH EXIT STATUS\n0 all went well, 1 it failed, 2 the usage was wrong.\n"
    return out
  }

  /// Places the program reads and writes, with what lies there.
  private static let files = [
    ("$XDG_CONFIG_HOME/attnscope/config", "Settings and keys; attnscope config init writes one."),
    ("$XDG_STATE_HOME/attnscope/", "Lesson progress, bookmarks, recent files."),
    ("$XDG_CACHE_HOME/attnscope/", "Block tables of long heads, and the small model."),
  ]

  /// Variables the program looks at.
  private static let environment = [
    ("ATTNSCOPE_SAMPLES", "The folder of samples and lessons, when it is not beside the program."),
    ("ATTNSCOPE_CONFIG", "A settings file in place of the usual one."),
    ("ATTNSCOPE_ISA", "plain, baseline, avx2 or avx512: the kernels to use."),
    ("ATTNSCOPE_THREADS", "How many threads compute."),
    ("NO_COLOR", "When not empty: no colours."),
  ]

  /// Backslashes, hyphens and leading dots mean something in roff.
  private static func escaped(_ text: String) -> String {
    text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
      var line = line.replacing("\\", with: "\\e").replacing("-", with: "\\-")
      if line.hasPrefix(".") || line.hasPrefix("'") { line = "\\&" + line }
      return String(line)
    }.joined(separator: "\n")
  }
}
