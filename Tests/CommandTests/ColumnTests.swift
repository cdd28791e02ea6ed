import Foundation
import Testing

extension ProgramTests {
  /// What commands print in columns.
  @Suite(.serialized) struct ColumnTests {
    /// Every printer of columns takes the one table: no line ends in blanks.
    @Test(arguments: [
      ["info"], ["report", "--layers", "12", "--heads", "0-3"], ["compare", "12.3", "12.6"],
      ["calibrate", "--layers", "12"], ["methods"], ["doctor"], ["lesson", "facts"],
    ]) func noLineEndsInBlanks(_ arguments: [String]) throws {
      let result = try Program.run(arguments)
      #expect(result.status == 0, "\(result.error)")
      for line in result.output.split(separator: "\n") {
        #expect(!line.hasSuffix(" "), "\(arguments): '\(line)'")
      }
    }

    /// Where the points of plain decimals stand in a table's lines, by the column they end in.
    private func points(_ lines: some Sequence<Substring>) -> [Int: Set<Int>] {
      var points: [Int: Set<Int>] = [:]
      for line in lines {
        for number in line.matches(of: /(?:^| )(\d+)\.(\d+)(?= |$)/) {
          let end = line.distance(from: line.startIndex, to: number.range.upperBound)
          points[end, default: []].insert(number.output.2.count)
        }
      }
      return points
    }

    /// Numbers of a column end at one place and have one number of digits behind the point.
    @Test(arguments: [
      (["calibrate", "--layers", "12", "--phase", "decode"], "  length"),
      (["calibrate", "--layers", "12", "--phase", "decode"], "  target"),
      (["report", "--layers", "12", "--method", "a-shape"], "layer"),
    ]) func pointsStandUnderOneAnother(_ arguments: [String], _ heading: String) throws {
      let lines = try Program.run(arguments).output.split(separator: "\n")
      let first = try #require(lines.firstIndex { $0.hasPrefix(heading) })
      let rows = lines[(first + 1)...].prefix { !$0.contains("=") && !$0.contains("total") }
      #expect(rows.count > 2)
      let found = points(rows)
      #expect(found.count >= 3, "\(found)")
      for (end, digits) in found {
        #expect(
          digits.count == 1, "column \(end) has \(digits) digits:\n\(rows.joined(separator: "\n"))")
        // The heading ends where its numbers do.
        let title = lines[first].prefix(end)
        #expect(title.count == end && title.last != " ", "column \(end) of \(lines[first])")
      }
    }
  }
}
