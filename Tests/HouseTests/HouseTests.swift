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
      atPath: Self.root.appending(path: "Sources").path
    ).filter { $0 != "README.md" }
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
            """
            \(room)/\(file.lastPathComponent) imports \(name), which Package.swift does not allow \
            it
            """
          )
        }
      }
    }
  }

  /// A method is named in Methods, and in texts for people; nobody else asks for one by name.
  @Test func methodsAreNamedInMethodsAlone() throws {
    let cards = try Self.sources("Methods").map { try String(contentsOf: $0, encoding: .utf8) }
      .filter { $0.contains("MethodCard(") }
    // `id: "lucid"` of every card, and the names of its variants.
    let ids = Set(
      cards.flatMap { text in
        text.matches(of: /\bid: "([a-z0-9-]+)"/).map { String($0.1) }
          + text.matches(of: /"([a-z0-9-]+)": \["/).map { String($0.1) }
      })
    #expect(ids.count >= 10 && ids.contains("blasst") && ids.contains("lucid-half"))
    // Names of patterns are those of two methods: a label of a head, not a look-up.
    let labels: Set = ["a-shape", "vertical-slash", "block-sparse", "dense", "lean"]
    // The part of a map that is looked at, a stretch of text, an array of a file, a view, a stretch
    // of rotary positions, a tensor's name in ggml: a method only where one is asked for.
    let words: Set = ["window", "selected", "sinks", "linear", "soft", "alibi"]
    func names(_ text: String, _ id: String) -> Bool {
      guard words.contains(id) else { return text.contains("\"\(id)\"") }
      return ["MethodSetting(\"\(id)", "id == \"\(id)\"", "method(\"\(id)\"", "card(\"\(id)\""]
        .contains { text.contains($0) }
    }
    for room in try Self.table().keys where room != "Methods" {
      for file in Self.sources(room) where file.pathExtension == "swift" {
        let text = try String(contentsOf: file, encoding: .utf8)
        for id in ids.subtracting(labels) where names(text, id) {
          Issue.record("\(room)/\(file.lastPathComponent) names the method \(id)")
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

  /// Swift and C alike have at most 100 columns, so that two files stand side by side.
  @Test func linesAreShort() throws {
    for file in try Self.table().keys.flatMap(Self.sources) {
      let lines = try String(contentsOf: file, encoding: .utf8).split(
        separator: "\n", omittingEmptySubsequences: false)
      for (number, line) in lines.enumerated() where line.count > 100 {
        Issue.record("\(file.lastPathComponent):\(number + 1) has \(line.count) columns")
      }
    }
  }

  /// Functions stay readable: 53 lines at most, from `func` to the closing brace.
  @Test func functionsAreShort() throws {
    for file in try Self.table().keys.flatMap(Self.sources) where file.pathExtension == "swift" {
      let lines = try String(contentsOf: file, encoding: .utf8).split(
        separator: "\n", omittingEmptySubsequences: false)
      for (start, line) in lines.enumerated() {
        guard let found = line.firstMatch(of: /^( *)([a-z@()]+ )*(func |init\(|init\?\()/),
          // What has no body is a requirement: the next line of its depth is not its brace.
          let end = lines[(start + 1)...].firstIndex(where: { next in
            next.hasPrefix(found.1 + "}")
              || (next.hasPrefix(found.1) && !next.hasPrefix(found.1 + " ")
                && !next.hasPrefix(found.1 + ")") && !next.hasPrefix(found.1 + "{"))
          }), lines[end].hasPrefix(found.1 + "}"), end - start + 1 > 53
        else { continue }
        Issue.record("\(file.lastPathComponent):\(start + 1) has \(end - start + 1) lines")
      }
    }
  }

  /// A stranger reads the README to its end, in any window, and sees its pictures.
  @Test func theReadmeIsShort() throws {
    let text = try String(contentsOf: Self.root.appending(path: "README.md"), encoding: .utf8)
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(lines.count < 250)
    for line in lines { #expect(line.count <= 120, "\(line)") }
    let pictures = text.matches(of: /!\[[^\]]+\]\(([^)]+)\)/).map { String($0.1) }
    #expect(pictures.count >= 4)
    for picture in pictures {
      let data = try Data(contentsOf: Self.root.appending(path: picture))
      #expect(data.count < 300_000, "\(picture): \(data.count) bytes")
      #expect(data.starts(with: Array("<svg ".utf8)), "\(picture)")
    }
    for link in text.matches(of: /\]\((?!http)([^)#]+)[^)]*\)/) {
      let path = Self.root.appending(path: String(link.1)).path
      #expect(FileManager.default.fileExists(atPath: path), "\(link.1)")
    }
  }

  /// Everything that is printed passes one file, which makes it harmless for a terminal.
  @Test func textLeavesByOneDoor() throws {
    let ways =
      /\b(?:fputs|fputc|puts|putchar|fwrite|fprintf|vprintf|dprintf|debugPrint)\(|fdopen\([12],|FileHandle\.standard|Swift\.print\(|\bwrite\((?:1|2|STD)/
    var doors: Set<String> = []
    for room in try Self.table().keys {
      for file in Self.sources(room) where file.pathExtension == "swift" {
        let text = try String(contentsOf: file, encoding: .utf8)
        let isPrinted = room != "attnscope" && text.contains(/(?m)^[^\/\n]*\bprint\(/)
        if isPrinted || text.contains(ways) { doors.insert("\(room)/\(file.lastPathComponent)") }
      }
    }
    #expect(doors == ["attnscope/Output.swift"])
  }

  /// What one part of the program tells another is a parameter: the environment is read while other
  /// threads run. Before main there are none: what ncurses must find there is put there then.
  @Test func theEnvironmentIsOnlyRead() throws {
    for room in try Self.table().keys {
      for file in Self.sources(room) {
        let text = try String(contentsOf: file, encoding: .utf8)
        let isSet = text.contains(/\b(?:setenv|putenv|unsetenv)\(/)
        let isBeforeMain =
          file.lastPathComponent == "direct.c" && text.contains("__attribute__((constructor))")
        #expect(!isSet || isBeforeMain, "\(room)/\(file.lastPathComponent)")
      }
    }
  }

  /// Code that is compiled for an instruction runs only where that instruction is: every name in a
  /// `target` attribute of an instruction set is asked for where the set is chosen. (VNNI is asked
  /// for where its kernels are.)
  @Test(arguments: [("avx2", "AS_ISA_AVX2"), ("avx512", "AS_ISA_AVX512")])
  func instructionSetsAreAskedForWhole(_ file: String, _ name: String) throws {
    func text(_ name: String) throws -> String {
      let path = Self.root.appending(path: "Sources/Kernels/\(name)")
      return try String(contentsOf: path, encoding: .utf8)
    }
    let wanted = try text("isa_\(file).c").matches(of: /target\("([^"]*)"\)/).flatMap {
      $0.1.split(separator: ",").map(String.init)
    }
    let choice = try text("dispatch.c")
    let start = try #require(choice.range(of: "case \(name):"))
    let end = try #require(choice.range(of: ";", range: start.upperBound..<choice.endIndex))
    let asked = choice[start.upperBound..<end.lowerBound].matches(
      of: /__builtin_cpu_supports\("(\w+)"\)/
    ).map { String($0.1) }
    #expect(wanted.count > 2 && Set(asked) == Set(wanted).subtracting(["avx512vnni"]))
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
