import Formats
import Foundation
import Testing

/// A dump that somebody writes anew while it is open is said once, whatever became of it.
@Suite struct FollowedFilesTests {
  private static let bytes = Made.npy(Made.pattern([2, 8, 8]))

  /// What is said of one file: other tests open and remove theirs meanwhile.
  private static func said(_ path: String) -> [FollowedFiles.Change] {
    FollowedFiles.changes().filter { $0.path == path }
  }

  @Test func oneThatIsWrittenInPlaceIsAMixture() async {
    await #expect(processExitsWith: .success) {
      try Fixture.with(Self.bytes, name: "a.npy") { path in
        let archive = try openArchive(path)
        guard Self.said(path).isEmpty else { exit(2) }
        let file = try FileHandle(forWritingTo: URL(filePath: path))
        try file.seekToEnd()
        try file.write(contentsOf: Data([1, 2, 3]))
        let said = Self.said(path)
        guard said.count == 1, said[0].isMixed, said[0].sentence.contains("written anew") else {
          exit(3)
        }
        guard Self.said(path).isEmpty, archive.entries.count == 1 else { exit(4) }
      }
    }
  }

  @Test func oneThatIsReplacedIsTheOldOne() async {
    await #expect(processExitsWith: .success) {
      try Fixture.with(Self.bytes, name: "a.npy") { path in
        var archive = Optional(try openArchive(path))
        try Data(Self.bytes).write(to: URL(filePath: path + ".new"))
        guard rename(path + ".new", path) == 0 else { exit(2) }
        // Closed meanwhile: said at the end all the same.
        guard archive?.entries.count == 1 else { exit(3) }
        archive = nil
        let said = Self.said(path)
        guard said.count == 1, !said[0].isMixed, said[0].sentence.contains("still the old one")
        else { exit(4) }
        guard Self.said(path).isEmpty else { exit(5) }
      }
    }
  }

  /// One that is gone is read on, and one that this program writes is no news.
  @Test func goneAndOwnFilesAreNoNews() async {
    await #expect(processExitsWith: .success) {
      try Fixture.with(Self.bytes, name: "a.npy") { path in
        let archive = try openArchive(path)
        guard unlink(path) == 0, Self.said(path).isEmpty else { exit(2) }
        try writeBytes(Self.bytes, to: path, force: true)
        guard Self.said(path).isEmpty, archive.entries.count == 1 else { exit(3) }
      }
    }
  }
}
