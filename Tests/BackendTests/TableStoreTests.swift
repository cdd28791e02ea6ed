import Analysis
import Attention
import Foundation
import Sessions
import Support
import Tensors
import Testing

import Backends

/// Tables on disk: found again by content, and never believed when damaged.
@Suite struct TableStoreTests {
  private let one = Case(
    heads: 1, queries: 96, keys: 96, dim: 8, TileSpec(rows: 16, keys: 16), scale: 2)

  private func scratch(_ body: (String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body(folder)
  }

  private func files(_ folder: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).map { folder + "/" + $0 }
  }

  private func table(_ head: Head) throws -> BlockTable {
    try #require(TilePass(HeadGroup([head]), keysPerTile: 16).tables(one.spec))[0]
  }

  @Test func whatWasKeptIsFoundByItsContent() throws {
    try scratch { folder in
      let store = TableStore(folder: folder + "/deep/tables")
      let head = one.group(seed: 4).heads[0], made = try table(head)
      #expect(store.table(head, one.spec, lambda: 0) == nil)
      store.keep(made, head, one.spec, lambda: 0)
      let again = one.group(seed: 4).heads[0]
      let found = try #require(store.table(again, one.spec, lambda: 0))
      #expect(found.margins.map(\.bitPattern) == made.margins.map(\.bitPattern))
      #expect(
        found.massSum == made.massSum && found.massMax == made.massMax
          && found.worstDropped == made.worstDropped && found.entropy == made.entropy
          && found.visibleRows == made.visibleRows && found.visibleBlocks == made.visibleBlocks)
      // Another head, another tile, another view of the same numbers: each is something else.
      #expect(store.table(one.group(seed: 5).heads[0], one.spec, lambda: 0) == nil)
      #expect(store.table(head, TileSpec(rows: 16, keys: 32), lambda: 0) == nil)
      #expect(store.table(head.slice(0..<48, keys: 96), one.spec, lambda: 0) == nil)
      let (query, key) = head.queryAndKey!
      let full = Head(query: query, key: key, value: nil, causal: false)
      #expect(store.table(full, one.spec, lambda: 0) == nil)
    }
  }

  @Test func damageIsNoticed() throws {
    try scratch { folder in
      let store = TableStore(folder: folder)
      let head = one.group(seed: 4).heads[0]
      store.keep(try table(head), head, one.spec, lambda: 0)
      let path = try #require(files(folder).first)
      let whole = try Data(contentsOf: URL(filePath: path))
      for size in [0, 1, 15, 16, 100, whole.count - 1] {
        try whole.prefix(size).write(to: URL(filePath: path))
        #expect(store.table(head, one.spec, lambda: 0) == nil, "\(size) bytes")
      }
      for at in [0, 9, 16, 300, whole.count - 1] {
        var bytes = whole
        bytes[at] ^= 0x10
        try bytes.write(to: URL(filePath: path))
        #expect(store.table(head, one.spec, lambda: 0) == nil, "byte \(at)")
      }
      try (whole + Data([0])).write(to: URL(filePath: path))
      #expect(store.table(head, one.spec, lambda: 0) == nil)
      // What was damaged is out of the way: the next table is kept, and found.
      #expect(files(folder).isEmpty)
      store.keep(try table(head), head, one.spec, lambda: 0)
      #expect(store.table(head, one.spec, lambda: 0) != nil)
    }
  }

  /// Another head's table of the same size is whole in itself, and still not this head's.
  @Test func aTableIsOfItsNameAlone() throws {
    try scratch { folder in
      let store = TableStore(folder: folder)
      let heads = [4, 5].map { one.group(seed: $0).heads[0] }
      store.keep(try table(heads[0]), heads[0], one.spec, lambda: 0)
      let first = try #require(files(folder).first)
      store.keep(try table(heads[1]), heads[1], one.spec, lambda: 0)
      let second = try #require(files(folder).first { $0 != first })
      let (own, other) = (try bytes(first), try bytes(second))
      #expect(own.count == other.count && own != other)
      try other.write(to: URL(filePath: first))
      #expect(store.table(heads[0], one.spec, lambda: 0) == nil)
      #expect(store.table(heads[1], one.spec, lambda: 0) != nil)
      store.keep(try table(heads[0]), heads[0], one.spec, lambda: 0)
      #expect(try bytes(first) == own)
    }
  }

  private func bytes(_ path: String) throws -> Data { try Data(contentsOf: URL(filePath: path)) }

  /// A thousand damages of nine kinds: a table is found with its own numbers, or not at all.
  @Test func noDamageChangesANumber() throws {
    try scratch { folder in
      let store = TableStore(folder: folder)
      let head = one.group(seed: 4).heads[0], made = try table(head)
      store.keep(made, head, one.spec, lambda: 0)
      let path = try #require(files(folder).first), whole = [UInt8](try bytes(path))
      let others = try (UInt64(5)...8).map { seed in
        let other = one.group(seed: seed).heads[0]
        store.keep(try table(other), other, one.spec, lambda: 0)
        return [UInt8](try bytes(try #require(files(folder).first { $0 != path })))
      }
      var random = Seeded(22), found = 0
      for number in 0..<1000 {
        let damaged = Self.damage(whole, others, kind: number % 9, &random)
        try Data(damaged).write(to: URL(filePath: path))
        guard let table = store.table(head, one.spec, lambda: 0) else { continue }
        found += 1
        #expect(damaged == whole, "damage \(number)")
        #expect(table.packed == made.packed, "damage \(number)")
      }
      #expect(found < 60, "almost every damage is one")
    }
  }

  /// One damage: bits, bytes and runs changed, cut, added, moved, or of another table.
  private static func damage(
    _ whole: [UInt8], _ others: [[UInt8]], kind: Int, _ random: inout Seeded
  ) -> [UInt8] {
    var bytes = whole
    func pick(_ count: Int, _ random: inout Seeded) -> Int {
      .random(in: 0..<count, using: &random)
    }
    let at = pick(bytes.count, &random), other = others[pick(others.count, &random)]
    switch kind {
    case 0: bytes[at] ^= 1 << UInt8(pick(8, &random))
    case 1: bytes[at] = UInt8(pick(256, &random))
    case 2: bytes.removeLast(1 + pick(bytes.count - 1, &random))
    case 3: bytes += (0...pick(64, &random)).map { _ in UInt8(pick(256, &random)) }
    case 4: bytes.swapAt(at, pick(bytes.count, &random))
    case 5: for index in at..<min(at + 1 + pick(64, &random), bytes.count) { bytes[index] = 0 }
    case 6: bytes = other
    case 7:  // The sum of one and the numbers of another, or the other way round.
      bytes.replaceSubrange(16..., with: other[16...])
      if at.isMultiple(of: 2) { bytes.replaceSubrange(0..<16, with: other[0..<16]) }
    default: bytes = oldKind(at.isMultiple(of: 2) ? whole : other)
    }
    return bytes
  }

  /// The table as it was written before its sum covered the head: another magic number, and a sum
  /// of the numbers alone.
  private static func oldKind(_ bytes: [UInt8]) -> [UInt8] {
    let magic: UInt64 = 0x3154_4b4c_4254_4e41
    let sum = bytes[16...].withUnsafeBytes { ContentHash.of($0) }
    return [magic, sum].withUnsafeBytes { Array($0) } + bytes[16...]
  }

  @Test func theOldestGo() throws {
    try scratch { folder in
      let store = TableStore(folder: folder, budget: 3 * 800)
      let heads = (1...6).map { one.group(seed: $0).heads[0] }
      for (age, head) in heads.enumerated() {
        store.keep(try table(head), head, one.spec, lambda: 0)
        for path in files(folder) {
          let old = Date(timeIntervalSinceNow: Double(-1000 * (heads.count - age)))
          let isNew =
            try FileManager.default.attributesOfItem(atPath: path)[.modificationDate]
            as? Date ?? .now > Date(timeIntervalSinceNow: -500)
          if isNew {
            try FileManager.default.setAttributes([.modificationDate: old], ofItemAtPath: path)
          }
        }
      }
      let sizes = try files(folder).map {
        try FileManager.default.attributesOfItem(atPath: $0)[.size] as? Int ?? 0
      }
      #expect(sizes.reduce(0, +) <= 3 * 800 && !sizes.isEmpty)
      #expect(store.table(heads[5], one.spec, lambda: 0) != nil)
      #expect(store.table(heads[0], one.spec, lambda: 0) == nil)
    }
  }

  /// A folder that cannot be made is no error: then there is no cache.
  @Test func withoutAFolderNothingHappens() throws {
    let store = TableStore(folder: "/proc/nowhere/tables")
    let head = one.group(seed: 4).heads[0]
    store.keep(try table(head), head, one.spec, lambda: 0)
    #expect(store.table(head, one.spec, lambda: 0) == nil)
  }
}
