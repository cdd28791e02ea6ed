/// Times are measured with `ContinuousClock`, whose durations are pairs of integers; rates
/// and medians want one number.
extension Duration {
  /// The duration in seconds; exact to the nanosecond for anything shorter than a hundred
  /// days.
  package var seconds: Double {
    Double(components.seconds) + Double(components.attoseconds) * 1e-18
  }
}
