public import Attention

/// A mask that the query heads of a KV head choose together: all of them keep the same entries.
///
/// It is asked about a group and a head of it: the set is one for all, what is said aside is about
/// the head. It gets what a `MaskMethod` gets, and an engine asks it once a group.
///
/// Example: selection by attention summed over a group, as NSA and InfLLM v2 do, whose kernels read
/// a block once for all of them. The catch: a card with `scope: .group`, or the head stands alone.
public protocol GroupMaskMethod: MaskMethod {
  /// What all heads of a group keep; `slot` is the head that `aside` is about. Throws `Missing`,
  /// `CancellationError`.
  func keep(_ group: HeadGroup, _ slot: Int, _ run: MethodRun, _ aside: inout Aside) throws
    -> KeptSet
}

extension GroupMaskMethod {
  /// A head that stands alone.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    try keep(HeadGroup([head]), 0, run, &aside)
  }

  /// Kept entries, outputs and shared numbers of the head in its group. Throws `Missing`,
  /// `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    let (group, slot) = subject.group
    return try MaskFindings.of(subject.head, run) { aside in
      if group.heads.count > 1 {
        aside.findings.note("chosen by all \(group.heads.count) heads of its KV head")
      }
      return try keep(group, slot, run, &aside)
    }
  }

  /// Attention over kept entries of every head; nil when cancelled or when something is missing.
  public func attend(_ group: HeadGroup, state: inout AttentionState, trace: inout Trace)
    -> [[Float]]?
  {
    let run = MethodRun(state)
    var aside = Aside()
    guard let set = try? keep(group, 0, run, &aside) else { return nil }
    let sets = [KeptSet](repeating: set, count: group.heads.count)
    trace.cost.selection += aside.selection
    let tile = TileSpec(rows: MaskNumbers.tile, keys: MaskNumbers.tile)
    let output = attendByTiles(group, tile, .kept(sets), state, &trace)
    trace.keptSets = sets
    return output
  }
}
