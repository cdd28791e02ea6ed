public import Attention
public import Formats

extension Probe {
  /// How the kernel was set, as a dump tells it.
  public init(_ record: ProbeRecord) {
    self.init(
      tile: record.tile, lambda: record.threshold, rule: record.fingerprint.map(TileSpec.init))
  }
}

extension TileSpec {
  /// The rule of a probe; its words and sides were checked when it was read.
  public init(_ rule: ProbeRecord.Rule) {
    self.init(
      rows: rule.rows, keys: rule.keys, vote: Vote(rawValue: rule.vote) ?? .head,
      order: Order(rawValue: rule.order) ?? .ascending, splits: rule.splits)
  }
}
