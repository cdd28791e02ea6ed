import FoundationEssentials
import Tensors

/// One map as text: a line a query, numbers between commas, semicolons, tabs or blanks.
///
/// Spreadsheets and `numpy.savetxt` write such files. A first line of words is taken for the
/// texts of the keys, and a first word of every line is passed over. Example:
/// `0.5,0.5` and `0.1,0.9` on two lines. The catch: text holds few digits, so rows sum to 1 only
/// nearly.
struct TextTable: TensorArchive {
  let path: String
  let entries: [ArrayEntry]
  private let map: Tensor
  private let words: [String]

  var format: String { "text" }
  var metadata: [String: String] { [:] }
  var textNames: [String] { words.isEmpty ? [] : ["tokens"] }

  /// A larger table is no text that people make.
  private static let most = 256 << 20

  /// Nil for what is no table of numbers. Throws `malformed` for lines of different lengths,
  /// `tooLarge` over 256 MiB.
  init?(_ file: MappedFile) throws(FormatError) {
    path = file.path
    let head = file.bytes.prefix(4096)
    guard head.allSatisfy({ $0 >= 32 && $0 < 127 || [9, 10, 13].contains($0) || $0 >= 0x80 }),
      head.contains(where: { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
    else { return nil }
    guard file.bytes.count <= Self.most else {
      throw FormatError(.tooLarge, "a table of text over 256 MiB is not read", file: path)
    }
    let lines = file.bytes.split { $0 == 10 || $0 == 13 }
    guard let first = lines.first, let separator = Self.separator(first) else { return nil }
    var rows: [[Substring]] = lines.map {
      String(decoding: $0, as: UTF8.self).split(
        separator: separator, omittingEmptySubsequences: separator == " ")
    }.filter { !$0.isEmpty }
    var words: [String] = []
    if let heading = rows.first, heading.dropFirst().allSatisfy({ Self.number($0) == nil }),
      rows.count > 1
    {
      words = heading.map(Self.plain)
      rows.removeFirst()
    }
    let isLabelled = rows.allSatisfy { $0.first.map { Self.number($0) == nil } ?? false }
    if isLabelled {
      rows = rows.map { Array($0.dropFirst()) }
      if words.count == (rows.first?.count ?? 0) + 1 { words.removeFirst() }
    }
    guard let width = rows.first?.count, width > 1 else { return nil }
    var values: [Float] = []
    for (index, row) in rows.enumerated() {
      let numbers = row.compactMap(Self.number)
      guard numbers.count == row.count else { return nil }
      guard numbers.count == width else {
        throw FormatError(
          .malformed,
          "row \(index + 1) has \(numbers.count) numbers and row 1 has \(width); save it again",
          file: path)
      }
      values += numbers
    }
    self.words = words.count == width ? words : []
    map = Tensor(values, shape: [rows.count, width])
    entries = [ArrayEntry(name: "arr_0", dtype: .float32, shape: map.shape)]
  }

  /// What stands between the numbers of a line; nil where there is one number alone.
  private static func separator(_ line: Slice<UnsafeRawBufferPointer>) -> Character? {
    [UInt8(ascii: "\t"), UInt8(ascii: ";"), UInt8(ascii: ","), UInt8(ascii: " ")]
      .first { line.contains($0) }.map { Character(Unicode.Scalar($0)) }
  }

  private static func plain(_ word: Substring) -> String {
    let trimmed = word.drop { $0 == " " }
    return trimmed.count > 1 && trimmed.first == "\"" && trimmed.last == "\""
      ? String(trimmed.dropFirst().dropLast()) : String(trimmed)
  }

  private static func number(_ word: Substring) -> Float? {
    var word = word
    while word.last == " " { word.removeLast() }
    word = word.drop { $0 == " " }
    return word.isEmpty ? nil : Float(word)
  }

  func tensor(_ name: String) -> Tensor { map }

  func sample(_ name: String, elements: Int) -> [Float] { firstElements(of: map, elements) }

  func texts(_ name: String) -> [String]? { words.isEmpty ? nil : words }
}
