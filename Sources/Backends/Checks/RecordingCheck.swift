import Algebra
import Attention
import Formats
import Glibc
import Models
import Sessions
import Synchronization
import Tensors

/// Recomputes a sample of what a recording says from the queries and keys in its parts: rows of the
/// map as a replay shows them, and the blocks that each decoded token skipped as the run counted
/// them.
///
/// The run decided with the numbers that it had; the file holds halves of them. Blocks whose margin
/// is within that rounding of the threshold may have gone either way. What has no arrays to be held
/// against is looked at for its range: probabilities, logits, counts.
public struct RecordingCheck {
  private let backend: ReplayBackend
  private let stream: SafetensorsStream
  private let request: CheckRequest
  private let tell: @Sendable (Double) -> Void
  private let isCancelled: @Sendable () -> Bool

  static let rows = "recorded rows of the map", counts = "recorded blocks: skipped"
  static let visible = "recorded blocks: visible", facts = "recorded steps: ranges"

  /// Reads the whole recording. Throws `FormatError`.
  public init(
    _ path: String, _ request: CheckRequest, tell: @escaping @Sendable (Double) -> Void,
    isCancelled: @escaping @Sendable () -> Bool
  ) throws {
    (backend, stream) = (try ReplayBackend(path), try SafetensorsStream(path))
    (self.request, self.tell, self.isCancelled) = (request, tell, isCancelled)
  }

  /// Throws `CancellationError`, and what reading throws.
  public func run() throws -> CheckTally {
    var random = SplitMix64(request.seed), tally = CheckTally()
    let stores = backend.stores, about = backend.describe()
    for (branch, store) in stores.enumerated() {
      tally.add(facts(branch, store))
      let steps = store.steps(0..<store.count)
      if steps.contains(where: { !$0.isPrompt && $0.lambda == nil }) {
        tally.note(
          """
          branch \(branch) was decoded by a method without a threshold: its counts of blocks are \
          looked at for their range alone
          """)
      }
    }
    for turn in 0..<request.count {
      if isCancelled() { throw CancellationError() }
      func any(_ count: Int) -> Int { Int.random(in: 0..<count, using: &random) }
      let branch = any(stores.count), layer = LayerIndex(any(about.layers.count))
      let head = any(about.heads), store = stores[branch]
      guard let places = try places(branch) else { continue }
      tally.add(try row(branch, layer, head, any(store.count), places))
      let decoded = (0..<store.count).filter { store.counts($0) != nil }
      if !decoded.isEmpty {
        tally.add(try blocks(branch, layer, head, decoded[any(decoded.count)], places))
      }
      tell(Double(turn + 1) / Double(request.count))
    }
    tally.note("prompts have no counts of blocks in a recording: their masks are not checked")
    return tally
  }

  // MARK: Arrays of a branch

  /// Where each position of a branch lies: part and row of it, `[positions]`. Nil for a branch
  /// whose parts are not all there.
  private func places(_ branch: Int) throws -> [(part: Int, row: Int)]? {
    let store = backend.stores[branch]
    var places: [(part: Int, row: Int)]
    if let parent = store.branch.parent {
      guard let shared = try self.places(parent), shared.count >= store.branch.fork else {
        return nil
      }
      places = Array(shared.prefix(store.branch.fork))
    } else {
      let count = try stream.parts[0].tensor("token_ids").count
      places = (0..<count).map { (0, $0) }
    }
    for (index, part) in stream.parts.enumerated().dropFirst()
    where part.metadata["branch"] == "\(branch)" {
      places.append((index, 0))
    }
    return places.count == store.count ? places : nil
  }

  /// Rows `[positions, d]` of one head of an array, from the parts they lie in.
  private func rows(
    _ name: String, _ head: Int, _ places: some Collection<(part: Int, row: Int)>
  ) throws -> Tensor {
    var values: [Float] = []
    for (part, row) in places {
      values += try stream.parts[part].tensor(name)[head][row].floats()
    }
    return Tensor(values, shape: [places.count, values.count / max(places.count, 1)])
  }

  /// Query heads as they saw the first positions: query row `row` alone against the keys up to it.
  private func heads(
    _ layer: LayerIndex, _ heads: Range<Int>, _ row: Int, _ places: [(part: Int, row: Int)]
  ) throws -> [StraightHead] {
    let about = backend.describe(), size = about.heads / about.kvHeads
    let name = "layers.\(about.layers[layer])"
    var keys: [Int: Tensor] = [:]
    return try heads.map { head in
      let query = try rows("\(name).q", head, [places[row]])
      let kv = head / size
      let key = try keys[kv] ?? rows("\(name).k", kv, places[...row])
      keys[kv] = key
      var rules = StraightRules(causal: true, offset: row)
      rules.scale = 1 / Double(query.shape[1]).squareRoot()
      return StraightHead(.projections(query: query, key: key), rules: rules)
    }
  }

