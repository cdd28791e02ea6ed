extension Picture {
  /// The picture as pixels, `scale` of them to the point, with smooth edges where a shape does not
  /// meet them.
  ///
  /// A size without a pixel or beyond `Raster.limit` is refused. Boxes, cells and upright lines
  /// move to whole device pixels, so that neighbours meet without a seam.
  /// Throws `PictureError.size` for a size that is refused.
  public func pixels(scale: Double) throws(PictureError) -> Raster {
    let (w, h) = ((width * scale).rounded(.up), (height * scale).rounded(.up))
    guard w >= 1, h >= 1, w <= Double(Raster.limit), w * h <= Double(Raster.limit) else {
      throw .size(width: width, height: height, scale: scale)
    }
    var painter = Painter(width: Int(w), height: Int(h), scale: scale, background: background)
    for shape in shapes { painter.draw(shape) }
    return Raster(width: Int(w), height: Int(h), rgba: painter.rgba)
  }
}

/// The pixels while they are drawn, and how much of each the pen of the moment covers.
///
/// Strokes are drawn in two steps: `stroke` marks coverage, the largest of all its parts where they
/// overlap, and `ink` blends one colour in through it. So the parts of a letter, or of a cross,
/// join without darker spots.
struct Painter {
  /// Device pixels across.
  let width: Int
  /// Device pixels down.
  let height: Int
  /// Device pixels a point.
  let scale: Double
  /// `[height * width * 4]`, alpha not multiplied in.
  private(set) var rgba: [UInt8]
  /// 0 to 255 for each pixel; zero outside `dirty`.
  private var coverage: [UInt8]
  /// The smallest window around all marks.
  private var dirty = Window.empty

  /// Transparent, or the background throughout.
  init(width: Int, height: Int, scale: Double, background: RGB?) {
    (self.width, self.height) = (width, height)
    self.scale = scale
    rgba = [UInt8](repeating: 0, count: 4 * width * height)
    coverage = [UInt8](repeating: 0, count: width * height)
    if let background { fill(Window(left: 0, top: 0, right: width, bottom: height), background) }
  }

  /// All pixels of the window in one colour; what is outside of the picture is cut off.
  mutating func fill(_ window: Window, _ color: RGB) {
    let w = window.cut(width: width, height: height)
    guard !w.isEmpty else { return }
    for y in w.top..<w.bottom {
      for at in stride(from: 4 * (y * width + w.left), to: 4 * (y * width + w.right), by: 4) {
        (rgba[at], rgba[at + 1], rgba[at + 2], rgba[at + 3]) = (color.r, color.g, color.b, 255)
      }
    }
  }

  /// Marks what a segment covers, in device pixels.
  mutating func stroke(_ segment: Segment) {
    let window = segment.window.cut(width: width, height: height)
    guard !window.isEmpty else { return }
    dirty = dirty.with(window)
    for y in window.top..<window.bottom {
      let columns = segment.columns(y, in: window)
      for x in columns {
        let part = UInt8(255 * segment.coverage(Double(x) + 0.5, Double(y) + 0.5) + 0.5)
        let at = y * width + x
        if part > coverage[at] { coverage[at] = part }
      }
    }
  }

  /// Blends a colour in through what was marked, and forgets the marks.
  mutating func ink(_ color: RGB) {
    guard !dirty.isEmpty else { return }
    for y in dirty.top..<dirty.bottom {
      for x in dirty.left..<dirty.right where coverage[y * width + x] > 0 {
        blend(color, Int(coverage[y * width + x]), at: 4 * (y * width + x))
        coverage[y * width + x] = 0
      }
    }
    dirty = .empty
  }

  /// Source over destination; `part` of 255 is the alpha of the source.
  private mutating func blend(_ color: RGB, _ part: Int, at: Int) {
    let below = Int(rgba[at + 3]) * (255 - part)
    let sum = 255 * part + below
    func mix(_ new: UInt8, _ old: UInt8) -> UInt8 {
      UInt8((Int(new) * 255 * part + Int(old) * below + sum / 2) / sum)
    }
    rgba[at] = mix(color.r, rgba[at])
    rgba[at + 1] = mix(color.g, rgba[at + 1])
    rgba[at + 2] = mix(color.b, rgba[at + 2])
    rgba[at + 3] = UInt8((sum + 127) / 255)
  }
}

/// A rectangle of device pixels; right and bottom are outside.
struct Window: Equatable {
  var left, top, right, bottom: Int

  /// No pixel.
  static let empty = Window(left: 0, top: 0, right: 0, bottom: 0)

  /// True when it has no pixel.
  var isEmpty: Bool { left >= right || top >= bottom }

  /// The part within a picture of this size.
  func cut(width: Int, height: Int) -> Window {
    Window(
      left: max(0, left), top: max(0, top), right: min(width, right), bottom: min(height, bottom))
  }

  /// The smallest window around both.
  func with(_ other: Window) -> Window {
    guard !isEmpty else { return other }
    return Window(
      left: min(left, other.left), top: min(top, other.top), right: max(right, other.right),
      bottom: max(bottom, other.bottom))
  }
}

/// The device pixel boundary nearest to a length in device pixels; far outside, one that still fits
/// arithmetic.
func snapped(_ value: Double) -> Int { Int(min(1e9, max(-1e9, value)).rounded()) }
