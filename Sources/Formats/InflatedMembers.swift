import Synchronization
import Tensors

/// The deflated members of a zip that are too large to be kept all: each is inflated when somebody
/// looks at it, and goes when nobody does.
///
/// What was used last is kept beside that, up to 64 MiB or four members where those are larger: a
/// layer has about as many, and its heads are looked at one after the other. The catch: a damaged
/// member is noticed when it is looked at. It is NaN then, and `MappedFile.takeCut` has the
/// sentence.
final class InflatedMembers: Sendable {
  private let file: MappedFile
  private let state = Mutex(State())
  /// Bytes that are kept for nobody.
  let most: Int

  private struct State {
    /// What is kept, the last used at the end.
    var recent: [OwnedStorage] = []
    /// Everything that somebody holds, by the member's name.
    var known: [String: Known] = [:]
  }

  private struct Known { weak var storage: OwnedStorage? }

  /// Bytes of deflated members that are inflated at once and kept: together, in a file.
  static let small = 64 << 20

  /// Members that are all deflated; nil where they are so small together that they are inflated at
  /// once.
  init?(_ members: [ZipDirectory.Entry], _ file: MappedFile) {
    guard members.reduce(0, { $0 + $1.size }) > Self.small else { return nil }
    self.file = file
    most = max(64 << 20, 4 * (members.map(\.size).max() ?? 0))
  }

  /// What is not checked at opening, in a sentence.
  var remark: String {
    """
    deflated arrays are inflated, and their CRC-32 checked, when they are looked at; about \
    \(most >> 20) MiB of them are kept
    """
  }

  /// A storage that inflates the member when its bytes are asked for.
  func storage(_ member: ZipDirectory.Entry) -> Storage { DeflatedStorage(member, self) }

  /// The bytes of a member. Two threads that ask at once both inflate and the later result stays;
  /// both are right, and no lock is held for seconds.
  fileprivate func inflated(_ member: ZipDirectory.Entry) -> OwnedStorage {
    let ready = state.withLock { state -> OwnedStorage? in
      guard let storage = state.known[member.name]?.storage else { return nil }
      keep(storage, &state)
      return storage
    }
    if let ready { return ready }
    let storage: OwnedStorage
    do throws(FormatError) {
      storage = try member.whole(from: file)
    } catch {
      MappedFile.tell("\(error): it is shown as NaN")
      // All ones are NaN in every floating type.
      storage = OwnedStorage(byteCount: member.size, givesBack: true) { out in
        _ = out.initializeMemory(as: UInt8.self, repeating: 0xff)
      }
    }
    state.withLock { state in
      state.known[member.name] = Known(storage: storage)
      keep(storage, &state)
    }
    return storage
  }

  /// Puts it last, and lets go of the first ones.
  private func keep(_ storage: OwnedStorage, _ state: inout State) {
    state.recent.removeAll { $0 === storage }
    state.recent.append(storage)
    var bytes = state.recent.reduce(0) { $0 + $1.bytes.count }
    while bytes > most, state.recent.count > 1 {
      bytes -= state.recent.removeFirst().bytes.count
    }
  }

  /// The first bytes of what a storage of this kind holds, without inflating the rest; nil for
  /// other storages, and where the stream is damaged.
  static func prefix(of storage: Storage, bytes: Int) -> [UInt8]? {
    guard let late = storage as? DeflatedStorage else { return nil }
    return try? late.member.read(from: late.members.file, limit: bytes)
  }
}

/// A member that is inflated when its bytes are asked for.
private final class DeflatedStorage: Storage, @unchecked Sendable {
  let member: ZipDirectory.Entry
  let members: InflatedMembers
  /// What somebody has pointed into without holding it.
  private let pinned = Mutex<OwnedStorage?>(nil)

  init(_ member: ZipDirectory.Entry, _ members: InflatedMembers) {
    (self.member, self.members) = (member, members)
    super.init(unowned: UnsafeRawBufferPointer(start: nil, count: 0))
  }

  /// Memory that is freed some time after nobody holds it.
  override var held: Storage { pinned.withLock { $0 } ?? members.inflated(member) }

  /// Stays as long as this object, as those of every storage do; `held` does not.
  override var bytes: UnsafeRawBufferPointer {
    if let ready = pinned.withLock({ $0 }) { return ready.bytes }
    let storage = members.inflated(member)
    return pinned.withLock { pinned in
      let kept = pinned ?? storage
      pinned = kept
      return kept.bytes
    }
  }
}
