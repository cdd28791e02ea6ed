import Kernels
import Tensors
import Testing

/// Conversions and small kernels against what the formats say.
@Suite struct KernelTests {
  @Test func halvesSurviveARoundTrip() {
    let values: [Float] = [
      0, -0, 1, -2.5, 65504, 6.1035156e-5, 5.9604645e-8, .infinity, 0.1, 1e-9, 70000,
    ]
    var halves = [UInt16](repeating: 0, count: values.count)
    as_float_to_half(values, values.count, &halves)
    var back = [Float](repeating: 0, count: values.count)
    as_to_float(AS_DTYPE_F16, halves, 1, values.count, &back)
    #expect(back == values.map { Float(Float16($0)) })
  }

  @Test func everyHalfConvertsAsSwiftDoes() {
    let bits = (0...UInt16.max).map { $0 }
    var floats = [Float](repeating: 0, count: bits.count)
    as_to_float(AS_DTYPE_F16, bits, 1, bits.count, &floats)
    for (pattern, value) in zip(bits, floats) {
      let expected = Float(Float16(bitPattern: pattern))
      #expect(value == expected || (value.isNaN && expected.isNaN), "half \(pattern)")
    }
  }

  @Test func eightBitFloats() {
    let bytes: [UInt8] = [0x00, 0x38, 0xb8, 0x7e, 0x7f, 0x01]
    var floats = [Float](repeating: 0, count: 6)
    as_to_float(AS_DTYPE_F8_E4M3, bytes, 1, 6, &floats)
    #expect(floats[0...3] == [0, 1, -1, 448] && floats[4].isNaN && floats[5] == 1.0 / 512)
    as_to_float(AS_DTYPE_F8_E5M2, [0x3c, 0xc0, 0x7c] as [UInt8], 1, 3, &floats)
    #expect(floats[0...2] == [1, -2, .infinity])
  }

  @Test func bfloat16AndIntegers() {
    var floats = [Float](repeating: 0, count: 2)
    as_to_float(AS_DTYPE_BF16, [0x3f80, 0xc040] as [UInt16], 1, 2, &floats)
    #expect(floats == [1, -3])
    as_to_float(AS_DTYPE_I64, [-7, 1 << 40] as [Int64], 1, 2, &floats)
    #expect(floats == [-7, 1_099_511_627_776])
  }

  @Test func nonFiniteValuesAreCounted() {
    var first = 0
    #expect(as_count_nonfinite([1, .nan, 2, -.infinity] as [Float], 4, &first) == 2 && first == 1)
    #expect(as_count_nonfinite([1, 2] as [Float], 2, &first) == 0 && first == 2)
  }

  @Test func tensorsSliceAndPermuteWithoutCopying() {
    let tensor = Tensor((0..<24).map { Float($0) }, shape: [2, 3, 4])
    #expect(tensor[1][2].floats() == [20, 21, 22, 23])
    #expect(tensor.permuted([2, 0, 1]).slice(axis: 0, 1..<3)[0].floats() == [1, 5, 9, 13, 17, 21])
    #expect(tensor.storage === tensor[1].storage)
    #expect(Shape(checked: [1 << 40, 1 << 40], byteWidth: 4) == nil)
    #expect(Shape(checked: [-1], byteWidth: 4) == nil)
  }

  @Test func everyItemOfALoopRunsOnceEvenNested() {
    let threads = ComputeThreads(count: 3)
    let counts = Counts()
    threads.forEach(0..<20, isCancelled: { false }) { outer in
      threads.forEach(0..<10, isCancelled: { false }) { counts.add(outer * 10 + $0) }
    }
    #expect(counts.all == Array(0..<200))
  }
}

import Synchronization

final class Counts: Sendable {
  private let seen = Mutex<[Int]>([])
  func add(_ item: Int) { seen.withLock { $0.append(item) } }
  var all: [Int] { seen.withLock { $0.sorted() } }
}
