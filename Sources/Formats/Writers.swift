import FoundationEssentials
import Kernels
public import Tensors

/// An array to be written, already in its element type.
///
/// Example: `ArrayToWrite("layers.0.q", floats: q, shape: [9, 2048, 64], half: true)`. The
/// catch: all but the last initialiser hold the bytes in memory; give a large array as
/// `parts`, of which one is held at a time.
public struct ArrayToWrite: Sendable {
  /// Its name in a safetensors file; npy has none.
  public let name: String
  /// The element type as it will stand in the file.
  public let dtype: DType
  /// Elements along each axis, outermost first.
  public let shape: Shape
  /// The bytes in pieces, each made when it is written.
  let parts: Int
  let part: @Sendable (Int) -> [UInt8]

  /// Bytes, such as a block mask. Traps when they do not fill `shape`.
  public init(_ name: String, bytes: [UInt8], shape: [Int]) {
    self.init(name, .uint8, shape, bytes)
  }

  /// 32-bit integers, such as token numbers. Traps when they do not fill `shape`.
  public init(_ name: String, int32 values: [Int32], shape: [Int]) {
    self.init(name, .int32, shape, values.withUnsafeBytes { Array($0) })
  }

  /// Float32, or float16 when `half`, row-major. Half rounds to nearest and turns what is
  /// beyond 65504 into infinity. Traps when the values do not fill `shape`.
  public init(_ name: String, floats values: [Float], shape: [Int], half: Bool = false) {
    if half {
      var out = [UInt16](repeating: 0, count: values.count)
      as_float_to_half(values, values.count, &out)
      self.init(name, .float16, shape, out.withUnsafeBytes { Array($0) })
    } else {
      self.init(name, .float32, shape, values.withUnsafeBytes { Array($0) })
    }
  }

  /// A tensor in its own element type, made row-major.
  public init(_ name: String, tensor: Tensor) {
    let width = tensor.dtype.byteWidth
    var bytes = [UInt8](repeating: 0, count: tensor.count * width)
    bytes.withUnsafeMutableBytes { out in tensor.copyBytes(into: out) }
    self.init(name, tensor.dtype, tensor.shape.axes, bytes)
  }

  private init(_ name: String, _ dtype: DType, _ shape: [Int], _ bytes: [UInt8]) {
    precondition(
      bytes.count == Shape(shape).count * dtype.byteWidth, "\(name): bytes do not fill \(shape)")
    (self.name, self.dtype, self.shape) = (name, dtype, Shape(shape))
    (parts, part) = (1, { _ in bytes })
  }

  /// An array too large to hold at once: `part` makes the floats of one piece after the
  /// other, row-major.
  public init(
    _ name: String, shape: [Int], half: Bool, parts: Int,
    part: @escaping @Sendable (Int) -> [Float]
  ) {
    (self.name, dtype, self.shape) = (name, half ? .float16 : .float32, Shape(shape))
    self.parts = parts
    self.part = { index in ArrayToWrite(name, floats: part(index), half: half).part(0) }
  }

  /// One piece, converted as the whole would be.
  private init(_ name: String, floats: [Float], half: Bool) {
    self.init(name, floats: floats, shape: [floats.count], half: half)
  }

  /// Bytes of the data; the header needs them before any is made.
  var byteCount: Int { shape.count * dtype.byteWidth }

  /// Makes and writes the pieces in order. Throws what the writer throws; traps when the
  /// pieces together are not the shape's size, because the header has promised it already.
  func write(_ writer: FileWriter) throws(FormatError) {
    var written = 0
    for index in 0..<parts {
      let bytes = part(index)
      written += bytes.count
      try bytes.withBytes { (bytes) throws(FormatError) in try writer.write(bytes) }
    }
    precondition(written == byteCount, "\(name): the pieces have \(written) of \(byteCount) bytes")
  }
}

/// Writes a safetensors file: header padded with spaces to 8 bytes, tensors in the order
/// given.
///
/// Throws `exists` when the file is there and `force` is false, `unreadable` when it cannot
/// be written.
public func writeSafetensors(
  _ arrays: [ArrayToWrite], metadata: [String: String], to path: String, force: Bool
) throws(FormatError) {
  let writer = try SafetensorsStreamWriter(path, force: force)
  try writer.append(arrays, metadata: metadata)
  _ = try writer.finish()
}

/// Writes safetensors files one after another into one: a recording. It appears under its
/// name when it is finished.
///
/// Example: one `append` for the prompt, one for each token, `finish` at the end;
/// `SafetensorsStream` reads it back. The catch: without `finish` there is no file, only a
/// `.partial` one.
public final class SafetensorsStreamWriter {
  private let writer: FileWriter
  private var written = 0

  /// Begins a recording. Throws `exists` or `unreadable` as a new file does.
  public init(_ path: String, force: Bool) throws(FormatError) {
    writer = try FileWriter(path, force: force)
  }

