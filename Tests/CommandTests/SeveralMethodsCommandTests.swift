import Formats
import Foundation
import Support
import Tensors
import Testing

extension ProgramTests {
  /// Words that stand for several methods, and what `slice` and `methods` say of all of them.
  @Suite struct SeveralMethodsCommandTests {
    private func list(_ result: Program.Result) throws -> [[String: Any]] {
      try #require(
        try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [[String: Any]],
        "\(result.error)")
    }

    @Test func aWordStandsForMethods() throws {
      let head = ["--layers", "12", "--heads", "6", "--json"]
      let family = try Program.run(
        ["report", Program.sample, "--method", "family:static", "--method", "a-shape"] + head)
      let names = try list(family).compactMap { $0["method"] as? String }
      #expect(family.status == 0 && names.count > 3 && names.contains("natten"))
      #expect(Set(names).count == names.count, "each once: \(names)")
      let all = try Program.run(["report", Program.sample, "--method", "masks"] + head)
      let masks = try list(all).compactMap { $0["method"] as? String }
      #expect(all.status == 0 && masks.count > 25 && masks.contains("blasst"))
      let learned = try Program.run(
        ["report", Program.sample, "--method", "family:learned"] + head)
      // The only one of its family lacks what it needs: it is named, and nothing is reported.
      #expect(learned.status != 0 && learned.output.isEmpty)
      #expect(
        learned.error.contains("left out: selected: needs chosen keys"), "\(learned.error)")
    }

    @Test(arguments: [
      (["--method", "family:nobody"], "There is no family"),
      (["--method", "all", "--knob", "k=3"], "knobs as ID:knob"),
      (["--method", "masks", "--masks", "x.safetensors"], "takes one --method"),
    ]) func whatAWordCannotDo(_ arguments: [String], _ words: String) throws {
      let result = try Program.run(["report", Program.sample] + arguments)
      #expect(result.status != 0 && result.error.contains(words), "\(result.error)")
    }

    /// Which run in the engine is a fact of the type, and the reason is there where one does not.
    @Test func methodsSayWhichRunInTheEngine() throws {
      let methods = try list(try Program.run("methods", "--json"))
      let able = methods.filter { $0["engine"] as? Bool == true }
      #expect(able.contains { $0["id"] as? String == "h2o" })
      for method in methods {
        let why = method["engine_refusal"] as? String
        #expect((why == nil) == (method["engine"] as? Bool == true), "\(method)")
      }
      let table = try Program.run("methods", "--markdown").output
      #expect(table.contains("| no: reads all rows of a head to tell its class |"), "\(table)")
      let one = try Program.run("methods", "tri-shape")
      #expect(one.output.contains("engine: no: sees a prompt's last rows whole"), "\(one.output)")
      #expect(try Program.run("methods", "nothing").status != 0)
    }

    /// Projections go with their heads, whole: no token is cut from them.
    @Test func sliceKeepsWeights() throws {
      try Program.scratch { folder in
        let (path, cut) = (folder + "/in.safetensors", folder + "/cut.safetensors")
        func array(_ name: String, _ shape: [Int]) -> ArrayToWrite {
          let count = shape.reduce(1, *)
          return ArrayToWrite(
            "layers.3.\(name)", floats: (0..<count).map(Float.init), shape: shape)
        }
        try writeSafetensors(
          [
            array("q", [4, 6, 2]), array("k", [2, 6, 2]), array("v", [2, 6, 2]),
            array("w_q", [4, 5, 2]), array("w_k", [2, 5, 2]), array("w_v", [2, 5, 2]),
            array("w_o", [4, 2, 5]),
          ], metadata: ["causal": "true"], to: path, force: true)
        for (options, heads, groups) in [
          (["--tokens", "1-4"], 0..<4, 0..<2), (["--heads", "2-3", "--half"], 2..<4, 1..<2),
        ] {
          let result = try Program.run(["slice", path, "-o", cut, "--force"] + options)
          #expect(result.status == 0, "\(result.error)")
          let arrays = try Dump.open(cut).layers[0].arrays
          for (role, part, shape) in [
            (ArrayRole.queryWeights, heads, [5, 2]), (.keyWeights, groups, [5, 2]),
            (.valueWeights, groups, [5, 2]), (.outputWeights, heads, [2, 5]),
          ] {
            let tensor = try #require(arrays[role], "\(role)")
            #expect(tensor.shape.axes == [part.count] + shape)
            let wanted = (part.lowerBound * 10..<part.upperBound * 10).map(Float.init)
            #expect(tensor.floats() == wanted)
          }
        }
      }
    }

    /// What an attention_mask calls padding is padding in what is cut.
    @Test func sliceKeepsPadding() throws {
      try Program.scratch { folder in
        let (path, cut) = (folder + "/in.safetensors", folder + "/cut.safetensors")
        let numbers = (0..<12).map(Float.init)
        try writeSafetensors(
          [
            ArrayToWrite("layers.3.q", floats: numbers, shape: [1, 6, 2]),
            ArrayToWrite("layers.3.k", floats: numbers, shape: [1, 6, 2]),
            ArrayToWrite("attention_mask", int32: [0, 0, 0, 1, 1, 1], shape: [6]),
          ], metadata: ["causal": "true"], to: path, force: true)
        #expect(try Dump.open(path).rules.padding == 3)
        let result = try Program.run("slice", path, "--tokens", "1-4", "-o", cut)
        #expect(result.status == 0, "\(result.error)")
        #expect(try Dump.open(cut).rules.padding == 2)
      }
    }

    /// Indices go with their keys: those of a set that stays, counted from the first key that
    /// stays, -1 for keys that are gone.
    @Test func sliceKeepsChosenKeys() throws {
      try Program.scratch { folder in
        let (path, cut) = (folder + "/in.safetensors", folder + "/cut.safetensors")
        let chosen = (0..<2).flatMap { set in
          (0..<6).flatMap { row -> [Int32] in [Int32(row), Int32(set), -1] }
        }
        try writeSafetensors(
          [
            ArrayToWrite("layers.3.q", floats: (0..<96).map { Float($0 % 7) }, shape: [4, 6, 4]),
            ArrayToWrite("layers.3.k", floats: (0..<48).map { Float($0 % 5) }, shape: [2, 6, 4]),
            ArrayToWrite("layers.3.selected", int32: chosen, shape: [2, 6, 3]),
            ArrayToWrite(
              "layers.3.index_scores", floats: (0..<36).map(Float.init), shape: [6, 6]),
            ArrayToWrite("layers.3.beta", floats: (0..<12).map(Float.init), shape: [2, 6]),
          ], metadata: ["causal": "true"], to: path, force: true)
        let result = try Program.run(
          "slice", path, "--heads", "2-3", "--tokens", "1-4", "-o", cut)
        #expect(result.status == 0, "\(result.error)")
        let arrays = try Dump.open(cut).layers[0].arrays
        let indices = try #require(arrays[.selected])
        // Set 1 at rows 1 to 4: the row's own key, key 1, none.
        #expect(indices.shape.axes == [1, 4, 3])
        #expect(indices.integers() == [0, 0, -1, 1, 0, -1, 2, 0, -1, 3, 0, -1])
        let scores = try #require(arrays[.indexScores])
        #expect(scores.shape.axes == [1, 4, 4] && scores.floats()[..<5] == [7, 8, 9, 10, 13])
        let beta = try #require(arrays[.beta])
        #expect(beta.shape.axes == [1, 4] && beta.floats() == [7, 8, 9, 10])
        let first = try Program.run(
          "slice", path, "--heads", "0-1", "--tokens", "1-4", "-o", cut, "--force")
        #expect(first.status == 0)
        let other = try #require(try Dump.open(cut).layers[0].arrays[.selected])
        // Set 0 chose key 0, which is cut away.
        #expect(other.integers() == [0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1])
      }
    }
  }
}
