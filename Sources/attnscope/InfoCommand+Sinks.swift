import Attention
import Backends
import Canvas
import Formats
import Sessions

/// Windows and learned sinks of a file's layers, as `info` says them.
extension InfoCommand {
  /// The sink of one layer.
  struct LearnedSink {
    /// As the file calls it.
    let layer: LayerNumber
    /// `[heads]`.
    let logits: [Float]
    /// The share of each head's rows that it takes `[heads]`; nil: not computed.
    let masses: [Double?]?
  }

  /// Entries of all heads together whose rows are computed for this: as many as one look takes a
  /// second for or less.
  private static let mostEntries = 1 << 22

  /// Every layer's sink; what they take only of small files, since `info` answers at once.
  static func learnedSinks(_ backend: FileBackend) -> [LearnedSink] {
    let heads = backend.heads, about = backend.describe()
    let entries = about.layers.count * about.heads * about.queries * about.keys
    return heads.layers.layerIndices.compactMap { layer in
      heads.sinks(layer).map { logits in
        LearnedSink(
          layer: heads.layers[layer], logits: logits,
          masses: entries > mostEntries
            ? nil : logits.indices.map { heads.sinkMass(layer, $0) })
      }
    }
  }

  /// Its logits, and what it takes.
  static func words(_ sink: LearnedSink) -> String {
    let low = Double(sink.logits.min() ?? 0), high = Double(sink.logits.max() ?? 0)
    let logits = "logits \(Numbers.short(low)) to \(Numbers.short(high))"
    guard let masses = sink.masses else {
      return "layer \(sink.layer): \(logits); report says what it takes (learned_sink)"
    }
    let list = masses.map { $0.map(Numbers.percent) ?? "-" }.joined(separator: ", ")
    return "layer \(sink.layer): \(logits); of the rows of its heads it takes \(list)"
  }

  /// The window of each layer in the order of the file, null where it has none.
  static func windows(_ backend: FileBackend) -> JSON {
    .array(
      backend.heads.layers.layerIndices.map {
        .optional(backend.heads.rules($0).window, JSON.integer)
      })
  }

  /// Every layer's sink for programs.
  static func sinks(_ backend: FileBackend) -> JSON { .array(learnedSinks(backend).map(json)) }

  /// `mass` is null where it was not computed.
  private static func json(_ sink: LearnedSink) -> JSON {
    .object([
      ("layer", .integer(sink.layer.value)),
      ("logits", .array(sink.logits.map { .number(Double($0)) })),
      (
        "mass",
        .optional(sink.masses) { masses in .array(masses.map { .optional($0, JSON.number) }) }
      ),
    ])
  }
}
