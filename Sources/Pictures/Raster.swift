import CPng

/// Pixels: four bytes each (red, green, blue, alpha not multiplied in), row after row from the top.
///
/// Example: `try picture.pixels(scale: 2).png(dpi: 192, title: "Map")`.
public struct Raster: Sendable {
  /// Pixels across.
  public let width: Int
  /// Pixels down.
  public let height: Int
  /// `[height * width * 4]`.
  public let rgba: [UInt8]

  /// More pixels than this are refused: at eight bytes each while drawing, half a gigabyte.
  public static let limit = 64 * 1024 * 1024

  /// As many bytes as four times the pixels; nothing is checked.
  init(width: Int, height: Int, rgba: [UInt8]) {
    (self.width, self.height) = (width, height)
    self.rgba = rgba
  }

  /// The file. `dpi` tells programs how large to print it (96 times the scale keeps its size); 0
  /// says nothing. Without a transparent pixel it has no alpha channel, which some journals do not
  /// take.
  /// Throws `PictureError.encoding` when memory is short or libpng refuses.
  public func png(dpi: Double, title: String) throws -> [UInt8] {
    var bytes: UnsafeMutablePointer<UInt8>?
    var size = 0
    let plain = String(
      String.UnicodeScalarView(title.unicodeScalars.map { XML.isPlain($0) ? $0 : "\u{fffd}" }))
    let code = rgba.withUnsafeBufferPointer {
      cpng_encode($0.baseAddress, Int32(width), Int32(height), dpi, plain, &bytes, &size)
    }
    defer { cpng_free(bytes) }
    guard code == 0 else { throw PictureError.encoding(code: Int(code)) }
    return Array(UnsafeBufferPointer(start: bytes, count: size))
  }
}

/// Why a picture did not become pixels or a file.
public enum PictureError: Error, Hashable, CustomStringConvertible {
  /// The size in pixels is no size, or above `Raster.limit`.
  case size(width: Double, height: Double, scale: Double)
  /// The PNG could not be written; 2 is a lack of memory.
  case encoding(code: Int)

  /// A sentence for a person, with what to try.
  public var description: String {
    switch self {
    case .size(let width, let height, let scale):
      """
      a picture of \(XML.number(width)) × \(XML.number(height)) points at scale \
      \(XML.number(scale)) cannot be \
      drawn: it has no pixels, or more than \(Raster.limit / 1024 / 1024) million; try a smaller \
      scale
      """
    case .encoding(code: 2): "no memory left to write the PNG file"
    case .encoding(let code): "libpng could not write the picture (code \(code))"
    }
  }
}
