public import Attention
public import Formats
import Sessions
import Tensors

/// The heads of a dump: arrays become `Head`s, and masks that were stored alone become tables.
///
/// Example: `DumpHeads(dump).head(0, 3)` is head 3 of the first layer in the file. Nothing is
/// copied: heads are views of the mapped file. The catch: of a file that is inflated as it is
/// looked at, a head holds the members that it is of, so keep few of them.
public struct DumpHeads: Sendable {
  /// The file; of its biases those that are added, by the layer's number.
  public let dump: Dump
  /// What became of each attention bias of the file, and what layers differ in, in sentences.
  let ruleRemarks: [String]

  /// Of heads with rules beside scale and causality.
  private let ruled = RuledScores()

  /// How much learned sinks take, as far as it was asked for.
  private let sinkMasses = SinkMasses()

  /// Looks at the rules of the file alone; heads are made when they are asked for.
  public init(_ dump: Dump) {
    var own = dump
    let said: [String]
    (own.rules.biases, said) = dump.addedBiases()
    ruleRemarks = said + dump.layerRules.sentences(of: dump)
    self.dump = own
  }

  /// What lies between Q, K and the pattern of a layer, beside scale and causality.
  public func rules(_ layer: LayerIndex) -> AttentionRules {
    let number = dump.layers[layer.value].layer
    var own = dump.layerRules.rules(dump.rules, layer: number)
    own.biases = dump.rules.biases.filter { $0.key == number }
    return own
  }

  /// Whether some layer has rules.
  var hasRules: Bool { layers.layerIndices.contains { !rules($0).areNone } }

  /// The logits of a layer's learned sink `[heads]`; nil where it has none.
  public func sinks(_ layer: LayerIndex) -> [Float]? {
    dump.layerRules.sinks(layer: dump.layers[layer.value].layer, heads: heads(layer))
  }

  /// The same where rows are computed here, and the sink's part can be taken off: rows of a stored
  /// pattern are what the file says.
  func sinksOnRows(_ layer: LayerIndex) -> [Float]? {
    [.qkv, .scores].contains(dump.kind) ? sinks(layer) : nil
  }

  /// The share of a head's rows that its learned sink takes, the mean over the rows; nil without a
  /// sink. Of long heads a sample of rows is looked at.
  public func sinkMass(_ layer: LayerIndex, _ head: Int) -> Double? {
    guard let logit = sinks(layer)?[head] else { return nil }
    return sinkMasses.mass(HeadID(layer: layer, head: head)) {
      self.head(layer, head).flatMap { SinkMasses.mean($0, logit: logit) }
    }
  }

  /// Numbers of the layers, as the file calls them; all other functions here take an index into
  /// these.
  public var layers: [LayerNumber] { dump.layers.map { LayerNumber($0.layer) } }

  /// Query heads of a layer.
  public func heads(_ layer: LayerIndex) -> Int { dump.layers[layer.value].positions.heads }

  /// Key heads of a layer; as many as query heads where no keys are stored.
  public func kvHeads(_ layer: LayerIndex) -> Int {
    dump.layers[layer.value].arrays[.key]?.shape[0] ?? heads(layer)
  }

  /// Query heads that share a KV head.
  public func groupSize(_ layer: LayerIndex) -> Int { heads(layer) / max(kvHeads(layer), 1) }

  /// A query head with the keys and values of its KV head, as views; the scale is the file's, 1/√d
  /// unless told. Nil for a source that stored only masks.
  public func head(_ layer: LayerIndex, _ head: Int) -> Head? {
    let arrays = dump.layers[layer.value].arrays
    switch dump.kind {
    case .qkv:
      guard let q = arrays[.query]?.held, let k = arrays[.key]?.held else { return nil }
      let kv = head / groupSize(layer), value = arrays[.value]?.held[kv]
      if let ruled = ruledHead(layer, head, q[head], k[kv], value) { return ruled }
      return Head(
        query: q[head], key: k[kv], value: value, causal: dump.causal,
        offset: dump.queryOffset,
        scale: dump.scale)
    case .pattern:
      return arrays[.pattern].map {
        Head(
          pattern: $0.held[head], causal: dump.causal, offset: dump.queryOffset,
          firsts: firsts(layer), lasts: lasts(layer))
      }
    case .scores:
      return arrays[.scores].map {
        Head(
          scores: $0.held[head], causal: dump.causal, offset: dump.queryOffset,
          firsts: firsts(layer), lasts: lasts(layer))
      }
    case .mask: return nil
    }
  }

