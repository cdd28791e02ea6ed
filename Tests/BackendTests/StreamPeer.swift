import Attention
import Backends
import Formats
import Foundation
import Sessions
import Support
import Testing
import Wire

/// The other end of a socket: sends frames, and reads lines.
final class StreamPeer: @unchecked Sendable {
  let link: DescriptorLink
  private var mine: Int32
  private var pending: [UInt8] = []

  /// Two ends of one socket. `dial` makes later connections.
  init(dial: DescriptorLink.Dial? = nil) {
    let (here, there) = Self.pair()
    mine = here
    link = DescriptorLink(input: there, output: there, dial: dial)
  }

  static func pair() -> (Int32, Int32) {
    var ends: [Int32] = [0, 0]
    socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends)
    return (ends[0], ends[1])
  }

  deinit { close() }

  /// False once nobody reads.
  @discardableResult func send(_ bytes: [UInt8]) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes {
        Foundation.send(mine, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { return false }
      rest = rest.dropFirst(count)
    }
    return true
  }

  /// Waits for the next line, on a thread of its own; nil at the end.
  func line() async throws -> Upstream? {
    try await withCheckedThrowingContinuation { asker in
      Thread.detachNewThread { asker.resume(with: Result { try self.nextLine() }) }
    }
  }

  /// The next line is this one.
  func hears(_ line: Upstream, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    let heard = try await self.line()
    #expect(heard == line, sourceLocation: sourceLocation)
  }

  private func nextLine() throws -> Upstream? {
    while true {
      if let end = pending.firstIndex(of: 10) {
        let line = Array(pending[..<end])
        pending.removeFirst(end + 1)
        return try Upstream(line)
      }
      var buffer = [UInt8](repeating: 0, count: 4096)
      let count = read(mine, &buffer, buffer.count)
      guard count > 0 else { return nil }
      pending += buffer[..<count]
    }
  }

  func close() {
    if mine >= 0 { Foundation.close(mine) }
    mine = -1
  }

  /// Another connection takes the place of this one.
  func take(_ descriptor: Int32) {
    close()
    (mine, pending) = (descriptor, [])
  }
}

/// A made-up model whose Q, K and V are the same in a file and on the wire.
struct MadeStream {
  static let tokens = 48, heads = 4, kvHeads = 2, dim = 8, layers = [3, 5]
  static let shape = [
    "layers": "2", "heads": "4", "kv_heads": "2", "head_dim": "8", "layer_numbers": "[3,5]",
  ]

  /// `layers.3.q` and so on, `[heads, tokens, dim]`.
  let arrays: [String: [Float]]

  init(seed: UInt64 = 3) {
    var random = Seeded(seed), arrays: [String: [Float]] = [:]
    for layer in Self.layers {
      for (name, heads) in [("q", Self.heads), ("k", Self.kvHeads), ("v", Self.kvHeads)] {
        arrays["layers.\(layer).\(name)"] = (0..<heads * Self.tokens * Self.dim).map { _ in
          Float.random(in: -2...2, using: &random)
        }
      }
    }
    self.arrays = arrays
  }

  static func hello(_ more: [String: String] = [:]) -> [UInt8] {
    WireFrame.bytes(.hello, seq: 0, shape.merging(more) { $1 })
  }

  /// The rows of some positions, of names that are wanted.
  func rows(_ positions: Range<Int>, _ wanted: (String) -> Bool = { _ in true }) -> [ArrayToWrite] {
    arrays.keys.sorted().filter(wanted).map { name in
      let heads = name.hasSuffix("q") ? Self.heads : Self.kvHeads
      let values = (0..<heads).flatMap { head in
        let start = (head * Self.tokens + positions.lowerBound) * Self.dim
        return arrays[name]![start..<start + positions.count * Self.dim]
      }
      return ArrayToWrite(name, floats: values, shape: [heads, positions.count, Self.dim])
    }
  }

  func prefill(_ positions: Range<Int>, seq: Int) -> [UInt8] {
    let texts = positions.map { "\"p\($0) \"" }.joined(separator: ",")
    return WireFrame.bytes(
      .prefill, seq: seq,
      ["position": "\(positions.lowerBound)", "tokens": "[\(texts)]"],
      rows(positions)
        + [
          ArrayToWrite("token_ids", int32: positions.map(Int32.init), shape: [positions.count])
        ])
  }

  func step(_ position: Int, seq: Int, _ wanted: (String) -> Bool = { _ in true }) -> [UInt8] {
    let counts = [Int32](repeating: 3, count: 8)
    return WireFrame.bytes(
      .step, seq: seq,
      [
        "position": "\(position)", "token": "\(position)",
        "step": "{\"text\":\"s\(position) \",\"lambda\":0.1,\"rows\":1,\"keys\":16}",
      ],
      rows(position..<position + 1, wanted)
        + [
          ArrayToWrite("visible", int32: counts, shape: [2, 4]),
          ArrayToWrite("skipped", int32: counts.map { $0 - 2 }, shape: [2, 4]),
        ])
  }

  /// The same as a file.
  func dump() throws -> Dump {
    let path = FileManager.default.temporaryDirectory.appending(
      path: "stream-\(UUID()).safetensors"
    ).path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try writeSafetensors(rows(0..<Self.tokens), metadata: ["causal": "true"], to: path, force: true)
    return try Dump.open(path)
  }

  /// Everything: hello, a prompt in two parts, and steps from 30 on.
  var all: [[UInt8]] {
    [Self.hello(), prefill(0..<20, seq: 1), prefill(20..<30, seq: 2)]
      + (30..<Self.tokens).map { step($0, seq: $0 - 27) }
  }
}

extension StreamBackend {
  /// The newest status that a condition holds for.
  func status(_ isSo: (LiveStatus) -> Bool) async -> LiveStatus? {
    for await moment in moments {
      if case .live(let status) = moment, isSo(status) { return status }
    }
    return nil
  }
}
