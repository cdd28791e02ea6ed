import Foundation
import Testing

extension ProgramTests {
  /// What falls on keys that are named, as numbers of a report.
  @Suite(.serialized) struct SelectCommandTests {
    private static let sample = [
      "report", Program.sample, "--layers", "12", "--heads", "6", "--select", "0,3-9",
    ]

    @Test func aReportHasTheNumber() throws {
      let result = try Program.run(Self.sample + ["--json"])
      let json = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
      let heads = try #require((json as? [String: Any])?["heads"] as? [[String: Any]])
      let numbers = try #require(heads.first?["numbers"] as? [String: Any])
      let mean = try #require(numbers["selected"] as? Double)
      let most = try #require(numbers["selected_most"] as? Double)
      #expect(mean > 0 && mean < most && most <= 1.000001)
      let text = try Program.run(Self.sample + ["--where", "selected>0"])
      #expect(text.output.contains("selected"), "\(text.output)")
    }

    @Test func wrongKeysAreNamed() throws {
      let far = try Program.run("report", Program.sample, "--select", "9999")
      #expect(far.status != 0 && far.error.contains("its keys are 0 to 831, not 9999"))
      let odd = try Program.run("report", Program.sample, "--select", "3-")
      #expect(odd.status != 0 && odd.error.contains("key positions like 3-9,14"))
    }
  }
}
