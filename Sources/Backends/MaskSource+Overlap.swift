import Analysis
import Attention
import Methods
import Sessions

/// What a screen asks of masks, as the requests of `report --overlap` and two of its own: all
/// methods of the library, and the two sides of a comparison.
extension MaskSource {
  /// Steps of a field of steps: about as many as a screen has cells.
  private static let screenSteps = 128

  /// A field `overlap`, or `overlap_12` of the heads of layer 12, with what goes with it. Throws
  /// `Missing`, `KnobError` and `CancellationError`.
  func overlap(
    _ id: HeadID, _ wanted: OverlapRequest, _ meter: (Double) -> Void,
    isCancelled: @escaping @Sendable () -> Bool
  ) throws -> Findings {
    func each(_ done: Int, _ of: Int) throws {
      if isCancelled() { throw CancellationError() }
      meter(Double(done) / Double(max(of, 1)))
    }
    if wanted.along == .methods {
      if let other = wanted.other { return try sides(id, wanted.setting, other, each) }
      let shared = place(id).map { store.shared($0, isCancelled: isCancelled) }
      return try everyMethod(id, wanted.setting, shared, each)
    }
    let isOne = wanted.along == .steps
    var request = ReuseRequest(
      wanted.along, settings: [wanted.setting],
      layers: wanted.along == .layers ? Array(layers.layerIndices) : [id.layer],
      heads: isOne ? [id.head] : Array(0..<(layers.layerIndices.map(heads).max() ?? 0)))
    (request.steps, request.isCancelled) = (Self.screenSteps, isCancelled)
    return try reuse(request) { meter(Double($0) / Double(max($1, 1))) }
  }

  /// The mask of a setting over those of all methods at their standards, as far as they keep
  /// entries of this head; a note for each that does not.
  private func everyMethod(
    _ id: HeadID, _ first: MethodSetting, _ shared: MethodRun?,
    _ each: (Int, Int) throws -> Void
  ) throws -> Findings {
    let others = store.registry.methods.filter(Self.keepsEntries).filter {
      !$0.card.answers(to: first.id)
    }.map { MethodSetting($0.card.id) }
    var found = Findings(), masks = [try bits(id, first, shared)], names = [first.description]
    for (done, setting) in others.enumerated() {
      try each(done + 1, others.count + 1)
      do {
        masks.append(try bits(id, setting, shared))
        names.append(setting.description)
      } catch let missing as Missing {
        found.note("left out: \(setting.id): \(missing)")
      } catch let error as KnobError {
        found.note("left out: \(setting.id): \(error)")
      }
    }
    let axis = Axis(.source, names.count, labels: names)
    square("overlap", axis, Overlap.masks(masks), &found, "overlap of methods")
    return found
  }

  /// Two masks, of one head or of two: how much of what either keeps both keep, over all rows and
  /// row by row.
  private func sides(
    _ id: HeadID, _ setting: MethodSetting, _ other: OverlapRequest.Other,
    _ each: (Int, Int) throws -> Void
  ) throws -> Findings {
    let left = try bits(id, setting)
    try each(1, 2)
    guard place(other.head) != nil else { throw KnobError("there is no such head on the right") }
    let right = try bits(other.head, other.setting)
    guard left.rows == right.rows, left.keys == right.keys else {
      throw KnobError("the two sides have other queries or keys: their masks have no common place")
    }
    let pair = Overlap.pair(left, right)
    var findings = Findings()
    findings.number("overlap_sides", pair.all, .share, title: "kept by both, of what either keeps")
    findings.number("kept_left", pair.left, .share, title: "of the left mask kept by the right")
    findings.number("kept_right", pair.right, .share, title: "of the right mask kept by the left")
    let axis = Axis(
      left.rows.count == left.rows.last.map { $0 + 1 } ? .query : .step, left.rows.count,
      labels: left.rows.map(String.init))
    findings.series("overlap_rows", axis, pair.rows, .share, title: "overlap by query")
    return findings
  }
}
