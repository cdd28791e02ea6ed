import Attention
import Analysis
import Sessions

/// What a live source adds to the look: the steps of its branches.
extension Look {
  /// The state of the source that is looked at.
  var frame: Frame { live?.frame ?? .whole }

  /// Tokens of the branch that is looked at.
  var length: Int { live?.length ?? source.keys }

  /// The token that the frame ends with.
  var step: Step? {
    let line = known.steps(of: frame.branch)
    return line.indices.contains(frame.tokens - 1) ? line[frame.tokens - 1] : nil
  }

  /// The branch beside the one that is looked at.
  var otherBranch: Int? { live?.otherBranch }

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
