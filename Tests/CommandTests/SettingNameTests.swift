import Formats
import Foundation
import Tensors
import Testing

extension ProgramTests {
  /// What a file of fields calls settings of one method, and lambdas below 0.
  @Suite struct SettingNameTests {
    /// Two settings of one method are two arrays; one alone goes by the method's id.
    @Test func settingsOfOneMethodAreKeptApart() throws {
      try Program.scratch { folder in
        let report = ["report", Program.sample, "--layers", "12", "--heads", "6", "--json"]
        let both = ["--method", "a-shape:initial=4", "--method", "a-shape:initial=64"]
        func write(_ methods: [String], _ name: String) throws -> any TensorArchive {
          let path = "\(folder)/\(name).safetensors"
          let result = try Program.run(report + methods + ["--fields", path])
          #expect(result.status == 0, "\(result.error)")
          return try openArchive(path)
        }
        let archive = try write(both, "both")
        for setting in ["a-shape:initial=4", "a-shape:initial=64"] {
          let alone = try write(["--method", setting], "alone-\(setting.count)")
          #expect(alone.metadata["a-shape"] == setting)
          #expect(archive.metadata[setting] == setting)
          let arrays = alone.entries.filter { $0.name.hasPrefix("layers.12.a-shape.") }
          #expect(!arrays.isEmpty)
          for entry in arrays {
            let name = entry.name.replacing("a-shape", with: setting)
            let found = try archive.tensor(name).floats(), wanted = try alone.tensor(entry.name)
            // NaN is what nobody sees.
            #expect(
              found.map(\.bitPattern) == wanted.floats().map(\.bitPattern), "\(name)")
          }
        }
        #expect(archive.entries.allSatisfy { !$0.name.hasPrefix("layers.12.a-shape.") })
      }
    }

    /// Laid over one another they are both named, too.
    @Test func overlapsNameBothSettings() throws {
      try Program.scratch { folder in
        let path = "\(folder)/overlap.safetensors"
        let result = try Program.run(
          "report", Program.sample, "--layers", "12", "--overlap", "methods", "--fields", path,
          "--method", "a-shape:initial=4", "--method", "a-shape:initial=64")
        #expect(result.status == 0, "\(result.error)")
        let archive = try openArchive(path)
        let names = archive.entries.map(\.name)
        #expect(
          names.allSatisfy { $0.hasPrefix("overlap.a-shape:initial=4+a-shape:initial=64.") },
          "\(names)")
        #expect(archive.metadata["a-shape:initial=4"] != nil)
        #expect(archive.metadata["a-shape:initial=64"] != nil)
      }
    }

    /// A lambda of 0 or less is dense, however it is written.
    @Test func lambdasBelowZeroAreDense() throws {
      let report = ["report", Program.sample, "--layers", "12", "--heads", "6", "--csv"]
      func sparsity(_ words: [String]) throws -> [String] {
        let result = try Program.run(report + words)
        #expect(result.status == 0, "\(words): \(result.error)")
        return result.output.split(separator: "\n").dropFirst().map {
          String($0.split(separator: ",", omittingEmptySubsequences: false)[12])
        }
      }
      #expect(try sparsity(["--lambda", "-1"]) == ["0.0"])
      #expect(try sparsity(["--lambda=-1"]) == ["0.0"])
      let three = try sparsity(["--lambda", "0.1", "-1", "0.2"])
      #expect(three.count == 3 && three[1] == "0.0" && three[0] != "0.0" && three[2] != "0.0")
      // A file behind the numbers is a file, and a flag a flag.
      let behind = try Program.run(
        "report", "--layers", "12", "--heads", "6", "--lambda", "-0.5", Program.sample, "--csv")
      #expect(behind.status == 0 && behind.output.contains(",0.0,"), "\(behind.error)")
      for words in [["open", "--plain"], ["compare", "12.3", "12.6"]] {
        let result = try Program.run(words + ["--lambda", "-1"])
        #expect(!result.error.contains("Missing value"), "\(words): \(result.error)")
      }
      for words in [
        ["capture", "-o", "x.safetensors", "--model", "absent.gguf"],
        ["perplexity", "--file", "absent.txt", "--model", "absent.gguf"],
      ] {
        let result = try Program.run(words + ["--lambda", "-1"])
        #expect(
          result.status == 1 && result.error.contains("absent"), "\(words): \(result.error)")
      }
      #expect(try Program.run("report", "--lambda", "--json").status == 2)
    }
  }
}
