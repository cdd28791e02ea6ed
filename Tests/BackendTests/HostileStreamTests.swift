import Attention
import Backends
import Formats
import Foundation
import Sessions
import Support
import Synchronization
import Testing
import Wire

/// Bytes that come in pieces of one size, and nobody to be told.
private final class Bytes: StreamLink {
  private let rest: Mutex<ArraySlice<UInt8>>
  private let piece: Int

  init(_ bytes: [UInt8], piece: Int = 1 << 16) {
    rest = Mutex(bytes[...])
    self.piece = piece
  }

  func read(_ buffer: UnsafeMutableRawBufferPointer) -> Int {
    rest.withLock { rest -> Int in
      let next = rest.prefix(min(piece, buffer.count))
      buffer.copyBytes(from: next)
      rest = rest.dropFirst(next.count)
      return next.count
    }
  }

  func send(_ line: String) -> Bool { false }
  var canReopen: Bool { false }
  func reopen() -> Bool { false }
  func close() {}
}

/// Peers that mean harm, or are broken: nothing crashes, memory and time stay bounded.
@Suite(.serialized, .timeLimit(.minutes(5))) struct HostileStreamTests {
  private static func read(_ bytes: [UInt8], piece: Int = 1 << 16, budget: Int = 64 << 20) throws
    -> StreamBackend
  {
    var options = StreamBackend.Options()
    (options.isFile, options.budget) = (true, budget)
    return try StreamBackend(Bytes(bytes, piece: piece), name: "a peer", options)
  }

  private static let small: [UInt8] = {
    let made = MadeStream()
    return
      [MadeStream.hello(), made.prefill(0..<2, seq: 1), made.step(2, seq: 2)].flatMap { $0 }
  }()

  private static func length(_ backend: StreamBackend) -> Int {
    backend.describe().live?.lengths.first ?? -1
  }

  @Test func aStreamThatIsCutAnywhereKeepsWhatIsWhole() throws {
    let hello = MadeStream.hello().count
    for cut in stride(from: 0, to: Self.small.count, by: 7) {
      let part = Array(Self.small[..<cut])
      guard cut >= hello else {
        #expect(throws: FormatError.self) { try Self.read(part) }
        continue
      }
      let count = Self.length(try Self.read(part))
      #expect([0, 2].contains(count), "cut at \(cut): \(count)")
    }
    #expect(Self.length(try Self.read(Self.small, piece: 1)) == 3)
  }

  @Test func anyByteMayBeWrong() throws {
    var random = Seeded(8)
    for _ in 0..<1500 {
      var bytes = Self.small
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(
          in: 0...255, using: &random)
      }
      guard let backend = try? Self.read(bytes) else { continue }
      #expect(Self.length(backend) <= Hello.mostPositions)
    }
  }

  /// Megabytes that this process has in memory.
  private static var megabytes: Int {
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    return text.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 / 256 } ?? 0
  }

  /// Frames that are whole and say what they must not: far positions, wrong shapes, long texts,
  /// tables of nobody, answers to no question.
  private static func hostile(_ random: inout Seeded, seq: Int) -> [UInt8] {
    let number = [-1, 0, 5, 1 << 19, 1 << 20, .max].randomElement(using: &random)!
    let long = String(repeating: "x\u{1b}[2J", count: 40)
    let texts = ["", "{}", "[1,2]", long, "{\"text\":\"\(number)\"}", "\(number)", "nan", "[[[["]
    let keys = [
      "position", "token", "step", "tokens", "layer", "head", "tile", "to", "what", "why", "lost",
      "phase", "message", "note", "lambda", "branch", "queries", "keys", "tokens_per_second",
    ]
    var metadata: [String: String] = ["position": "\(seq)", "token": "1"]
    for _ in 0..<4 {
      metadata[keys.randomElement(using: &random)!] = texts.randomElement(using: &random)!
    }
    let names = ["layers.3.q", "layers.5.k", "visible", "skipped", "token_ids", "margins", "max"]
    let shape = [[1], [4, 1, 8], [2, 4], [2, 1, 8], [0, 3]].randomElement(using: &random)!
    let array = ArrayToWrite(
      names.randomElement(using: &random)!,
      floats: [Float](repeating: .nan, count: shape.reduce(1, *)), shape: shape)
    return WireFrame.bytes(
      WireKind.allCases.filter { $0 != .bye }.randomElement(using: &random)!,
      seq: Bool.random(using: &random) ? seq : nil, metadata, [array])
  }

  @Test func aHundredThousandHostileFramesStayWithinBounds() throws {
    var random = Seeded(21), bytes = MadeStream.hello()
    for seq in 1...1000 { bytes += Self.hostile(&random, seq: seq) }
    // The same thousand a hundred times over: what is not taken leaves nothing behind.
    let before = Self.megabytes, begun = ContinuousClock.now
    var all = bytes
    for _ in 1..<100 { all += bytes.dropFirst(MadeStream.hello().count) }
    let backend = try Self.read(all, budget: 16 << 20)
    #expect(begun.duration(to: .now) < .seconds(200))
    // The bytes themselves are here, too.
    #expect(Self.megabytes - before < 2 * (all.count >> 20) + 200, "\(Self.megabytes) MB")
    #expect(Self.length(backend) <= Hello.mostPositions)
    #expect(backend.describe().live?.note.isEmpty == false)
  }

  /// A sender that sends more than there is room for: its steps go on without Q and K.
  @Test func theBudgetHoldsAndIsSaid() async throws {
    let made = MadeStream()
    let bytes = made.all.flatMap { $0 }
    let backend = try Self.read(bytes, budget: bytes.count)
    #expect(Self.length(backend) == MadeStream.tokens)
    let answer = try await backend.answer(
      .summary(HeadID(layer: 0, head: 0)), at: Frame(tokens: MadeStream.tokens))
    guard case .unavailable(let why) = answer else {
      Issue.record("\(answer)")
      return
    }
    #expect(why.hasSuffix("for want of room"), "\(why)")
  }
}
