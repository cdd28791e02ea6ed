final class ScreenTile {
  init(_ s: Int, _ strips: Strips) {}
  func isBelow(_ threshold: Float, _ j: Int, _ keys: Range<Int>, _ m: UnsafeMutablePointer<Float>)
    -> Bool
  { false }
}
extension TilePass { var screened: Int? { nil } }
