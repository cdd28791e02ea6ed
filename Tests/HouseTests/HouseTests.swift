import Foundation
import Testing

/// The plan of the house is kept: Package.swift's table against the `import` lines under Sources.
@Suite struct HouseTests {
  static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// Room -> rooms it may import, as Package.swift writes it.
  static func table() throws -> [String: Set<String>] {
    let text = try String(contentsOf: root.appending(path: "Package.swift"), encoding: .utf8)
    let start = try #require(text.range(of: "let rooms:"))
    let end = try #require(text.range(of: "\n]\n", range: start.upperBound..<text.endIndex))
    let names = text[start.upperBound..<end.lowerBound].matches(of: /"(\w+)",\s*\[([^\]]*)\]/)
    return Dictionary(
      uniqueKeysWithValues: names.map { match in
        (String(match.1), Set(match.2.matches(of: /"(\w+)"/).map { String($0.1) }))
      })
  }

  static func sources(_ room: String) -> [URL] {
    let folder = root.appending(path: "Sources/\(room)")
    let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
    return (files?.allObjects as? [URL] ?? []).filter {
      ["swift", "c", "h", "inc"].contains($0.pathExtension)
    }
  }

  @Test func everyRoomIsInTheTable() throws {
    let folders = try FileManager.default.contentsOfDirectory(
      atPath: Self.root.appending(path: "Sources").path)
    #expect(Set(folders) == Set(try Self.table().keys))
  }

  @Test func importsAreAllowed() throws {
    let table = try Self.table()
    let outside: Set = ["Glibc", "Synchronization", "FoundationEssentials"]
    for (room, allowed) in table {
      for file in Self.sources(room) where file.pathExtension == "swift" {
        let text = try String(contentsOf: file, encoding: .utf8)
        for match in text.matches(
          of:
            /(?m)^\s*(?:@\w+\s+)*(?:(?:public|package|internal|private)\s+)?import +(?:(?:struct|class|enum|func) +)?(\w+)/
        ) {
          let name = String(match.1)
          #expect(
            allowed.contains(name) || outside.contains(name),
            "\(room)/\(file.lastPathComponent) imports \(name), which Package.swift does not allow it"
          )
        }
      }
    }
  }

  @Test func onlyTheGlassTouchesNcurses() throws {
    let importers = try Self.table().filter { $0.value.contains("CNCurses") }.map(\.key)
    #expect(importers == ["NCursesTerminal"])
  }

  @Test func theTableHasNoCircle() throws {
    let table = try Self.table()
    func reach(_ room: String, _ seen: Set<String>) -> Bool {
      table[room, default: []].contains { next in
        seen.contains(next) || reach(next, seen.union([next]))
      }
    }
    for room in table.keys { #expect(!reach(room, [room]), "\(room) reaches itself") }
  }

  /// Files stay readable: 400 lines at most.
  @Test func filesAreShort() throws {
    for room in try Self.table().keys {
      for file in Self.sources(room) {
        let lines = try String(contentsOf: file, encoding: .utf8).split(
          separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count <= 401, "\(room)/\(file.lastPathComponent) has \(lines.count) lines")
      }
    }
  }

  /// What `update` wants done comes back as values: nobody in Interface may throw them away.
  @Test func noEffectIsThrownAway() throws {
    let discards =
      /(?m)(?:_ = (?:\w+\.)?(?:stepTo|perform|performing|takeKey|change)\b|@discardableResult[^{]*-> \[Effect\])/
    for file in Self.sources("Interface") {
      let text = try String(contentsOf: file, encoding: .utf8)
      let found = text.matches(of: discards).map { String($0.0.prefix(60)) }
      #expect(found.isEmpty, "\(file.lastPathComponent): \(found)")
    }
  }

  /// Backends wait for what happens and never look again after a while.
  @Test func noBackendPolls() throws {
    for file in Self.sources("Backends") {
      let text = try String(contentsOf: file, encoding: .utf8)
      #expect(!text.contains("Task.sleep") && !text.contains("usleep"), "\(file.lastPathComponent)")
    }
  }
}