  private func name(_ branch: Int, _ layer: LayerIndex, _ head: Int) -> String {
    "branch \(branch) \(backend.describe().layers[layer].value).\(head)"
  }

  // MARK: What is compared

  /// A row as a replay answers it.
  private func row(
    _ branch: Int, _ layer: LayerIndex, _ head: Int, _ row: Int,
    _ places: [(part: Int, row: Int)]
  ) throws -> CheckLine {
    var line = CheckLine(Self.rows)
    let store = backend.stores[branch]
    let question = Question.row(.pattern(HeadID(layer: layer, head: head)), row)
    let frame = Frame(branch: branch, tokens: store.count)
    guard case .row(let found) = try backend.answers.answer(question, at: frame, store) else {
      return line
    }
    let straight = try heads(layer, head..<head + 1, row, places)[0]
    let wanted = straight.pattern(0).weights, bound = CheckBound(straight, isRuled: false)
    for key in found.indices {
      let weight = key < wanted.count ? wanted[key] : 0
      line.add(
        Double(found[key]), weight, within: bound.mass(weight),
        at: "\(name(branch, layer, head)) row \(row) key \(key)")
    }
    return line
  }

  /// How many blocks a decoded token saw and skipped in one layer and head.
  private func blocks(
    _ branch: Int, _ layer: LayerIndex, _ head: Int, _ position: Int,
    _ places: [(part: Int, row: Int)]
  ) throws -> CheckTally {
    var tally = CheckTally()
    let store = backend.stores[branch], about = backend.describe()
    guard let step = store.steps(position..<position + 1).first, let lambda = step.lambda,
      var spec = step.tile, let counts = store.counts(position)
    else { return tally }
    guard store.branch.parent == nil else {
      tally.note(
        """
        branch \(branch) read the token before its first once more, and that pass is not recorded: \
        its counts of blocks are looked at for their range alone
        """)
      return tally
    }
    guard !step.attention.contains("lse"), !step.attention.contains("splits") else {
      tally.note("steps decided by \(step.attention) are looked at for their range alone")
      return tally
    }
    spec.rows = 1
    let size = about.heads / about.kvHeads, first = head / size * size
    let unit = try heads(
      layer, spec.vote == .group ? first..<first + size : head..<head + 1, position, places)
    let straight = StraightTile(unit, spec, tile: 0)
    // Both factors of a product are rounded to halves, and a margin is a difference of two.
    let rounding = 4 * 0x1p-11 * (unit.map(\.norm).max() ?? 0) + TilePass.floatError
    let margins = straight.margins.filter { !$0.isNaN }
    let level = lambda > 0 ? log(lambda) : -.infinity
    let at = layer.value * about.heads + head
    let text = "\(name(branch, layer, head)) token \(position)"
    var visible = CheckLine(Self.visible), skipped = CheckLine(Self.counts)
    visible.add(Double(counts.visible[at]), Double(margins.count), within: 0, at: text)
    skipped.add(
      Double(counts.skipped[at]), Double(margins.count { $0 < level }),
      within: Double(margins.count { abs($0 - level) <= rounding }), at: text)
    tally.add(visible)
    tally.add(skipped)
    return tally
  }

  /// What must hold of a step, whatever the model.
  private func facts(_ branch: Int, _ store: BranchStore) -> CheckLine {
    var line = CheckLine(Self.facts)
    for step in store.steps(0..<store.count) where !step.isPrompt {
      let text = "branch \(branch) token \(step.position)"
      if let log = step.logProbability {
        line.add(log <= 1e-6, at: "\(text): a probability of e^\(log)")
      }
      if let kl = step.divergence { line.add(kl >= -1e-6, at: "\(text): KL is \(kl)") }
      let logits = step.top.map(\.logit)
      line.add(
        zip(logits, logits.dropFirst()).allSatisfy { $0 >= $1 },
        at: "\(text): rivals are not in the order of their logits")
      guard let counts = store.counts(step.position) else { continue }
      for (seen, dropped) in zip(counts.visible, counts.skipped) {
        line.add(
          dropped >= 0 && dropped <= seen, at: "\(text): \(dropped) of \(seen) blocks skipped")
      }
    }
    return line
  }
}
