import Formats
import Foundation
import Tensors

/// Files as other programs write them, byte by byte, so that none lies in the repository.
enum Made {
  static func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }

  static func floats(_ values: [Float]) -> [UInt8] { values.flatMap { little($0.bitPattern) } }

  /// CRC-32 of zip, bit by bit.
  static func crc(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(UInt32.max) { sum, byte in
      (0..<8).reduce(sum ^ UInt32(byte)) { part, _ in
        part & 1 == 1 ? part >> 1 ^ 0xedb8_8320 : part >> 1
      }
    }
  }

  /// A zip of stored members.
  static func zip(_ members: [(String, [UInt8])]) -> [UInt8] {
    var out: [UInt8] = [], directory: [UInt8] = []
    for (name, bytes) in members {
      let sizes = little(crc(bytes)) + little(UInt32(bytes.count)) + little(UInt32(bytes.count))
      let common = [20, 0, 0, 0, 0, 0, 0, 0, 0, 0] + sizes + little(UInt16(name.utf8.count))
      directory += [0x50, 0x4b, 1, 2, 20, 0] + common + [UInt8](repeating: 0, count: 12)
      directory += little(UInt32(out.count)) + Array(name.utf8)
      out += [0x50, 0x4b, 3, 4] + common + [0, 0] + Array(name.utf8) + bytes
    }
    let count = little(UInt16(members.count))
    return out + directory + [0x50, 0x4b, 5, 6, 0, 0, 0, 0] + count + count
      + little(UInt32(directory.count)) + little(UInt32(out.count)) + [0, 0]
  }

  /// An npy array of any element type.
  static func npy(_ type: String, _ shape: [Int], _ data: [UInt8]) -> [UInt8] {
    let axes = shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? "," : "")
    var header = "{'descr': '\(type)', 'fortran_order': False, 'shape': (\(axes)), }"
    header += String(repeating: " ", count: (118 - header.utf8.count % 64 + 63) % 64) + "\n"
    return [0x93] + Array("NUMPY".utf8) + [1, 0] + little(UInt16(header.utf8.count))
      + Array(header.utf8) + data
  }

  static func npy(_ tensor: Tensor) -> [UInt8] {
    npy("<f4", tensor.shape.axes, floats(tensor.floats()))
  }

  /// Texts as numpy keeps them, four bytes a character.
  static func npy(_ texts: [String]) -> [UInt8] {
    let width = texts.map { $0.unicodeScalars.count }.max() ?? 1
    let data = texts.flatMap { text in
      let codes = text.unicodeScalars.map(\.value)
      return (codes + [UInt32](repeating: 0, count: width - codes.count)).flatMap(little)
    }
    return npy("<U\(width)", [texts.count], data)
  }

  /// Causal patterns of `[.., queries, keys]`, aligned at the last key; no two rows are the same.
  static func pattern(_ shape: [Int], causal: Bool = true, seed: Int = 1) -> Tensor {
    let queries = shape[shape.count - 2], keys = shape[shape.count - 1]
    var values: [Float] = []
    for row in 0..<shape.dropLast().reduce(1, *) {
      let seen = causal ? row % queries + keys - queries + 1 : keys
      let weights = (0..<keys).map { key -> Float in
        key < seen ? 1 + Float((row * 7 + key * (3 + seed) + seed) % 11) : 0
      }
      let sum = weights.reduce(0, +)
      values += weights.map { $0 / sum }
    }
    return Tensor(values, shape: shape)
  }

  /// Numbers around 0, for Q and K.
  static func numbers(_ shape: [Int], seed: Int = 1) -> Tensor {
    Tensor(
      (0..<shape.reduce(1, *)).map { Float(($0 * 37 + seed * 11) % 23 - 11) / 8 }, shape: shape)
  }

  /// A safetensors file with these arrays, for the time of `body`.
  static func safetensors(
    _ arrays: [(String, Tensor)], metadata: [String: String] = [:], _ body: (String) throws -> Void
  ) throws {
    try Fixture.with([0], name: "dump.safetensors") { path in
      try writeSafetensors(
        arrays.map { ArrayToWrite($0.0, tensor: $0.1) }, metadata: metadata, to: path, force: true)
      try body(path)
    }
  }
}

/// Writes pickles, opcode by opcode.
struct PickleWriter {
  var bytes: [UInt8]
  private(set) var storages: [[Float]] = []

  init(protocol version: UInt8 = 2) { bytes = [0x80, version] }

  mutating func op(_ code: Character) { bytes.append(code.asciiValue!) }

  mutating func text(_ text: String) {
    op("X")
    bytes += Made.little(UInt32(text.utf8.count)) + Array(text.utf8)
  }

  mutating func int(_ value: Int) {
    op("J")
    bytes += Made.little(Int32(value))
  }

  mutating func ints(_ values: [Int]) {
    op("(")
    for value in values { int(value) }
    op("t")
  }

  mutating func global(_ module: String, _ name: String) {
    bytes += Array("c\(module)\n\(name)\n".utf8)
  }

  /// A tensor of torch: `_rebuild_tensor_v2(storage, offset, size, stride, ...)`.
  mutating func tensor(_ values: [Float], _ shape: [Int], strides: [Int]? = nil, offset: Int = 0) {
    global("torch._utils", "_rebuild_tensor_v2")
    op("(")
    op("(")
    text("storage")
    global("torch", "FloatStorage")
    text("\(storages.count)")
    text("cpu")
    int(values.count)
    op("t")
    op("Q")
    int(offset)
    ints(shape)
    ints(strides ?? shape.indices.map { shape[($0 + 1)...].reduce(1, *) })
    bytes.append(0x89)
    global("collections", "OrderedDict")
    op(")")
    op("R")
    op("t")
    op("R")
    storages.append(values)
  }

  mutating func tensor(_ tensor: Tensor) { self.tensor(tensor.floats(), tensor.shape.axes) }

  /// An array of numpy as protocol 3 and 4 write it: made empty, then given its state.
  mutating func array(_ tensor: Tensor) {
    global("numpy._core.multiarray", "_reconstruct")
    op("(")
    global("numpy", "ndarray")
    ints([0])
    op("C")
    bytes += [1, UInt8(ascii: "b")]
    op("t")
    op("R")
    op("(")
    int(1)
    ints(tensor.shape.axes)
    global("numpy", "dtype")
    op("(")
    text("f4")
    bytes += [0x89, 0x88]
    op("t")
    op("R")
    op("(")
    int(3)
    text("<")
    bytes += Array("NNN".utf8)
    int(-1)
    int(-1)
    int(0)
    op("t")
    op("b")
    bytes.append(0x89)
    let data = Made.floats(tensor.floats())
    op("B")
    bytes += Made.little(UInt32(data.count)) + data
    op("t")
    op("b")
  }

  /// The zip that torch.save writes.
  func torch() -> [UInt8] {
    Made.zip(
      [("a/data.pkl", bytes + [UInt8(ascii: ".")]), ("a/byteorder", Array("little".utf8))]
        + storages.enumerated().map { ("a/data/\($0)", Made.floats($1)) } + [("a/version", [51])])
  }
}
