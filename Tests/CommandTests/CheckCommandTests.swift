import Attention
import Backends
import Formats
import Foundation
import Support
import Tensors
import Testing

extension ProgramTests {
  /// Numbers that check themselves: of files, of what is kept on disk, and of the processor.
  @Suite(.serialized) struct CheckCommandTests {
    private struct Found {
      let result: Program.Result
      let object: [String: Any]

      func line(_ what: String) -> [String: Any]? {
        (object["lines"] as? [[String: Any]])?.first { $0["what"] as? String == what }
      }
      func compared(_ what: String) -> Int { line(what)?["compared"] as? Int ?? 0 }
    }

    private func check(_ arguments: String..., cache: String? = nil) throws -> Found {
      let result = try Program.run(
        ["check"] + arguments + ["--json"],
        environment: cache.map { ["XDG_CACHE_HOME": $0] } ?? [:])
      let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
      return Found(result: result, object: try #require(object as? [String: Any]))
    }

    @Test func theSampleIsRight() throws {
      let found = try check(Program.sample, "--count", "24", "--seed", "3")
      #expect(found.result.status == 0, "\(found.result.output)")
      for what in [
        "margins of tiles", "votes of single rows", "skipped or not", "masses of tiles",
        "rows of the map", "cells of pictures", "sparsity", "dropped mass", "output error",
        "entropy", "sink",
      ] {
        #expect(found.compared(what) > 0, "nothing of \(what)")
        let share = found.line(what)?["share"] as? Double ?? 9
        #expect(share < 1, "\(what): \(share)")
      }
      // Float32 is not double: where nothing differs nothing was compared.
      #expect(found.line("rows of the map")?["largest"] as? Double ?? 0 > 0)
      let again = try check(Program.sample, "--count", "24", "--seed", "3")
      #expect(again.result.output == found.result.output)
      let text = try Program.run("check", Program.sample, "--count", "2", "--heads", "6")
      #expect(text.output.contains("all within their bounds") && text.output.contains("(seed 1)"))
    }

    /// Windows, a softcap, a bias, padding and a learned sink, each by its own sentence.
    @Test(arguments: [
      ["sliding_window": "9"], ["softcap": "3"], ["sliding_window": "9", "causal": "false"],
      ["cu_seqlens": "[0, 20, 60]", "causal": "false"], ["cu_seqlens": "[0, 20, 60]"],
    ])
    func rulesAreFollowed(_ metadata: [String: String]) throws {
      try Program.scratch { folder in
        let path = folder + "/ruled.safetensors"
        var random = Seeded(8), arrays: [ArrayToWrite] = []
        func add(_ name: String, _ shape: [Int], scale: Float = 1) {
          arrays.append(
            ArrayToWrite(
              "layers.0.\(name)", floats: random.tensor(shape, scale: scale).floats(),
              shape: shape))
        }
        add("q", [4, 60, 16], scale: 2)
        for name in ["k", "v"] { add(name, [2, 60, 16]) }
        add("attention_bias", [4, 60, 60])
        add("sinks", [4])
        try writeSafetensors(
          arrays, metadata: ["causal": "true"].merging(metadata) { $1 }, to: path, force: false)
        let found = try check(path, "--count", "60")
        #expect(found.result.status == 0, "\(found.result.output)")
        #expect(found.compared("learned sink") > 0 && found.compared("output error") > 0)
      }
    }

    /// A stored pattern, and a file of masks alone, whose margins contradict its verdicts.
    @Test func everyKindOfFileIsChecked() throws {
      try Program.scratch { folder in
        let (map, masks) = (folder + "/map.safetensors", folder + "/masks.safetensors")
        let one = Case(heads: 1, queries: 70, keys: 70, TileSpec(rows: 8, keys: 8))
        let pattern = ReferenceAttention(one.group(seed: 5)).run(one.spec, lambda: 0).patterns[0]
        try writeSafetensors(
          [
            ArrayToWrite(
              "layers.0.pattern", floats: pattern.map { Float($0) }, shape: [1, 70, 70])
          ], metadata: ["causal": "true"], to: map, force: false)
        let ofMap = try check(map, "--count", "16")
        #expect(ofMap.result.status == 0, "\(ofMap.result.output)")
        #expect(ofMap.compared("rows of the map") > 0 && ofMap.compared("output error") == 0)

        let metadata = ["kind": "masks", "tile": "8x8", "causal": "true"]
        func write(_ blocks: [UInt8]) throws {
          let margins: [Float] = [.infinity, .nan, .infinity, -3]
          try writeSafetensors(
            [
              ArrayToWrite("layers.0.blocks", bytes: blocks, shape: [1, 2, 2]),
              ArrayToWrite("layers.0.margins", floats: margins, shape: [1, 2, 2]),
            ], metadata: metadata, to: masks, force: true)
        }
        try write([0, 255, 0, 1])
        let right = try check(masks)
        #expect(right.result.status == 0, "\(right.result.output)")
        #expect(right.result.output.contains("masks alone"))
        try write([0, 255, 1, 0])
        let wrong = try check(masks)
        #expect(wrong.result.status == 1 && wrong.result.output.contains("0.0 block 1,0"))
      }
    }

    /// A table that somebody kept and that is wrong: in every tile, and in one block alone.
    @Test func aWrongKeptTableIsNamed() throws {
      try Program.scratch { folder in
        let path = folder + "/long.safetensors"
        let made = try Program.run(
          "synth", "--tokens", "11700", "--heads", "1", "--dim", "8", "-o", path)
        #expect(made.status == 0, "\(made.error)")
        let spec = TileSpec(rows: 128, keys: 128)
        let head = try #require(DumpHeads(try Dump.open(path)).head(0, 0))
        let table = try #require(TilePass(HeadGroup([head]), keysPerTile: 128).tables(spec))[0]
        func keep(_ name: String, _ change: (inout [Float]) -> Void) throws -> String {
          var floats = table.packed.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
          change(&floats)
          let wrong = try #require(
            floats.withUnsafeBytes {
              BlockTable(spec: spec, queries: head.queries, keys: head.keys, packed: $0)
            })
          let cache = folder + "/" + name
          TableStore(folder: cache + "/attnscope/tables").keep(wrong, head, spec, lambda: 0)
          return cache
        }
        let count = table.margins.count
        let right = try check(path, "--count", "4", cache: try keep("right") { _ in })
        #expect(right.result.status == 0, "\(right.result.output)")
        #expect(right.compared("cached tables: margins") > 0)
        let shifted = try keep("shifted") { floats in
          for at in 0..<count where floats[at].isFinite { floats[at] += 0.01 }
        }
        let wrong = try check(path, "--count", "4", cache: shifted)
        #expect(wrong.result.status == 1, "\(wrong.result.output)")
        let place = wrong.line("cached tables: margins")?["where"] as? String ?? ""
        #expect(place.hasPrefix("0.0 128x128 head asc tile "), "\(place)")
        #expect(wrong.line("margins of tiles")?["within"] as? Bool == true)
        // One block of thousands: its mass cannot be, whichever tiles are drawn.
        let single = try keep("single") { $0[count + 5 * table.keyTiles + 2] = 300 }
        let caught = try check(path, "--count", "4", cache: single)
        #expect(caught.result.status == 1, "\(caught.result.output)")
        #expect(caught.result.output.contains("cached tables: sums and ranges"))
      }
    }

    /// What this processor computes with each of its instruction sets.
    @Test func everyInstructionSetIsRight() throws {
      let result = try Program.run("doctor", "--numbers")
      #expect(result.status == 0, "\(result.output)")
      for set in InstructionSet.allCases where set.isAvailable {
        #expect(result.output.contains("\n\(set.name) "), "\(set.name) is missing")
      }
      #expect(result.output.contains("int8 screen, bits") && !result.output.contains("WRONG"))
    }
  }
}
