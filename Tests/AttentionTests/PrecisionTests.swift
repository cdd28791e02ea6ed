import Attention
import Support
import Tensors
import Testing

/// How far float32 is from double precision where the automatic choice still takes it.
@Suite struct PrecisionTests {
  /// A head whose largest score is about `top`: some keys point where the queries do.
  private func group(_ top: Float, dim: Int, queries: Int, seed: UInt64) -> HeadGroup {
    var random = Seeded(seed)
    func row(_ length: Float, along: [Float]? = nil) -> [Float] {
      let plain = (0..<dim).map { _ in random.normal() }
      let mixed = along.map { zip($0, plain).map { $0 + 0.05 * $1 } } ?? plain
      let norm = mixed.reduce(0) { $0 + $1 * $1 }.squareRoot()
      return mixed.map { $0 / norm * length }
    }
    // |q| |k| / sqrt(d) = top
    let length = (top * Float(dim).squareRoot()).squareRoot()
    let direction = row(1)
    let query = (0..<queries).flatMap { _ in row(length, along: direction) }
    let key = (0..<80).flatMap { $0 % 5 == 0 ? row(length, along: direction) : row(length) }
    return HeadGroup([
      Head(
        query: Tensor(query, shape: [queries, dim]), key: Tensor(key, shape: [80, dim]),
        value: random.tensor([80, dim]), causal: true)
    ])
  }

  @Test(arguments: [(60, 6e-5), (150, 1e-4), (250, TilePass.floatError)], [64, 128, 192, 576])
  func floatIsAsExactAsPromised(_ scores: (top: Double, promise: Double), _ dim: Int) throws {
    let (top, promise) = scores, spec = TileSpec(rows: 16, keys: 16)
    #expect(top < TilePass.floatBound)
    var worst = (margin: 0.0, output: 0.0)
    for (number, queries) in [1, 33, 33, 33].enumerated() {
      let group = group(Float(top), dim: dim, queries: queries, seed: UInt64(number) + 7)
      let reference = ReferenceAttention(group).run(spec, lambda: 0)
      for isa in InstructionSet.allCases where isa.isAvailable {
        let pass = TilePass(group, keysPerTile: 16, withValues: true, isa: isa)
        #expect(!pass.isDouble)
        let margins = try #require(pass.tables(spec))[0].margins
        for (mine, real) in zip(margins, reference.margins[0]) where real.isFinite {
          worst.margin = max(worst.margin, abs(Double(mine) - real))
        }
        let output = try #require(pass.forward(spec, .blasst(lambda: 0)))[0].values
        for (mine, real) in zip(output, reference.outputs[0]) {
          worst.output = max(worst.output, abs(Double(mine) - real))
        }
      }
    }
    print("scores to \(top), d \(dim): margins within \(worst.margin), outputs \(worst.output)")
    #expect(worst.margin < promise && worst.output < promise)
  }
}
