import Analysis
import Attention
import Backends
import Formats
import Glibc
import Methods
import Models
import Tensors

/// Where margins come from: groups of query heads that share a KV head.
///
/// Groups are made when asked for, one at a time, so a source of any size fits. A group is what may
/// vote together; a source that votes by head is asked for groups all the same.
protocol CalibrationSource {
  /// For titles.
  var name: String { get }
  /// Keys of the whole context.
  var tokens: Int { get }
  /// How many groups there are.
  var count: Int { get }
  /// Group `index`, from 0 to `count` - 1. Throws when its heads cannot be read.
  func group(_ index: Int) throws -> HeadGroup
}

/// A dump's heads, all layers or those chosen.
struct DumpSource: CalibrationSource {
  /// Views of the mapped file.
  private let heads: DumpHeads
  /// The first query head of every group.
  private let places: [(layer: LayerIndex, head: Int)]

  /// All layers unless given.
  init(_ dump: Dump, layers: [LayerIndex]?) {
    let heads = DumpHeads(dump)
    self.heads = heads
    places = (layers ?? heads.layers.layerIndices).flatMap { layer in
      stride(from: 0, to: heads.heads(layer), by: heads.groupSize(layer)).map { (layer, $0) }
    }
  }

  /// The file, without its folder.
  var name: String {
    heads.dump.path.split(separator: "/").last.map(String.init) ?? heads.dump.path
  }
  /// Keys of the first layer.
  var tokens: Int { heads.dump.layers[0].positions.keys }
  /// Groups of all layers chosen.
  var count: Int { places.count }

  /// Throws `mismatch` when the dump lacks a head of the group.
  func group(_ index: Int) throws -> HeadGroup {
    guard let group = heads.group(places[index].layer, containing: places[index].head) else {
      throw FormatError(
        .mismatch, "layer \(heads.layers[places[index].layer]) lacks heads of a group",
        file: heads.dump.path)
    }
    return group.0
  }
}

/// A model that has read a text with dense attention.
///
/// Queries are recorded and keys are in the cache, so every head's scores can be made again.
/// Memory: queries and cache of the whole text, for the layers chosen.
final class ModelSource: CalibrationSource {
  /// What read the text, and is asked again for prices.
  let model: LanguageModel
  /// Token numbers of the whole text.
  private let text: [Int]
  /// Indices of the layers that are looked at.
  private let layers: [LayerIndex]
  /// Caches after the dense pass.
  private let state: RunState
  /// Queries as they were computed, in float32.
  private let record: QueryRecord

  /// Reads the text at once: this is where the time goes.
  init(_ model: LanguageModel, tokens: [Int], layers: [LayerIndex]) {
    (self.model, self.layers, text) = (model, layers, tokens)
    record = QueryRecord(model.config, layers: Set(layers), budget: .max, exact: true)
    state = RunState(model)
    model.prefill(tokens, state, Self.plan(.dense), observer: record)
  }

  /// As the model's file tells it.
  var name: String { model.config.name }
  /// Tokens of the text.
  var tokens: Int { text.count }
  /// KV heads of all layers chosen.
  var count: Int { layers.count * model.config.kvHeads }

  /// The query heads of one KV head, layer after layer; queries in float32, keys as the cache holds
  /// them. Throws nothing.
  func group(_ index: Int) throws -> HeadGroup {
    let shared = model.config.kvHeads, size = model.config.heads / shared
    let layer = layers[index / shared], kv = index % shared
    let keys = state.caches[layer.value][kv].snapshot
    return HeadGroup(
      (kv * size..<(kv + 1) * size).map { head in
        Head(query: record.tensor(layer, head: head, 0..<text.count)!, cached: keys)
      })
  }

  /// How the model attends when prices are taken.
  private enum Choice {
    /// Nothing is skipped.
    case dense
    /// At this tile and lambda.
    case sparse(TileSpec, Double)
  }

  /// Sparse in prefill alone: prices are of reading, not of writing.
  private static func plan(_ choice: Choice) -> AttentionPlan {
    let dense = try! Dense(knobs: [:])
    guard case .sparse(let spec, let lambda) = choice else {
      return AttentionPlan(prefill: dense, decode: dense)
    }
    return AttentionPlan(
      prefill: try! BLASST(knobs: BLASST.knobs(spec, lambda: lambda)), decode: dense)
  }

  /// Perplexity and divergence of the next-token distributions, over the last positions of
  /// the text (256 at most). One prefill for dense and one for each reachable target. Throws
  /// nothing of its own.
  func prices(_ phase: PhaseReport, _ spec: TileSpec) throws -> [ModelPrice] {
    let last = min(256, text.count - 1)
    guard last > 0 else { return [] }
    let dense = logits(.dense, last)
    return phase.targets.compactMap { target -> ModelPrice? in
      guard let lambda = target.lambda else { return nil }
      let sparse = logits(.sparse(spec, lambda), last)
      var price = ModelPrice(target: target.target, lambda: lambda, tokens: last)
      for (index, row) in dense.enumerated() {
        let next = text[text.count - last + index], other = sparse[index]
        let (a, b) = (
          row.withUnsafeBufferPointer(logSumExp), other.withUnsafeBufferPointer(logSumExp)
        )
        price.dense += a - Double(row[next])
        price.sparse += b - Double(other[next])
        price.divergence += Self.divergence(row, a, other, b)
        if row.indices.max(by: { row[$0] < row[$1] })
          == other.indices.max(by: { other[$0] < other[$1] })
        {
          price.agreement += 1
        }
      }
      return price.averaged
    }
  }

  /// The logits that predict the last `count` tokens, `[count][vocabulary]`.
  private func logits(_ choice: Choice, _ count: Int) -> [[Float]] {
    var out: [[Float]] = []
    let first = text.count - count - 1
    model.prefill(
      text, RunState(model), Self.plan(choice),
      everyLogit: { position, logits in
        if position >= first, position < self.text.count - 1 { out.append(Array(logits)) }
      })
    return out
  }

  /// KL(dense || sparse) in nats.
  private static func divergence(_ p: [Float], _ lseP: Double, _ q: [Float], _ lseQ: Double)
    -> Double
  {
    var sum = 0.0
    for index in p.indices {
      let logP = Double(p[index]) - lseP
      sum += exp(logP) * (logP - (Double(q[index]) - lseQ))
    }
    return max(0, sum)
  }
}

/// What a threshold does to a model's predictions: sums while it is gathered, means from
/// `averaged`.
struct ModelPrice {
  /// The sparsity that was asked for, a share.
  let target: Double
  /// What reaches it at the longest length.
  let lambda: Double
  /// Predicted tokens.
  let tokens: Int
  /// Mean negative log-likelihood of the next token in nats, dense and pruned.
  var dense = 0.0, sparse = 0.0
  /// KL(dense ‖ pruned) of the next token, in nats.
  var divergence = 0.0
  /// Share of positions with the same most likely token.
  var agreement = 0.0

  /// Nothing gathered yet.
  init(target: Double, lambda: Double, tokens: Int) {
    (self.target, self.lambda, self.tokens) = (target, lambda, tokens)
  }

  /// Every sum divided by the number of tokens.
  var averaged: ModelPrice {
    var copy = self
    let n = Double(tokens)
    (copy.dense, copy.sparse, copy.divergence, copy.agreement) = (
      dense / n, sparse / n, divergence / n, agreement / n
    )
    return copy
  }
}
