package import Attention
import Formats
import FoundationEssentials
import Glibc
import Tensors

/// Block tables of long heads on disk, so that a file is computed once and not once a session.
///
/// Lives in `$XDG_CACHE_HOME/attnscope/tables` and touches nothing else. A table is found by what
/// is in its head: a hash of Q and K and of everything that changes the numbers. Files are written
/// whole and renamed; one that is cut off, damaged, of another kind or of another head, whatever
/// its name, is taken for missing. The oldest go when all together pass `budget`.
///
/// Example: `FileBackend(dump, tables: .standard)`. The catch: finding a table reads all of Q and K
/// once for the hash, which is much less than computing it. Two sessions may share the folder.
public struct TableStore: Sendable {
  /// Without a slash at its end.
  private let folder: String
  /// Bytes of all tables together.
  private let budget: Int

  /// `budget` in bytes on disk; the folder is made when the first table is kept.
  public init(folder: String, budget: Int = 512 << 20) {
    (self.folder, self.budget) = (folder, budget)
  }

  /// The user's cache, or nil where there is no home.
  public static var standard: TableStore? {
    func variable(_ name: String) -> String? {
      getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }
    guard let cache = variable("XDG_CACHE_HOME") ?? variable("HOME").map({ $0 + "/.cache" }) else {
      return nil
    }
    return TableStore(folder: cache + "/attnscope/tables")
  }

  /// The table of a head and tile, or nil; a found one counts as just used.
  package func table(_ head: Head, _ spec: TileSpec, lambda: Double) -> BlockTable? {
    guard let key = Key(head, spec, lambda), let file = try? MappedFile(name(key)) else {
      return nil
    }
    guard let payload = Self.payload(file.bytes, key),
      let table = BlockTable(
        spec: spec, queries: head.queries, keys: head.keys, packed: payload)
    else {
      // Damaged, or another's: out of the way, so that the right one can be kept.
      unlink(name(key))
      return nil
    }
    utimes(name(key), nil)
    return table
  }

