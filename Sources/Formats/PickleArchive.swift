import Tensors

/// A pickle of arrays, or a file of `torch.save`: a pickle with storages beside it.
///
/// Example: `torch.save(outputs.attentions, "a.pt")` opens as `layer_0` and on. Nothing of the
/// pickle is executed (see `PickleMachine`). torch writes a zip with `data.pkl` and a member
/// for each storage; before version 1.6 it wrote one stream, pickles and storages one after
/// another. Every claim of a tensor about its storage is checked before it is used. Storages that
/// are deflated and large together are inflated when they are looked at (`InflatedMembers`). The
/// catch: tensors point into the mapped file; those of protocols 0 to 2 of numpy are copied, since
/// their bytes are written as text.
final class PickleArchive: TensorArchive {
  let path: String
  let format: String
  let entries: [ArrayEntry]
  let leftOut: [LeftOut]
  private let tensors: [String: Tensor]
  private let allTexts: [String: [String]]
  /// The storage of each array that lies in a member of its own.
  private let keys: [String: String]
  /// By the key of a storage; nil where there is no zip.
  private let sums: StoredSums?
  /// Storages that are inflated when they are looked at.
  private let inflated: InflatedMembers?

  var remarks: [String] { [sums?.remark, inflated?.remark].compactMap { $0 } }
  var metadata: [String: String] { [:] }
  var textNames: [String] { sortedNaturally(Array(allTexts.keys)) { $0 } }

  /// What a storage of torch is: bytes, and how many of them.
  typealias Storages = [String: (storage: Storage, range: Range<Int>)]

  /// Takes what `root` holds. Throws what is wrong with the first array where none can be read,
  /// and `unsupported` where there is no array at all.
  private init(
    _ machine: PickleMachine, root: PickleRef, storages: Storages, sums: StoredSums? = nil,
    inflated: InflatedMembers? = nil, path: String, format: String
  ) throws(FormatError) {
    (self.path, self.format, self.sums, self.inflated) = (path, format, sums, inflated)
    let tree = PickleTree(machine.heap, root)
    var reader = PickledTensors(storage: machine.storage, storages: storages, file: path)
    var tensors: [String: Tensor] = [:], texts = tree.texts, leftOut = tree.leftOut
    var first: FormatError?, keys: [String: String] = [:]
    for (name, array) in tree.arrays {
      if case .storage(let key) = array.source { keys[name] = key }
      do throws(FormatError) {
        switch try reader.read(array, name) {
        case .numbers(let tensor): tensors[name] = tensor
        case .texts(let list): texts[name] = list
        }
      } catch {
        // What is damaged stops the file; what is only unknown here may be what nobody needs.
        guard error.code == .unsupported else { throw error }
        first = first ?? error
        leftOut.append(LeftOut(name: name, why: error.message))
      }
    }
    if tensors.isEmpty, let first { throw first }
    guard !tensors.isEmpty else {
      throw FormatError(
        .unsupported,
        """
        this \(format == "pickle" ? "pickle" : "torch.save file") holds no array of torch or \
        numpy; python3 -c 'import numpy; numpy.savez("dump.npz", attention=...)' saves one
        """,
        file: path)
    }
    (self.tensors, allTexts, self.leftOut, self.keys) = (tensors, texts, leftOut, keys)
    entries = sortedNaturally(
      tensors.map { ArrayEntry(name: $0.key, dtype: $0.value.dtype, shape: $0.value.shape) },
      by: \.name)
  }

  func tensor(_ name: String) throws(FormatError) -> Tensor {
    guard let tensor = tensors[name] else {
      throw FormatError(
        .missing, "there is no array of this name in the file", file: path, place: name)
    }
    if let key = keys[name] { try sums?.check(key) }
    return tensor
  }

