import Tensors

/// The header of a `.npy` array: versions 1, 2 and 3.
///
/// The header is a Python dictionary literal such as
/// `{'descr': '<f2', 'fortran_order': False, 'shape': (9, 64), }`. It is read by a small parser
/// that knows only these three keys; nothing is evaluated. The catch: numpy has no name for
/// bfloat16 or float8, so bfloat16 arrives as `V2` or as an integer. The format is NEP 1, with
/// the version 2 and 3 headers of later numpy.
struct NpyHeader {
  /// The six bytes every npy array begins with.
  static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

  /// How the elements are stored, after the options had their say about bfloat16.
  let element: NpyElement
  /// At most 8 axes; the byte count is known to fit an `Int`.
  let shape: Shape
  /// Column-major data: the first axis varies fastest.
  let fortranOrder: Bool
  /// Bytes before the first element.
  let length: Int

  /// Of numbers; of texts the bytes they lie in.
  var dtype: DType { element.dtype }
  /// Bytes of all elements.
  var byteCount: Int { shape.count * element.byteWidth }

  /// Reads the header at the start of `bytes`; `place` names the member when that is inside a
  /// zip. Throws `malformed` when it is not npy or its shape is absurd, `truncated` when the
  /// header is cut, `unsupported` for an unknown version or element type.
  init(_ bytes: UnsafeRawBufferPointer, file: String, place: String?, options: ArchiveOptions)
    throws(FormatError)
  {
    func fail(_ code: FormatError.Code, _ message: String) -> FormatError {
      FormatError(code, message, file: file, place: place)
    }
    guard bytes.starts(with: Self.magic), bytes.count >= 10 else {
      throw fail(
        .malformed, "not an npy array: the magic bytes are missing; save it again with numpy.save")
    }
    let version = bytes[6]
    guard (1...3).contains(version) else {
      throw fail(
        .unsupported,
        "npy version \(version) is unknown (1 to 3 are read); save it with a current numpy")
    }
    let prefix = version == 1 ? 10 : 12
    let length =
      version == 1
      ? bytes.integer(UInt16.self, at: 8).map(Int.init)
      : bytes.integer(UInt32.self, at: 8).map(Int.init)
    guard let length, length <= bytes.count - prefix else {
      throw fail(.truncated, "the npy header runs past the end of the file; copy the file again")
    }
    guard length <= 1 << 20 else {
      throw fail(.malformed, "an npy header of \(length) bytes is absurd; save it again")
    }
    let text = bytes.text(prefix..<prefix + length)
    self.length = prefix + length
    guard let descriptor = Self.value(of: "descr", in: text) else {
      throw fail(.malformed, "the npy header names no 'descr'; save it again with numpy.save")
    }
    element = try NpyElement(descriptor, options: options, fail: fail)
    fortranOrder = Self.value(of: "fortran_order", in: text) == "True"
    guard let list = Self.value(of: "shape", in: text), let axes = Self.axes(list) else {
      throw fail(
        .malformed, "the npy header has no readable 'shape'; save it again with numpy.save")
    }
    // Texts of no length have elements without bytes, which are counted all the same.
    guard let shape = Shape(checked: axes, byteWidth: max(element.byteWidth, 1)), axes.count <= 8
    else {
      throw fail(.malformed, "the shape \(axes.prefix(9)) is absurd; the header lies or is damaged")
    }
    self.shape = shape
  }

  /// The literal behind `'key':`, up to the comma or closing brace at the same depth, quotes
  /// removed.
  private static func value(of key: String, in text: String) -> String? {
    guard let keyRange = text.firstRange(of: "'\(key)'") ?? text.firstRange(of: "\"\(key)\"") else {
      return nil
    }
    var rest = text[keyRange.upperBound...].drop { $0 == " " || $0 == ":" }
    var depth = 0
    var value = ""
    while let character = rest.popFirst() {
      if character == "(" || character == "[" { depth += 1 }
      if depth == 0, character == "," || character == "}" { break }
      if character == ")" || character == "]" { depth -= 1 }
      value.append(character)
    }
    while value.last == " " { value.removeLast() }
    if let quote = value.first, quote == "'" || quote == "\"", value.last == quote, value.count >= 2
    {
      value = String(value.dropFirst().dropLast())
    }
    return value
  }

  /// `(9, 64)`, `(9,)`, `()`, and `(9L, 64L)` as Python 2 wrote it; nil for anything else.
  private static func axes(_ list: String) -> [Int]? {
    guard list.first == "(", list.last == ")" else { return nil }
    var axes: [Int] = []
    for part in list.dropFirst().dropLast().split(separator: ",") {
      let digits = part.filter { $0 != " " && $0 != "L" }
      if digits.isEmpty { continue }
      guard let axis = Int(digits), axis >= 0 else { return nil }
      axes.append(axis)
    }
    return axes
  }
}

/// A single `.npy` array; its name in the archive is `arr_0`, as numpy itself would call it.
///
/// Example: `try openArchive("q.npy").tensor("arr_0")`. Costs nothing but the mapping: the
/// tensor points into the file, column-major data included.
struct NpyFile: TensorArchive {
  /// The mapping that every tensor of this file points into.
  let file: MappedFile
  let entries: [ArrayEntry]
  let notes: [String]
  private let header: NpyHeader

  var path: String { file.path }
  var format: String { "npy" }
  var metadata: [String: String] { [:] }

  /// Throws what the header throws, and `truncated` when the data is shorter than it
  /// promises. Bytes after the data are ignored, as numpy does.
  init(_ file: MappedFile, options: ArchiveOptions) throws(FormatError) {
    self.file = file
    header = try NpyHeader(file.bytes, file: file.path, place: nil, options: options)
    let present = file.bytes.count - header.length
    guard header.byteCount <= present else {
      throw FormatError(
        .truncated,
        """
        the header promises \(header.byteCount) bytes of data (\(header.shape) of \
        \(header.dtype.rawValue)) and \(present) are there; copy the file again
        """,
        file: file.path)
    }
    guard header.element.text == nil else {
      throw FormatError(
        .unsupported,
        "an array of texts is no attention; --tokens takes them, one a line, beside a dump",
        file: file.path)
    }
    entries = [ArrayEntry(name: "arr_0", dtype: header.dtype, shape: header.shape)]
    notes = header.element.note.map { [$0] } ?? []
  }

  /// The one array, whatever name is asked for.
  func tensor(_ name: String) -> Tensor {
    Tensor(
      storage: file, dtype: header.dtype, shape: header.shape,
      strides: header.shape.strides(fortran: header.fortranOrder), byteOffset: header.length)
  }

  func sample(_ name: String, elements: Int) -> [Float] {
    firstElements(of: tensor(name), elements)
  }
}

/// The first elements in row-major order, whatever the strides: at most `elements` of
/// them, rounded down to whole rows where rows are shorter.
func firstElements(of tensor: Tensor, _ elements: Int) -> [Float] {
  var part = tensor
  for axis in 0..<tensor.shape.rank where part.count > elements {
    let inner = part.shape.axes[(axis + 1)...].reduce(1, *)
    part = part.slice(axis: axis, 0..<min(part.shape[axis], max(1, elements / max(inner, 1))))
  }
  return part.floats()
}
