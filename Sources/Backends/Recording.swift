import Attention
import FoundationEssentials
import Formats
import Models
import Sessions
import Tensors
import Wire

/// A run on disk: safetensors files one after another, each of which tells its own length.
///
/// The first has `kind` = `prefill` and holds the prompt's positions; every later one has `kind` =
/// `step` and one token of one branch, or several (`Autosave`). Arrays are those of a dump:
/// `layers.{l}.q` `[heads, positions, headDim]`, `layers.{l}.k` and `.v` `[kvHeads, positions,
/// headDim]`, half floats, and `token_ids` `[positions]`; what else a step knows stands in the
/// metadata as JSON.
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
  func arrays(_ store: BranchStore, _ positions: Range<Int>) -> [ArrayToWrite] {
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
  func head() throws -> [String: String] {
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
    let step = store.steps(position..<position + 1)[0], counts = store.counts(position)
    let facts = StepFacts(step, visible: counts?.visible ?? [], skipped: counts?.skipped ?? [])
    return [
      "kind": "step", "position": "\(position)", "token": "\(step.token)",
      "branch": "\(store.branch.id)",
      "step": String(decoding: try JSONEncoder().encode(facts), as: UTF8.self),
    ]
  }
}
