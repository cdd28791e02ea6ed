import Synchronization
import Tensors

/// A `.npz`: a zip of npy arrays. Stored members are used in place; deflated ones are
/// inflated when first asked for, and where they are large together when they are looked at
/// (`InflatedMembers`).
///
/// numpy writes zip version 4.5 with `0xFFFFFFFF` for sizes in the local header even of tiny
/// arrays, so sizes are taken from the central directory and its zip64 fields. Every range is
/// checked against the file before it is used, and the CRC-32 of a member when its array is
/// first asked for; of stored ones only in files that are soon read through. An inflated member
/// is kept as long as a tensor points at it. The catch: asked for again after that, it is inflated
/// again.
final class NpzArchive: TensorArchive {
  let file: MappedFile
  let entries: [ArrayEntry]
  let notes: [String]
  let leftOut: [LeftOut]
  private let members: [String: Member]
  private let textMembers: [String: Member]
  let remarks: [String]
  /// Deflated members that somebody uses, whole with their npy header, by array name.
  private let inflated = Mutex<[String: Inflated]>([:])
  private let sums: StoredSums
  /// What deflated arrays point at, by name, in a file that has too much of them to keep.
  private let late: [String: Storage]

  /// A member that goes when no tensor points at it any more.
  private struct Inflated {
    weak var storage: OwnedStorage?
  }

  /// An array whose header has been read.
  struct Member: Sendable {
    let zip: ZipDirectory.Entry
    let dtype: DType
    /// Nil for numbers.
    let text: NpyText?
    /// As the npy header gives it, outermost first.
    let shape: Shape
    let fortran: Bool
    /// Bytes of the npy header, before the first element.
    let headerLength: Int
  }

  var path: String { file.path }
  var format: String { "npz" }
  var metadata: [String: String] { [:] }

  /// Reads the npy header of every member, inflating 64 KiB at most of each. A member of texts is
  /// kept as such; one that holds neither texts nor numbers is left out, by name. Throws what the
  /// headers throw, `truncated` when a header promises more than its member holds, `unsupported`
  /// when there is no array.
  init(_ file: MappedFile, _ directory: ZipDirectory, options: ArchiveOptions) throws(FormatError) {
    self.file = file
    var members: [String: Member] = [:], textMembers: [String: Member] = [:]
    var notes: [String] = [], leftOut: [LeftOut] = [], refusal: FormatError?
    var textBytes = 0, textCount = 0
    for zip in directory.entries where zip.name.hasSuffix(".npy") && !Self.isFork(zip.name) {
      let name = String(zip.name.dropLast(4))
      do throws(FormatError) {
        let (member, note) = try Self.member(zip, file, options)
        if member.text == nil {
          members[name] = member
        } else if zip.size <= Self.mostTextBytes - textBytes,
          member.shape.count <= Self.mostTexts - textCount
        {
          textMembers[name] = member
          textBytes += zip.size
          textCount += member.shape.count
        } else {
          leftOut.append(LeftOut(name: name, why: "its texts are more than any dump has"))
        }
        if let note, !notes.contains(note) { notes.append(note) }
      } catch {
        // What is damaged stops the file; what is only unknown here may be what nobody needs.
        guard error.code == .unsupported else { throw error }
        refusal = refusal ?? error
        leftOut.append(LeftOut(name: name, why: error.message))
      }
    }
    if members.isEmpty, let refusal { throw refusal }
    guard !members.isEmpty else {
      throw FormatError(
        .unsupported, "a zip without .npy members; save arrays with numpy.savez", file: file.path)
    }
    (self.members, self.textMembers) = (members, textMembers)
    (self.notes, self.leftOut) = (notes, leftOut)
    sums = StoredSums(members.mapValues(\.zip).filter(\.value.isStored), file)
    let deflated = members.filter { !$0.value.zip.isStored }
    let inflated = InflatedMembers(deflated.values.map(\.zip), file)
    late = inflated.map { all in deflated.mapValues { all.storage($0.zip) } } ?? [:]
    remarks = [sums.remark, inflated?.remark].compactMap { $0 }
    entries = sortedNaturally(
      members.map { ArrayEntry(name: $0.key, dtype: $0.value.dtype, shape: $0.value.shape) },
      by: \.name)
  }

