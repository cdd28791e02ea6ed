import FoundationEssentials
import Tensors

/// What a model does otherwise from layer to layer: windows, softcaps, and learned sinks.
///
/// Models with windows have them on some layers alone: Gemma 3 on five of six, gpt-oss on every
/// other. A file says so in its metadata: `sliding_window` as a JSON array (`[128, null, ..]`, an
/// element a layer of the model), `layer_types` (`["sliding_attention", "full_attention", ..]`)
/// beside one window, or `layers.3.sliding_window`; 0, -1 and null are none. `softcap` goes the
/// same ways. A layer of which none of them speaks has what the file says of all.
///
/// A learned sink of logit b is one more element of a row's softmax that belongs to no key: with
/// it the weights are e^x_j / (sum e^x + e^b), and a row sums to less than 1. Its logits are arrays
/// `layers.3.sinks`, `s_aux` or `sink_logits` `[heads]`, or one `[layers, heads]` for all.
///
/// The catch: of a list an element is the layer of its place in the model, so it is as long as the
/// model has layers, or as the file has.
public struct LayerRules: Sendable {
  /// A rule of some layers: nil within says that the layer has none.
  private var windows: [Int: Double?] = [:]
  private var softcaps: [Int: Double?] = [:]
  /// The file's one window and softcap; flags may have given another.
  private var window: Double?
  private var softcap: Double?
  /// `[heads]` of a layer, by its number; -1: of every layer.
  private var sinks: [Int: [Float]] = [:]
  /// The file speaks of single layers, whether that could be read or not.
  private var speaks = false
  /// Sentences about what is not followed.
  public private(set) var remarks: [String] = []

  /// None.
  public init() {}

  /// Of layers with these numbers. Never fails: what cannot be read is as if it were not there, and
  /// a remark says so.
  ///
  /// `all` are the rules of the file and the flags together.
  init(_ archive: any TensorArchive, _ all: AttentionRules, layers: [Int]) {
    let map = archive.metadata
    speaks = Self.speak(map)
    let caps = ["softcap", "attn_logit_softcapping", "attention_softcap", "logit_softcap"]
    for (names, path, one) in [
      (["sliding_window", "window"], \LayerRules.windows, \LayerRules.window),
      (caps, \LayerRules.softcaps, \LayerRules.softcap),
    ] {
      self[keyPath: one] = names.lazy.compactMap { map[$0].flatMap(Self.number) }.first
      for name in names {
        if let text = map[name] { take(list: text, name, layers, path) }
        for layer in layers {
          guard let text = map["layers.\(layer).\(name)"] else { continue }
          self[keyPath: path][layer] = .some(Self.number(text))
        }
      }
    }
    if let text = map["layer_types"] { take(types: text, all, layers) }
    for entry in archive.entries where Self.isSinks(entry.name) { take(entry, archive, layers) }
  }

  // MARK: what holds in a layer

  /// The rules of one layer, where `all` are those of the file and the flags: a window or softcap
  /// that a flag gave takes the place of the file's numbers, in the layers that have one.
  public func rules(_ all: AttentionRules, layer: Int) -> AttentionRules {
    var own = all
    if let found = windows[layer] {
      let flag = all.window.map(Double.init) == window ? nil : all.window
      own.window = found == nil ? nil : flag ?? found.flatMap { Int(exactly: min($0, 0x1p30)) }
    }
    if let found = softcaps[layer] {
      let flag = all.softcap == softcap ? nil : all.softcap
      own.softcap = found == nil ? nil : flag ?? found
    }
    return own
  }

  /// The learned sink's logits in a layer of so many query heads; nil where there is none.
  public func sinks(layer: Int, heads: Int) -> [Float]? {
    (sinks[layer] ?? sinks[-1]).flatMap { $0.count == heads ? $0 : nil }
  }

  /// Whether layers differ in their window or softcap.
  public var isByLayer: Bool { !windows.isEmpty || !softcaps.isEmpty }

  // MARK: reading

  /// A number above 0; nil for none, whichever way that is written.
  private static func number(_ text: String) -> Double? {
    Double(text).flatMap { $0.isFinite && $0 > 0 ? $0 : nil }
  }

  /// The elements of a list, each with the number of its layer; nil where the list is of other
  /// layers than the file's.
  private static func spread<T>(_ list: [T], _ layers: [Int]) -> [(layer: Int, value: T)]? {
    if layers.allSatisfy(list.indices.contains) { return layers.map { ($0, list[$0]) } }
    return list.count == layers.count ? Array(zip(layers, list)) : nil
  }

  private mutating func take(
    list text: String, _ name: String, _ layers: [Int],
    _ path: WritableKeyPath<LayerRules, [Int: Double?]>
  ) {
    guard text.first(where: { !$0.isWhitespace }) == "[" else { return }
    // Python writes None where JSON has null.
    let json = Data(text.replacing("None", with: "null").utf8)
    guard let list = try? JSONDecoder().decode([Double?].self, from: json),
      let spread = Self.spread(list, layers)
    else {
      remarks.append(
        "metadata \(name) is a list, but none of a number for each layer, and was passed over")
      return
    }
    for (layer, value) in spread {
      self[keyPath: path][layer] = .some(value.flatMap { $0.isFinite && $0 > 0 ? $0 : nil })
    }
  }