  /// Whether rules beside scale and causality are followed: of Q and K not where the map would be
  /// too large to be stored.
  func followsRules(_ layer: LayerIndex) -> Bool {
    let (queries, keys, _) = dump.layers[layer.value].positions
    return dump.kind != .qkv || queries * keys <= RuledScores.mostEntries
  }

  /// The first key of each row of a layer `[queries]`; nil where all see key 0.
  func firsts(_ layer: LayerIndex) -> [Int]? {
    guard followsRules(layer) else { return nil }
    let (queries, keys, _) = dump.layers[layer.value].positions
    return rules(layer).firsts(
      queries: queries, keys: keys, offset: dump.queryOffset ?? keys - queries,
      causal: dump.causal)
  }

  /// The first key that each row sees in some layer `[queries]`; nil where all see key 0 in one.
  func firstsOfAll() -> [Int]? {
    var least: [Int]?
    for layer in layers.layerIndices {
      guard let own = firsts(layer) else { return nil }
      least = least.map { zip($0, own).map(min) } ?? own
    }
    return least
  }

  /// How many leading keys each row of a layer sees at most `[queries]`; nil where causality says
  /// it, or all see the last key.
  func lasts(_ layer: LayerIndex) -> [Int]? {
    guard followsRules(layer) else { return nil }
    let (queries, keys, _) = dump.layers[layer.value].positions
    return rules(layer).lasts(
      queries: queries, keys: keys, offset: dump.queryOffset ?? keys - queries,
      causal: dump.causal)
  }

  /// The most of these in any layer `[queries]`; nil where all see the last key in one.
  func lastsOfAll() -> [Int]? {
    var most: [Int]?
    for layer in layers.layerIndices {
      guard let own = lasts(layer) else { return nil }
      most = most.map { zip($0, own).map(max) } ?? own
    }
    return most
  }

  /// A head whose scores are more than scaled products, as one of stored scores; nil where they are
  /// not, and where there are too many of them.
  private func ruledHead(
    _ layer: LayerIndex, _ head: Int, _ query: Tensor, _ key: Tensor, _ value: Tensor?
  ) -> Head? {
    let rules = rules(layer), queries = query.shape[0], keys = key.shape[0]
    guard !rules.areNone, followsRules(layer) else { return nil }
    let offset = dump.queryOffset ?? keys - queries
    let bias = rules.biases[dump.layers[layer.value].layer].map { $0[$0.shape[0] > 1 ? head : 0] }
    let scores = ruled.scores(layer.value << 20 + head) {
      RuledScores.make(
        query: query, key: key,
        scale: dump.scale ?? 1 / Double(max(query.shape[1], 1)).squareRoot(), rules: rules,
        bias: bias, offset: offset, causal: dump.causal)
    }
    return Head(
      scores: scores, value: value, causal: dump.causal, offset: dump.queryOffset,
      firsts: firsts(layer), lasts: lasts(layer))
  }

  /// What a card asks for beyond Q, K, V: an array of a layer, or of the whole file. Throws
  /// `Missing`, which says under which names it was looked for.
  func array(_ need: Need, layer: LayerIndex) throws -> Tensor {
    let arrays = dump.layers[layer.value].arrays, name = "layers.\(layers[layer].value)"
    switch need {
    case .selection:
      guard let chosen = arrays[.selected] else {
        throw Missing(
          need,
          hint: """
            no \(name).selected, nor topk_indices, selected_indices or indices of layer \
            \(layers[layer])
            """
        )
      }
      return chosen.held
    case .indexScores:
      guard let scores = arrays[.indexScores] else {
        throw Missing(need, hint: "no \(name).index_scores")
      }
      return scores.held
    case .probe:
      guard let probed = arrays[.probed] else {
        throw Missing(need, hint: "its dump has no \(name).probed")
      }
      return probed.held
    case .writeStrengths:
      guard let beta = arrays[.beta] else { throw Missing(need, hint: "no \(name).beta") }
      return beta.held
    default:
      guard let array = need.array.flatMap({ dump.extras[$0] }) else { throw Missing(need) }
      return array.held
    }
  }

