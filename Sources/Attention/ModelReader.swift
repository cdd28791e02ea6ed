import Synchronization

/// What stands in the place of the weights of a masked head.
public enum HeadMask: String, Sendable, Hashable, CaseIterable {
  /// 1/(i+1) on every key that row i sees: the running mean of V.
  case mean
  /// 1/L on every key that row i sees, L the tokens of the whole text: rows sum to less than 1.
  case literal
  /// No output at all.
  case zero
}

/// What is changed in a model before a text is read again; nothing unless told.
///
/// Example: `ModelChange(skipped: [3])` passes the residual stream by the attention of layer 3.
public struct ModelChange: Sendable, Hashable {
  /// A query head of a layer.
  public struct Place: Sendable, Hashable {
    /// As the model counts its layers.
    public let layer: LayerNumber
    /// Query head within the layer.
    public let head: Int

    /// Nothing is checked: a head that is not there changes nothing.
    public init(_ layer: LayerNumber, _ head: Int) { (self.layer, self.head) = (layer, head) }
  }

  /// Heads whose weights are replaced.
  public var heads: Set<Place>
  /// By what.
  public var mask: HeadMask
  /// Layers whose attention adds nothing to the residual stream.
  public var skipped: Set<LayerNumber>
  /// Layers with linear attention inside a window of so many keys, the query's own among them.
  public var windows: [LayerNumber: Int]

  /// Nothing changed unless given.
  public init(
    heads: Set<Place> = [], mask: HeadMask = .mean, skipped: Set<LayerNumber> = [],
    windows: [LayerNumber: Int] = [:]
  ) {
    // Two changes that do the same are the same: no head is masked in no way.
    self.mask = heads.isEmpty ? .mean : mask
    (self.heads, self.skipped, self.windows) = (heads, skipped, windows)
  }

  /// Nothing is changed.
  public var isEmpty: Bool { heads.isEmpty && skipped.isEmpty && windows.isEmpty }
}

/// A model that can read its text again, changed: what methods see of an engine.
///
/// Example: `try reader.losses([ModelChange(), ModelChange(skipped: [0])])`. Every change costs one
/// pass over the text; equal ones are read once. Called from compute threads and commands.
public protocol ModelReader: Sendable {
  /// Layers of the model; it counts them from 0.
  var layers: Int { get }
  /// Query heads of a layer.
  var heads: Int { get }
  /// Tokens that the model knows.
  var vocabulary: Int { get }
  /// -ln p(x_t | x_<t) in nats under each change, `[changes][tokens]`; the first token, which
  /// nothing predicts, has NaN. Throws `CancellationError`.
  func losses(_ changes: [ModelChange]) throws -> [[Float]]
  /// The heads after another text was read, `[layers][heads]`; tokens are numbers of the
  /// vocabulary, at most as many as the context holds. Throws `CancellationError`, and
  /// `Missing(.length)` for more.
  func heads(reading tokens: [Int]) throws -> [[Head]]
  /// The projections of a layer. Throws `Missing(.weights)` where the model does not show them.
  func projections(_ layer: LayerNumber) throws -> Projections
}

extension ModelReader {
  /// Shows none.
  public func projections(_ layer: LayerNumber) throws -> Projections { throw Missing(.weights) }
}

/// What was worked out once about a source and holds for every head of it.
///
/// Example: `try run.memo.value("scores") { try all() }`. Two threads that miss the same thing both
/// make it.
public final class Memo: Sendable {
  private let known = Mutex<[String: any Sendable]>([:])

  /// Nothing known.
  public init() {}

  /// What was made under a name, or what `make` makes now. One name has one type. Throws what
  /// `make` throws.
  public func value<T: Sendable>(_ name: String, _ make: () throws -> T) rethrows -> T {
    if let value = known.withLock({ $0[name] }) as? T { return value }
    let made = try make()
    known.withLock { $0[name] = made }
    return made
  }
}
