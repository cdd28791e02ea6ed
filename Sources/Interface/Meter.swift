/// How much the terminal is sent.
struct Meter: Sendable {
  /// Bytes so far.
  private var bytes = 0
  /// When they were counted, in seconds from the first time on.
  private var seconds = 0.0
  /// Bytes a second, over the last half second or more.
  private(set) var perSecond = 0.0

  /// Nothing was counted yet.
  init() {}

  /// Bytes so far, at a time in seconds; counts that follow within half a second are passed over.
  mutating func take(_ bytes: Int, at seconds: Double) {
    let time = seconds - self.seconds
    guard time >= 0.5 else { return }
    perSecond = self.seconds == 0 ? 0 : Double(bytes - self.bytes) / time
    (self.bytes, self.seconds) = (bytes, seconds)
  }
}
