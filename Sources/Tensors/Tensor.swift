import Glibc
import Kernels

/// Bytes that stay where they are as long as somebody holds this: an allocation, or a mapped
/// file.
///
/// Example: `OwnedStorage(byteCount: 64) { out in ... }` for memory, `MappedFile(path)` for a
/// file; a `Tensor` holds either and does not know which.
///
/// `@unchecked Sendable`: a byte is written before anybody is told of it, and never after. An
/// owner that goes on filling the rest (a key cache, a record of queries) publishes how far
/// it is with a release store, and whoever reads begins with an acquire load of that.
open class Storage: @unchecked Sendable {
  private let own: UnsafeRawBufferPointer

  /// All of it; tensors point into it by offsets in bytes. Valid as long as this object.
  open var bytes: UnsafeRawBufferPointer { own }

  /// What keeps the bytes where they are: this, or for bytes that are made when they are asked for
  /// the memory that they are made in, which is freed when nobody holds it.
  open var held: Storage { self }

  /// Takes bytes that the subclass keeps valid until its `deinit`; nothing is copied or freed
  /// here.
  public init(unowned bytes: UnsafeRawBufferPointer) { own = bytes }
}

/// Memory that this object allocated and frees.
public final class OwnedStorage: Storage, @unchecked Sendable {
  /// The same bytes, writable: only `init` writes them.
  private let memory: UnsafeMutableRawBufferPointer
  /// The memory is pages of its own.
  private let isPages: Bool

  /// Allocates `byteCount` bytes on a cache line's boundary and lets `fill` write them,
  /// uninitialised until then. Throws what `fill` throws, and frees the memory first.
  /// `givesBack`: the system has it back as soon as it is freed; an allocator may keep it, and of
  /// many large pieces that come and go it keeps most.
  public init(
    byteCount: Int, givesBack: Bool = false,
    fill: (UnsafeMutableRawBufferPointer) throws -> Void
  ) rethrows {
    let pages =
      givesBack && byteCount > 0
      ? mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : nil
    isPages = pages != nil && pages != MAP_FAILED
    memory =
      isPages
      ? UnsafeMutableRawBufferPointer(start: pages, count: byteCount)
      : .allocate(byteCount: max(byteCount, 1), alignment: 64)
    super.init(unowned: UnsafeRawBufferPointer(rebasing: memory[0..<byteCount]))
    do { try fill(UnsafeMutableRawBufferPointer(rebasing: memory[0..<byteCount])) }
  }

  deinit {
    if isPages { munmap(memory.baseAddress!, memory.count) } else { memory.deallocate() }
  }
}

/// An n-dimensional array of one element type: a value that shares its bytes.
///
/// Example: `q[3]` is head 3 of a `[heads, tokens, dim]` tensor, and copies nothing. The
/// catch: bytes may be a file's, unaligned and strided; read them through `floats` or
/// `copyFloats`, which convert any dtype. A slice keeps the whole storage alive.
public struct Tensor: Sendable {
  /// What holds the bytes; shared with every slice of this tensor.
  public let storage: Storage
  /// How each element is stored.
  public let dtype: DType
  /// Elements along each axis, outermost first.
  public let shape: Shape
  /// Elements between neighbours along each axis.
  public let strides: [Int]
  /// Bytes from the start of the storage to element 0.
  public let byteOffset: Int

  /// A view of `storage`, row-major unless `strides` (elements, one for each axis) say
  /// otherwise. Nothing is checked: whoever read the shape from a file has compared it with
  /// the file's size.
  public init(
    storage: Storage, dtype: DType, shape: Shape, strides: [Int]? = nil, byteOffset: Int = 0
  ) {
    self.storage = storage
    self.dtype = dtype
    self.shape = shape
    self.strides = strides ?? shape.strides()
    self.byteOffset = byteOffset
  }

  /// A float32 tensor that owns a copy of `values`, row-major.
  public init(_ values: [Float], shape: [Int]) {
    precondition(values.count == Shape(shape).count, "\(values.count) values do not fill \(shape)")
    let storage = OwnedStorage(byteCount: values.count * 4) { out in
      values.withUnsafeBytes { out.copyMemory(from: $0) }
    }
    self.init(storage: storage, dtype: .float32, shape: Shape(shape))
  }

  /// Elements in all.
  public var count: Int { shape.count }

  /// The elements lie row-major and without gaps; axes of one element may have any stride.
  public var isContiguous: Bool {
    var step = 1
    for axis in shape.axes.indices.reversed() where shape[axis] != 1 {
      if strides[axis] != step { return false }
      step *= shape[axis]
    }
    return true
  }

  /// The sub-tensor at `index` of the first axis, one axis fewer; traps outside it.
  public subscript(_ index: Int) -> Tensor {
    precondition(index >= 0 && index < shape[0], "index \(index) outside an axis of \(shape[0])")
    return Tensor(
      storage: storage, dtype: dtype, shape: Shape(Array(shape.axes.dropFirst())),
      strides: Array(strides.dropFirst()),
      byteOffset: byteOffset + index * strides[0] * dtype.byteWidth)
  }

