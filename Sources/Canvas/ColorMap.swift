/// A perceptually ordered ramp through the 256-colour palette. Colour-blind-safe ones come first.
///
/// Nearest-colour search gives specks (a lone teal among greys), so the steps are chosen by hand:
/// each ramp follows the published map of its name, and its luminance never falls (tested). Few
/// steps are enough for the eye, and equal neighbours cost no bytes over SSH.
///
/// Example: `ColorMap.viridis.index(0.5)` is the palette colour in the middle of the ramp. Sources:
/// cividis, Nuñez, Anderton and Renslow, 2018, PLOS ONE 13(7); viridis and magma, Smith and van der
/// Walt, matplotlib.
public enum ColorMap: String, Sendable, Hashable, CaseIterable {
  case cividis, viridis, magma, gray

  /// Palette indices from little to much.
  public var ramp: [UInt8] {
    switch self {
    case .cividis: [17, 18, 24, 60, 243, 66, 102, 247, 144, 179, 185, 221, 227]
    case .viridis: [53, 54, 25, 31, 36, 71, 77, 113, 149, 191, 227]
    case .magma: [16, 17, 53, 90, 126, 161, 167, 209, 215, 222, 230]
    case .gray: [233, 235, 237, 239, 241, 243, 245, 247, 249, 251, 253, 255]
    }
  }

  /// The palette colour for t in 0...1, by lightness: that step of the ramp which is as light as
  /// the published map is there. On a light background the ramp runs the other way, so that little
  /// attention fades into the page.
  public func index(_ t: Double, light: Bool = false) -> UInt8 {
    let table = light ? Self.lightSteps[self]! : Self.darkSteps[self]!
    return table[Int(Numbers.unit(t) * Double(Self.shades - 1) + 0.5)]
  }

  /// Shades that a map is drawn with: more cannot be told apart in cells, and cost bytes.
  public static let shades = 48

  /// The steps of every ramp by shade, `[shades]`.
  private static let darkSteps = steps(light: false)
  private static let lightSteps = steps(light: true)

  /// Each shade's step of the ramp: the ends are the ramp's own, between them lightness decides.
  private static func steps(light: Bool) -> [ColorMap: [UInt8]] {
    var all: [ColorMap: [UInt8]] = [:]
    for map in allCases {
      // On a light page the ramp goes on through cream to white.
      let ramp = map.ramp + (light ? [229, 230, 231].filter { !map.ramp.contains($0) } : [])
      let ends = [ramp[0], ramp[ramp.count - 1]].map(Palette.luma)
      let low = Palette.luma(of: map.rgb(0)), high = light ? 255 : Palette.luma(of: map.rgb(1))
      all[map] = (0..<shades).map { shade in
        let t = Double(shade) / Double(shades - 1)
        let share = (Palette.luma(of: map.shade(t, light: light)) - low) / (high - low)
        let wanted = ends[0] + share * (ends[1] - ends[0])
        return ramp.min { abs(Palette.luma($0) - wanted) < abs(Palette.luma($1) - wanted) }!
      }
    }
    return all
  }

  /// The true colour for t in 0...1 on a page of either kind, in as many shades as are told apart.
  /// On a light page the lowest third fades into the page, through cream, so that little attention
  /// is no flood of yellow: the ramp of the figures.
  public func shade(_ t: Double, light: Bool) -> (UInt8, UInt8, UInt8) {
    let t = (Numbers.unit(t) * Double(Self.shades - 1)).rounded() / Double(Self.shades - 1)
    guard light else { return rgb(t) }
    let (r, g, b) = rgb(1 - t)
    guard t < Self.fading else { return (r, g, b) }
    // Towards the page, the more the less there is.
    let share = 0.05 + 0.95 * t / Self.fading
    func mixed(_ x: UInt8) -> UInt8 { UInt8((255 + share * (Double(x) - 255)).rounded()) }
    return (mixed(r), mixed(g), mixed(b))
  }

  /// The share of the scale that fades into a light page.
  private static let fading = 0.34

