import CZlib
import Tensors

/// The central directory of a zip file, checked: every member lies inside the file, no two
/// overlap or share a name, and each is what its local header says too.
///
/// The directory stands at the end of the file; local headers may hold placeholders, and nothing
/// that contradicts it: another reader would see another file. Zip64 is read, encryption and
/// methods other than stored (0) and deflated (8) are refused. The layout is that of PKWARE's
/// APPNOTE.
struct ZipDirectory {
  /// One member, with its data located and its sizes checked.
  struct Entry: Sendable {
    /// The path inside the zip, `layers.0.q.npy` for instance.
    let name: String
    /// Stored members lie in the file as they are, so a tensor can point at them.
    let isStored: Bool
    /// Bytes in the file.
    let compressedSize: Int
    /// Bytes once inflated, as the directory claims.
    let size: Int
    /// Bytes from the start of the file to the member's first byte, past its local header.
    let dataOffset: Int
    /// CRC-32 of the member's own bytes.
    let crc: UInt32
  }

  /// In the order of the directory, not of the data.
  let entries: [Entry]

  /// A deflated member may claim at most this many bytes per compressed byte once it is
  /// large. Deflate can reach 1032; real attention reaches about 20, and half of a causal map
  /// of zeros twice that.
  static let largestHonestRatio = 200
  /// Bytes below which no ratio is suspicious: a few megabytes of zeros harm nobody.
  private static let smallMember = 16 << 20

  /// Reads the whole directory. Throws `truncated` when a record or a member runs past the
  /// file, `malformed` when members overlap, share a name or differ from their local headers,
  /// `unsupported` for encryption and unknown methods, `tooLarge` for what looks like a zip bomb:
  /// one member, or all of them together.
  init(_ file: MappedFile) throws(FormatError) {
    let bytes = file.bytes
    func damaged(_ what: String) -> FormatError {
      FormatError(
        .truncated, "\(what); the zip is truncated or damaged, copy or save it again",
        file: file.path)
    }
    let (count, start, size) = try Self.endRecord(bytes, damaged: damaged)
    guard size <= bytes.count, start <= bytes.count - size, count <= size / 46 else {
      throw damaged("the zip directory lies outside the file")
    }
    var entries: [Entry] = [], names: Set<String> = []
    var at = start
    for _ in 0..<count {
      let (entry, next) = try Self.entry(file, at: at, limit: start + size, damaged: damaged)
      entries.append(entry)
      at = next
      guard names.insert(entry.name).inserted else {
        throw FormatError(
          .malformed, "stands twice in the zip; no writer does that, so the file is not trusted",
          file: file.path, place: "member \"\(entry.name)\"")
      }
    }
    try Self.checkTogether(entries, file)
    let order = entries.sorted { $0.dataOffset < $1.dataOffset }
    for (a, b) in zip(order, order.dropFirst()) where a.dataOffset + a.compressedSize > b.dataOffset
    {
      throw FormatError(
        .malformed, "overlaps \"\(b.name)\"; no writer does that, so the file is not trusted",
        file: file.path,
        place: "member \"\(a.name)\"")
    }
    self.entries = entries
  }

  /// Entries, offset and byte count of the central directory. The end record is searched from
  /// the back, since a comment of up to 65535 bytes may follow it; fields of all ones send
  /// the reader to the zip64 record.
  private static func endRecord(
    _ bytes: UnsafeRawBufferPointer, damaged: (String) -> FormatError
  ) throws(FormatError) -> (Int, Int, Int) {
    var at = bytes.count - 22
    let lowest = max(0, bytes.count - 22 - 65535)
    while at >= lowest, bytes.integer(UInt32.self, at: at) != 0x0605_4b50 { at -= 1 }
    guard at >= lowest, let count = bytes.integer(UInt16.self, at: at + 10),
      let size = bytes.integer(UInt32.self, at: at + 12),
      let start = bytes.integer(UInt32.self, at: at + 16)
    else { throw damaged("the zip has no end record") }
    guard count == 0xffff || size == .max || start == .max else {
      return (Int(count), Int(start), Int(size))
    }
    guard bytes.integer(UInt32.self, at: at - 20) == 0x0706_4b50,
      let where64 = bytes.integer(UInt64.self, at: at - 12).flatMap({ Int(exactly: $0) }),
      bytes.integer(UInt32.self, at: where64) == 0x0606_4b50,
      let count64 = bytes.integer(UInt64.self, at: where64 + 32).flatMap({ Int(exactly: $0) }),
      let size64 = bytes.integer(UInt64.self, at: where64 + 40).flatMap({ Int(exactly: $0) }),
      let start64 = bytes.integer(UInt64.self, at: where64 + 48).flatMap({ Int(exactly: $0) })
    else { throw damaged("the zip64 end record cannot be read") }
    return (count64, start64, size64)
  }

