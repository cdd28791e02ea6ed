import Attention
import FoundationEssentials
import Formats
import Models
import Sessions
import Tensors

/// A run on disk: safetensors files one after another, each of which tells its own length.
///
/// The first has `kind` = `prefill` and holds the prompt's positions; every later one has `kind` = `step` and one token
/// of one branch. Arrays are those of a dump (`layers.{l}.q` and so on, half floats); what else a step knows stands in the
/// metadata as JSON.
struct Recording {
  let model: ModelConfig
  let promptTokens: Int
  let stores: [BranchStore]

  /// Bytes written. The file appears when all is there. Throws when the name is taken, and when a position's queries are
  /// no longer known.
  func write(to path: String) throws -> Int {
    guard
      stores.allSatisfy({ store in
        (0..<model.layers).allSatisfy {
          store.available($0, tokens: store.count) == 0..<store.count
        }
      })
    else {
      throw ModelError(
        .tooLong, "cannot be saved whole: the oldest queries were let go to stay within the budget",
        place: path)
    }
    let writer = try SafetensorsStreamWriter(path, force: false)
    try writer.append(arrays(stores[0], 0..<promptTokens), metadata: try head())
    for store in stores {
      for position in max(promptTokens, store.branch.fork)..<max(promptTokens, store.count) {
        try writer.append(
          arrays(store, position..<position + 1), metadata: try metadata(store, position))
      }
    }
    return try writer.finish()
  }

  private func arrays(_ store: BranchStore, _ positions: Range<Int>) -> [ArrayToWrite] {
    var out: [ArrayToWrite] = []
    for layer in 0..<model.layers {
      let queries = (0..<model.heads).compactMap {
        store.queries.tensor(layer, head: $0, positions)
      }
      let keys = store.keys(layer)
      func add(_ name: String, _ heads: [Tensor]) {
        guard !heads.isEmpty else { return }
        out.append(
          ArrayToWrite(
            "layers.\(layer).\(name)", floats: heads.flatMap { $0.floats() },
            shape: [heads.count, positions.count, model.headDim], half: true))
      }
      add("q", queries)
      add("k", keys.map { $0.keyRows(positions) })
      add("v", keys.map { $0.valueRows.slice(axis: 0, positions) })
    }
    let ids = store.steps(positions).map { Int32($0.token) }
    out.append(ArrayToWrite("token_ids", int32: ids, shape: [ids.count]))
    return out
  }

  private func head() throws -> [String: String] {
    let texts = stores[0].steps(0..<promptTokens).map(\.text)
    return [
      "kind": "prefill", "position": "0", "causal": "true", "rope_applied": "true",
      "model": model.name, "scale": "\(1 / Double(model.headDim).squareRoot())",
      "layers": "\(model.layers)", "heads": "\(model.heads)", "kv_heads": "\(model.kvHeads)",
      "head_dim": "\(model.headDim)",
      "tokens": String(decoding: try JSONEncoder().encode(texts), as: UTF8.self),
      "branches": String(
        decoding: try JSONEncoder().encode(stores.map { StoredBranch($0.branch) }), as: UTF8.self),
    ]
  }

  private func metadata(_ store: BranchStore, _ position: Int) throws -> [String: String] {
    let step = store.steps(position..<position + 1)[0]
    return [
      "kind": "step", "position": "\(position)", "token": "\(step.token)",
      "branch": "\(store.branch.id)",
      "step": String(
        decoding: try JSONEncoder().encode(StoredStep(step, store.counts(position))), as: UTF8.self),
    ]
  }
}

/// A branch as it stands in the metadata.
struct StoredBranch: Codable {
  let id: Int
  let parent: Int?
  let fork: Int
  let attention: String

  init(_ branch: Branch) {
    (id, parent, fork, attention) = (branch.id, branch.parent, branch.fork, branch.attention)
  }

  var branch: Branch { Branch(id: id, parent: parent, fork: fork, attention: attention) }
}

/// A step as it stands in the metadata.
struct StoredStep: Codable {
  let text: String
  let logprob: Double?
  let top: [Candidate]
  let visible: [Int32]
  let skipped: [Int32]
  let kl: Double?
  let agrees: Bool?
  let ms: Double
  let attention: String
  let lambda: Double?
  /// "1x128 group asc", as the sides, the vote and the order of the tile.
  let rows: Int?
  let keys: Int?
  let vote: String?
  let order: String?

  struct Candidate: Codable {
    let token: Int
    let piece: String
    let logit: Float
  }

  init(_ step: Step, _ counts: BlockCounts?) {
    (text, logprob, kl, agrees) = (step.text, step.logProbability, step.divergence, step.agrees)
    (ms, attention, lambda) = (step.milliseconds, step.attention, step.lambda)
    (rows, keys) = (step.tile?.rows, step.tile?.keys)
    (vote, order) = (step.tile?.vote.rawValue, step.tile?.order.rawValue)
    top = step.top.map { Candidate(token: $0.token, piece: $0.piece, logit: $0.logit) }
    (visible, skipped) = (counts?.visible ?? [], counts?.skipped ?? [])
  }

  private var tile: TileSpec? {
    guard let rows, let keys, (1...1 << 20).contains(rows), (1...1 << 20).contains(keys) else {
      return nil
    }
    return TileSpec(
      rows: rows, keys: keys, vote: vote.flatMap(Vote.init(rawValue:)) ?? .head,
      order: order.flatMap(Order.init(rawValue:)) ?? .ascending)
  }

  func step(position: Int, token: Int) -> Step {
    Step(
      position: position, token: token, text: text, isPrompt: false, logProbability: logprob,
      top: top.map { Step.Candidate(token: $0.token, piece: $0.piece, logit: $0.logit) },
      visibleBlocks: visible.reduce(0) { $0 + Int(clamping: $1) },
      skippedBlocks: skipped.reduce(0) { $0 + Int(clamping: $1) }, divergence: kl, agrees: agrees,
      milliseconds: ms, attention: attention, lambda: lambda.flatMap { $0 <= 1 ? $0 : nil },
      tile: tile)
  }
}
