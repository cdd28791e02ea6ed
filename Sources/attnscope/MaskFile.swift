import Sessions
import Attention
import Backends
import Formats

/// Collects what `--masks` writes: per layer `blocks` u8 and `margins` f32 `[units, Tq, Tk]`, and `output` f32 `[Hq, n, d]`.
struct MaskFile {
  let path: String
  private let metadata: [String: String]
  private let queries: Int
  private let vote: Vote
  private var layers: [Int: Layer] = [:]

  private struct Layer {
    var blocks: [UInt8] = []
    var margins: [Float] = []
    var output: [Float] = []
    var units = 0, heads = 0, rowTiles = 0, keyTiles = 0, valueDim = 0
    var lastGroup = -1
    var unitNumbers: [Int] = []
  }

  init(path: String, report: Report) {
    self.path = path
    let spec = report.request.spec
    queries = report.about.queries
    vote = spec.vote
    metadata = [
      "kind": "masks", "model": report.dump.model ?? "", "method": report.request.method,
      "lambda": "\(report.request.lambda.value)", "tile": "\(spec.rows)x\(spec.keys)",
      "vote": spec.vote.rawValue,
      "order": spec.order.rawValue, "criterion": spec.criterion.rawValue,
      "splits": "\(spec.splits)", "causal": "\(report.dump.causal)",
      "query_offset": "\(report.about.visibility.offset)",
    ]
  }

  mutating func add(_ head: HeadReport, valueDim: Int, groupSize: Int) {
    var layer = layers[head.layer] ?? Layer()
    let unit = vote == .group ? head.head / groupSize : head.head
    if vote == .head || unit != layer.lastGroup {
      layer.blocks += head.mask.verdicts.map(\.rawValue)
      layer.margins += head.margins ?? []
      layer.units += 1
      layer.lastGroup = unit
      layer.unitNumbers.append(unit)
    }
    (layer.rowTiles, layer.keyTiles) = (head.mask.rowTiles, head.mask.keyTiles)
    if let output = head.output {
      layer.output += output
      layer.valueDim = valueDim
    }
    layer.heads += 1
    layers[head.layer] = layer
  }

  func write(force: Bool) throws {
    var arrays: [ArrayToWrite] = []
    for (number, layer) in layers.sorted(by: { $0.key < $1.key }) {
      let shape = [layer.units, layer.rowTiles, layer.keyTiles]
      arrays.append(ArrayToWrite("layers.\(number).blocks", bytes: layer.blocks, shape: shape))
      if !layer.margins.isEmpty {
        arrays.append(ArrayToWrite("layers.\(number).margins", floats: layer.margins, shape: shape))
      }
      if !layer.output.isEmpty {
        arrays.append(
          ArrayToWrite(
            "layers.\(number).output", floats: layer.output,
            shape: [layer.heads, queries, layer.valueDim]))
      }
    }
    try writeSafetensors(arrays, metadata: metadata, to: path, force: force)
  }
}
