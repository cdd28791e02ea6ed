import Sessions

/// Keys and commands of what masks have in common.
extension Model {
  /// The next thing to lay over one another; after the last nothing.
  mutating func turnOverlap() {
    let all: [OverlapRequest.Along?] = [nil] + OverlapRequest.Along.allCases
    let here = all.firstIndex(of: viewpoint.overlap) ?? 0
    showOverlap(all[(here + 1) % all.count])
    message = viewpoint.overlap.map { "Overlap of \($0.rawValue)." } ?? "Overlap is not shown."
  }

  /// In view 4, unless a view that shows it is there already.
  mutating func showOverlap(_ along: OverlapRequest.Along?) {
    viewpoint.overlap = along
    if along != nil, ![.sinks, .compare].contains(viewpoint.view) { viewpoint.view = .sinks }
  }
}
