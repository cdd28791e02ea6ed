import FoundationEssentials
import Formats
import Models
import Sessions
import Tensors
import Wire

/// Parts of several tokens: what a recording that grows with its run is written in.
///
/// A part of one token costs a header of every array; one of 64 costs the same, and its block
/// counts stand in an array `block_counts` `[positions, 2, layers * heads]` (visible, then skipped)
/// rather than in JSON. Metadata: `steps`, one `StepFacts` a token, and `begins`, the branches
/// that no part before has named.
///
/// Example: `try writer.append(recording.part(store, 20..<84), metadata: ...)`.
extension Recording {
  /// Tokens of a part at most.
  static let mostTokens = 64

  /// Appends some positions of a branch, in parts. `begins` are the branches that the file does not
  /// name yet. Throws `FormatError` when the disk refuses.
  func append(
    _ positions: Range<Int>, of store: BranchStore, begins: [Branch],
    to writer: SafetensorsStreamWriter
  ) throws {
    var begins = begins
    for start in stride(from: positions.lowerBound, to: positions.upperBound, by: Self.mostTokens) {
      let some = start..<min(start + Self.mostTokens, positions.upperBound)
      let counts = some.map { store.counts($0) }
      let areApart = !counts.contains { $0 == nil }
      var all = arrays(store, some)
      if areApart { all.append(blockCounts(counts.compactMap { $0 })) }
      let steps = zip(store.steps(some), counts).map { step, counts in
        StepFacts(
          step, visible: areApart ? [] : counts?.visible ?? [],
          skipped: areApart ? [] : counts?.skipped ?? [])
      }
      try writer.append(
        all, metadata: try metadata(store.branch, some.lowerBound, steps, begins))
      begins = []
    }
  }

  /// `[positions, 2, layers * heads]`.
  private func blockCounts(_ counts: [BlockCounts]) -> ArrayToWrite {
    ArrayToWrite(
      "block_counts", int32: counts.flatMap { $0.visible + $0.skipped },
      shape: [counts.count, 2, model.layers * model.heads])
  }

  /// Where a part belongs, and what is known of its steps.
  private func metadata(
    _ branch: Branch, _ position: Int, _ steps: [StepFacts], _ begins: [Branch]
  ) throws -> [String: String] {
    func json(_ value: some Encodable) throws -> String {
      String(decoding: try JSONEncoder().encode(value), as: UTF8.self)
    }
    var out = [
      "kind": "step", "position": "\(position)", "branch": "\(branch.id)",
      "steps": try json(steps),
    ]
    if !begins.isEmpty { out["begins"] = try json(begins.map(StoredBranch.init)) }
    return out
  }

  /// Bytes that a position takes at least: its arrays, half floats.
  static func bytesPerPosition(layers: Int, heads: Int, kvHeads: Int, dim: Int) -> Int {
    2 * layers * dim * (heads + 2 * kvHeads)
  }
}

/// A part of a recording that is no prompt: what it says of itself, checked as far as it can be
/// without the parts before.
struct StoredPart {
  /// The branch that its tokens belong to.
  let branch: Int
  /// Of its first token.
  let position: Int
  /// `[positions]`, token numbers.
  let tokens: [Int]
  /// `[positions]`.
  let steps: [StepFacts]
  /// `[positions]`, each `[layers * heads]`; empty where blocks were not counted.
  let visible: [[Int32]], skipped: [[Int32]]

  /// Nil for what is no step, or where its lists are not equally long. `size` is layers times
  /// heads. Throws what reading an array throws.
  init?(_ part: any TensorArchive, size: Int) throws(FormatError) {
    let about = part.metadata
    guard about["kind"] == "step", let branch = about["branch"].flatMap({ Int($0) }),
      let position = about["position"].flatMap({ Int($0) }), position >= 0
    else { return nil }
    (self.branch, self.position) = (branch, position)
    func read<T: Decodable>(_ type: T.Type, _ key: String) -> T? {
      about[key].flatMap { try? JSONDecoder().decode(type, from: Data($0.utf8)) }
    }
    if let one = read(StepFacts.self, "step"), let token = about["token"].flatMap({ Int($0) }) {
      (steps, tokens) = ([one], [token])
    } else if let several = read([StepFacts].self, "steps"), !several.isEmpty {
      let ids = try part.tensor("token_ids")
      guard ids.shape.axes == [several.count] else { return nil }
      (steps, tokens) = (several, ids.floats().map { abs($0) < 1e9 ? Int($0) : 0 })
    } else {
      return nil
    }
    guard part.entry("block_counts") != nil else {
      (visible, skipped) = (steps.map(\.visible), steps.map(\.skipped))
      return
    }
    let counts = try part.tensor("block_counts")
    guard counts.shape.axes == [steps.count, 2, size] else { return nil }
    let all = counts.floats().map { Int32(clamping: Int(max(0, min($0, 1e9)))) }
    let rows = (0..<2 * steps.count).map { Array(all[$0 * size..<($0 + 1) * size]) }
    visible = steps.indices.map { rows[2 * $0] }
    skipped = steps.indices.map { rows[2 * $0 + 1] }
  }

  /// One of its steps as screens know it.
  func step(_ index: Int) -> Step {
    steps[index].step(
      position: position + index, token: tokens[index], visible: visible[index],
      skipped: skipped[index])
  }

  /// Its blocks head by head; nil where they were not counted. Traps unless there are `layers`
  /// times `heads`.
  func counts(_ index: Int, _ layers: Int, _ heads: Int) -> BlockCounts? {
    guard !visible[index].isEmpty else { return nil }
    return BlockCounts(
      layers: layers, heads: heads, visible: visible[index], skipped: skipped[index])
  }

  /// The branches that a part is the first to name; nil where they cannot be read.
  static func begins(_ part: any TensorArchive) -> [StoredBranch]? {
    guard let text = part.metadata["begins"] else { return [] }
    return try? JSONDecoder().decode([StoredBranch].self, from: Data(text.utf8))
  }
}
