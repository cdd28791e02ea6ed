import Foundation
import Support
import Testing

extension ProgramTests {
  /// What two sides have in common, and what is said of it.
  @Suite struct CompareCommandTests {
    private func numbers(_ arguments: String...) throws -> [String: Any] {
      let result = try Program.run(["compare"] + arguments + ["--json"])
      #expect(result.status == 0, "\(result.error)")
      let object = try #require(
        try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
      let rows = try #require(object["rows"] as? [[String: Any]])
      var found: [String: Any] = ["warning": object["warning"] ?? NSNull()]
      for row in rows { found[row["name"] as? String ?? ""] = row["both"] ?? row["left"] }
      return found
    }

    /// `moved` is of the rows and not of a window: whatever the size, one number, the one that is
    /// there when everything is looked at entry by entry.
    @Test func movedIsOneNumberWhateverTheSize() throws {
      let exact = try #require(try numbers("12.6", "12.7")["moved_mass"] as? Double)
      // Pooled to cells it can only be less.
      #expect(exact > 0.218 && exact < 1)
      for size in [("80", "24"), ("120", "40"), ("200", "50")] {
        let screen = try Program.run(
          "render", Program.sample, "--view", "compare", "--layer", "12", "--head", "6", "--set",
          "other=12.7", "--format", "txt", "--width", size.0, "--height", size.1)
        let percent = (exact * 1000).rounded() / 10
        #expect(screen.output.contains("\(percent) % of the attention"), "\(screen.output)")
      }
      #expect(try numbers("12.7", "12.6")["moved_mass"] as? Double == exact)
    }

    /// Heads are named as the screen names them.
    @Test func placesAreWrittenAsTheScreenDoes() throws {
      let plain = try Program.run("compare", "12.6", "12.7")
      #expect(try Program.run("compare", "L12H6", "l12h7").output == plain.output)
      #expect(try Program.run("compare", "12.6", "L12H99").error.contains("heads are 0 to 8"))
    }

    @Test func nothingSkippedIsSaidSo() throws {
      let same = try numbers("12.0", "12.1")
      #expect(same["skipped_by_both"] as? Int == 0 && same["overlap"] is NSNull)
      #expect(try Program.run("compare", "12.0", "12.1").output.contains("nothing is skipped"))
    }

    @Test func filesWithOtherTokensAreWarnedOf() throws {
      try Program.scratch { folder in
        let (first, late) = (folder + "/first.safetensors", folder + "/late.safetensors")
        for (range, path) in [("0-255", first), ("100-355", late)] {
          let made = try Program.run("slice", Program.sample, "--tokens", range, "-o", path)
          #expect(made.status == 0, "\(made.error)")
        }
        let other = try Program.run("compare", first + "@12.6", late + "@12.6")
        #expect(
          other.error.contains(
            "note: first.safetensors and late.safetensors have other tokens from 0 on"),
          "\(other.error)")
        #expect(other.output.contains("first.safetensors L12 H6"))
        let short = try Program.run("compare", Program.sample + "@12.6", first + "@12.6")
        #expect(short.error.contains("have 832 and 256 tokens"), "\(short.error)")
        let one = try Program.run("compare", "12.6", "12.7")
        #expect(!one.error.contains("note:"), "\(one.error)")
      }
    }

    /// A stored mask has no attention to subtract: it is laid over the blocks of the other side.
    @Test func aMaskIsComparedWithBlocks() throws {
      try Program.scratch { folder in
        let safe = folder + "/m.safetensors"
        let made = try Program.run(
          "report", Program.sample, "--lambda", "0.1", "--masks", safe)
        #expect(made.status == 0, "\(made.error)")
        let found = try numbers(safe + "@12.6", Program.sample + "@12.6", "--lambda", "0.1")
        #expect(found["moved_mass"] is NSNull, "\(found)")
        #expect(found["overlap"] as? Double == 1 && found["skipped_by_left"] as? Int == 0)
      }
    }
  }
}
