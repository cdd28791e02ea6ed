import Formats
import Foundation
import Testing

extension ProgramTests {
  /// A file of masks calls heads what the model calls them.
  @Suite struct MaskNumberTests {
    private func numbers(_ arguments: [String], in folder: String) throws -> [Int]? {
      let masks = folder + "/masks.safetensors"
      let result = try Program.run(
        ["report"] + arguments + ["--json", "--force", "--masks", masks])
      #expect(result.status == 0, "\(result.error)")
      let dump = try Dump.open(masks)
      #expect(dump.kind == .mask)
      return dump.headNumbers
    }

    @Test func masksOfASliceKeepItsNumbers() throws {
      try Program.scratch { folder in
        let slice = folder + "/slice.safetensors"
        let cut = try Program.run(
          "slice", Program.sample, "--layers", "12", "--heads", "6-8", "-o", slice)
        #expect(cut.status == 0, "\(cut.error)")
        #expect(try numbers([slice], in: folder) == [6, 7, 8])
        // One mask a group: it goes by its KV head.
        #expect(try numbers([slice, "--vote", "group"], in: folder) == [2])
        let some = [Program.sample, "--layers", "12", "--heads", "4,7"]
        #expect(try numbers(some, in: folder) == [4, 7])
        #expect(try numbers([Program.sample, "--layers", "12"], in: folder) == nil)
      }
    }
  }
}
