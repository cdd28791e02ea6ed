import Attention
import FoundationEssentials
import Formats
import Models
import Sessions
import Tensors

/// A run on disk: safetensors files one after another, each of which tells its own length.
///
/// The first has `kind` = `prefill` and holds the prompt's positions; every later one has `kind` =
/// `step` and one token of one branch. Arrays are those of a dump (`layers.{l}.q` and so on, half
/// floats); what else a step knows stands in the metadata as JSON.
///
/// The catch: arrays are half floats, so that a replay's numbers differ from the run's in the
/// fourth digit; what steps say of themselves is stored as it was.
struct Recording {
  /// Whose shapes the arrays have.
  let model: ModelConfig
  /// Positions of the first part.
  let promptTokens: Int
  /// The trunk first; a branch stores only what it does not share.
  let stores: [BranchStore]

  /// Bytes written. The file appears when all is there. Throws when the name is taken, and when a
  /// position's queries are no longer known.
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

  /// Queries, keys and values `[heads, positions, headDim]` of every layer, and the token ids.
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

  /// Metadata of the first part: the shapes that a reader checks all others against, the texts, the
  /// tree of branches.
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

  /// Metadata of a step: where it belongs, and the rest as JSON.
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
///
/// A type of its own, so that renaming a field of `Branch` does not change files.
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
///
/// What older versions did not write is optional; sides of a tile are checked, since a file may
/// hold anything.
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
  /// Sides, vote and order of the tile whose blocks were counted.
  let rows: Int?
  let keys: Int?
  let vote: String?
  let order: String?

  /// A token that might have come instead.
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

  /// The step as screens know it. Counts that do not fit are clamped, a lambda above 1 is dropped.
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
