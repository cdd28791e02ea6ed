public import Tensors

/// What an array of a dump is.
public enum ArrayRole: String, Sendable, CaseIterable {
  case query, key, value, pattern, scores, blocks, margins
}

/// The arrays of one layer, in canonical order: query `[heads, q, d]`, key and value `[kv_heads, k, d]`, pattern and
/// scores `[heads, q, k]`, blocks and margins `[units, query tiles, key tiles]`.
public struct LayerArrays: Sendable {
  public let layer: Int
  public var arrays: [ArrayRole: Tensor]
}

/// Something that was guessed, and the flag that overrides it.
public struct Guess: Sendable, Equatable, CustomStringConvertible {
  public let what: String
  public let flag: String

  public init(_ what: String, flag: String) { (self.what, self.flag) = (what, flag) }

  public var description: String { "\(what) (\(flag) overrides)" }
}

/// What kind of head a dump holds.
public enum DumpKind: String, Sendable, CaseIterable {
  case qkv, pattern, scores, mask
}

/// The flags that override guesses; nil means: find out.
public struct DumpOptions: Sendable {
  /// Axis letters, outermost first: of q, k, v arrays `b l h n d`; of maps `b l h q k`.
  public var layout: String?
  public var kind: DumpKind?
  public var causal: Bool?
  /// A text file with one token a line, or a JSON array of strings.
  public var tokens: String?
  public var queryOffset: Int?
  public var scale: Double?
  public var batch: Int?
  public var bfloat16 = false
  /// In a mask of somebody else: does 1 mean kept? In our own files 1 means skipped.
  public var onesAreKept: Bool?
  /// Of a block mask: query rows x keys of a block.
  public var maskTile: (rows: Int, keys: Int)?

  public init() {}
}

/// A file of attention, understood: layers of named arrays, tokens, and every guess that was made.
public struct Dump: Sendable {
  public var path: String
  public var format: String
  public var kind: DumpKind
  /// Ascending by layer number.
  public var layers: [LayerArrays]
  public var model: String?
  public var tokens: [String]?
  public var tokenIDs: [Int]?
  public var causal: Bool
  /// Nil: causal maps are aligned bottom-right (keys - queries).
  public var queryOffset: Int?
  /// Nil: 1 / sqrt(d).
  public var scale: Double?
  /// Of a block mask: query rows x keys.
  public var tile: (rows: Int, keys: Int)?
  /// A mask array holds 1 for kept blocks.
  public var onesAreKept: Bool
  public var guesses: [Guess]
  /// Arrays of the whole dump that some methods ask for, by the name of the need: `residuals`
  /// `[sources, tokens, width]`.
  public var extras: [String: Tensor] = [:]
  /// What was not done while reading, and why: sentences that no flag changes.
  public var remarks: [String] = []
}
