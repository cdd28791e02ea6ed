public import Tensors

/// What a method remembers of the rows of one query head that went before: which keys are alive,
/// what they gathered.
///
/// A value: a copy is the past as it was, and going on with the original leaves it alone. Rows come
/// in their order, in parts of any size; the same rows make the same memory, however they were cut.
///
/// Example: `var memory = method.memory(prompt: 832)!`, then
/// `let kept = try memory.take(part, run)` for one part after another.
public protocol RowMemory: Sendable {
  /// Takes in the rows of `head`, which follow those seen before against the keys of them all, and
  /// says what they keep. Throws `Missing`, `CancellationError`.
  mutating func take(_ head: Head, _ run: MethodRun) throws -> KeptSet
}

extension Head {
  /// The same keys, and queries rounded to half floats as the record of a run keeps them: who
  /// decides by these decides alike when the record is read again.
  public var recorded: Head {
    guard case .cached(let query, let keys) = source else { return self }
    let rounded = query.floats().map { Float(Float16($0)) }
    return Head(
      query: Tensor(rounded, shape: query.shape.axes), cached: keys, offset: visibility.offset)
  }

  /// Keys of some positions `[positions, d]`; nil for stored maps. Those of a cache are copied.
  public func keyRows(_ positions: Range<Int>) -> Tensor? {
    switch source {
    case .projections(_, let key, _): key.slice(axis: 0, positions)
    case .cached(_, let keys): keys.keyRows(positions)
    case .pattern, .scores: nil
    }
  }
}