  /// What follows the magic number and the checksum; nil when either is wrong.
  private static func payload(_ bytes: UnsafeRawBufferPointer, _ key: Key)
    -> UnsafeRawBufferPointer?
  {
    guard bytes.count >= 16, bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self) == magic else {
      return nil
    }
    let payload = UnsafeRawBufferPointer(rebasing: bytes[16...])
    let sum = bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
    return sum == key.sum(payload) ? payload : nil
  }

  /// Writes a table that is not there yet. Failing is silent: the next session computes it again.
  package func keep(_ table: BlockTable, _ head: Head, _ spec: TileSpec, lambda: Double) {
    guard let key = Key(head, spec, lambda), access(name(key), F_OK) != 0 else { return }
    try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let payload = table.packed
    let header = [Self.magic, payload.withUnsafeBytes { key.sum($0) }]
    let bytes = header.withUnsafeBytes { Array($0) } + payload
    // A cache that cannot be written is no cache, and nothing is lost.
    try? writeBytes(bytes, to: name(key), force: true)
    removeOldest()
  }

  /// Eight letters in the order of the bytes; another number makes old files unreadable, and so
  /// missing: those that end in 1 have a sum of the table alone, which any name would suit.
  private static let magic: UInt64 = 0x3254_4b4c_4254_4e41

  /// All that the numbers of a table come from.
  private struct Key {
    /// Of Q and K, and of `facts`.
    let hash: UInt64
    /// Types, shapes, scale, visibility, tile, and lambda where it matters.
    let facts: [UInt8]

    /// Reads all of Q and K, unless `rows` is the hash of both; nil for heads whose bytes do not
    /// lie in one piece.
    init?(_ head: Head, _ spec: TileSpec, _ lambda: Double, rows: ContentHash? = nil) {
      guard let (query, key) = head.queryAndKey, var hash = rows ?? Self.rows(head) else {
        return nil
      }
      let sight = head.visibility
      let facts =
        """
        \(query.dtype.rawValue) \(key.dtype.rawValue) \(query.shape) \(key.shape) \(head.scale) \
        \(sight.causal) \(sight.offset) \(spec) \(spec.criterion == .lse ? lambda : 0) 1
        """
      self.facts = Array(facts.utf8)
      self.facts.withUnsafeBytes { hash.add($0) }
      self.hash = hash.value
    }

    /// The hash of Q and K; nil where their bytes do not lie in one piece.
    static func rows(_ head: Head) -> ContentHash? {
      guard let (query, key) = head.queryAndKey, let q = query.plainBytes, let k = key.plainBytes
      else {
        return nil
      }
      var hash = ContentHash()
      hash.add(q)
      hash.add(k)
      return hash
    }

    /// The checksum of a table of this key: of what it is made from, and of its bytes.
    func sum(_ payload: UnsafeRawBufferPointer) -> UInt64 {
      var sum = ContentHash()
      withUnsafeBytes(of: hash) { sum.add($0) }
      facts.withUnsafeBytes { sum.add($0) }
      sum.add(payload)
      return sum.value
    }
  }

  /// The file of a head and tile.
  private func name(_ key: Key) -> String { folder + "/" + Self.file(key) }

  /// The name of a file within the folder.
  private static func file(_ key: Key) -> String {
    let digits = String(key.hash, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits + ".table"
  }

  /// Every table of a head that is kept under a likely setting: sides that are powers of two or
  /// multiples of 16 to 256, either order, up to eight splits; of the log-sum-exp the standard
  /// lambdas. The table is nil where its file is damaged. Nothing is touched, and other settings
  /// are not found: a file does not tell what it is of.
  package func tables(
    of head: Head
  ) -> [(spec: TileSpec, lambda: Double, table: BlockTable?)] {
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder),
      let rows = Key.rows(head)
    else { return [] }
    let there = Set(names)
    return Self.likely.compactMap { spec, lambda in
      guard let key = Key(head, spec, lambda, rows: rows), there.contains(Self.file(key)),
        let file = try? MappedFile(name(key))
      else { return nil }
      let table = Self.payload(file.bytes, key).flatMap {
        BlockTable(spec: spec, queries: head.queries, keys: head.keys, packed: $0)
      }
      return (spec, lambda, table)
    }
  }

  /// What `tables` looks for.
  private static let likely: [(TileSpec, Double)] = {
    let sides = [1, 2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 256, 512, 1024]
    var all: [(TileSpec, Double)] = []
    for rows in sides {
      for keys in sides where keys >= 8 {
        for order in Order.allCases {
          for splits in 1...8 {
            all.append((TileSpec(rows: rows, keys: keys, order: order, splits: splits), 0))
          }
          for lambda in [1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 1e-4] {
            let spec = TileSpec(rows: rows, keys: keys, order: order, criterion: .lse)
            all.append((spec, lambda))
          }
        }
      }
    }
    return all
  }()

  /// By the time of last use. Half-written files go after ten minutes, when nobody can still be
  /// writing them.
  private func removeOldest() {
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else { return }
    // What a killed session left half written.
    for name in names where name.hasSuffix(".partial") {
      var status = stat()
      let path = folder + "/" + name
      if stat(path, &status) == 0, time(nil) - status.st_mtim.tv_sec > 600 { unlink(path) }
    }
    var files = names.filter { $0.hasSuffix(".table") }.compactMap { name -> (String, Int, Int)? in
      var status = stat()
      let path = folder + "/" + name
      guard stat(path, &status) == 0 else { return nil }
      return (path, status.st_mtim.tv_sec, Int(status.st_size))
    }.sorted { $0.1 < $1.1 }
    var total = files.reduce(0) { $0 + $1.2 }
    while total > budget, let oldest = files.first {
      unlink(oldest.0)
      total -= oldest.2
      files.removeFirst()
    }
  }
}

/// A fast hash of many bytes (four lanes of multiply and rotate). For finding and for noticing
/// damage; no secret.
package struct ContentHash {
  /// The hash so far; the digits of π at the start.
  private(set) var value: UInt64 = 0x243f_6a88_85a3_08d3

  /// The hash of bytes alone.
  package static func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    var hash = ContentHash()
    hash.add(bytes)
    return hash.value
  }

  /// Takes in more bytes; where they are split matters.
  mutating func add(_ bytes: UnsafeRawBufferPointer) {
    var lanes: (UInt64, UInt64, UInt64, UInt64) = (value, value ^ 1, value ^ 2, value ^ 3)
    func mix(_ lane: UInt64, _ word: UInt64) -> UInt64 {
      let x = (lane ^ word) &* 0x9e37_79b9_7f4a_7c15
      return x << 31 | x >> 33
    }
    var at = 0
    while at + 32 <= bytes.count {
      lanes.0 = mix(lanes.0, bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self))
      lanes.1 = mix(lanes.1, bytes.loadUnaligned(fromByteOffset: at + 8, as: UInt64.self))
      lanes.2 = mix(lanes.2, bytes.loadUnaligned(fromByteOffset: at + 16, as: UInt64.self))
      lanes.3 = mix(lanes.3, bytes.loadUnaligned(fromByteOffset: at + 24, as: UInt64.self))
      at += 32
    }
    while at < bytes.count {
      lanes.0 = mix(lanes.0, UInt64(bytes[at]))
      at += 1
    }
    value = mix(mix(mix(mix(UInt64(bytes.count), lanes.0), lanes.1), lanes.2), lanes.3)
  }
}
