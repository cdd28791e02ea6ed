import Tensors

/// The axes of an array by letter, outermost first: b batch, l layer, h head, n position, d
/// head dim, q query, k key.
///
/// Example: `AxisOrder("bhqk").layers(tensor, batch: 0)` is one layer `[h, q, k]`. The catch:
/// numbers alone do not tell head from position, so most orders come with a `Guess` that
/// `--layout` overrides.
struct AxisOrder {
  /// One letter for each axis of the array, each at most once.
  let letters: [Character]

  init(_ text: String) { letters = Array(text) }

  /// The letters as `--layout` takes them.
  var text: String { String(letters) }

  /// Accepts the letters of one array kind: n and d, or q and k, with any of b, l and h
  /// beside them. Throws `unsupported` for unknown or repeated letters and for a mixture of
  /// the two.
  static func check(_ text: String, file: String) throws(FormatError) {
    let letters = Set(text)
    let known = letters.isSubset(of: "blhndqk") && letters.count == text.count
    let core = letters.subtracting("blh")
    guard known, core == Set("qk") || core == Set("nd") else {
      throw FormatError(
        .unsupported,
        """
        layout '\(text)' is not known; use letters such as hnd, nhd, bhnd for q, k, v and lhqk, \
        bhqk, hqk, qk for maps
        """,
        file: file)
    }
  }

  /// Splits an array into layers in canonical order `[h, n, d]` or `[h, q, k]`; `batch` picks
  /// from axis b. Nothing is copied: only strides change. An array without a head axis gets
  /// one of a single head.
  func layers(_ tensor: Tensor, batch: Int) -> [Tensor] {
    var tensor = tensor
    var letters = letters
    if let b = letters.firstIndex(of: "b") {
      tensor = Self.pick(tensor, axis: b, batch)
      letters.remove(at: b)
    }
    let order: [Character] = letters.contains("d") ? ["l", "h", "n", "d"] : ["l", "h", "q", "k"]
    let present = order.filter(letters.contains)
    tensor = tensor.permuted(present.map { letters.firstIndex(of: $0)! })
    if !present.contains("h") {
      let at = present.contains("l") ? 1 : 0
      tensor = Self.insertOne(tensor, at: at)
    }
    return present.contains("l") ? (0..<tensor.shape[0]).map { tensor[$0] } : [tensor]
  }

  /// One index of any axis, by moving that axis to the front first.
  private static func pick(_ tensor: Tensor, axis: Int, _ index: Int) -> Tensor {
    var order = Array(tensor.shape.axes.indices)
    order.remove(at: axis)
    return tensor.permuted([axis] + order)[index]
  }

  /// A new axis of one element; its stride is never multiplied by anything but 0.
  static func insertOne(_ tensor: Tensor, at axis: Int) -> Tensor {
    var axes = tensor.shape.axes
    var strides = tensor.strides
    axes.insert(1, at: axis)
    strides.insert(0, at: axis)
    return Tensor(
      storage: tensor.storage, dtype: tensor.dtype, shape: Shape(axes), strides: strides,
      byteOffset: tensor.byteOffset)
  }
}

extension AxisOrder {
  /// The order of a q, k or v array, with the guess it took.
  ///
  /// Heads first, as our own files have it, unless that cannot be: query heads must be a
  /// multiple of key heads, and nobody has more than 128 key heads while positions are few. Where
  /// query and key differ along one of the two alone, that one counts heads. `named` says that a
  /// name holds the layer's number, so that the outermost axis of four is the batch.
  static func guessProjections(
    _ key: Shape, query: Shape, transformerLens: Bool, named: Bool
  ) -> (AxisOrder, Guess?)? {
    guard (2...4).contains(key.rank) else { return nil }
    if key.rank == 2 { return (AxisOrder("nd"), nil) }
    let lead = key.rank == 4 ? (key[0] == 1 || transformerLens || named ? "b" : "l") : ""
    if transformerLens { return (AxisOrder(lead + "nhd"), nil) }
    let first = key.rank - 3
    func divides(_ axis: Int) -> Bool {
      query.rank == key.rank && key[axis] > 0 && query[axis] % key[axis] == 0
    }
    let isCrowded = key[first] > 128 && key[first + 1] <= 128
    func differs(_ axis: Int) -> Bool { query.rank == key.rank && query[axis] != key[axis] }
    let isSecond = differs(first + 1) && !differs(first) && divides(first + 1)
    let headsFirst =
      !isSecond && divides(first) && !(isCrowded && divides(first + 1)) || !divides(first + 1)
    let order = lead + (headsFirst ? "hnd" : "nhd")
    return (AxisOrder(order), Guess("axes of q, k, v read as \(order)", flag: "--layout"))
  }

  /// The order of a map array with the guess it took; nil for ranks other than 2 to 5.
  /// `named` says that its name already holds a layer number, so that the outermost axis is
  /// the batch. Only query-head-key order gives itself away: its first and last extents agree
  /// and its middle is smaller.
  static func guessMap(_ shape: Shape, named: Bool) -> (AxisOrder, Guess?)? {
    switch shape.rank {
    case 2: return (AxisOrder("qk"), nil)
    case 3:
      if shape[0] == shape[2], shape[1] < shape[0] {
        return (AxisOrder("qhk"), Guess("axes read as query, head, key", flag: "--layout"))
      }
      if named { return (AxisOrder("hqk"), nil) }
      return (
        AxisOrder("hqk"),
        Guess("three axes read as head, query, key; layers would be lqk", flag: "--layout")
      )
    case 4:
      if named || shape[0] == 1 { return (AxisOrder("bhqk"), nil) }
      return (
        AxisOrder("lhqk"), Guess("four axes read as layer, head, query, key", flag: "--layout")
      )
    case 5:
      let order = shape[0] == 1 && shape[1] != 1 ? "blhqk" : "lbhqk"
      return (AxisOrder(order), Guess("five axes read as \(order)", flag: "--layout"))
    default: return nil
    }
  }
}
