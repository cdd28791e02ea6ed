import Synchronization
import Tensors

/// The checksums of members that are used where they lie: each is read through once, when it is
/// first asked for.
///
/// Files that would take long are not: then `remark` says so. The catch: a member that is damaged
/// and never asked for is never noticed.
final class StoredSums: Sendable {
  private let members: [String: ZipDirectory.Entry]
  private let file: MappedFile
  private let checked = Mutex<Set<String>>([])
  /// What is not checked, in a sentence; nil when everything is.
  let remark: String?

  /// Bytes that are read through at most: a fraction of a second.
  private static let most = 256 << 20

  /// Stored members by the name that they are asked for by. `mayBeAbsent`: a sum of 0 says that the
  /// writer left it out.
  init(_ members: [String: ZipDirectory.Entry], _ file: MappedFile, mayBeAbsent: Bool = false) {
    let summed = mayBeAbsent ? members.filter { $0.value.crc != 0 } : members
    let bytes = summed.values.reduce(0) { $0 + $1.size }
    let isRead = bytes <= Self.most
    self.members = isRead ? summed : [:]
    self.file = file
    if !isRead {
      remark = """
        the CRC-32 of stored arrays is not checked: they have \(bytes >> 20) MiB, and \
        \(Self.most >> 20) are read through at most
        """
    } else if members.values.contains(where: { $0.crc == 0 && $0.size > 0 && mayBeAbsent }) {
      remark = "some arrays have no CRC-32, so that damage to them would not be noticed"
    } else {
      remark = nil
    }
  }

  /// Throws `malformed` when the member's bytes are not those that were summed.
  func check(_ name: String) throws(FormatError) {
    guard let zip = members[name], !checked.withLock({ $0.contains(name) }) else { return }
    let place = zip.dataOffset..<zip.dataOffset + zip.size
    try zip.check(UnsafeRawBufferPointer(rebasing: file.bytes[place]), file: file.path)
    checked.withLock { _ = $0.insert(name) }
  }
}
