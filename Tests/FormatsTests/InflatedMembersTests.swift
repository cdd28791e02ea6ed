import Foundation
import Support
import Tensors
import Testing

import Formats

/// Compressed dumps of many layers: members are inflated when they are looked at, and go again.
@Suite struct InflatedMembersTests {
  private static let side = 896, layers = 48

  /// A causal map `[1, 896, 896]` of 3 MiB that deflates to a small part.
  private static func map() -> [UInt8] {
    var random = Seeded(48)
    var values: [Float] = []
    values.reserveCapacity(side * side)
    for row in 0..<side {
      let weights = (0...row).map { _ in Float(1 + random.next() % 3) }
      let sum = weights.reduce(0, +)
      values += weights.map { $0 / sum } + [Float](repeating: 0, count: side - 1 - row)
    }
    return values.withUnsafeBytes { Array($0) }
  }

  /// 48 layers of the same map under their own names, as numpy and as torch compress them. `damage`
  /// changes the last byte of a layer's stream.
  private static func file(torch: Bool, damage: Int? = nil) -> [UInt8] {
    let map = map()
    var pickle = PickleWriter(), members: [ZipMaker.Member] = []
    let one = ZipMaker.Member(
      "x", deflated: torch ? map : Made.npy("<f4", [1, side, side], map))
    pickle.op("(")
    for layer in 0..<layers {
      pickle.tensor([], [1, side, side])
      var member = one
      member.name = torch ? "a/data/\(layer)" : "layer_\(layer).npy"
      if layer == damage { member.crc ^= 1 }
      members.append(member)
    }
    pickle.op("t")
    if torch { members.append(ZipMaker.Member("a/data.pkl", pickle.bytes + [46])) }
    return ZipMaker.bytes(members)
  }

  private static func pattern(_ dump: Dump, _ layer: Int) -> Tensor? {
    dump.layers[layer].arrays[.pattern]
  }

  /// 144 MiB once inflated: opening takes two layers of them, and reading all of them keeps 64 MiB.
  @Test(.disabled(if: Peak.isMoved), arguments: [false, true])
  func membersAreInflatedWhenTheyAreLookedAt(_ torch: Bool) async {
    await #expect(processExitsWith: .success) { [torch] in
      let bytes = Self.file(torch: torch)
      try Fixture.with(bytes, name: torch ? "a.pt" : "a.npz") { path in
        let before = Peak.start()
        let dump = try Dump.open(path)
        guard dump.layers.count == 48, dump.kind == .pattern else { exit(2) }
        guard dump.remarks.contains(where: { $0.contains("when they are looked at") }) else {
          exit(3)
        }
        guard Peak.bytes() - before < 40 << 20 else { exit(4) }
        for layer in dump.layers.indices {
          guard let row = Self.pattern(dump, layer)?.held[0][9].floats(),
            abs(row[..<10].reduce(0, +) - 1) < 1e-5, row[10] == 0
          else { exit(5) }
        }
        guard Peak.bytes() - before < 110 << 20 else { exit(6) }
        // While somebody holds a member it is the same memory, however much is looked at meanwhile.
        let held = Self.pattern(dump, 0)!.held
        for layer in dump.layers.indices { _ = Self.pattern(dump, layer)?.floats() }
        guard held.storage === Self.pattern(dump, 0)!.held.storage else { exit(7) }
        guard Peak.bytes() - before < 130 << 20, MappedFile.cut.isEmpty else { exit(8) }
      }
    }
  }

  /// A damaged member is no number, and said once; the others are what they are.
  @Test(arguments: [false, true]) func aDamagedMemberIsNoNumber(_ torch: Bool) async {
    await #expect(processExitsWith: .success) { [torch] in
      let bytes = Self.file(torch: torch, damage: 30)
      try Fixture.with(bytes, name: torch ? "a.pt" : "a.npz") { path in
        let dump = try Dump.open(path)
        guard MappedFile.takeCut().isEmpty, let map = Self.pattern(dump, 30) else { exit(2) }
        guard map.held[0][9].floats().allSatisfy(\.isNaN) else { exit(3) }
        let said = MappedFile.takeCut()
        guard said.count == 1, said[0].contains("CRC-32"), said[0].contains("shown as NaN") else {
          exit(4)
        }
        guard Self.pattern(dump, 31)!.held[0][9].floats().allSatisfy({ !$0.isNaN }) else { exit(5) }
        _ = map.floats()
        guard MappedFile.takeCut().isEmpty, MappedFile.cut == said else { exit(6) }
      }
    }
  }
}