  /// Elements `range` of one axis; nothing is copied. Traps outside the axis.
  public func slice(axis: Int, _ range: Range<Int>) -> Tensor {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= shape[axis], "\(range) outside axis \(axis)")
    var axes = shape.axes
    axes[axis] = range.count
    return Tensor(
      storage: storage, dtype: dtype, shape: Shape(axes), strides: strides,
      byteOffset: byteOffset + range.lowerBound * strides[axis] * dtype.byteWidth)
  }

  /// The axes in another order; nothing is copied. `order[i]` is the old number of the new
  /// axis i, so `[1, 0]` transposes a matrix.
  public func permuted(_ order: [Int]) -> Tensor {
    Tensor(
      storage: storage, dtype: dtype, shape: Shape(order.map { shape[$0] }),
      strides: order.map { strides[$0] }, byteOffset: byteOffset)
  }

  /// The same elements, with memory of their own where they are made when they are asked for: to
  /// read many times, and to point at.
  public var held: Tensor {
    let held = storage.held
    guard held !== storage else { return self }
    return Tensor(
      storage: held, dtype: dtype, shape: shape, strides: strides, byteOffset: byteOffset)
  }

  /// Converts every element to float, row-major, into `out`.
  public func copyFloats(into out: UnsafeMutableBufferPointer<Float>) {
    precondition(out.count >= count, "\(out.count) floats do not hold \(shape)")
    guard count > 0, let base = out.baseAddress else { return }
    let held = storage.held
    withExtendedLifetime(held) {
      let bytes = held.bytes.baseAddress!
      if isContiguous {
        as_to_float(dtype.kernelType, bytes + byteOffset, 1, count, base)
      } else {
        copyAxis(0, from: bytes + byteOffset, into: base)
      }
    }
  }

  /// Goes down to the last axis, which the kernel converts with a stride: one call a row, not
  /// one an element.
  private func copyAxis(
    _ axis: Int, from bytes: UnsafeRawPointer, into out: UnsafeMutablePointer<Float>
  ) {
    if axis == shape.rank - 1 {
      as_to_float(dtype.kernelType, bytes, Int64(strides[axis]), shape[axis], out)
      return
    }
    let step = shape.axes[(axis + 1)...].reduce(1, *)
    for i in 0..<shape[axis] {
      copyAxis(axis + 1, from: bytes + i * strides[axis] * dtype.byteWidth, into: out + i * step)
    }
  }

  /// The bytes as they lie, row-major; nil when they are strided. They stay as long as the storage:
  /// of one that makes them when asked, take the `held` tensor first.
  public var plainBytes: UnsafeRawBufferPointer? {
    guard isContiguous, count > 0 else { return nil }
    return UnsafeRawBufferPointer(
      start: storage.bytes.baseAddress! + byteOffset, count: count * dtype.byteWidth)
  }

  /// Every element as float, row-major, in a new array of `count`.
  public func floats() -> [Float] {
    // An empty array is one for all threads, and is not to be written to.
    guard count > 0 else { return [] }
    return [Float](unsafeUninitializedCapacity: count) { buffer, filled in
      copyFloats(into: UnsafeMutableBufferPointer(rebasing: buffer[0..<count]))
      filled = count
    }
  }
}

extension Tensor {
  /// Every element as a whole number, row-major, in a new array of `count`: exact where float32
  /// would round. What an `Int` cannot hold becomes the nearest that it can; floats are rounded,
  /// and NaN is -1.
  public func integers() -> [Int] {
    var bytes = [UInt8](repeating: 0, count: count * dtype.byteWidth)
    func read<Value: BinaryInteger & BitwiseCopyable>(_ type: Value.Type) -> [Int] {
      bytes.withUnsafeMutableBytes { copyBytes(into: $0) }
      return bytes.withUnsafeBytes { raw in
        (0..<count).map {
          Int(clamping: raw.loadUnaligned(fromByteOffset: $0 * dtype.byteWidth, as: type))
        }
      }
    }
    switch dtype {
    case .uint8, .bool: return read(UInt8.self)
    case .int8: return read(Int8.self)
    case .uint16: return read(UInt16.self)
    case .int16: return read(Int16.self)
    case .uint32: return read(UInt32.self)
    case .int32: return read(Int32.self)
    case .uint64: return read(UInt64.self)
    case .int64: return read(Int64.self)
    case .float64, .float32, .float16, .bfloat16, .float8e4m3, .float8e5m2:
      return floats().map { value in
        value.isNaN ? -1 : Int(exactly: value.rounded()) ?? (value < 0 ? .min : .max)
      }
    }
  }

  /// Copies the elements as they are, row-major, into `out`, which holds exactly `count` of them.
  public func copyBytes(into out: UnsafeMutableRawBufferPointer) {
    precondition(out.count == count * dtype.byteWidth, "\(out.count) bytes for \(shape)")
    guard count > 0 else { return }
    let width = dtype.byteWidth, held = storage.held
    defer { withExtendedLifetime(held) {} }
    let bytes = held.bytes
    if isContiguous {
      out.copyMemory(
        from: UnsafeRawBufferPointer(rebasing: bytes[byteOffset..<byteOffset + out.count]))
      return
    }
    var index = [Int](repeating: 0, count: shape.rank)
    for element in 0..<count {
      let at = byteOffset + zip(index, strides).reduce(0) { $0 + $1.0 * $1.1 } * width
      for b in 0..<width { out[element * width + b] = bytes[at + b] }
      var axis = shape.rank - 1
      while axis >= 0 {
        index[axis] += 1
        if index[axis] < shape[axis] { break }
        index[axis] = 0
        axis -= 1
      }
    }
  }
}