  /// One directory record at `at` and where the next begins. The data's place needs the local
  /// header too, whose name and extra field may be longer than the directory's.
  private static func entry(
    _ file: MappedFile, at: Int, limit: Int, damaged: (String) -> FormatError
  ) throws(FormatError) -> (Entry, next: Int) {
    let bytes = file.bytes
    guard bytes.integer(UInt32.self, at: at) == 0x0201_4b50,
      let flags = bytes.integer(UInt16.self, at: at + 8),
      let method = bytes.integer(UInt16.self, at: at + 10),
      let crc = bytes.integer(UInt32.self, at: at + 16),
      let packed32 = bytes.integer(UInt32.self, at: at + 20),
      let size32 = bytes.integer(UInt32.self, at: at + 24),
      let nameLength = bytes.integer(UInt16.self, at: at + 28).map(Int.init),
      let extraLength = bytes.integer(UInt16.self, at: at + 30).map(Int.init),
      let commentLength = bytes.integer(UInt16.self, at: at + 32).map(Int.init),
      let local32 = bytes.integer(UInt32.self, at: at + 42),
      at + 46 + nameLength + extraLength + commentLength <= limit
    else { throw damaged("the zip directory is cut short") }
    let name = bytes.text(at + 46..<at + 46 + nameLength)
    let place = "member \"\(name)\""
    var (size, packed, local) = (Int(size32), Int(packed32), Int(local32))
    let extra = at + 46 + nameLength
    try readZip64(bytes, extra..<extra + extraLength, &size, &packed, &local, damaged)
    guard bytes.integer(UInt32.self, at: local) == 0x0403_4b50,
      let localName = bytes.integer(UInt16.self, at: local + 26).map(Int.init),
      let localExtra = bytes.integer(UInt16.self, at: local + 28).map(Int.init)
    else { throw damaged("\(place) has no local header") }
    let data = local + 30 + localName + localExtra
    guard packed >= 0, size >= 0, data <= bytes.count, packed <= bytes.count - data else {
      throw damaged("\(place) runs past the end of the file")
    }
    try check(file, place, flags: flags, method: method, packed, size, damaged)
    let entry = Entry(
      name: name, isStored: method == 0, compressedSize: packed, size: size, dataOffset: data,
      crc: crc)
    if let fault = localFault(entry, file, at: local, name: at + 46..<at + 46 + nameLength) {
      throw FormatError(
        .malformed, "its local header \(fault); the file is not trusted, save it again",
        file: file.path, place: place)
    }
    return (entry, at + 46 + nameLength + extraLength + commentLength)
  }

  /// Nothing that is not read, and no member that is a bomb by itself. `packed` and `size` in
  /// bytes. Throws `FormatError` that names the member.
  private static func check(
    _ file: MappedFile, _ place: String, flags: UInt16, method: UInt16, _ packed: Int, _ size: Int,
    _ damaged: (String) -> FormatError
  ) throws(FormatError) {
    if flags & 1 != 0 {
      throw FormatError(
        .unsupported, "is encrypted; save it plainly", file: file.path, place: place)
    }
    guard method == 0 || method == 8 else {
      throw FormatError(
        .unsupported, "zip method \(method) is not read; use numpy.savez or savez_compressed",
        file: file.path, place: place)
    }
    if method == 0, size != packed { throw damaged("\(place) is stored, yet its two sizes differ") }
    if method == 8, size > smallMember, size / largestHonestRatio > packed {
      throw FormatError(
        .tooLarge,
        """
        \(packed) bytes claim to inflate to \(size), as a zip bomb does; if it is honest, save it \
        with numpy.savez
        """,
        file: file.path, place: place)
    }
  }

  /// Field 1 of the extra data holds, in this order, those of the three values that were all
  /// ones. A missing value becomes -1, which the caller's range checks refuse.
  static func readZip64(
    _ bytes: UnsafeRawBufferPointer, _ extra: Range<Int>, _ size: inout Int, _ packed: inout Int,
    _ local: inout Int,
    _ damaged: (String) -> FormatError
  ) throws(FormatError) {
    let all = Int(UInt32.max)
    guard size == all || packed == all || local == all else { return }
    var at = extra.lowerBound
    while at + 4 <= extra.upperBound, let id = bytes.integer(UInt16.self, at: at),
      let length = bytes.integer(UInt16.self, at: at + 2).map(Int.init),
      at + 4 + length <= extra.upperBound
    {
      if id == 1 {
        var field = at + 4
        func next() -> Int? {
          defer { field += 8 }
          guard field + 8 <= at + 4 + length else { return nil }
          return bytes.integer(UInt64.self, at: field).flatMap { Int(exactly: $0) }
        }
        if size == all { size = next() ?? -1 }
        if packed == all { packed = next() ?? -1 }
        if local == all { local = next() ?? -1 }
        return
      }
      at += 4 + length
    }
    throw damaged("a zip64 field is missing")
  }
}

