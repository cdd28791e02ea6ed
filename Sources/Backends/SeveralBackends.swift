import Analysis
import Attention
import Methods
public import Sessions

/// Several saved dumps as one source: a question goes to the file whose number its head carries.
///
/// The first one describes the whole, the others stand in its `others`; layers and heads of theirs
/// may differ in number.
public struct SeveralBackends: Backend {
  /// In the order of the command line.
  private let parts: [any Backend]
  /// Of each part, with its number.
  private let descriptions: [SourceDescription]
  /// What any of them tells, in the order in which it comes.
  public let moments: AsyncStream<Moment>

  /// At least one; live sources stand alone.
  public init(_ parts: [any Backend]) {
    precondition(!parts.isEmpty, "there is no source")
    self.parts = parts
    descriptions = parts.enumerated().map { index, part in
      var about = part.describe()
      about.index = index
      return about
    }
    let (moments, told) = AsyncStream.makeStream(
      of: Moment.self, bufferingPolicy: .bufferingNewest(16))
    self.moments = moments
    let streams = parts.map(\.moments)
    let listeners = streams.map { stream in
      Task { for await moment in stream { told.yield(moment) } }
    }
    told.onTermination = { _ in for listener in listeners { listener.cancel() } }
  }

  /// The first file, with the others in it.
  public func describe() -> SourceDescription {
    var first = descriptions[0]
    first.others = Array(descriptions.dropFirst())
    return first
  }

  /// Throws what the file's own backend throws.
  public func answer(_ question: Question, at frame: Frame) async throws -> Answer {
    if let moved = try await moved(question, at: frame) { return moved }
    if let overlap = try await overlap(question) { return overlap }
    let number = question.head?.source ?? 0
    guard parts.indices.contains(number) else {
      return .unavailable("there is no file \(number + 1)")
    }
    return try await parts[number].answer(question, at: frame)
  }

  /// What masks of heads of two files have in common; nil to any other question, and where a file
  /// is not saved on disk.
  private func overlap(_ question: Question) async throws -> Answer? {
    guard case .overlap(let id, let request) = question, let other = request.other,
      other.head.source != id.source,
      let one = part(id.source), let two = part(other.head.source)
    else { return nil }
    let both = MaskSource(
      store: one.store, layers: one.heads.layers, keys: one.description.keys
    ) {
      one.heads.heads($0)
    } place: { head in
      let part = head.source == id.source ? one : two, heads = part.heads
      guard heads.layers.has(head.layer), (0..<heads.heads(head.layer)).contains(head.head) else {
        return nil
      }
      return part.place(head, at: .whole)
    }
    return try await both.answer(question)
  }

  /// A file by its number.
  private func part(_ number: Int) -> FileBackend? {
    parts.indices.contains(number) ? parts[number] as? FileBackend : nil
  }
}
