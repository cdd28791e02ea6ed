import Attention
import Analysis
import Sessions

/// What a live source adds to the look: the steps of its branches.
extension Look {
  /// Tokens of the branch that is looked at.
  var length: Int {
    guard let live else { return source.keys }
    return live.lengths.indices.contains(frame.branch) ? live.lengths[frame.branch] : frame.tokens
  }

  /// The token that the frame ends with.
  var step: Step? {
    let line = known.steps(of: frame.branch)
    return line.indices.contains(frame.tokens - 1) ? line[frame.tokens - 1] : nil
  }

  /// The branch beside the one that is looked at: its parent, or the trunk's newest child.
  var otherBranch: Int? {
    guard let live, live.branches.indices.contains(frame.branch) else { return nil }
    return live.branches[frame.branch].parent
      ?? live.branches.last { $0.parent == frame.branch }?.id
  }

  /// Where two lines of tokens first differ; nil while one is the beginning of the other.
  func divergence(_ a: Int, _ b: Int) -> Int? {
    guard let branches = live?.branches, branches.indices.contains(a), branches.indices.contains(b)
    else { return nil }
    let one = known.steps(of: a), other = known.steps(of: b)
    // What lies before the fork is shared.
    let fork = min(max(branches[a].fork, branches[b].fork), one.count, other.count)
    return (fork..<min(one.count, other.count)).first { one[$0].token != other[$0].token }
  }
}

extension SourceDescription {
  /// Adds the texts of a branch's steps that it has not got yet.
  mutating func append(_ steps: [Step]) { tokens += steps.dropFirst(tokens.count).map(\.text) }
}
