public import Analysis
public import Attention
import Methods
import Sessions
import Tensors

/// What one method does to one head: the numbers of `attnscope report`.
public struct HeadReport: Sendable {
  /// Layer number, as the file calls it.
  public let layer: Int
  public let head: Int
  public let mask: BlockMask
  public let visibleBlocks: Int
  public let skippedBlocks: Int
  public let droppedMass: (mean: Double, max: Double)?
  public let outputError: OutputError?
  /// Nil for a source that stored only masks.
  public let summary: HeadSummary?
  /// Only of BLASST.
  public let margins: [Float]?
  /// `[queries * valueDim]`, nil without V.
  public let output: [Float]?
  public let isDecode: Bool
  /// Skipped blocks that a screening bound decided without their scores; nil without screening.
  public var decidedByBound: Int?

  /// The same numbers without the arrays that only a mask file needs.
  public var withoutArrays: HeadReport {
    HeadReport(
      layer: layer, head: head, mask: mask, visibleBlocks: visibleBlocks,
      skippedBlocks: skippedBlocks,
      droppedMass: droppedMass, outputError: outputError, summary: summary, margins: nil,
      output: nil,
      isDecode: isDecode, decidedByBound: decidedByBound)
  }

  public var sparsity: Double {
    visibleBlocks == 0 ? 0 : Double(skippedBlocks) / Double(visibleBlocks)
  }
}

/// What to report on.
public struct ReportRequest: Sendable {
  public var lambda: Lambda
  public var spec: TileSpec
  /// A method of the registry; `blasst` reads everything off block tables.
  public var method: String
  public var knobs: Knobs
  /// Indices into the dump's layers, and head numbers; nil means all.
  public var layers: [Int]?
  public var heads: [Int]?
  public var wantsSummary = true
  public var wantsOutput = true
  public var screen = Screening.none

  public init(lambda: Lambda, spec: TileSpec, method: String = "blasst", knobs: Knobs = [:]) {
    (self.lambda, self.spec, self.method, self.knobs) = (lambda, spec, method, knobs)
  }
}

extension FileBackend {
  /// Reports on every chosen head, calling `each` as heads are done. Call it from a command, not from an actor.
  public func report(_ request: ReportRequest, each: (HeadReport) throws -> Void) throws {
    for layer in request.layers ?? Array(heads.layers.indices) {
      let size = heads.groupSize(layer)
      let chosen =
        request.heads.map { $0.filter { $0 < heads.heads(layer) } } ?? Array(0..<heads.heads(layer))
      for first in Set(chosen.map { $0 / size * size }).sorted() {
        let members = chosen.filter { $0 / size * size == first }
        guard let (group, _) = heads.group(layer, containing: first) else {
          for head in members { try each(try storedReport(layer, head, request)) }
          continue
        }
        for report in try reports(layer, first, group, members, request) { try each(report) }
      }
    }
  }

  private func storedReport(_ layer: Int, _ head: Int, _ request: ReportRequest) throws
    -> HeadReport
  {
    let spec = describe().storedTile!
    guard let table = heads.storedTable(layer, head, tile: (spec.rows, spec.keys)) else {
      throw KnobError("layer \(heads.layers[layer]) has no mask of head \(head)")
    }
    return HeadReport(
      layer: heads.layers[layer], head: head, mask: table.mask(request.lambda),
      visibleBlocks: table.visibleBlocks,
      skippedBlocks: table.skippedBlocks(request.lambda), droppedMass: nil, outputError: nil,
      summary: nil,
      margins: table.isFixed ? nil : table.margins, output: nil, isDecode: describe().queries == 1)
  }

  private func reports(
    _ layer: Int, _ first: Int, _ group: HeadGroup, _ members: [Int], _ request: ReportRequest
  ) throws -> [HeadReport] {
    let hasValues = group.heads[0].value != nil && request.wantsOutput
    let pass = TilePass(group, keysPerTile: request.spec.keys, withValues: hasValues)
    var dense: [HeadOutput]?
    if hasValues { dense = pass.forward(request.spec, .blasst(lambda: 0)) }
    let rows: [MethodRow]
    if request.method == "blasst" {
      let tables = pass.tables(request.spec, lambda: request.lambda.value)!
      let sparse =
        hasValues
        ? pass.forward(
          request.spec, .blasst(lambda: request.lambda.value), screen: request.screen) : nil
      rows = tables.indices.map { slot in
        MethodRow(
          mask: tables[slot].mask(request.lambda),
          dropped: tables[slot].droppedMass(request.lambda),
          margins: tables[slot].margins, output: sparse?[slot].values,
          decidedByBound: request.screen == .none ? nil : sparse?[slot].decidedByBound)
      }
    } else {
      rows = try otherMethod(group, request)
    }
    return members.map { head in
      let slot = head - first, row = rows[slot]
      let skipped = row.mask.verdicts.filter { $0 == .skipped }.count
      return HeadReport(
        layer: heads.layers[layer], head: head, mask: row.mask,
        visibleBlocks: row.mask.verdicts.filter { $0 != .invisible }.count, skippedBlocks: skipped,
        droppedMass: row.dropped,
        outputError: dense.flatMap { dense in
          row.output.map { OutputError(dense: dense[slot].values, sparse: $0) }
        },
        summary: request.wantsSummary ? Summariser(group.heads[slot]).summary() : nil,
        margins: row.margins,
        output: row.output, isDecode: group.queries == 1, decidedByBound: row.decidedByBound)
    }
  }

  private struct MethodRow {
    let mask: BlockMask
    let dropped: (mean: Double, max: Double)?
    let margins: [Float]?
    let output: [Float]?
    var decidedByBound: Int?
  }

  private func otherMethod(_ group: HeadGroup, _ request: ReportRequest) throws -> [MethodRow] {
    guard let type = Registry.method(request.method) else {
      let known = Registry.methods.map { $0.card.id }.joined(separator: ", ")
      throw KnobError("there is no method '\(request.method)'; known are \(known)")
    }
    var state = AttentionState()
    var trace = Trace()
    let outputs =
      try type.init(knobs: request.knobs).attend(group, state: &state, trace: &trace) ?? []
    return group.heads.indices.map { slot in
      let dropped =
        trace.keptSets.isEmpty ? (0, 0) : Recall.dropped(group.heads[slot], trace.keptSets[slot])
      return MethodRow(
        mask: trace.masks[slot], dropped: dropped, margins: nil,
        output: group.heads[slot].value == nil ? nil : outputs[slot])
    }
  }
}
