import Foundation
import Testing

extension ProgramTests {
  /// `--sort`, `--where`, `--expect` and several `--lambda`, in every form of the report.
  @Suite struct ReportChoiceTests {
    private func report(_ arguments: String...) throws -> Program.Result {
      try Program.run(["report", Program.sample, "--layers", "12"] + arguments)
    }

    private func object(_ text: String) throws -> [String: Any] {
      try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    private func heads(_ text: String) throws -> [[String: Any]] {
      try #require(try object(text)["heads"] as? [[String: Any]])
    }

    @Test(arguments: ["sparsity", "entropy", "worst", "head", "output_gone:up", "eff.keys:up"])
    func headsAreSortedInEveryForm(_ order: String) throws {
      guard order != "output_gone:up" else {
        let wrong = try report("--sort", order)
        #expect(wrong.status == 2 && wrong.output.isEmpty, "\(wrong.output)")
        #expect(wrong.error.contains("no number 'output_gone'") && wrong.error.contains("sparsity"))
        return
      }
      let sorted = try heads(try report("--sort", order, "--json").output)
      let plain = try heads(try report("--json").output)
      let names = [
        "sparsity": ["sparsity"], "entropy": ["entropy"], "worst": ["dropped_mass", "max"],
        "head": ["head"], "eff.keys:up": ["effective_tokens"],
      ]
      func numbers(_ heads: [[String: Any]]) -> [Double] {
        heads.compactMap { head in
          let path = names[order] ?? []
          let inner = path.count == 2 ? head[path[0]] as? [String: Any] : head
          return (inner?[path.last ?? ""] as? NSNumber)?.doubleValue
        }
      }
      let wanted = numbers(plain).sorted { order.hasSuffix(":up") ? $0 < $1 : $0 > $1 }
      #expect(numbers(sorted) == wanted && wanted.count == 9)
      // The same order in the text and in the CSV.
      let ids = sorted.compactMap { $0["head"] as? Int }
      let csv = try report("--sort", order, "--csv").output.split(separator: "\n").dropFirst()
      #expect(csv.compactMap { Int($0.split(separator: ",")[2]) } == ids)
      let text = try report("--sort", order).output.split(separator: "\n")
      let rows = text.compactMap { line -> Int? in
        let cells = line.split(separator: " ")
        return cells.first == "12" && cells.count > 4
          ? Int(cells[1].filter(\.isNumber)) : nil
      }
      #expect(rows == ids, "\(text)")
      #expect(text.contains { $0.hasPrefix("sorted by ") })
    }

    @Test func conditionsLeaveHeadsOutAndTotalsFollow() throws {
      let all = try heads(try report("--lambda", "0.1", "--json").output)
      let shares = all.compactMap { $0["sparsity"] as? Double }.sorted()
      let middle = shares[4]
      let few = try report(
        "--lambda", "0.1", "--where", "sparsity>\(middle)", "--where", "head<7",
        "--json")
      let object = try object(few.output), kept = try heads(few.output)
      let wanted = all.filter {
        ($0["sparsity"] as? Double ?? 0) > middle && ($0["head"] as? Int ?? 9) < 7
      }
      #expect(
        kept.compactMap { $0["head"] as? Int } == wanted.compactMap { $0["head"] as? Int })
      #expect(object["heads_in_all"] as? Int == 9)
      let total = try #require(object["total"] as? [String: Any])
      let visible = wanted.compactMap { $0["visible_blocks"] as? Int }.reduce(0, +)
      #expect(wanted.isEmpty || total["visible_blocks"] as? Int == visible)
      let text = try report("--where", "error<0").output
      #expect(text.contains("0 of 9 heads, where error<0"), "\(text)")
      #expect(try report("--where", "error<0", "--csv").output.split(separator: "\n").count == 1)
    }

    @Test func whatIsExpectedDecidesTheExitCode() throws {
      let good = try report("--lambda", "0.1", "--expect", "sparsity>5%", "--expect", "head>=0")
      #expect(good.status == 0, "\(good.error)")
      #expect(good.output.contains("expected sparsity>5%: holds, the total is 0."))
      #expect(good.output.contains("expected head>=0: holds for every head"))
      let bad = try report("--lambda", "0.1", "--expect", "sparsity>0.99")
      #expect(bad.status == 1 && bad.output.contains("total:"), "the report is there all the same")
      #expect(bad.error.contains("expected sparsity>0.99: does not hold, the total is 0."))
      #expect(bad.error.contains("blasst lambda 0.1"))
      for form in ["--json", "--csv", "--markdown"] {
        let result = try report("--lambda", "0.1", "--expect", "each sparsity>0.99", form)
        #expect(result.status == 1, "\(form)")
        #expect(
          result.error.contains("does not hold for 9 of 9 heads: layer 12 head ")
            && result.error.contains("and 4 more"), "\(form): \(result.error)")
      }
      let json = try object(
        try report("--expect", "head<8", "--expect", "total error<5", "--json").output)
      let expected = try #require(json["expected"] as? [[String: Any]])
      #expect(expected[0]["holds"] as? Bool == false && expected[1]["holds"] as? Bool == true)
      let failed = try #require(expected[0]["failed"] as? [[String: Any]])
      #expect(failed.count == 1 && failed[0]["head"] as? Int == 8)
      // Nothing that is left proves nothing.
      #expect(try report("--where", "error<0", "--expect", "head<99").status == 1)
      for wrong in ["sparsity", "sparsity>", ">3", "sparsity>x", "some sparsity>3", "error<nan"] {
        #expect(try report("--expect", wrong).status == 2, "\(wrong)")
      }
    }

    /// Every number of every method has a name here, the method's own included.
    @Test func numbersOfOtherMethodsAreSortedBy() throws {
      let result = try report("--method", "a-shape", "--sort", "recall_mean", "--json")
      let recalls = try heads(result.output).compactMap {
        ($0["numbers"] as? [String: Any])?["recall_mean"] as? Double
      }
      #expect(recalls.count == 9 && recalls == recalls.sorted(by: >), "\(recalls)")
    }

    @Test func severalLambdasAreSeveralReports() throws {
      // A file behind the numbers is a file.
      let result = try Program.run(
        "report", "--layers", "12", "--json", "--lambda", "0.01", "0.1", Program.sample)
      #expect(result.status == 0, "\(result.error)")
      let all = try #require(
        try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [[String: Any]])
      #expect(all.map { $0["lambda"] as? Double } == [0.01, 0.1])
      let alone = try object(try report("--lambda", "0.1", "--json").output)
      #expect(
        (all[1]["total"] as? NSDictionary) == (alone["total"] as? NSDictionary),
        "each is what it is alone")
      for (arguments, words) in [
        (["--lambda", "0.01", "2"], "running maximum"), (["--lambda", "x"], "numbers from 0 to 1"),
        (["--lambda", "0.1", "0.2", "--masks", "x.safetensors"], "one --lambda"),
        (["--lambda", "0.1", "0.2", "--fields", "x.safetensors"], "one --lambda"),
        (["--lambda", "0.1", "0.2", "--overlap", "heads"], "one --lambda"),
        (["--lambda", "0.1", "0.2", "--method", "a-shape"], "none of these has"),
        (["--sort", "sink_rate"], "no number 'sink_rate'"),
      ] {
        let wrong = try Program.run(["report", Program.sample] + arguments)
        #expect(wrong.status == 2 && wrong.error.contains(words), "\(wrong.error)")
      }
    }
  }
}
