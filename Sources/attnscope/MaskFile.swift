import Attention
import Backends
import Formats
import Sessions

/// Collects what `--masks` writes: per layer `blocks` u8 and `margins` f32 `[units, Tq, Tk]`, and
/// `output` f32 `[Hq, n, d]`.
///
/// In `blocks` 1 is skipped, 0 kept and 255 not visible. A unit is a head, or a group of heads when
/// groups vote: its heads have one mask, which is written once. `Dump.open` reads the file back,
/// without a guess, as the metadata hold tile, vote, order, criterion, splits and offset, and what
/// the model calls the heads.
///
/// The catch: everything is held until the end; `--layers` and `--heads` bound it.
struct MaskFile {
  /// The file to write.
  let path: String
  /// For the tile and the metadata.
  private let report: Report
  /// By layer number.
  private var layers: [LayerNumber: Layer] = [:]

  /// One layer as far as its heads have been added, in the order of heads.
  private struct Layer {
    /// `[units * rowTiles * keyTiles]`: 1 skipped, 0 kept, 255 not visible.
    var blocks: [UInt8] = []
    /// The same shape, in nats; empty for methods without margins.
    var margins: [Float] = []
    /// `[heads * queries * valueDim]`; empty without V.
    var output: [Float] = []
    /// Counts so far, and the sides of the arrays.
    var units = 0, heads = 0, rowTiles = 0, keyTiles = 0, valueDim = 0
    /// The group that was written last.
    var lastGroup = -1
    /// `[units]`, what the model calls each: a head, or the KV head of a group.
    var numbers: [Int] = []
  }

  /// Writes nothing before `write`.
  init(path: String, report: Report) { (self.path, self.report) = (path, report) }

  /// Takes in one head; heads come in order, groups together. Throws `mismatch` when the
  /// method has no blocks, and what its rows throw when they cannot be computed.
  mutating func add(_ head: HeadReport, groupSize: Int) throws {
    guard let (blocks, _) = head.findings.field("blocks") else {
      throw FormatError(
        .mismatch, "\(report.setting.id) has no blocks; --fields writes what it has", file: path)
    }
    var layer = layers[head.layer] ?? Layer()
    let vote = report.spec?.vote ?? .head
    let unit = vote == .group ? head.head / groupSize : head.head
    if vote == .head || unit != layer.lastGroup {
      for value in try blocks.values() { layer.blocks.append(value.isNaN ? 255 : UInt8(value)) }
      if let (margins, _) = head.findings.field("margins") { layer.margins += try margins.values() }
      layer.units += 1
      layer.lastGroup = unit
      layer.numbers.append(vote == .group ? head.number / max(groupSize, 1) : head.number)
    }
    (layer.rowTiles, layer.keyTiles) = (blocks.rows.count, blocks.columns.count)
    if let (output, _) = head.findings.field("output") {
      layer.output += try output.values()
      layer.valueDim = output.columns.count
    }
    layer.heads += 1
    layers[head.layer] = layer
  }

  /// Writes all layers, ascending. Throws what writing throws.
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
            shape: [layer.heads, report.about.queries, layer.valueDim]))
      }
    }
    try writeSafetensors(arrays, metadata: metadata, to: path, force: force)
  }

  /// Enough to know how the masks were made, and for `open` to read them without a guess.
  private var metadata: [String: String] {
    var metadata = [
      "kind": "masks", "model": report.dump.model ?? "", "method": report.setting.id,
      "setting": report.setting.description, "causal": "\(report.dump.causal)",
      "query_offset": "\(report.about.visibility.offset)",
    ]
    if let lambda = report.lambda { metadata["lambda"] = "\(lambda)" }
    // Of a slice, or of some heads alone: the same in all layers, or the file has no word for it.
    let numbers = Set(layers.values.map(\.numbers))
    if let own = numbers.first, numbers.count == 1, own != Array(own.indices) {
      metadata["head_numbers"] = "\(own)"
    }
    guard let spec = report.spec ?? report.heads.first?.tile else { return metadata }
    metadata["tile"] = "\(spec.rows)x\(spec.keys)"
    (metadata["vote"], metadata["order"]) = (spec.vote.rawValue, spec.order.rawValue)
    (metadata["criterion"], metadata["splits"]) = (spec.criterion.rawValue, "\(spec.splits)")
    return metadata
  }
}

extension RowField {
  /// All of it, row-major, `[rows * columns]`. Throws what its rows throw.
  func values() throws -> [Float] {
    var all: [Float] = []
    all.reserveCapacity(rows.count * columns.count)
    try withRows(0..<rows.count) { _, row in all += row }
    return all
  }
}