  /// Begins a recording that can be read while it grows: every whole part counts, and a part that
  /// was cut off by a crash is left out by `SafetensorsStream`. Mode 0600, and locked (`flock`)
  /// until the process ends. Throws `exists` or `unreadable`.
  public init(growing path: String) throws(FormatError) {
    writer = try FileWriter(growing: path)
  }

  /// Bytes that were appended.
  public var byteCount: Int { written }

  /// Waits until all parts are on the disk.
  public func sync() { writer.sync() }

  /// Adds one whole safetensors file. `metadata` becomes `__metadata__`, keys sorted, so that
  /// the same content gives the same bytes. Throws `unreadable` when the disk refuses.
  public func append(_ arrays: [ArrayToWrite], metadata: [String: String]) throws(FormatError) {
    let (header, dataBytes) = safetensorsHeader(arrays, metadata)
    try header.withBytes { (bytes) throws(FormatError) in try writer.write(bytes) }
    for array in arrays { try array.write(writer) }
    written += header.count + dataBytes
  }

  /// Makes the file appear; returns the bytes written. Throws `unreadable` when they do not
  /// reach the disk.
  public func finish() throws(FormatError) -> Int {
    try writer.finish()
    return written
  }
}

/// The bytes of a safetensors file, as the writers of files make them: for a stream.
///
/// Example: `safetensorsBytes([], metadata: ["kind": "bye"])`. Holds all of them at once.
public func safetensorsBytes(_ arrays: [ArrayToWrite], metadata: [String: String]) -> [UInt8] {
  let (header, dataBytes) = safetensorsHeader(arrays, metadata)
  var out = header
  out.reserveCapacity(header.count + dataBytes)
  for array in arrays { for index in 0..<array.parts { out += array.part(index) } }
  return out
}

/// Length and header, padded with spaces to 8 bytes, and how many bytes of data follow.
private func safetensorsHeader(
  _ arrays: [ArrayToWrite], _ metadata: [String: String]
) -> (bytes: [UInt8], dataBytes: Int) {
  var header = "{\"__metadata__\":" + jsonObject(metadata)
  var offset = 0
  for array in arrays {
    let axes = array.shape.axes.map(String.init).joined(separator: ",")
    header +=
      ",\(jsonString(array.name)):{\"dtype\":\"\(array.dtype.rawValue)\",\"shape\":[\(axes)],"
      + "\"data_offsets\":[\(offset),\(offset + array.byteCount)]}"
    offset += array.byteCount
  }
  header += "}"
  header += String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
  let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) }
  return (length + Array(header.utf8), offset)
}

/// Writes one array as npy version 1, its data on a 64-byte boundary as numpy likes it.
///
/// bfloat16 is written as `V2`, which numpy loads as raw two-byte elements. Throws
/// `unsupported` for float8, `exists` when the file is there and `force` is false,
/// `unreadable` when it cannot be written.
public func writeNpy(_ array: ArrayToWrite, to path: String, force: Bool) throws(FormatError) {
  let codes: [DType: String] = [
    .float64: "<f8", .float32: "<f4", .float16: "<f2", .bfloat16: "<V2", .bool: "|b1",
    .uint8: "|u1", .int8: "|i1",
    .uint16: "<u2", .int16: "<i2", .uint32: "<u4", .int32: "<i4", .uint64: "<u8", .int64: "<i8",
  ]
  guard let code = codes[array.dtype] else {
    throw FormatError(
      .unsupported, "npy has no element type for \(array.dtype.rawValue)", file: path)
  }
  let axes =
    array.shape.axes.map(String.init).joined(separator: ", ") + (array.shape.rank == 1 ? "," : "")
  var header = "{'descr': '\(code)', 'fortran_order': False, 'shape': (\(axes)), }"
  header += String(repeating: " ", count: (64 - (10 + header.utf8.count + 1) % 64) % 64) + "\n"
  let writer = try FileWriter(path, force: force)
  let prefix =
    NpyHeader.magic + [1, 0, UInt8(header.utf8.count & 0xff), UInt8(header.utf8.count >> 8)]
  try prefix.withBytes { (bytes) throws(FormatError) in try writer.write(bytes) }
  try writer.write(header)
  try array.write(writer)
  try writer.finish()
}

/// Keys in order, for files that can be compared byte by byte.
private func jsonObject(_ map: [String: String]) -> String {
  "{"
    + map.sorted { $0.key < $1.key }.map { "\(jsonString($0.key)):\(jsonString($0.value))" }.joined(
      separator: ",")
    + "}"
}

/// A text in quotes, escaped as JSON wants it.
func jsonString(_ text: String) -> String {
  guard let data = try? JSONEncoder().encode(text) else { return "\"\"" }
  return String(decoding: data, as: UTF8.self)
}
