import Kernels
import Tensors

/// Whether the arrays of a dump fit each other, and the machine.
extension DumpReader {
  /// Positions are counted in 32 bits by the kernels, and products of two of them in 64.
  private static let mostPositions = 1 << 30

  /// What is computed from the sizes of the arrays must fit a number, and a head a kernel's stack.
  func checkSizes(_ layers: [LayerArrays], tile: (rows: Int, keys: Int)) throws(FormatError) {
    for layer in layers {
      let place = "layer \(layer.layer)"
      for (role, tensor) in layer.arrays where [.query, .key, .value].contains(role) {
        guard tensor.shape[2] <= Int(AS_MOST_DIM) else {
          throw FormatError(
            .tooLarge,
            """
            \(role.rawValue) heads are \(tensor.shape[2]) wide; \(AS_MOST_DIM) are the most (or \
            give --layout)
            """,
            file: path, place: place)
        }
      }
      let (queries, keys, _) = layer.positions
      guard queries <= Self.mostPositions / tile.rows, keys <= Self.mostPositions / tile.keys else {
        let map = "\(queries) x \(keys)"
        throw FormatError(
          .tooLarge,
          tile == (1, 1)
            ? "a map of \(map) has too many positions; \(Self.mostPositions) a side are the most"
            : """
            \(map) blocks of \(tile.rows)x\(tile.keys) make too many positions; \
            \(Self.mostPositions) a side are the most (--mask-tile says the tile)
            """,
          file: path, place: place)
      }
    }
  }

  /// How many elements of masks are looked at.
  private static let mostLooked = 1 << 18

  /// A mask has 0 and 1, and 255 for what nobody sees. Counts of blocks, or their numbers, would be
  /// drawn as well, and mean nothing. Rows from all over each layer are looked at. Throws
  /// `mismatch` with the first number that is none of the three.
  func checkMasks(_ layers: [LayerArrays]) throws(FormatError) {
    for layer in layers {
      guard let mask = layer.arrays[.blocks], mask.count > 0 else { continue }
      let rows = mask.shape[1], all = mask.shape[0] * rows
      let looked = max(1, Self.mostLooked / layers.count / mask.shape[2])
      for row in stride(from: 0, to: all, by: max(1, all / looked)) {
        let values = mask[row / rows][row % rows].floats()
        guard let other = values.first(where: { $0 != 0 && $0 != 1 && $0 != 255 }) else { continue }
        throw FormatError(
          .mismatch,
          """
          holds the number \(other) where a mask has 0 and 1 (255: not visible); --kind pattern or \
          scores says what else it is
          """,
          file: path, place: "layer \(layer.layer)")
      }
    }
  }

  /// Heads must divide, head dims and positions must match, and all layers must be of one
  /// size: every view indexes them together. Throws `mismatch` with the layer and both sizes.
  func checkAgreement(_ layers: [LayerArrays]) throws(FormatError) {
    for layer in layers {
      guard let q = layer.arrays[.query], let k = layer.arrays[.key] else { continue }
      let place = "layer \(layer.layer)"
      guard q.shape[2] == k.shape[2] else {
        throw FormatError(
          .mismatch,
          "q has head dim \(q.shape[2]) and k \(k.shape[2]); they must be equal (or give --layout)",
          file: path,
          place: place)
      }
      guard k.shape[0] > 0, q.shape[0] % k.shape[0] == 0 else {
        throw FormatError(
          .mismatch,
          "\(q.shape[0]) query heads cannot share \(k.shape[0]) key heads evenly "
            + "(or give --layout)",
          file: path, place: place)
      }
      if let v = layer.arrays[.value], v.shape[0] != k.shape[0] || v.shape[1] != k.shape[1] {
        throw FormatError(
          .mismatch, "v is \(v.shape) and k is \(k.shape): heads and positions must be equal",
          file: path, place: place)
      }
    }
    let sizes = Set(layers.map { [$0.positions.queries, $0.positions.keys, $0.positions.heads] })
    guard sizes.count == 1 else {
      let list = sizes.sorted { $0.lexicographicallyPrecedes($1) }.prefix(4).map {
        "\($0[0])x\($0[1]) of \($0[2]) heads"
      }
      throw FormatError(
        .mismatch,
        """
        layers have different numbers of queries, keys or heads (\(list.joined(separator: ", "))); \
        attnscope slice FILE --layers \(layers[0].layer) -o layer.safetensors cuts one out
        """,
        file: path)
    }
  }
}