  private mutating func take(types text: String, _ all: AttentionRules, _ layers: [Int]) {
    guard
      let list = (try? JSONDecoder().decode([String].self, from: Data(text.utf8)))
        ?? TokenTexts.pythonList(text), let spread = Self.spread(list, layers)
    else {
      remarks.append(
        "metadata layer_types is no list with a word for each layer, and was passed over")
      return
    }
    var unknown: Set<String> = []
    for (layer, word) in spread where windows[layer] == nil {
      switch word {
      case "full_attention", "attention", "global": windows[layer] = .some(nil)
      // Without a width in the file it is the flag's, or there is none.
      case "sliding_attention", "local", "sliding_window":
        if let window { windows[layer] = .some(window) }
      default:
        unknown.insert(word)
        windows[layer] = .some(nil)
      }
    }
    if list.contains("sliding_attention"), window == nil, all.window == nil {
      remarks.append(
        "metadata layer_types names layers with a window, and none says how wide (--window)")
    }
    for word in unknown.sorted() {
      remarks.append("layers of type \(word) are taken for full attention")
    }
  }

  /// `sinks`, `s_aux`, `sink_logits`, with whatever stands before.
  static func isSinks(_ name: String) -> Bool {
    let words = nameParts(name).filter { Int($0) == nil }, end = Array(words.suffix(2))
    return words.last == "sinks" || end == ["s", "aux"] || end == ["sink", "logits"]
  }

  /// The most logits that are read: layers times heads of any model.
  private static let mostSinks = 1 << 20

  private mutating func take(_ entry: ArrayEntry, _ archive: any TensorArchive, _ layers: [Int]) {
    // Axes of one element say nothing: [1, heads, 1, 1].
    let axes = entry.shape.axes.filter { $0 != 1 }
    guard entry.dtype.isFloat, axes.count <= 2, (1...Self.mostSinks).contains(entry.shape.count),
      let values = try? archive.tensor(entry.name).floats(),
      values.allSatisfy({ !$0.isNaN && $0 < .infinity })
    else {
      remarks.append("\(entry.name) is passed over: it is no list of logits, one a head")
      return
    }
    if let layer = NameNumbers(nameParts(entry.name)).layer {
      sinks[layer] = values
    } else if axes.count < 2 {
      sinks[-1] = values
    } else if let rows = Self.spread(Array(0..<axes[0]), layers) {
      for (layer, row) in rows { sinks[layer] = Array(values[row * axes[1]..<(row + 1) * axes[1]]) }
    } else {
      remarks.append("\(entry.name) is passed over: it is of \(axes[0]) layers")
    }
  }
}

extension LayerRules {
  /// Whether the metadata speak of single layers.
  static func speak(_ map: [String: String]) -> Bool {
    map.contains { key, text in
      let parts = nameParts(key)
      let isList = text.first { !$0.isWhitespace } == "["
      return key == "layer_types"
        || ["window", "softcap", "softcapping"].contains(parts.last ?? "")
          && (isList || parts.first == "layers")
    }
  }

  /// In what the layers of a dump differ, and what was passed over, in sentences.
  public func sentences(of dump: Dump) -> [String] {
    var out: [String] = []
    let all = dump.rules, layers = dump.layers.map(\.layer)
    func list(_ start: String, _ value: (AttentionRules) -> Double) {
      let values = layers.map { value(rules(all, layer: $0)) }
      let parts = Set(values).sorted(by: >).map { one in
        let names = zip(layers, values).filter { $0.1 == one }.map { "\($0.0)" }
        let places = "layer\(names.count == 1 ? "" : "s") \(names.joined(separator: ", "))"
        let text = one == one.rounded() && one < 1e9 ? "\(Int(one))" : "\(one)"
        return one > 0 ? "\(text) in \(places)" : "none in \(places)"
      }
      out.append("\(start): \(parts.joined(separator: "; "))")
    }
    if speaks, !windows.isEmpty || all.window != nil {
      list("keys outside of a window are hidden (--window)") { $0.window.map(Double.init) ?? 0 }
    }
    if speaks, !softcaps.isEmpty || all.softcap != nil {
      list("scores are bent by a softcap (--softcap)") { $0.softcap ?? 0 }
    }
    for layer in dump.layers {
      let heads = layer.positions.heads, found = sinks[layer.layer] ?? sinks[-1]
      if let found, found.count != heads {
        out.append(
          """
          the learned sink of layer \(layer.layer) is passed over: it has \(found.count) heads \
          where the layer has \(heads)
          """)
      }
    }
    return out + remarks
  }
}
