import Tensors

extension ZipDirectory {
  /// Bytes that all members may claim to inflate to, whatever they are deflated to.
  private static let smallTogether = 64 << 20

  /// Many members that are each too small to be a bomb can be one together. Throws `tooLarge`.
  static func checkTogether(_ entries: [Entry], _ file: MappedFile) throws(FormatError) {
    var size = 0, packed = 0
    for entry in entries where !entry.isStored {
      let (sum, over) = size.addingReportingOverflow(entry.size)
      size = over ? .max : sum
      packed += entry.compressedSize
    }
    guard size <= smallTogether || size / largestHonestRatio <= packed else {
      throw FormatError(
        .tooLarge,
        """
        \(packed) bytes of deflated members claim to inflate to \(size), as a zip bomb does; if it \
        is honest, save it with numpy.savez
        """,
        file: file.path)
    }
  }

  /// In what the local header at `local` contradicts the directory's entry, whose name lies at
  /// `name`; nil when in nothing.
  ///
  /// A writer that does not know sizes and sum yet leaves zeros, sets bit 3 of the flags, and
  /// writes them behind the data. Numpy leaves all ones there, and the sizes in a zip64 field.
  static func localFault(
    _ entry: Entry, _ file: MappedFile, at local: Int, name: Range<Int>
  ) -> String? {
    let bytes = file.bytes
    guard let flags = bytes.integer(UInt16.self, at: local + 6),
      let method = bytes.integer(UInt16.self, at: local + 8),
      let crc = bytes.integer(UInt32.self, at: local + 14),
      var packed = bytes.integer(UInt32.self, at: local + 18).map(Int.init),
      var size = bytes.integer(UInt32.self, at: local + 22).map(Int.init),
      let nameLength = bytes.integer(UInt16.self, at: local + 26).map(Int.init)
    else { return "is cut short" }
    let own = local + 30..<local + 30 + nameLength
    guard own.upperBound <= bytes.count, own.count == name.count,
      own.elementsEqual(name, by: { bytes[$0] == bytes[$1] })
    else { return "has another name than the zip directory" }
    if flags & 1 != 0 { return "says that it is encrypted" }
    if (method == 0) != entry.isStored || method != 0 && method != 8 {
      return "has another method than the zip directory"
    }
    let comesLater = flags & 8 != 0
    guard crc == entry.crc || comesLater && crc == 0 else {
      return "has another CRC-32 than the zip directory"
    }
    let all = Int(UInt32.max)
    var none = 0
    try? readZip64(bytes, own.upperBound..<entry.dataOffset, &size, &packed, &none) {
      FormatError(.malformed, $0, file: file.path)
    }
    func agrees(_ own: Int, _ other: Int) -> Bool {
      own == other || comesLater && [0, -1, all].contains(own)
    }
    return agrees(size, entry.size) && agrees(packed, entry.compressedSize)
      ? nil : "has other sizes than the zip directory"
  }
}