  /// What macOS puts beside every file of a zip: `__MACOSX/._attention.npy`.
  private static func isFork(_ name: String) -> Bool {
    name.hasPrefix("__MACOSX/") || name.split(separator: "/").last?.hasPrefix("._") ?? false
  }

  /// One member by its npy header, with what was guessed of it.
  private static func member(
    _ zip: ZipDirectory.Entry, _ file: MappedFile, _ options: ArchiveOptions
  ) throws(FormatError) -> (Member, note: String?) {
    let place = "member \"\(zip.name)\""
    let prefix = try zip.read(from: file, limit: 1 << 16)
    let header = try prefix.withBytes { bytes throws(FormatError) in
      try NpyHeader(bytes, file: file.path, place: place, options: options)
    }
    guard header.byteCount <= zip.size - header.length else {
      throw FormatError(
        .truncated,
        """
        its header promises \(header.byteCount) bytes (\(header.shape) of \
        \(header.dtype.rawValue)) and the zip directory \(zip.size - header.length); save it \
        again
        """,
        file: file.path, place: place)
    }
    let member = Member(
      zip: zip, dtype: header.dtype, text: header.element.text, shape: header.shape,
      fortran: header.fortranOrder, headerLength: header.length)
    return (member, header.element.note)
  }

  /// Names of the members that hold texts.
  var textNames: [String] { sortedNaturally(Array(textMembers.keys)) { $0 } }

  /// The most that the texts of a file may be together, in bytes and in texts: 131072 tokens of 32
  /// characters take 16 MiB.
  private static let mostTextBytes = 64 << 20, mostTexts = 1 << 20

  /// The texts of a member, row-major; nil where there are none, and where they are damaged.
  func texts(_ name: String) -> [String]? {
    guard let member = textMembers[name], let text = member.text, !member.fortran,
      let bytes = try? member.zip.read(from: file, limit: member.zip.size)
    else { return nil }
    return bytes.withUnsafeBytes {
      guard (try? member.zip.check($0, file: path)) != nil else { return nil }
      return text.read(
        UnsafeRawBufferPointer(rebasing: $0.dropFirst(member.headerLength)),
        count: member.shape.count)
    }
  }

  /// The array of a name. Throws `missing` when there is none, `malformed` or `truncated`
  /// when it does not inflate to its size; not where it is inflated later.
  func tensor(_ name: String) throws(FormatError) -> Tensor {
    guard let member = members[name] else {
      throw FormatError(
        .missing, "there is no array of this name in the file", file: path, place: name)
    }
    let strides = member.shape.strides(fortran: member.fortran)
    if member.zip.isStored {
      try sums.check(name)
      return Tensor(
        storage: file, dtype: member.dtype, shape: member.shape, strides: strides,
        byteOffset: member.zip.dataOffset + member.headerLength)
    }
    let storage: Storage
    if let late = late[name] {
      storage = late
    } else {
      storage = try self.storage(of: name, member)
    }
    return Tensor(
      storage: storage, dtype: member.dtype,
      shape: member.shape,
      strides: strides,
      byteOffset: member.headerLength)
  }

  /// Two threads that ask at once both inflate and the later result stays; both are right,
  /// and no lock is held for seconds.
  private func storage(of name: String, _ member: Member) throws(FormatError) -> OwnedStorage {
    if let ready = inflated.withLock({ $0[name]?.storage }) { return ready }
    let storage = try member.zip.whole(from: file)
    inflated.withLock { $0[name] = Inflated(storage: storage) }
    return storage
  }

  /// The first elements without inflating the rest, except for column-major arrays, whose
  /// first rows are spread over all of it. Throws as `tensor` does.
  func sample(_ name: String, elements: Int) throws(FormatError) -> [Float] {
    guard let member = members[name], !member.zip.isStored else {
      return firstElements(of: try tensor(name), elements)
    }
    let rows = member.shape.axes.dropFirst().reduce(1, *)
    guard !member.fortran, rows > 0 else { return firstElements(of: try tensor(name), elements) }
    let want = min(elements, member.shape.count)
    let bytes = try member.zip.read(
      from: file, limit: member.headerLength + want * member.dtype.byteWidth)
    let whole = max(0, bytes.count - member.headerLength) / member.dtype.byteWidth
    return Tensor(
      storage: OwnedStorage(bytes), dtype: member.dtype, shape: Shape([whole]),
      byteOffset: min(member.headerLength, bytes.count)
    ).floats()
  }
}
