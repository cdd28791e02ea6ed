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

  /// Nil for what is no table of numbers; a line at a time, so that memory is a number for each
  /// that the file has. Throws `malformed` for lines of different lengths, `tooLarge` over 256 MiB.
  init?(_ file: MappedFile) throws(FormatError) {
    path = file.path
    let head = file.bytes.prefix(4096)
    guard head.allSatisfy({ $0 >= 32 && $0 < 127 || [9, 10, 13].contains($0) || $0 >= 0x80 }),
      head.contains(where: { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
    else { return nil }
    guard file.bytes.count <= Self.most else {
      throw FormatError(.tooLarge, "a table of text over 256 MiB is not read", file: path)
    }
    guard var lines = Lines(file.bytes) else { return nil }
    var row = lines.next(), words: [String] = []
    if let heading = row, heading.dropFirst().allSatisfy({ Self.number($0) == nil }),
      let second = lines.next()
    {
      words = heading.map(Self.plain)
      row = second
    }
    let isLabelled = row?.first.map { Self.number($0) == nil } ?? false
    let width = (row?.count ?? 0) - (isLabelled ? 1 : 0)
    guard width > 1 else { return nil }
    if isLabelled, words.count == width + 1 { words.removeFirst() }
    var values: [Float] = [], rows = 0
    while let line = row {
      rows += 1
      if isLabelled, Self.number(line[0]) != nil { return nil }
      let cells = line.dropFirst(isLabelled ? 1 : 0), numbers = cells.compactMap(Self.number)
      guard numbers.count == cells.count else { return nil }
      guard numbers.count == width else {
        throw FormatError(
          .malformed,
          "row \(rows) has \(numbers.count) numbers and row 1 has \(width); save it again",
          file: path)
      }
      values += numbers
      row = lines.next()
    }
    self.words = words.count == width ? words : []
    map = Tensor(values, shape: [rows, width])
    entries = [ArrayEntry(name: "arr_0", dtype: .float32, shape: map.shape)]
  }

  /// The words of one line after another: all of them at once would take many times the file.
  private struct Lines {
    private let bytes: UnsafeRawBufferPointer
    private let separator: Character
    private var at = 0

    /// No map is wider; what a line has beyond is left in its last word, which is no number.
    private static let mostWords = 1 << 20

    /// Nil where nothing separates the words of the first line.
    init?(_ bytes: UnsafeRawBufferPointer) {
      self.bytes = bytes
      let start = bytes.firstIndex { !Self.isEnd($0) } ?? bytes.count
      let end = bytes[start...].firstIndex(where: Self.isEnd) ?? bytes.count
      guard let separator = TextTable.separator(bytes[start..<end]) else { return nil }
      self.separator = separator
    }

    private static func isEnd(_ byte: UInt8) -> Bool { byte == 10 || byte == 13 }

    /// Nil at the end. Lines without a word are passed over.
    mutating func next() -> [Substring]? {
      while at < bytes.count {
        let end = bytes[at...].firstIndex(where: Self.isEnd) ?? bytes.count
        let line = bytes.text(at..<end)
        at = end + 1
        guard !line.isEmpty else { continue }
        let words = line.split(
          separator: separator, maxSplits: Self.mostWords,
          omittingEmptySubsequences: separator == " ")
        if !words.isEmpty { return words }
      }
      return nil
    }
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
