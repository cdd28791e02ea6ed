import Foundation
import Testing

/// A program in a tmux of its own; waits for text, never for a time.
///
/// Every server has a socket of its own: a server that was told to end still answers for a moment,
/// and a session asked of it then is gone with it.
struct Tmux {
  private struct Failure: Error, CustomStringConvertible { let description: String }

  private static let program = ["/usr/bin/tmux", "/usr/local/bin/tmux"].first {
    FileManager.default.isExecutableFile(atPath: $0)
  }
  static var isThere: Bool { program != nil }

  private let program: String
  private let socket = "attnscope-\(UUID().uuidString)"

  static func with(_ command: String, _ body: (Tmux) throws -> Void) throws {
    let tmux = Tmux(program: try #require(program, "tmux is not installed"))
    defer { _ = try? tmux.ask("kill-server") }
    try tmux.ask(
      "new-session", "-d", "-s", "s", "-x", "100", "-y", "30",
      "LC_ALL=C.UTF-8 \(command); echo left with $?; cat")
    try body(tmux)
  }

  @discardableResult func ask(_ arguments: String...) throws -> String {
    let answer = try Program.run(["-L", socket, "-f", "/dev/null"] + arguments, program: program)
    guard answer.status == 0 else {
      throw Failure(description: "tmux \(arguments.joined(separator: " ")): \(answer.error)")
    }
    return answer.output
  }

  func press(_ key: String) throws { try ask("send-keys", "-t", "s", key) }

  func screen() throws -> String { try ask("capture-pane", "-p", "-t", "s") }

  func waitFor(_ text: String) throws { try waitFor("\"\(text)\"") { $0.contains(text) } }

  func waitFor(_ what: String = "what was awaited", _ condition: (String) -> Bool) throws {
    let limit = ContinuousClock.now + .seconds(40)
    while ContinuousClock.now < limit {
      if condition(try screen()) { return }
    }
    throw Failure(description: "tmux never showed \(what):\n\(try screen())")
  }

  /// The token that is looked at, and how many there are; nil while the newest one is.
  func place(_ screen: String) -> (at: Int, of: Int)? {
    guard let place = screen.firstMatch(of: /at (\d+)\/(\d+)/) else { return nil }
    return Int(place.1).flatMap { at in Int(place.2).map { (at, $0) } }
  }

  /// The number before "tokens decoded".
  func decoded(_ screen: String) -> Int {
    guard let end = screen.range(of: " tokens decoded") else { return 0 }
    return Int(screen[..<end.lowerBound].split(separator: " ").last ?? "") ?? 0
  }
}
