import Kernels
import Tensors

/// `count` rows of floats, each row a multiple of 16 long, in one allocation.
///
/// `@unchecked Sendable`: threads write rows or columns of their own, one loop at a time.
final class Rows: @unchecked Sendable {
  /// Rows, one a position.
  let count: Int
  /// Floats of a row that mean something; those after it, up to the stride, do not.
  let width: Int
  /// Floats from one row to the next.
  let stride: Int
  private let storage: OwnedStorage
  private let base: UnsafeMutablePointer<Float>

  init(_ count: Int, _ width: Int) {
    (self.count, self.width) = (count, width)
    stride = (width + 15) / 16 * 16
    var start: UnsafeMutableRawPointer?
    storage = OwnedStorage(byteCount: 4 * count * stride) { bytes in
      bytes.initializeMemory(as: Float.self, repeating: 0)
      start = bytes.baseAddress
    }
    base = start!.assumingMemoryBound(to: Float.self)
  }

  private init(_ other: Rows, _ range: Range<Int>) {
    (count, width, stride, storage) = (range.count, other.width, other.stride, other.storage)
    base = other.base + range.lowerBound * other.stride
  }

  /// The first float of a row, unchecked.
  subscript(row: Int) -> UnsafeMutablePointer<Float> { base + row * stride }

  /// Some of the rows; nothing is copied.
  func rows(_ range: Range<Int>) -> Rows { Rows(self, range) }

  /// Some columns of all rows as a tensor; nothing is copied, so it is valid until the rows
  /// are written again.
  func columns(_ range: Range<Int>) -> Tensor {
    Tensor(
      storage: storage, dtype: .float32, shape: Shape([count, range.count]), strides: [stride, 1],
      byteOffset: 4 * range.lowerBound)
  }

  /// The rows without padding between them, `[count, width]`, valid during `body`; copied
  /// when they are padded.
  func withRows(_ body: (UnsafePointer<Float>) -> Void) {
    if stride == width { return body(base) }
    var packed = [Float](repeating: 0, count: count * width)
    for r in 0..<count {
      packed.withUnsafeMutableBufferPointer {
        ($0.baseAddress! + r * width).update(from: base + r * stride, count: width)
      }
    }
    packed.withUnsafeBufferPointer { body($0.baseAddress!) }
  }
}

/// A pointer that loops on several threads may write through, each to places of its own.
struct SendablePointer: @unchecked Sendable {
  let base: UnsafeMutableRawPointer

  init(_ base: UnsafeMutableRawPointer) { self.base = base }
}

/// The product of a matrix with many rows of activations, panel by panel.
///
/// A panel is 16 weight rows unpacked and transposed, so that one load serves 16 outputs. It
/// is thrown away after use: unpacking is cheap beside hundreds of rows, and the unpacked
/// model would not fit in memory.
struct Panels {
  private let matrix: Matrix
  private let isa: Int32
  private let asBytes: Bool

  init(_ matrix: Matrix, _ model: LanguageModel) {
    self.matrix = matrix
    isa = model.isa
    asBytes =
      model.precision == .int8 && as_gemm_uses_q8(model.isa, matrix.type.kernelType) != 0
  }

  /// Weight rows of one step: two groups of 16, so that the float product fills its registers.
  private static let step = 32

  /// out = input x matrix^T, `[rows][matrix rows]`. `q8` holds `rows` rows of quantised
  /// activations when the product is of bytes.
  func multiply(
    _ rows: Int, _ input: Rows, _ q8: UnsafeMutableRawPointer, into out: Rows,
    _ threads: ComputeThreads
  ) {
    let steps = (matrix.rows + Self.step - 1) / Self.step
    // A few steps an item: the panel's memory is taken once for all of them.
    let each = max(1, min(8, steps / (threads.count * 4)))
    let bytes = SendablePointer(q8)
    threads.forEach(0..<(steps + each - 1) / each, isCancelled: { false }) { item in
      let range = item * each..<min((item + 1) * each, steps)
      if asBytes {
        multiplyBytes(range, rows, bytes.base, out)
      } else {
        multiplyFloats(range, rows, input, out)
      }
    }
  }

  /// Integer products: 16 outputs for every row of activations, then the next 16.
  private func multiplyBytes(
    _ steps: Range<Int>, _ rows: Int, _ q8: UnsafeRawPointer, _ out: Rows
  ) {
    let type = matrix.type.kernelType
    let panel = UnsafeMutableRawPointer.allocate(
      byteCount: as_panel_bytes(type, Int32(matrix.columns)), alignment: 64)
    defer { panel.deallocate() }
    for step in steps {
      for first in stride(
        from: step * Self.step, to: min((step + 1) * Self.step, matrix.rows), by: 16)
      {
        as_pack_panel(
          isa, type, matrix.row(first), matrix.rowBytes, Int32(matrix.columns),
          Int32(min(16, matrix.rows - first)), panel)
        as_gemm_q8(
          isa, type, panel, Int32(matrix.columns), q8, Int32(rows), out[0] + first,
          Int64(out.stride))
      }
    }
  }

  /// Float products by the kernel that scores keys: weight rows are its keys, activations its
  /// queries.
  private func multiplyFloats(_ steps: Range<Int>, _ rows: Int, _ input: Rows, _ out: Rows) {
    let columns = matrix.columns, groupFloats = columns * 16
    let panel = UnsafeMutableRawPointer.allocate(byteCount: 8 * groupFloats, alignment: 64)
      .bindMemory(to: Float.self, capacity: 2 * groupFloats)
    let row = UnsafeMutablePointer<Float>.allocate(capacity: columns)
    defer {
      panel.deallocate()
      row.deallocate()
    }
    let plan = as_plan(isa: isa, precision: 0)
    for step in steps {
      let first = step * Self.step, groups = min(2, (matrix.rows - first + 15) / 16)
      for g in 0..<groups {
        let at = first + g * 16
        as_pack_float_panel(
          matrix.type.kernelType, matrix.row(at), matrix.rowBytes, Int32(columns),
          Int32(min(16, matrix.rows - at)), panel + g * groupFloats, row)
      }
      // Rows of activations must be packed as the kernel walks them: their own stride is
      // wider only when padded.
      for r in stride(from: 0, to: rows, by: 64) {
        let part = input.rows(r..<min(r + 64, rows))
        part.packed(columns) { x in
          as_scores(
            plan, x, panel, Int32(part.count), Int32(columns), Int32(groups), 1,
            out[r] + first, Int64(out.stride))
        }
      }
    }
  }
}

extension Rows {
  /// The first `columns` of every row without gaps; copied only when there are gaps.
  fileprivate func packed(_ columns: Int, _ body: (UnsafePointer<Float>) -> Void) {
    if stride == columns { return body(self[0]) }
    var packed = [Float](repeating: 0, count: count * columns)
    for r in 0..<count {
      packed.withUnsafeMutableBufferPointer {
        ($0.baseAddress! + r * columns).update(from: self[r], count: columns)
      }
    }
    packed.withUnsafeBufferPointer { body($0.baseAddress!) }
  }
}
