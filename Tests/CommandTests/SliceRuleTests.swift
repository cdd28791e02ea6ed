import Attention
import Backends
import Formats
import Foundation
import Testing

extension ProgramTests {
  /// What differs from layer to layer stays with its layer in a slice, and with its heads.
  @Suite struct SliceRuleTests {
    @Test func windowsAndSinksOfLayersAreKept() throws {
      try Program.scratch { folder in
        var arrays = [
          ArrayToWrite("s_aux", floats: (0..<12).map(Float.init), shape: [3, 4])
        ]
        for layer in 0..<3 {
          for (name, heads) in [("q", 4), ("k", 2)] {
            let values = (0..<heads * 32).map { Float(($0 * 7 + layer) % 5) }
            arrays.append(
              ArrayToWrite("layers.\(layer).\(name)", floats: values, shape: [heads, 8, 4]))
          }
        }
        let (file, slice) = (folder + "/all.safetensors", folder + "/slice.safetensors")
        try writeSafetensors(
          arrays, metadata: ["causal": "true", "sliding_window": "[3, null, 5]"], to: file,
          force: false)
        let result = try Program.run(
          "slice", file, "--layers", "1,2", "--heads", "2,3", "-o", slice)
        #expect(result.status == 0, "\(result.error)")
        let heads = DumpHeads(try Dump.open(slice))
        #expect(heads.layers == [1, 2])
        #expect(heads.rules(0).window == nil && heads.rules(1).window == 5)
        #expect(heads.sinks(0) == [6, 7] && heads.sinks(1) == [10, 11])
        let info = try Program.run("info", slice).output
        #expect(info.contains("5 in layer 2; none in layer 1"), "\(info)")
        #expect(!info.contains("softcap"), "\(info)")
      }
    }
  }
}