  /// Colours of the published maps at even steps from little to much.
  private var anchors: [UInt32] {
    switch self {
    case .cividis:
      [
        0x00224e, 0x123570, 0x3b496c, 0x575d6d, 0x707173, 0x8a8678, 0xa59c74, 0xc3b369, 0xe1cc55,
        0xfee838,
      ]
    case .viridis:
      [
        0x440154, 0x482878, 0x3e4989, 0x31688e, 0x26828e, 0x1f9e89, 0x35b779, 0x6ece58, 0xb5de2b,
        0xfde725,
      ]
    case .magma:
      [
        0x000004, 0x180f3d, 0x440f76, 0x721f81, 0x9e2f7f, 0xcd4071, 0xf1605d, 0xfd9668, 0xfeca8d,
        0xfcfdbf,
      ]
    case .gray: [0x000000, 0xffffff]
    }
  }

  /// The true colour for t in 0...1, for figures.
  public func rgb(_ t: Double) -> (UInt8, UInt8, UInt8) { Palette.between(anchors, t) }

  /// The map after this one, the first after the last: what a key cycles through.
  public var next: ColorMap {
    let all = Self.allCases
    return all[(all.firstIndex(of: self)! + 1) % all.count]
  }
}

/// A ramp for signed values: blue below zero, orange above, both told apart by every eye; neutral
/// in the middle.
public enum DifferenceColors {
  private static let dark: [UInt8] = [117, 75, 32, 25, 24, 235, 94, 130, 172, 214, 222]
  private static let light: [UInt8] = [18, 25, 32, 75, 153, 254, 223, 215, 172, 130, 94]

  /// The palette colour of a value in -1...1.
  public static func index(_ value: Float, light isLight: Bool) -> UInt8 {
    let ramp = isLight ? light : dark
    let at = ((Numbers.unit((Double(value) + 1) / 2)) * Double(ramp.count - 1)).rounded()
    return ramp[Int(at)]
  }
}

extension DifferenceColors {
  /// The true colour of a value in -1...1, for figures.
  public static func rgb(_ value: Double, light isLight: Bool) -> (UInt8, UInt8, UInt8) {
    let middle: UInt32 = isLight ? 0xf7f7f7 : 0x22252a
    let ends: [UInt32] =
      isLight
      ? [0x053061, 0x2166ac, 0x67a9cf, middle, 0xfdb863, 0xd9760f, 0x7f3b08]
      : [0xa6d8ff, 0x4393c3, 0x1f4e79, middle, 0x8a4b08, 0xe08214, 0xfee0b6]
    return Palette.between(ends, (value + 1) / 2)
  }
}

/// The colours 16 to 255 that every 256-colour terminal shares.
///
/// Indices below 16 are left out on purpose: every theme gives those colours of its own.
public enum Palette {
  /// Red, green and blue of an index from 16 on: a cube of six levels, then 24 greys.
  public static func channels(_ index: UInt8) -> (UInt8, UInt8, UInt8) {
    if index >= 232 {
      let level = 8 + 10 * (index - 232)
      return (level, level, level)
    }
    let levels: [UInt8] = [0, 95, 135, 175, 215, 255]
    let cube = Int(index) - 16
    return (levels[cube / 36], levels[cube / 6 % 6], levels[cube % 6])
  }

  /// Linear between neighbours of evenly spaced colours.
  static func between(_ anchors: [UInt32], _ t: Double) -> (UInt8, UInt8, UInt8) {
    let at = Numbers.unit(t) * Double(anchors.count - 1)
    let low = min(Int(at), anchors.count - 2), part = at - Double(low)
    func channel(_ shift: UInt32) -> UInt8 {
      let (a, b) = (anchors[low] >> shift & 255, anchors[low + 1] >> shift & 255)
      return UInt8((Double(a) + part * (Double(b) - Double(a))).rounded())
    }
    return (channel(16), channel(8), channel(0))
  }

  /// Luma in 0...255 of an index from 16 on.
  public static func luma(_ index: UInt8) -> Double { luma(of: channels(index)) }

  /// Luma in 0...255 of red, green and blue.
  public static func luma(of color: (UInt8, UInt8, UInt8)) -> Double {
    0.299 * Double(color.0) + 0.587 * Double(color.1) + 0.114 * Double(color.2)
  }

  /// Whether black or white text reads better on it.
  public static func isLight(_ index: UInt8) -> Bool {
    guard index >= 16 else { return index == 7 || index >= 9 }
    return luma(index) > 128
  }
}
