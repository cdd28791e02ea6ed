public import Tensors

/// How an attention bias lies on the scores of a layer.
enum BiasFit {
  /// `[heads or 1, queries or 1, keys]`, all of it.
  case whole(Tensor)
  /// The part for the positions that there are; how many keys the array has.
  case part(Tensor, of: Int)
  /// Why it is not added, as what follows "passed over: ".
  case none(String)

  /// Looks at the shape of `bias` `[heads, queries, keys]` alone.
  ///
  /// Heads are 1 or as many as the layer has: any other number leaves it open whose bias is whose.
  /// A bias may go on behind the last key (padding that was cut away, a mask of the model's whole
  /// context): rows and keys are then those of the same positions. `offset` is where query 0
  /// stands among the keys.
  init(_ bias: Tensor, queries: Int, keys: Int, heads: Int, offset: Int) {
    let own = bias.shape.axes
    guard own[0] == 1 || own[0] == heads else {
      self = .none("it has \(own[0]) heads where the model has \(heads)")
      return
    }
    let isSquare = own[1] == own[2]
    let rows: Range<Int>?
    switch own[1] {
    case 1, queries: rows = 0..<own[1]
    // Cut at the end, or over positions.
    case let count where count > queries && count - queries == own[2] - keys: rows = 0..<queries
    case let count where isSquare && offset >= 0 && offset + queries <= count:
      rows = offset..<offset + queries
    default: rows = nil
    }
    guard let rows, own[2] >= keys else {
      self = .none("it is of \(own[1]) x \(own[2]) positions, and there are \(queries) x \(keys)")
      return
    }
    let part = bias.slice(axis: 1, rows).slice(axis: 2, 0..<keys)
    self = part.shape == bias.shape ? .whole(bias) : .part(part, of: own[2])
  }

  /// What is added; nil: nothing.
  var tensor: Tensor? {
    switch self {
    case .whole(let tensor), .part(let tensor, _): tensor
    case .none: nil
    }
  }
}

extension Dump {
  /// What `ArrayUse.use` says of an attention bias.
  static let biasUse = "bias"

  /// The biases that are added to the scores, by the layer's number and as
  /// `[heads or 1, queries or 1, keys]` of what is shown; and a sentence for each that the file
  /// has, whether it is added or not.
  ///
  /// Example: a file of 4 heads with `layers.0.attention_bias` `[3, 9, 9]` gives none, and
  /// "layers.0.attention_bias is passed over: it has 3 heads where the model has 4". Only scores
  /// that are made of Q and K get any.
  public func addedBiases() -> (biases: [Int: Tensor], said: [String]) {
    guard kind == .qkv else { return ([:], []) }
    var added: [Int: Tensor] = [:], said: [String] = []
    func say(_ sentence: String) { if !said.contains(sentence) { said.append(sentence) } }
    let arrays = arrays.filter { $0.use == Self.biasUse }.map { ($0.name, biasLayer($0.name)) }
    for layer in layers {
      let own = rules.biases[layer.layer] == nil ? -1 : layer.layer
      guard let bias = rules.biases[own] else { continue }
      let name = arrays.first { $0.1 == own }?.0 ?? "the attention bias"
      let (queries, keys, heads) = layer.positions
      let fit = BiasFit(
        bias, queries: queries, keys: keys, heads: heads, offset: queryOffset ?? keys - queries)
      added[layer.layer] = fit.tensor
      switch fit {
      case .whole: say("\(name) is added to the scores")
      case .part(_, let all):
        say("\(name) is added to the scores: of its \(all) keys the first \(keys)")
      case .none(let reason): say("\(name) is passed over: \(reason)")
      }
    }
    for (index, (name, layer)) in arrays.enumerated() {
      if layer >= 0, !layers.contains(where: { $0.layer == layer }) {
        say("\(name) is passed over: there is no layer \(layer) here")
      } else if rules.biases[layer] == nil {
        say("\(name) is passed over: it is of several sequences")
      } else if arrays[..<index].contains(where: { $0.1 == layer && rules.biases[layer] != nil }) {
        say("\(name) is passed over: \(arrays.first { $0.1 == layer }!.0) is added already")
      }
    }
    return (added, said)
  }
}

/// The layer that a bias is of by its name; -1: of every layer without one of its own.
func biasLayer(_ name: String) -> Int { NameNumbers(nameParts(name)).layer ?? -1 }
