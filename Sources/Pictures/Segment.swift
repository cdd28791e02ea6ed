/// A straight stroke in device pixels: the part of a pixel it covers follows from the distance of
/// the pixel's middle.
///
/// With r half the width and d the distance to the segment, a pixel is covered by r + ½ - d, cut to
/// 0...1: exact for an edge along the grid, within a few percent for a slanted one. A pen thinner
/// than a pixel is paler instead of thinner.
struct Segment {
  let x1, y1, x2, y2: Double
  /// Half the width, in device pixels.
  let radius: Double
  /// Round ends (a pen) or blunt ones (a ruler).
  let round: Bool
  private let length, ux, uy: Double

  /// A segment of no length is a dot; its direction is then along x.
  init(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, width: Double, round: Bool) {
    (self.x1, self.y1, self.x2, self.y2) = (x1, y1, x2, y2)
    radius = max(0, width / 2)
    self.round = round
    let (dx, dy) = (x2 - x1, y2 - y1)
    length = (dx * dx + dy * dy).squareRoot()
    (ux, uy) = length > 0 ? (dx / length, dy / length) : (1, 0)
  }

  /// The pixels that may be covered.
  var window: Window {
    let edge = radius + 1
    return Window(
      left: snapped(min(x1, x2) - edge) - 1, top: snapped(min(y1, y2) - edge) - 1,
      right: snapped(max(x1, x2) + edge) + 1, bottom: snapped(max(y1, y2) + edge) + 1)
  }

  /// The columns of a row that may be covered: a long slanted line does not look at its whole
  /// window.
  func columns(_ y: Int, in window: Window) -> Range<Int> {
    guard abs(uy) > 0.01 else { return window.left..<window.right }
    let edge = (radius + 1) * (1 + 1 / abs(uy))
    let middle = x1 + (Double(y) + 0.5 - y1) * ux / uy
    let left = max(window.left, snapped(middle - edge) - 1)
    return left..<max(left, min(window.right, snapped(middle + edge) + 1))
  }

  /// 0 to 1 for the pixel with this middle.
  func coverage(_ x: Double, _ y: Double) -> Double {
    let along = (x - x1) * ux + (y - y1) * uy
    let across = abs((x - x1) * uy - (y - y1) * ux)
    let full = min(1, 2 * radius)
    if round {
      let past = max(0, max(-along, along - length))
      let distance = past > 0 ? (past * past + across * across).squareRoot() : across
      return min(full, max(0, radius + 0.5 - distance))
    }
    let inside = min(1, max(0, min(along, length - along) + 0.5))
    return inside * min(full, max(0, radius + 0.5 - across))
  }
}
