import Formats
import Foundation
import Support
import Tensors
import Testing

/// Every reader on files that were damaged with a plan: a sentence or a dump, soon, and never a
/// crash.
///
/// `Tests/fuzz --count N` asks for N files of each kind, under AddressSanitizer; the seeds are
/// fixed, so that what fails once fails again. Checksums would stop most of what lies in a zip, so
/// members are damaged before they are packed as often as the whole file after it.
@Suite struct FuzzTests {
  /// Files of each kind.
  static let count =
    ProcessInfo.processInfo.environment["ATTNSCOPE_FUZZ"].flatMap { Int($0) } ?? 60

  /// A sound file, made of parts that may be damaged one by one.
  struct Kind: Sendable, CustomTestStringConvertible {
    let name: String
    let parts: @Sendable () -> [[UInt8]]
    let join: @Sendable ([[UInt8]]) -> [UInt8]

    var testDescription: String { name }
  }

  private static func zip(_ name: String, _ members: [(String, [UInt8])]) -> Kind {
    Kind(name: name, parts: { members.map(\.1) }) { parts in
      Made.zip(Array(Swift.zip(members.map(\.0), parts)))
    }
  }

  private static func plain(_ name: String, _ bytes: @escaping @Sendable () -> [UInt8]) -> Kind {
    Kind(name: name, parts: { [bytes()] }, join: { $0[0] })
  }

  static let kinds: [Kind] = [
    Kind(
      name: "safetensors",
      parts: {
        [
          Array(
            """
            {"__metadata__":{"tile":"2x2","scale":"0.5","tokens":"[\\"a\\",\\"b\\"]"},\
            "layers.0.q":{"dtype":"F16","shape":[2,2,8],"data_offsets":[0,64]},\
            "layers.0.k":{"dtype":"F32","shape":[1,2,8],"data_offsets":[64,128]}}
            """.utf8), [UInt8](repeating: 60, count: 128),
        ]
      }, join: { Made.little(UInt64($0[0].count)) + $0[0] + $0[1] }),
    plain("npy") { Made.npy(Made.pattern([2, 3, 3])) },
    zip(
      "npz",
      [
        ("attention.npy", Made.npy(Made.pattern([2, 3, 3]))),
        ("tokens.npy", Made.npy(["a", "b", "é"])),
        ("attention_mask.npy", Made.npy("<i8", [1, 3], [UInt8](repeating: 1, count: 24))),
      ]),
    zip(
      "block masks",
      [
        ("kv_num_blocks.npy", Made.npy("<i4", [1, 1, 2], [1, 0, 0, 0, 2, 0, 0, 0])),
        ("kv_indices.npy", Made.npy("<i4", [1, 1, 2, 2], [UInt8](repeating: 0, count: 16))),
      ]),
    plain("deflated npz") {
      ZipMaker.bytes([ZipMaker.Member("a.npy", deflated: Made.npy(Made.pattern([2, 4, 4])))])
    },
    zip("torch", torch),
    plain("pickle") {
      var pickle = PickleWriter(protocol: 4)
      pickle.op("]")
      pickle.text("a")
      pickle.op("a")
      return pickle.bytes + [46]
    },
    plain("table") { Array("a,b,c\n1,0,0\n0.5,0.5,0\n0.25,0.25,0.5\n".utf8) },
  ]

  private static var torch: [(String, [UInt8])] {
    var pickle = PickleWriter()
    pickle.tensor(Made.pattern([1, 2, 3, 3]).floats(), [1, 2, 3, 3])
    return [
      ("a/data.pkl", pickle.bytes + [46]), ("a/data/0", Made.floats(pickle.storages[0])),
      ("a/version", [51]),
    ]
  }

