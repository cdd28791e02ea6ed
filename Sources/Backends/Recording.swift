import Attention
import FoundationEssentials
import Formats
import Models
import Sessions
import Tensors

/// A run on disk: safetensors files one after another, each of which tells its own length.
///
/// The first has `kind` = `prefill` and holds the prompt's positions; every later one has `kind` =
/// `step` and one token of one branch. Arrays are those of a dump: `layers.{l}.q`
/// `[heads, positions, headDim]`, `layers.{l}.k` and `.v` `[kvHeads, positions, headDim]`, half
/// floats, and `token_ids` `[positions]`; what else a step knows stands in the metadata as JSON.
///
/// Example:
/// `try Recording(model: config, promptTokens: 12, stores: stores).write(to: "run.safetensors")`.
/// The catch: arrays are half floats, so that a replay's numbers differ from the run's in the
/// fourth digit; what steps say of themselves is stored as it was.
struct Recording {
  /// Whose shapes the arrays have.
  let model: ModelConfig
  /// Positions of the first part.
  let promptTokens: Int
  /// The trunk first; a branch stores only what it does not share.
  let stores: [BranchStore]

  /// Bytes written. The file appears when all is there. Throws `FormatError` when the name is taken
  /// or writing fails, and `ModelError` when a position's queries are no longer known.
  func write(to path: String) throws -> Int {
    guard
      stores.allSatisfy({ store in
        model.layerNumbers.layerIndices.allSatisfy {
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
    let layers = model.layerNumbers
    for layer in layers.layerIndices {
      let queries = (0..<model.heads).compactMap {
        store.queries.tensor(layer, head: $0, positions)
      }
      let keys = store.keys(layer)
      func add(_ name: String, _ heads: [Tensor]) {
        guard !heads.isEmpty else { return }
        out.append(
          ArrayToWrite(
            "layers.\(layers[layer]).\(name)", floats: heads.flatMap { $0.floats() },
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
        decoding: try JSONEncoder().encode(StoredStep(step, store.counts(position))),
        as: UTF8.self),
    ]
  }
}

/// A branch as it stands in the metadata.
///
/// A type of its own, so that renaming a field of `Branch` does not change files.
struct StoredBranch: Codable {
  /// Its place in the list.
  let id: Int
  /// The branch it left; nil for the trunk.
  let parent: Int?
  /// Tokens that it shares with its parent.
  let fork: Int
  /// How it attended, as text.
  let attention: String

  /// As it is written.
  init(_ branch: Branch) {
    (id, parent, fork, attention) = (branch.id, branch.parent, branch.fork, branch.attention)
  }

  /// As it was read; nothing is checked here.
  var branch: Branch { Branch(id: id, parent: parent, fork: fork, attention: attention) }
}

/// A step as it stands in the metadata.
///
/// What older versions did not write is optional; sides of a tile are checked, since a file may
/// hold anything.
struct StoredStep: Codable {
  /// What the token completes; may be empty.
  let text: String
  /// ln of the probability that the token had, in nats.
  let logprob: Double?
  /// The likeliest tokens, best first.
  let top: [Candidate]
  /// `[layers * heads]` blocks that the pass could see; empty where they were not counted.
  let visible: [Int32]
  /// `[layers * heads]` of them that it skipped.
  let skipped: [Int32]
  /// Divergence from dense attention's next token, in nats; nil without a shadow.
  let kl: Double?
  /// Dense attention would have chosen the same token; nil without a shadow.
  let agrees: Bool?
  /// Milliseconds of the pass.
  let ms: Double
  /// How the pass attended, as text.
  let attention: String
  /// The threshold; nil for methods without one.
  let lambda: Double?
  /// Query rows of the tile whose blocks were counted; nil without blocks.
  let rows: Int?
  /// Keys of a block.
  let keys: Int?
  /// Who decided, as `Vote` writes it.
  let vote: String?
  /// How blocks were visited, as `Order` writes it.
  let order: String?

  /// A token that might have come instead.
  struct Candidate: Codable {
    /// Its number in the vocabulary.
    let token: Int
    /// Its text, escaped as the tokenizer shows it.
    let piece: String
    /// Before softmax.
    let logit: Float
  }

  /// As it is written, with the counts of the pass that read the token.
  init(_ step: Step, _ counts: BlockCounts?) {
    (text, logprob, kl, agrees) = (step.text, step.logProbability, step.divergence, step.agrees)
    (ms, attention, lambda) = (step.milliseconds, step.attention, step.lambda)
    (rows, keys) = (step.tile?.rows, step.tile?.keys)
    (vote, order) = (step.tile?.vote.rawValue, step.tile?.order.rawValue)
    top = step.top.map { Candidate(token: $0.token, piece: $0.piece, logit: $0.logit) }
    (visible, skipped) = (counts?.visible ?? [], counts?.skipped ?? [])
  }

  /// The tile whose blocks were counted; nil without one, or with sides beyond 2^20.
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
