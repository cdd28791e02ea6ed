/// A perceptually ordered ramp, quantised to 24 steps of the 256-colour palette: enough for the eye, and few enough that
/// equal neighbours cost no bytes over SSH. Colour-blind-safe ones come first.
public enum ColorMap: String, Sendable, Hashable, CaseIterable {
  case cividis, viridis, magma, gray

  public static let steps = 24

  /// Anchor colours, equally spaced, red green blue.
  private var anchors: [(Double, Double, Double)] {
    switch self {
    case .cividis:
      [
        (0, 34, 78), (18, 53, 112), (59, 73, 108), (87, 93, 109), (112, 113, 115), (138, 134, 120), (165, 156, 116),
        (195, 179, 105), (225, 204, 85), (254, 232, 56),
      ]
    case .viridis:
      [
        (68, 1, 84), (72, 40, 120), (62, 74, 137), (49, 104, 142), (38, 130, 142), (31, 158, 137), (53, 183, 121),
        (110, 206, 88), (181, 222, 43), (253, 231, 37),
      ]
    case .magma:
      [
        (0, 0, 4), (24, 15, 61), (68, 15, 118), (114, 31, 129), (158, 47, 127), (205, 64, 113), (241, 96, 93),
        (253, 150, 104), (254, 202, 141), (252, 253, 191),
      ]
    case .gray: [(8, 8, 8), (238, 238, 238)]
    }
  }

  private static let ramps: [ColorMap: [UInt8]] = Dictionary(
    uniqueKeysWithValues: ColorMap.allCases.map { map in
      (map, (0..<steps).map { Palette.nearest(map.color(Double($0) / Double(steps - 1))) })
    })

  func color(_ t: Double) -> (Double, Double, Double) {
    let at = t * Double(anchors.count - 1)
    let low = min(Int(at), anchors.count - 2), f = at - Double(low)
    let (a, b) = (anchors[low], anchors[low + 1])
    return (a.0 + f * (b.0 - a.0), a.1 + f * (b.1 - a.1), a.2 + f * (b.2 - a.2))
  }

  /// The palette colour for t in 0...1; on a light background the ramp runs the other way, so that little attention
  /// fades into the page.
  public func index(_ t: Double, light: Bool = false) -> UInt8 {
    let ramp = Self.ramps[self]!
    let step = min(Self.steps - 1, max(0, Int(t * Double(Self.steps))))
    return ramp[light ? Self.steps - 1 - step : step]
  }

  public var next: ColorMap {
    let all = Self.allCases
    return all[(all.firstIndex(of: self)! + 1) % all.count]
  }
}

/// The colours 16 to 255 that every 256-colour terminal shares.
public enum Palette {
  static func rgb(_ index: Int) -> (Double, Double, Double) {
    if index >= 232 {
      let level = Double(8 + 10 * (index - 232))
      return (level, level, level)
    }
    let levels: [Double] = [0, 95, 135, 175, 215, 255]
    let cube = index - 16
    return (levels[cube / 36], levels[cube / 6 % 6], levels[cube % 6])
  }

  /// The nearest by a luma-weighted distance (luminance counts most, so ramps stay ordered).
  static func nearest(_ color: (Double, Double, Double)) -> UInt8 {
    func distance(_ other: (Double, Double, Double)) -> Double {
      let (r, g, b) = (color.0 - other.0, color.1 - other.1, color.2 - other.2)
      let luma = 0.299 * r + 0.587 * g + 0.114 * b
      return 3 * luma * luma + 0.3 * (r * r + g * g + b * b)
    }
    return UInt8((16..<256).min { distance(rgb($0)) < distance(rgb($1)) }!)
  }

  /// Whether black or white text reads better on it.
  public static func isLight(_ index: UInt8) -> Bool {
    guard index >= 16 else { return index == 7 || index >= 9 }
    let (r, g, b) = rgb(Int(index))
    return 0.299 * r + 0.587 * g + 0.114 * b > 128
  }
}
