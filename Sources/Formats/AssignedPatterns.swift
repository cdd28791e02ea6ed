import FoundationEssentials

/// Which pattern each head was assigned by MInference's offline search (arXiv 2407.02490): an
/// overlay, beside what a dump shows of the same heads.
///
/// The file is JSON, a list with a dictionary a layer: `[{"0": ["vertical_and_slash", 1000, 6096,
/// 0.98], ..}, ..]`, by head number; behind the name stand the columns and diagonals (of
/// `stream_llm` the first and the local tokens, of `block_sparse` the blocks), and the score that
/// the search gave it.
///
/// Example: `try AssignedPatterns("Llama-3-8B.json")[12, 6]?.words`. The catch: the list does not
/// say which model it is of, so that only numbers of layers and heads can be compared.
public struct AssignedPatterns: Sendable {
  /// The file.
  public let path: String
  /// `[layers]` by head number.
  private let layers: [[Int: Pattern]]

  /// What one head was assigned.
  public struct Pattern: Sendable, Equatable {
    /// As the file calls it.
    public let name: String
    /// The numbers behind the name, as many as there were.
    public let numbers: [Double]

    /// The name that measured heads go by: `vertical-slash`, `a-shape`, `block-sparse`; another
    /// one as it is.
    public var label: String {
      switch name {
      case "vertical_and_slash": "vertical-slash"
      case "stream_llm": "a-shape"
      case "block_sparse": "block-sparse"
      default: name.replacing("_", with: "-")
      }
    }

    /// What the search thought of it, by how much of the attention it keeps; nil where that is not
    /// there.
    public var score: Double? { numbers.count > 2 ? numbers[2] : nil }

    /// Its two sizes, `1000+6096`.
    public var sizes: String {
      numbers.prefix(2).map { number in
        number == number.rounded() && abs(number) < 1e9 ? "\(Int(number))" : "\(number)"
      }.joined(separator: "+")
    }

    /// Name and sizes in a line.
    public var words: String { sizes.isEmpty ? label : "\(label) \(sizes)" }
  }

  /// A name or a number of the list.
  private enum Item: Decodable {
    case text(String)
    case number(Double)

    init(from decoder: any Decoder) throws {
      let value = try decoder.singleValueContainer()
      if let number = try? value.decode(Double.self) {
        self = .number(number)
      } else {
        self = .text(try value.decode(String.self))
      }
    }
  }

  /// The longest file that is read: a million heads.
  private static let mostBytes = 1 << 26

  /// Reads the file whole. Throws `malformed` for what is no such table, and what reading throws.
  public init(_ path: String) throws(FormatError) {
    self.path = path
    let bytes = try readWhole(path, most: Self.mostBytes)
    guard let list = try? JSONDecoder().decode([[String: [Item]]].self, from: Data(bytes)),
      !list.isEmpty
    else {
      throw FormatError(
        .malformed,
        """
        is no table of patterns; MInference's is a JSON list with a dictionary a layer, \
        [{"0": ["vertical_and_slash", 1000, 6096, 0.98], ..}, ..]
        """,
        file: path)
    }
    var layers: [[Int: Pattern]] = []
    for (layer, heads) in list.enumerated() {
      var own: [Int: Pattern] = [:]
      for (key, items) in heads {
        guard let head = Int(key), head >= 0, case .text(let name) = items.first else {
          throw FormatError(
            .malformed,
            "layer \(layer) has '\(key.prefix(40))', which is not a head's number and its pattern",
            file: path)
        }
        let numbers = items.dropFirst().compactMap { item -> Double? in
          if case .number(let number) = item, number.isFinite { number } else { nil }
        }
        own[head] = Pattern(name: name, numbers: numbers)
      }
      layers.append(own)
    }
    self.layers = layers
  }

  /// What a head was assigned, by the numbers of the model; nil where the table does not say.
  public subscript(layer: Int, head: Int) -> Pattern? {
    layers.indices.contains(layer) ? layers[layer][head] : nil
  }

  /// Layers of the table.
  public var count: Int { layers.count }
}
