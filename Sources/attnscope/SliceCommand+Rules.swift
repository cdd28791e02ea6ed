import Attention
import Backends
import Formats
import Sessions

/// What a model does beside scale and causality, as a slice keeps it.
extension SliceCommand {
  /// The rules of the model as metadata: windows and softcaps of single layers under the names of
  /// the layers. Throws `unsupported` for what metadata cannot say.
  func rules(_ dump: Dump, _ keys: Range<Int>) throws -> [String: String] {
    let rules = dump.rules
    guard dump.addedBiases().biases.isEmpty else {
      throw FormatError(
        .unsupported, "has biases beside its scores, which slice does not cut", file: dump.path)
    }
    var metadata: [String: String] = [:]
    let byLayer = dump.layerRules
    let layers = byLayer.isByLayer ? dump.layers.map(\.layer) : []
    let own = layers.map { byLayer.rules(rules, layer: $0) }
    // A rule that no layer has is not spoken of.
    let (hasWindows, hasCaps) = (
      own.contains { $0.window != nil }, own.contains { $0.softcap != nil }
    )
    for (layer, rules) in zip(layers, own) {
      if hasWindows {
        metadata["layers.\(layer).sliding_window"] = rules.window.map { "\($0)" } ?? "none"
      }
      if hasCaps { metadata["layers.\(layer).softcap"] = rules.softcap.map { "\($0)" } ?? "none" }
    }
    if !byLayer.isByLayer {
      metadata["sliding_window"] = rules.window.map { "\($0)" }
      metadata["softcap"] = rules.softcap.map { "\($0)" }
    }
    if let segments = rules.segments, segments.count >= keys.upperBound {
      let part = segments[keys]
      let starts = part.indices.filter { $0 == keys.lowerBound || segments[$0] != segments[$0 - 1] }
      metadata["cu_seqlens"] =
        "\((starts + [keys.upperBound]).map { $0 - keys.lowerBound })"
    }
    return metadata
  }

  /// The logits of learned sinks, of the heads that stay.
  func sinks(_ dump: Dump, _ chosen: [LayerIndex], heads: [Int]?) -> [ArrayToWrite] {
    let all = DumpHeads(dump)
    return chosen.compactMap { layer in
      all.sinks(layer).map { logits in
        let kept = (heads ?? Array(logits.indices)).map { logits[$0] }
        return ArrayToWrite(
          "layers.\(all.layers[layer]).sinks", floats: kept, shape: [kept.count])
      }
    }
  }
}