  /// W_Q, W_K, W_V and W_O of a layer. Throws `Missing`, which names what is not there.
  func projections(_ layer: LayerIndex) throws -> Projections {
    let arrays = dump.layers[layer.value].arrays, name = "layers.\(layers[layer].value)"
    guard let q = arrays[.queryWeights], let k = arrays[.keyWeights],
      let v = arrays[.valueWeights], let o = arrays[.outputWeights]
    else {
      let all: [ArrayRole] = [.queryWeights, .keyWeights, .valueWeights, .outputWeights]
      guard let lacking = all.first(where: { arrays[$0] == nil }),
        all.contains(where: { arrays[$0] != nil })
      else { throw Missing(.weights) }
      throw Missing(.weights, hint: "no \(name).\(lacking.rawValue)")
    }
    guard let found = Projections(query: q.held, key: k.held, value: v.held, output: o.held) else {
      throw Missing(.weights, hint: "the shapes of \(name).w_q, w_k, w_v and w_o disagree")
    }
    return found
  }

  /// The group that query head `head` belongs to, and its place in it.
  /// Nil when the file lacks one of its members, or holds masks alone.
  public func group(_ layer: LayerIndex, containing head: Int) -> (HeadGroup, slot: Int)? {
    let size = groupSize(layer)
    let first = head / size * size
    let members = (first..<first + size).compactMap { self.head(layer, $0) }
    return members.count == size ? (HeadGroup(members), head - first) : nil
  }

  /// The table of one head of a mask-only source: no masses, and no margins unless the file has
  /// them.
  ///
  /// `tile` are the sides of a block in tokens, from the file's metadata or told by flag. Ones are
  /// kept or skipped as the dump says; blocks that causality hides are invisible whatever the file
  /// has there. Nil for any other source.
  public func storedTable(_ layer: LayerIndex, _ head: Int, tile: (rows: Int, keys: Int))
    -> BlockTable?
  {
    guard dump.kind == .mask, let blocks = dump.layers[layer.value].arrays[.blocks],
      head < blocks.shape[0]
    else { return nil }
    let map = blocks.held[head]
    let queries = map.shape[0] * tile.rows, keys = map.shape[1] * tile.keys
    let visibility = storedVisibility(layer, tile: tile)
    let margins = dump.layers[layer.value].arrays[.margins].flatMap {
      $0.shape == blocks.shape ? $0[head].floats() : nil
    }
    let values = map.floats()
    // A file that marks what is invisible knows; of another one it is worked out.
    let isMarked = values.contains(255)
    let verdicts = values.enumerated().map { index, value -> UInt8 in
      let row = index / map.shape[1], column = index % map.shape[1]
      let lastRow = min((row + 1) * tile.rows, queries) - 1
      if value == 255 || (!isMarked && visibility.limit(row: lastRow) <= column * tile.keys) {
        return Verdict.invisible.rawValue
      }
      return ((value != 0) == dump.onesAreKept ? Verdict.computed : .skipped).rawValue
    }
    return BlockTable(
      storedMask: verdicts, margins: margins, spec: TileSpec(rows: tile.rows, keys: tile.keys),
      queries: queries,
      keys: keys)
  }

  /// Which keys the rows of a stored mask see; its sides are those of whole tiles.
  ///
  /// A mask does not tell how many rows and keys its ragged last tiles hold, and taking them for
  /// full would shift the diagonal. Where no offset is given and both sides can be the same number,
  /// query 0 stands at key 0, as in any prompt read at once; else as far on as it can, so that no
  /// block is taken for invisible that may be seen.
  func storedVisibility(_ layer: LayerIndex, tile: (rows: Int, keys: Int)) -> Visibility {
    let (rowTiles, keyTiles, _) = dump.layers[layer.value].positions
    let queries = rowTiles * tile.rows, keys = keyTiles * tile.keys
    let mayBeSquare = queries - tile.rows < keys && keys - tile.keys < queries
    return Visibility(
      causal: dump.causal, queries: queries, keys: keys,
      offset: dump.queryOffset ?? (mayBeSquare ? 0 : keys - (queries - tile.rows + 1)))
  }
}
