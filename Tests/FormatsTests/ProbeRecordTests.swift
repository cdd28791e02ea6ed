import Formats
import Foundation
import Tensors
import Testing

/// Probes of deployed kernels in a file, and those that lie: Q and K are read all the same.
@Suite struct ProbeRecordTests {
  private static let rule = #"{"rows":4,"keys":4,"vote":"head","order":"ascending","splits":1}"#
  private static let whole = """
    {"version":1,"kernel":"triton","device":null,"phase":"prefill","threshold":0.1,\
    "fingerprint":\(rule),"sparsity":0.675,"unsure":2,\
    "counted":{"sparsity":0.423,"tile":"128x128"},"agreement":[\
    {"rows":8,"keys":8,"vote":"head","order":"ascending","splits":1,"blocks":9,"wrong":3,"unsure":0},\
    {"rows":4,"keys":4,"vote":"head","order":"ascending","splits":1,"blocks":9,"wrong":0,"unsure":1}]}
    """

  private func open(_ probe: String, _ tile: String?, _ shape: [Int]) throws -> Dump {
    let path = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
    defer { try? FileManager.default.removeItem(atPath: path) }
    var metadata = ["causal": "true", "probe": probe]
    metadata["probe_tile"] = tile
    let count = shape.reduce(1, *)
    try writeSafetensors(
      [
        ArrayToWrite("layers.3.q", floats: (0..<96).map { Float($0 % 7) }, shape: [4, 6, 4]),
        ArrayToWrite("layers.3.k", floats: (0..<48).map { Float($0 % 5) }, shape: [2, 6, 4]),
        ArrayToWrite("layers.3.probed", bytes: [UInt8](repeating: 0, count: count), shape: shape),
      ], metadata: metadata, to: path, force: true)
    return try Dump.open(path)
  }

  @Test func aWholeProbe() throws {
    let dump = try open(Self.whole, "2x2", [4, 3, 3])
    let probe = try #require(dump.probe)
    #expect(dump.kind == .qkv && dump.layers[0].arrays[.probed]?.shape.axes == [4, 3, 3])
    #expect(probe.fingerprint?.words == "4x4, vote head, ascending" && probe.tile == (2, 2))
    #expect(probe.agreement.map(\.wrong) == [0, 3], "the best first")
    #expect(
      probe.sentence { "\($0)" }
        == "the kernel skips 0.675 in tiles of 4x4; its counter says 0.423 at 128x128")
    #expect(dump.elementTypes == [.float32])
  }

  @Test(arguments: [
    (whole, "2x2", [4, 3, 2], "layers.3.probed is"),
    (whole, "3x2", [4, 2, 3], "no multiple of probe_tile"),
    (whole, "2", [4, 3, 3], "not two sides"),
    (whole.replacing("\"version\":1", with: "\"version\":2"), "2x2", [4, 3, 3], "of version 2"),
    (whole.replacing("0.675", with: "NaN"), "2x2", [4, 3, 3], "has NaN"),
    (whole.replacing("0.675", with: "1.5"), "2x2", [4, 3, 3], "not 0 to 1"),
    (whole.replacing("\"threshold\":0.1,", with: ""), "2x2", [4, 3, 3], "lacks threshold"),
    (whole.replacing("\"vote\":\"head\"", with: "\"vote\":\"all\""), "2x2", [4, 3, 3], "no rule"),
  ]) func malformedProbes(_ probe: String, _ tile: String, _ shape: [Int], _ said: String) throws {
    let dump = try open(probe, tile, shape)
    #expect(dump.probe == nil && dump.layers[0].arrays[.query] != nil)
    #expect(dump.remarks.contains { $0.contains(said) }, "\(dump.remarks)")
  }
}
