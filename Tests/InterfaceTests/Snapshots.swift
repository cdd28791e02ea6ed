import Canvas
import Foundation
import Support
import Testing

/// Screens as text files beside the tests: the glyphs, then the styles by letter with a key.
/// `RECORD_SNAPSHOTS=1` writes them anew; review is a diff.
enum Snapshot {
  static func check(_ grid: Grid, _ name: String, sourceLocation: SourceLocation = #_sourceLocation)
    throws
  {
    let file = URL(filePath: checkout() + "/Tests/InterfaceTests/Snapshots/\(name).txt")
    let text = describe(grid)
    if ProcessInfo.processInfo.environment["RECORD_SNAPSHOTS"] == "1" {
      try FileManager.default.createDirectory(
        at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try text.write(to: file, atomically: true, encoding: .utf8)
      return
    }
    let known = (try? String(contentsOf: file, encoding: .utf8)) ?? ""
    guard known != text else { return }
    let lines = zip(
      known.split(separator: "\n", omittingEmptySubsequences: false),
      text.split(separator: "\n", omittingEmptySubsequences: false))
    let first = lines.first { $0 != $1 }
    Issue.record(
      "\(name) changed; RECORD_SNAPSHOTS=1 accepts it. First difference:\nwas  \(first?.0 ?? "")\nis   \(first?.1 ?? "")",
      sourceLocation: sourceLocation)
  }

  static func describe(_ grid: Grid) -> String {
    var letters: [Style: Character] = [.plain: "."]
    let names = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789#")
    var styles: [String] = []
    for y in 0..<grid.height {
      var line = ""
      for x in 0..<grid.width {
        let style = grid[x, y].style
        if letters[style] == nil { letters[style] = names[min(letters.count - 1, names.count - 1)] }
        line.append(letters[style]!)
      }
      styles.append(line)
    }
    // The styles beyond the last letter share it.
    let key = letters.map { "\($0.value) \(words($0.key))" }.sorted()
    return (grid.lines + ["", "styles"] + styles + [""] + key).joined(separator: "\n") + "\n"
  }

  private static func words(_ style: Style) -> String {
    var words: [String] = []
    if case .index(let i) = style.foreground { words.append("fg \(i)") }
    if case .index(let i) = style.background { words.append("bg \(i)") }
    if case .rgb(let r, let g, let b) = style.foreground { words.append("fg \(r),\(g),\(b)") }
    if case .rgb(let r, let g, let b) = style.background { words.append("bg \(r),\(g),\(b)") }
    if style.bold { words.append("bold") }
    if style.dim { words.append("dim") }
    if style.reverse { words.append("reverse") }
    if style.underline { words.append("underline") }
    return words.isEmpty ? "plain" : words.joined(separator: " ")
  }
}
