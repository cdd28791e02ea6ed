import Attention
public import Sessions

/// A branch as it stands in the metadata.
///
/// A type of its own, so that renaming a field of `Branch` does not change files.
package struct StoredBranch: Codable {
  /// Its place in the list.
  let id: Int
  /// The branch it left; nil for the trunk.
  let parent: Int?
  /// Tokens that it shares with its parent.
  let fork: Int
  /// How it attended, as text.
  let attention: String

  /// As it is written.
  package init(_ branch: Branch) {
    (id, parent, fork, attention) = (branch.id, branch.parent, branch.fork, branch.attention)
  }

  /// As it was read; nothing is checked here.
  package var branch: Branch { Branch(id: id, parent: parent, fork: fork, attention: attention) }
}

/// A step as it stands in the metadata, as JSON under `step`.
///
/// Every field may be left out. What comes from outside is bounded: sides of a tile, lambda, the
/// number of candidates.
public struct StepFacts: Codable, Sendable {
  /// What the token completes; may be empty.
  var text = ""
  /// ln of the probability that the token had, in nats.
  var logprob: Double?
  /// The likeliest tokens, best first.
  var top: [Candidate] = []
  /// `[layers * heads]` blocks that the pass could see; empty where they were not counted.
  public var visible: [Int32] = []
  /// `[layers * heads]` of them that it skipped.
  public var skipped: [Int32] = []
  /// Divergence from dense attention's next token, in nats; nil without a shadow.
  var kl: Double?
  /// Dense attention would have chosen the same token; nil without a shadow.
  var agrees: Bool?
  /// Milliseconds of the pass.
  var ms = 0.0
  /// How the pass attended, as text.
  var attention = ""
  /// The threshold; nil for methods without one.
  var lambda: Double?
  /// Query rows of the tile whose blocks were counted; nil without blocks.
  var rows: Int?
  /// Keys of a block.
  var keys: Int?
  /// Who decided, as `Vote` writes it.
  var vote: String?
  /// How blocks were visited, as `Order` writes it.
  var order: String?

  /// A token that might have come instead.
  struct Candidate: Codable, Sendable {
    /// Its number in the vocabulary.
    let token: Int
    /// Its text, escaped as the tokenizer shows it.
    let piece: String
    /// Before softmax.
    let logit: Float
  }

  /// Nothing said.
  init() {}

  /// What is not there is as if it had not been said. Throws where something has another type.
  public init(from decoder: any Decoder) throws {
    let all = try decoder.container(keyedBy: CodingKeys.self)
    text = try all.decodeIfPresent(String.self, forKey: .text) ?? ""
    logprob = try all.decodeIfPresent(Double.self, forKey: .logprob)
    top = try all.decodeIfPresent([Candidate].self, forKey: .top) ?? []
    visible = try all.decodeIfPresent([Int32].self, forKey: .visible) ?? []
    skipped = try all.decodeIfPresent([Int32].self, forKey: .skipped) ?? []
    kl = try all.decodeIfPresent(Double.self, forKey: .kl)
    agrees = try all.decodeIfPresent(Bool.self, forKey: .agrees)
    ms = try all.decodeIfPresent(Double.self, forKey: .ms) ?? 0
    attention = try all.decodeIfPresent(String.self, forKey: .attention) ?? ""
    lambda = try all.decodeIfPresent(Double.self, forKey: .lambda)
    rows = try all.decodeIfPresent(Int.self, forKey: .rows)
    keys = try all.decodeIfPresent(Int.self, forKey: .keys)
    vote = try all.decodeIfPresent(String.self, forKey: .vote)
    order = try all.decodeIfPresent(String.self, forKey: .order)
  }

  /// As it is written, with the counts of the pass that read the token, `[layers * heads]` each.
  public init(_ step: Step, visible: [Int32], skipped: [Int32]) {
    (text, logprob, kl, agrees) = (step.text, step.logProbability, step.divergence, step.agrees)
    (ms, attention, lambda) = (step.milliseconds, step.attention, step.lambda)
    (rows, keys) = (step.tile?.rows, step.tile?.keys)
    (vote, order) = (step.tile?.vote.rawValue, step.tile?.order.rawValue)
    top = step.top.map { Candidate(token: $0.token, piece: $0.piece, logit: $0.logit) }
    (self.visible, self.skipped) = (visible, skipped)
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

  /// Candidates of a token at most.
  private static let mostCandidates = 64

  /// The step as screens know it, with the counts of its pass. Counts that do not fit are clamped,
  /// a lambda above 1 is dropped.
  public func step(position: Int, token: Int, visible: [Int32], skipped: [Int32]) -> Step {
    Step(
      position: position, token: token, text: text, isPrompt: false, logProbability: logprob,
      top: top.prefix(Self.mostCandidates).map {
        Step.Candidate(token: $0.token, piece: $0.piece, logit: $0.logit)
      },
      visibleBlocks: visible.reduce(0) { $0 + Int($1) },
      skippedBlocks: skipped.reduce(0) { $0 + Int($1) }, divergence: kl, agrees: agrees,
      milliseconds: ms, attention: attention, lambda: lambda.flatMap { $0 <= 1 ? $0 : nil },
      tile: tile)
  }
}