  func sample(_ name: String, elements: Int) throws(FormatError) -> [Float] {
    let tensor = try tensor(name), width = tensor.dtype.byteWidth
    let count = min(elements, tensor.count)
    guard tensor.isContiguous,
      let bytes = InflatedMembers.prefix(
        of: tensor.storage, bytes: tensor.byteOffset + count * width),
      bytes.count == tensor.byteOffset + count * width
    else { return firstElements(of: tensor, elements) }
    return Tensor(
      storage: OwnedStorage(bytes), dtype: tensor.dtype, shape: Shape([count]),
      byteOffset: tensor.byteOffset
    ).floats()
  }

  func texts(_ name: String) -> [String]? { allTexts[name] }
}

extension PickleArchive {
  /// Bytes that deflated members may have together, whatever the size of the file.
  private static let mostInflated = 64 << 20

  /// The zip form of torch: `NAME/data.pkl` and `NAME/data/0` and on. Storages are usually
  /// stored and used where they lie; deflated ones are inflated. Throws what the zip throws,
  /// `unsupported` for numbers of the other byte order, `tooLarge` for members that inflate to far
  /// more than the file.
  static func zip(_ file: MappedFile, _ directory: ZipDirectory) throws(FormatError)
    -> PickleArchive
  {
    guard let pickle = directory.entries.first(where: { $0.name.hasSuffix("/data.pkl") }) else {
      throw FormatError(.unsupported, "a zip without data.pkl", file: file.path)
    }
    let root = pickle.name.dropLast("data.pkl".count)
    var storages: Storages = [:], stored: [String: ZipDirectory.Entry] = [:]
    let inflated = directory.entries.reduce(0) { $0 + ($1.isStored ? 0 : $1.size) }
    guard inflated <= max(mostInflated, 20 * file.bytes.count) else {
      throw FormatError(
        .tooLarge, "its members inflate to \(inflated) bytes; torch.save stores them as they are",
        file: file.path)
    }
    let data = directory.entries.filter { !$0.isStored && $0.name.hasPrefix(root + "data/") }
    let members = InflatedMembers(data, file)
    for entry in directory.entries where entry.name.hasPrefix(root) {
      let rest = entry.name.dropFirst(root.count)
      if rest == "byteorder", try entry.read(from: file, limit: 16) == Array("big".utf8) {
        throw FormatError(
          .unsupported, "its numbers are big-endian; save it on another machine", file: file.path)
      }
      guard rest.hasPrefix("data/") else { continue }
      let key = String(rest.dropFirst(5))
      if !entry.isStored, let members {
        storages[key] = (members.storage(entry), 0..<entry.size)
      } else {
        storages[key] = try place(entry, file)
      }
      if entry.isStored { stored[key] = entry }
    }
    let (storage, range) = try place(pickle, file)
    // torch leaves sums out when it is told to (set_crc32_options).
    if pickle.crc != 0 {
      try pickle.check(UnsafeRawBufferPointer(rebasing: storage.bytes[range]), file: file.path)
    }
    var machine = PickleMachine(
      storage, at: range.lowerBound, end: range.upperBound, file: file.path)
    let top = try machine.read()
    return try PickleArchive(
      machine, root: top, storages: storages,
      sums: StoredSums(stored, file, mayBeAbsent: true), inflated: members, path: file.path,
      format: "pt")
  }

  private static func place(_ entry: ZipDirectory.Entry, _ file: MappedFile) throws(FormatError)
    -> (storage: Storage, range: Range<Int>)
  {
    if entry.isStored { return (file, entry.dataOffset..<entry.dataOffset + entry.size) }
    return (try entry.whole(from: file), 0..<entry.size)
  }

  /// The number that the old form of torch begins with, 0x1950a86a20f9469cfc6c, as a pickle.
  private static let oldMagic: [UInt8] = [
    0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19,
  ]