  @Test(arguments: kinds) func damaged(_ kind: Kind) throws {
    var random = Seeded(UInt64(kind.name.utf8.count) * 7919 + 17)
    let parts = kind.parts()
    var read = 0, refused = 0
    for round in 0..<Self.count {
      var damaged = parts
      let isInside = parts.count > 1 && Bool.random(using: &random)
      if isInside {
        let at = Int.random(in: 0..<parts.count, using: &random)
        damaged[at] = Self.damage(parts[at], &random)
      }
      let whole = kind.join(damaged)
      let bytes = isInside ? whole : Self.damage(whole, &random)
      try Fixture.with(bytes) { path in
        let start = ContinuousClock.now
        do throws(FormatError) {
          try Self.touch(try Dump.open(path))
          read += 1
        } catch {
          let text = "\(error)"
          #expect(text.contains(path) && !text.contains("\n"), "\(kind.name), round \(round)")
          refused += 1
        }
        #expect(ContinuousClock.now - start < ZooTests.most, "\(kind.name), round \(round)")
      }
    }
    #expect(refused > 0 && refused + read == Self.count, "\(refused) refused, \(read) read")
  }

  @Test func damagedModels() throws {
    var random = Seeded(31)
    let whole = TinyModel("llama", .q8_0).bytes, head = Array(whole.prefix(12_000))
    var refused = 0
    for round in 0..<max(8, Self.count / 8) {
      let bytes = Self.damage(head, &random) + whole.dropFirst(head.count)
      try TinyGGUF.with(bytes) { path in
        let start = ContinuousClock.now
        do throws(FormatError) {
          let file = try GGUFFile(path)
          for tensor in file.tensors.values { _ = file.bytes(tensor).last }
        } catch {
          #expect("\(error)".contains(path))
          refused += 1
        }
        #expect(ContinuousClock.now - start < ZooTests.most, "round \(round)")
      }
    }
    #expect(refused > 0)
  }

  /// Reads something of everything that a dump says it has.
  private static func touch(_ dump: Dump) throws(FormatError) {
    for layer in dump.layers {
      for tensor in layer.arrays.values where tensor.count > 0 {
        let first = tensor[0], last = tensor[tensor.shape[0] - 1]
        for part in [first, last] where part.count > 0 && part.count < 1 << 20 {
          _ = part.floats().reduce(0, +)
        }
      }
    }
  }

  // MARK: Damage

  /// Numbers at which readers have gone wrong.
  private static let numbers: [UInt64] = [
    0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff,
    1 << 42, .max >> 1, 1 << 63, .max,
  ]

  /// One to four changes.
  static func damage(_ sound: [UInt8], _ random: inout Seeded) -> [UInt8] {
    var bytes = sound
    for _ in 0..<Int.random(in: 1...4, using: &random) where bytes.count > 8 {
      change(&bytes, at: place(bytes.count, &random), &random)
    }
    return bytes
  }

  /// Half of all changes are where formats say what they are: at both ends.
  private static func place(_ count: Int, _ random: inout Seeded) -> Int {
    let near = min(count, 192)
    switch Int.random(in: 0..<4, using: &random) {
    case 0: return Int.random(in: 0..<near, using: &random)
    case 1: return count - 1 - Int.random(in: 0..<near, using: &random)
    default: return Int.random(in: 0..<count, using: &random)
    }
  }

  private static func change(_ bytes: inout [UInt8], at: Int, _ random: inout Seeded) {
    let length = min(Int.random(in: 1...40, using: &random), bytes.count - at)
    switch Int.random(in: 0..<9, using: &random) {
    case 0: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    case 1: bytes[at] = UInt8.random(in: 0...255, using: &random)
    case 2, 3:
      let width = [1, 2, 4, 8].randomElement(using: &random)!
      let number = Made.little(numbers.randomElement(using: &random)!).prefix(width)
      for (index, byte) in number.enumerated() where at + index < bytes.count {
        bytes[at + index] = byte
      }
    case 4: bytes.removeSubrange(at..<at + length)
    case 5: bytes.insert(contentsOf: Array(bytes[at..<at + length]), at: at)
    case 6:
      let other = Int.random(in: 0..<bytes.count, using: &random)
      let end = min(other + length, bytes.count)
      bytes.insert(contentsOf: Array(bytes[other..<end]), at: at)
    case 7:
      // A digit of a header, which stays well-formed.
      let digits = bytes.indices.filter { (0x30...0x39).contains(bytes[$0]) }
      if let one = digits.randomElement(using: &random) {
        bytes[one] = UInt8.random(in: 0x30...0x39, using: &random)
      }
    default: bytes.removeSubrange(max(at, 1)...)
    }
  }
}
