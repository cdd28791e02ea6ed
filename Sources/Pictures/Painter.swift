extension Picture {
  /// The picture as pixels, `scale` of them to the point.
  public func pixels(scale: Double) throws(PictureError) -> Raster {
    throw .size(width: width, height: height, scale: scale)
  }
}
