import FoundationEssentials

/// What a probe of a deployed kernel says beside its blocks, the metadata `probe` of a dump:
/// version 1, a JSON object.
///
/// Example: `try ProbeRecord(#"{"version":1,"kernel":"triton","phase":"prefill",...}"#)`. Which
/// blocks were computed is in the arrays `layers.L.probed`, in tiles of the metadata `probe_tile`.
public struct ProbeRecord: Sendable, Hashable {
  /// A tile, vote, order and number of splits: the rule that explains a mask.
  public struct Rule: Sendable, Hashable, Decodable {
    /// Query rows and keys of a block.
    public let rows: Int, keys: Int
    /// `head` or `group`.
    public let vote: String
    /// `ascending` or `descending`.
    public let order: String
    /// Split-K, at least 1.
    public let splits: Int

    /// As a sentence has it: `64x32, head, ascending`.
    public var words: String {
      "\(rows)x\(keys), vote \(vote), \(order)" + (splits > 1 ? ", \(splits) splits" : "")
    }

    fileprivate var isMeant: Bool {
      (1...1 << 20).contains(rows) && (1...1 << 20).contains(keys)
        && ["head", "group"].contains(vote) && ["ascending", "descending"].contains(order)
        && (1...1 << 20).contains(splits)
    }
  }

  /// A rule that the probe was held against.
  public struct Candidate: Sendable, Hashable {
    /// What was tried.
    public let rule: Rule
    /// Visible blocks at its tile; those where the kernel did otherwise; those that cannot be told.
    public let blocks: Int, wrong: Int, unsure: Int
  }

  /// What a counter of the kernel's own says.
  public struct Counter: Sendable, Hashable, Decodable {
    /// In 0...1.
    public let sparsity: Double
    /// The tile that it counts in, like `128x128`.
    public let tile: String
  }

  /// What was probed and where, for people; `phase` is `prefill` or `decode`.
  public let kernel: String, device: String?, phase: String
  /// The λ that the kernel was given, in 0...1.
  public let threshold: Double
  /// The finest rule that agrees with every block; nil: none does.
  public let fingerprint: Rule?
  /// Skipped over visible blocks at the fingerprint's tile, in 0...1.
  public let sparsity: Double
  /// Blocks that cannot be told.
  public let unsure: Int
  /// Nil where the kernel has no counter.
  public let counted: Counter?
  /// Every rule that was tried, the best first: fewest wrong, then finest.
  public let agreement: [Candidate]
  /// Query rows and keys of a block of the arrays.
  public let tile: (rows: Int, keys: Int)
  /// The object as it was written.
  public let json: String

  /// The two compare by what was written.
  public static func == (a: ProbeRecord, b: ProbeRecord) -> Bool {
    a.json == b.json && a.tile == b.tile
  }

  public func hash(into hasher: inout Hasher) { hasher.combine(json) }
}

extension ProbeRecord {
  /// Why a probe was passed over: a clause without a full stop.
  struct Refusal: Error { let why: String }

  /// As it stands in a file. What cannot be known is null, what is optional may lack.
  private struct Written: Decodable {
    struct Tried: Decodable {
      let rows: Int, keys: Int, vote: String, order: String, splits: Int?
      let blocks: Int, wrong: Int, unsure: Int?
    }
    let kernel: String?, device: String?, phase: String?
    let threshold: Double, sparsity: Double
    let fingerprint: Rule?
    let unsure: Int?, counted: Counter?, agreement: [Tried]?
  }

  /// Nothing but its version, which decides how the rest is read.
  private struct Version: Decodable { let version: Int }

  /// Reads `probe` and `probe_tile`. Throws a `Refusal` for what is no probe of version 1.
  init(_ text: String, tile sides: String?) throws(Refusal) {
    let data = Data(text.utf8)
    guard let version = try? JSONDecoder().decode(Version.self, from: data).version else {
      throw Refusal(why: "metadata probe is no JSON object with a version, or has NaN in it")
    }
    guard version == 1 else {
      throw Refusal(why: "metadata probe is of version \(version), and this program reads 1")
    }
    let parts = (sides ?? "").split(separator: "x", omittingEmptySubsequences: false).map {
      Int($0)
    }
    guard parts.count == 2, let rows = parts[0], let keys = parts[1],
      (1...1 << 20).contains(rows), (1...1 << 20).contains(keys)
    else {
      throw Refusal(
        why: "metadata probe_tile is '\((sides ?? "").prefix(40))', not two sides like 16x16")
    }
    let told: Written
    do { told = try JSONDecoder().decode(Written.self, from: data) } catch {
      throw Refusal(why: "metadata probe lacks \(Self.place(error))")
    }
    try Self.check(told, rows: rows, keys: keys)
    tile = (rows, keys)
    (kernel, device) = (told.kernel ?? "a kernel without a name", told.device)
    (phase, json) = (told.phase ?? "prefill", text)
    (threshold, sparsity, fingerprint) = (told.threshold, told.sparsity, told.fingerprint)
    (unsure, counted) = (told.unsure ?? 0, told.counted)
    agreement = (told.agreement ?? []).map { one in
      Candidate(
        rule: Rule(
          rows: one.rows, keys: one.keys, vote: one.vote, order: one.order,
          splits: one.splits ?? 1), blocks: one.blocks, wrong: one.wrong, unsure: one.unsure ?? 0)
    }.sorted { a, b in
      let (left, right) = (a.share, b.share)
      return left == right ? a.rule.area < b.rule.area : left < right
    }
  }

  /// Throws for numbers that no probe has.
  private static func check(_ told: Written, rows: Int, keys: Int) throws(Refusal) {
    guard (0...1).contains(told.threshold) else {
      throw Refusal(why: "metadata probe has the threshold \(told.threshold), not 0 to 1")
    }
    guard (0...1).contains(told.sparsity), (0...1).contains(told.counted?.sparsity ?? 0) else {
      throw Refusal(why: "metadata probe has a sparsity that is not 0 to 1")
    }
    guard let rule = told.fingerprint else { return }
    guard rule.isMeant else {
      throw Refusal(why: "metadata probe has the fingerprint \(rule.words), which is no rule")
    }
    guard rule.rows % rows == 0, rule.keys % keys == 0 else {
      throw Refusal(
        why: """
          the fingerprint's tile \(rule.rows)x\(rule.keys) is no multiple of probe_tile \
          \(rows)x\(keys)
          """)
    }
  }

  /// What a decoder stumbled over.
  private static func place(_ error: any Error) -> String {
    switch error {
    case DecodingError.keyNotFound(let key, _): key.stringValue
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
      "a value of its type at \(context.codingPath.map(\.stringValue).joined(separator: "."))"
    default: "something"
    }
  }
}

extension ProbeRecord {
  /// What was found, in a sentence without a full stop; `percent` writes a share.
  public func sentence(_ percent: (Double) -> String) -> String {
    let sides = fingerprint.map { "\($0.rows)x\($0.keys)" }
    let own =
      sides.map { "the kernel skips \(percent(sparsity)) in tiles of \($0)" }
      ?? "the kernel skips \(percent(sparsity)), by no tile that was tried"
    return counted.map { "\(own); its counter says \(percent($0.sparsity)) at \($0.tile)" } ?? own
  }
}

extension ProbeRecord.Candidate {
  /// Wrong over all blocks.
  public var share: Double { blocks > 0 ? Double(wrong) / Double(blocks) : 1 }
}

extension ProbeRecord.Rule {
  /// Entries of a block.
  fileprivate var area: Double { Double(rows) * Double(keys) }
}