  /// A pickle by itself, or torch's old form: a magic number, a version, facts of the system,
  /// the object, the keys of its storages, and their bytes with a count before each. Throws what
  /// reading throws.
  static func stream(_ file: MappedFile) throws(FormatError) -> PickleArchive {
    let bytes = file.bytes
    var machine = PickleMachine(file, at: 0, end: bytes.count, file: file.path)
    guard bytes.starts(with: oldMagic, at: 2) else {
      let root = try machine.read()
      return try PickleArchive(
        machine, root: root, storages: [:], path: file.path, format: "pickle")
    }
    for _ in 0..<3 { _ = try machine.read() }
    let root = try machine.read(), keys = try machine.read()
    let list = (machine.heap.members(keys) ?? []).compactMap(machine.heap.text)
    let widths = elementWidths(machine.heap)
    var storages: Storages = [:], at = machine.at
    for key in list {
      guard let count = bytes.integer(Int64.self, at: at).flatMap({ Int(exactly: $0) }),
        let width = widths[key], count >= 0, count <= (bytes.count - at - 8) / width
      else {
        throw FormatError(
          .truncated, "its storages run past the end of the file; copy it again", file: file.path)
      }
      storages[key] = (file, at + 8..<at + 8 + count * width)
      at += 8 + count * width
    }
    return try PickleArchive(machine, root: root, storages: storages, path: file.path, format: "pt")
  }

  /// Bytes of an element of each storage, by its key.
  private static func elementWidths(_ heap: PickleHeap) -> [String: Int] {
    var widths: [String: Int] = [:]
    for case .persistent(let ref) in heap.values {
      guard let parts = heap.members(ref), parts.count > 2, let key = heap.text(parts[2]),
        let kind = heap.global(parts[1])?.split(separator: ".").last
      else { continue }
      widths[key] = PickledTensors.types[String(kind)]?.byteWidth
    }
    return widths
  }

  /// Whether bytes begin as a pickle does: protocol 2 to 5 says so; the older ones begin with
  /// what a list, a tuple, a dictionary or a class begins with, and end with a full stop.
  static func isPickle(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard bytes.count > 3 else { return false }
    if bytes[0] == 0x80, (2...5).contains(bytes[1]) { return true }
    let openings = [
      "(lp", "(dp", "(tp", "ccol", "cnum", "ctor", "c__b", "]q", "}q", "(cnu", "(lcnu",
    ]
    return bytes[bytes.count - 1] == UInt8(ascii: ".")
      && openings.contains { bytes.starts(with: Array($0.utf8)) }
  }
}

/// Turns what a pickle says of its arrays into tensors, once the bytes bear it out.
struct PickledTensors {
  let storage: Storage
  let storages: PickleArchive.Storages
  let file: String

  enum Read {
    case numbers(Tensor)
    case texts([String])
  }

  /// torch's storages and element types by name.
  static let types: [String: DType] = [
    "DoubleStorage": .float64, "FloatStorage": .float32, "HalfStorage": .float16,
    "BFloat16Storage": .bfloat16, "LongStorage": .int64, "IntStorage": .int32,
    "ShortStorage": .int16, "CharStorage": .int8, "ByteStorage": .uint8, "BoolStorage": .bool,
    "float64": .float64, "float32": .float32, "float16": .float16, "bfloat16": .bfloat16,
    "int64": .int64, "int32": .int32, "int16": .int16, "int8": .int8, "uint8": .uint8,
    "bool": .bool, "float8_e4m3fn": .float8e4m3, "float8_e5m2": .float8e5m2,
  ]

  /// Expanded tensors repeat their elements, and several arrays may be of the same bytes: no model
  /// has more than so many bytes of arrays for each byte of its file.
  private static let mostRepeats = 64
  /// Bytes that arrays and texts may still have.
  private var left: Int

  init(storage: Storage, storages: PickleArchive.Storages, file: String) {
    (self.storage, self.storages, self.file) = (storage, storages, file)
    left = Self.mostRepeats * storages.values.reduce(storage.bytes.count) { $0 + $1.range.count }
  }