extension ZipDirectory.Entry {
  /// Throws when the member's bytes, all of them, do not have the checksum that the directory
  /// gives.
  func check(_ bytes: UnsafeRawBufferPointer, file: String) throws(FormatError) {
    let start = bytes.bindMemory(to: UInt8.self).baseAddress
    guard UInt32(truncatingIfNeeded: crc32_z(0, start, bytes.count)) == crc else {
      throw FormatError(
        .malformed,
        """
        its CRC-32 is not the one that the zip directory gives: the data was damaged on its way; \
        copy or save the file again
        """,
        file: file, place: "member \"\(name)\"")
    }
  }

  /// Up to `limit` bytes of the member, inflated when it is deflated.
  ///
  /// Fewer come back when the deflate stream ends early: the caller compares with what it
  /// needs. Input and output go to zlib a gigabyte at a time, because its counters have 32
  /// bits. Throws `malformed` when the stream is damaged.
  func read(from file: MappedFile, limit: Int) throws(FormatError) -> [UInt8] {
    let wanted = min(limit, size)
    let source = UnsafeRawBufferPointer(
      rebasing: file.bytes[dataOffset..<dataOffset + compressedSize])
    if isStored { return Array(source.prefix(wanted)) }
    var status = Z_OK
    let result = [UInt8](unsafeUninitializedCapacity: wanted) { out, filled in
      (status, filled) = Self.inflated(source, into: out)
    }
    try check(status, file.path)
    return result
  }

  /// All of a member that is deflated, in memory of its own. Throws `malformed` when the stream is
  /// damaged or its checksum wrong, `truncated` when it ends early.
  func whole(from file: MappedFile) throws(FormatError) -> OwnedStorage {
    let source = UnsafeRawBufferPointer(
      rebasing: file.bytes[dataOffset..<dataOffset + compressedSize])
    var status = Z_OK, filled = 0
    let storage = OwnedStorage(byteCount: size, givesBack: true) { out in
      (status, filled) = Self.inflated(source, into: out.bindMemory(to: UInt8.self))
    }
    try check(status, file.path)
    guard filled == size else {
      throw FormatError(
        .truncated, "inflates to \(filled) bytes instead of \(size); save it again",
        file: file.path, place: "member \"\(name)\"")
    }
    try check(storage.bytes, file: file.path)
    return storage
  }

  /// Throws for what zlib says when it does not go on.
  private func check(_ status: Int32, _ path: String) throws(FormatError) {
    guard status == Z_OK || status == Z_STREAM_END else {
      throw FormatError(
        .malformed, "the deflated data is damaged; save it again", file: path,
        place: "member \"\(name)\"")
    }
  }

  /// Fills `out` as far as the stream reaches; what zlib said last, and how far it came.
  private static func inflated(
    _ source: UnsafeRawBufferPointer, into out: UnsafeMutableBufferPointer<UInt8>
  ) -> (status: Int32, filled: Int) {
    var stream = z_stream()
    var status = inflateInit2_(&stream, -15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    guard status == Z_OK else { return (status, 0) }
    defer { inflateEnd(&stream) }
    let input = source.bindMemory(to: UInt8.self)
    var read = 0, filled = 0
    while filled < out.count, status == Z_OK {
      let give = min(input.count - read, 1 << 30)
      let room = min(out.count - filled, 1 << 30)
      stream.next_in = input.baseAddress.map { UnsafeMutablePointer(mutating: $0 + read) }
      stream.avail_in = UInt32(give)
      stream.next_out = out.baseAddress! + filled
      stream.avail_out = UInt32(room)
      status = inflate(&stream, Z_NO_FLUSH)
      let took = give - Int(stream.avail_in), made = room - Int(stream.avail_out)
      read += took
      filled += made
      if took == 0, made == 0 { break }
    }
    // Nothing more to read is what a stream that ends early says: the caller counts.
    return (status == Z_BUF_ERROR ? Z_OK : status, filled)
  }
}
