/// A colour of the sRGB space, eight bits a channel.
///
///     RGB(hex: 0x1a2b3c).hex == "#1a2b3c"
public struct RGB: Sendable, Hashable {
  /// Red, green and blue, 0 to 255.
  public var r, g, b: UInt8

  /// Three channels of 0 to 255.
  public init(_ r: UInt8, _ g: UInt8, _ b: UInt8) { (self.r, self.g, self.b) = (r, g, b) }

  /// 0xRRGGBB; bits above are ignored.
  public init(hex: UInt32) {
    self.init(
      UInt8(truncatingIfNeeded: hex >> 16), UInt8(truncatingIfNeeded: hex >> 8),
      UInt8(truncatingIfNeeded: hex))
  }

  /// As SVG and CSS write it: "#1a2b3c".
  public var hex: String {
    "#"
      + [r, g, b].map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}