  /// Throws `unsupported` for element types that are not read and for arrays that repeat their
  /// bytes without end, `malformed` and `truncated` where the array reaches out of its bytes.
  mutating func read(_ array: PickledArray, _ name: String) throws(FormatError) -> Read {
    // Not of `self`, which is changed while `fail` may be called.
    let place = "array \"\(name)\"", file = self.file
    func fail(_ code: FormatError.Code, _ message: String) -> FormatError {
      FormatError(code, message, file: file, place: place)
    }
    if case .bytes(let bytes) = array.source {
      let element = try NpyElement(array.type, options: ArchiveOptions(), fail: fail)
      guard array.shape.count <= 8,
        let shape = Shape(checked: array.shape, byteWidth: max(element.byteWidth, 1))
      else { throw fail(.malformed, "its shape is absurd; save it again") }
      let (storage, range) = located(bytes)
      guard shape.count * element.byteWidth <= range.count else {
        throw fail(.truncated, "\(shape) takes more bytes than it has; save it again")
      }
      // A text is 16 bytes at least, however short.
      try claim(shape, element.text == nil ? element.byteWidth : max(element.byteWidth, 16), fail)
      if let text = element.text {
        let part = UnsafeRawBufferPointer(rebasing: storage.bytes[range])
        return .texts(text.read(part, count: shape.count))
      }
      return .numbers(
        Tensor(
          storage: storage, dtype: element.dtype, shape: shape,
          strides: shape.strides(fortran: array.isFortran), byteOffset: range.lowerBound))
    }
    let tensor = try tensor(array, fail)
    try claim(tensor.shape, tensor.dtype.byteWidth, fail)
    return .numbers(tensor)
  }

  /// Counts what an array has. Throws `unsupported` once all of them have more than the file.
  private mutating func claim(
    _ shape: Shape, _ width: Int, _ fail: (FormatError.Code, String) -> FormatError
  ) throws(FormatError) {
    guard shape.count <= left / width else {
      throw fail(
        .unsupported,
        "it repeats its bytes more than \(Self.mostRepeats) times; save it with .contiguous()")
    }
    left -= shape.count * width
  }

  private func located(_ bytes: PickleBytes) -> (Storage, Range<Int>) {
    switch bytes {
    case .place(let range): return (storage, range)
    case .own(let own): return (own, 0..<own.bytes.count)
    }
  }

  /// A tensor of torch: the last element that its strides reach must lie in the storage.
  private func tensor(
    _ array: PickledArray, _ fail: (FormatError.Code, String) -> FormatError
  ) throws(FormatError) -> Tensor {
    guard let dtype = Self.types[array.type] else {
      throw fail(
        .unsupported, "element type \(array.type.prefix(40)) is not read; save it with .float()")
    }
    guard case .storage(let key) = array.source, let (storage, range) = storages[key] else {
      throw fail(.truncated, "its storage is not in the file; save it again")
    }
    let held = range.count / dtype.byteWidth
    guard let shape = Shape(checked: array.shape, byteWidth: dtype.byteWidth), shape.rank <= 8,
      let strides = array.strides, strides.count == shape.rank, array.offset >= 0,
      strides.allSatisfy({ $0 >= 0 })
    else { throw fail(.malformed, "its shape or strides are absurd; save it again") }
    guard shape.count > 0 else {
      return Tensor(storage: storage, dtype: dtype, shape: shape, byteOffset: range.lowerBound)
    }
    var last = array.offset
    for (size, stride) in zip(shape.axes, strides) {
      let (reach, tooFar) = (size - 1).multipliedReportingOverflow(by: stride)
      let (sum, isOver) = last.addingReportingOverflow(reach)
      guard !tooFar, !isOver else {
        throw fail(.malformed, "its strides are absurd; save it again")
      }
      last = sum
    }
    guard last < held else {
      throw fail(.truncated, "\(shape) reaches out of its storage of \(held); save it again")
    }
    // The stride of a single element is multiplied by nothing, and may be any number.
    let steps = zip(shape.axes, strides).map { $0 == 1 ? 1 : $1 }
    return Tensor(
      storage: storage, dtype: dtype, shape: shape, strides: steps,
      byteOffset: range.lowerBound + array.offset * dtype.byteWidth)
  }
}
