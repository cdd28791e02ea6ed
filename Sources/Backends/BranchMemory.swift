import Models
import Sessions

/// What the branches of a run may hold together, in bytes, beside the weights.
///
/// Every branch has a cache of keys and values, the queries of its tokens and its residual stream.
/// Records are let go where the bound is passed, those of the branch that decoded longest ago
/// first; a cache cannot be let go while its branch is there, so that no branch is begun that would
/// pass the bound. Example: `BranchMemory().refusal(held: 0, more: 1 << 20)` is nil.
public struct BranchMemory: Sendable {
  /// Of queries; 1 GiB.
  public var queries = 1 << 30
  /// Of the residual stream; 512 MiB.
  public var residuals = 512 << 20
  /// Of keys and values when a branch is begun; 2 GiB.
  public var caches = 2 << 30

  /// The standard bounds.
  public init() {}

  /// Lets records go until the bounds hold; what is to be said of it, nil when nothing went.
  /// `order` are branches, the one that decoded longest ago first; the last one decodes now and
  /// keeps what it has.
  func tidy(_ stores: [BranchStore], order: [Int]) -> String? {
    let others = order.dropLast().map { stores[$0] }
    let streams = Self.tidy(
      others, of: stores.reduce(0) { $0 + ($1.residuals?.bytes ?? 0) }, most: residuals,
      bytes: { $0.residuals?.bytes ?? 0 }, letGo: { $0.residuals?.letGo() })
    let rows = Self.tidy(
      others, of: stores.reduce(0) { $0 + $1.queries.bytes }, most: queries,
      bytes: { $0.queries.bytes }, letGo: { $0.queries.letGo() })
    if !rows.isEmpty {
      return """
        Branches hold \(Self.megabytes(queries)) of queries at most: those of branch \
        \(Self.list(rows)) were let go, with its rows.
        """
    }
    guard !streams.isEmpty else { return nil }
    return """
      Branches hold \(Self.megabytes(residuals)) of the residual stream at most: that of branch \
      \(Self.list(streams)) was let go.
      """
  }

  /// Branches, the oldest first, that had to let go of something.
  private static func tidy(
    _ stores: [BranchStore], of all: Int, most: Int, bytes: (BranchStore) -> Int,
    letGo: (BranchStore) -> Void
  ) -> [Int] {
    var all = all, gone: [Int] = []
    for store in stores where all > most {
      let held = bytes(store)
      guard held > 0 else { continue }
      letGo(store)
      all -= held
      gone.append(store.branch.id)
    }
    return gone
  }

  /// Why another branch cannot be had: caches of `held` bytes are there, and it needs `more`.
  func refusal(held: Int, more: Int) -> String? {
    guard held + more > caches else { return nil }
    return """
      No more branches here: caches hold \(Self.megabytes(held)), this one needs \
      \(Self.megabytes(more)), the most is \(Self.megabytes(caches)). Branch from an earlier token.
      """
  }

  private static func list(_ branches: [Int]) -> String {
    branches.map(String.init).joined(separator: ", ")
  }

  /// Mebibytes, rounded up.
  private static func megabytes(_ bytes: Int) -> String { "\((bytes + (1 << 20) - 1) >> 20) MB" }
}
