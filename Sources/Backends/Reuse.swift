import Analysis
public import Attention
import Methods
public import Sessions
import Tensors

/// What the masks of several heads, layers, steps or methods have in common.
public struct ReuseRequest: Sendable {
  /// What is laid over one another.
  public typealias Along = OverlapRequest.Along

  /// What is laid over one another.
  public var along: Along
  /// One setting, or several for `methods`.
  public var settings: [MethodSetting]
  /// Layers that take part.
  public var layers: [LayerIndex]
  /// Heads of each; those that a layer has not got are passed over.
  public var heads: [Int]
  /// Mean recall at which a layer may take another's mask, in 0...1.
  public var recall = 0.95
  /// Steps of a field of steps, at most; more are spread evenly.
  public var steps = 1024
  /// Says that nobody waits any more.
  public var isCancelled: @Sendable () -> Bool = { false }

  /// At least one setting, layer and head.
  public init(
    _ along: Along, settings: [MethodSetting], layers: [LayerIndex], heads: [Int]
  ) { (self.along, self.settings, self.layers, self.heads) = (along, settings, layers, heads) }
}

extension FileBackend {
  /// Overlaps as findings: a field `overlap` of places by places, and what goes with it: of layers
  /// `donor_recall` and the series `donor`, of steps the curve `working_set`.
  ///
  /// Throws `KnobError` for a setting that is not there or keeps no entries, `Missing` for what the
  /// file has not got, and `CancellationError`. `each` hears how many heads are done, of how many.
  public func reuse(_ request: ReuseRequest, each: (Int, Int) -> Void = { _, _ in }) throws
    -> Findings
  { try masks.reuse(request, each: each) }
}

extension MaskSource {
  /// Throws as the backend's own does.
  func reuse(_ request: ReuseRequest, each tell: (Int, Int) -> Void = { _, _ in }) throws
    -> Findings
  {
    func each(_ done: Int, _ of: Int) throws {
      if request.isCancelled() { throw CancellationError() }
      tell(done, of)
    }
    for setting in request.settings { _ = try store.registry.make(setting) }
    switch request.along {
    case .layers: return try layerReuse(request, each)
    case .heads: return try headReuse(request, each)
    case .steps: return try stepReuse(request, each)
    case .methods: return try methodReuse(request, each)
    }
  }

  /// What a method keeps of a head. A run that several methods share keeps nothing of it in the
  /// store, where it would drop what screens show.
  func kept(_ id: HeadID, _ setting: MethodSetting, _ shared: MethodRun? = nil) throws
    -> (KeptField, Head)
  {
    guard let place = place(id) else {
      throw Missing(.queryKey, hint: "this file holds block masks alone")
    }
    let found = try store.findings(setting, place, needsNumbers: false, shared: shared)
    guard let field = found.keptField else {
      if found.field("kept") != nil { try RowPicks.checkLength(place.head) }
      throw KnobError("\(setting.id) keeps no entries: it has no mask that could be shared")
    }
    return (field, place.head)
  }

  /// The same as bits.
  func bits(_ id: HeadID, _ setting: MethodSetting, _ shared: MethodRun? = nil) throws -> KeptBits {
    let (field, head) = try kept(id, setting, shared)
    return KeptBits(field, isLong: head.isLong)
  }

  /// Heads that every layer of the request has.
  private func common(_ request: ReuseRequest) -> [Int] {
    request.heads.filter { head in request.layers.allSatisfy { head < heads($0) } }
  }

  private func names(_ layers: [LayerIndex]) -> [String] {
    layers.map { "\(self.layers[$0])" }
  }

  private func layerReuse(_ request: ReuseRequest, _ each: (Int, Int) throws -> Void) throws
    -> Findings
  {
    let count = request.layers.count, common = self.common(request), setting = request.settings[0]
    var overlaps: [[Float]] = [], recalls: [[Float]] = []
    for (done, head) in common.enumerated() {
      try each(done, common.count)
      let found = try request.layers.map { try kept(HeadID(layer: $0, head: head), setting) }
      overlaps.append(Overlap.masks(found.map { KeptBits($0.0, isLong: $0.1.isLong) }))
      // Column by column: the receiver's pattern on everybody's mask.
      let columns = try found.map { _, receiver in
        try DonorLayers.recall(of: receiver, on: found.map(\.0.set), MethodRun())
      }
      recalls.append(
        (0..<count * count).map { Float(columns[$0 % count][$0 / count]) })
    }
    let axis = Axis(.layer, count, labels: names(request.layers))
    var findings = Findings()
    square("overlap", axis, Overlap.mean(overlaps), &findings, "overlap of layers")
    let recall = Overlap.mean(recalls)
    square("donor_recall", axis, recall, &findings, "recall of a layer (column) on a layer's mask")
    let donors = DonorLayers(recall: recall, target: request.recall)
    findings.series(
      "donor", axis, donors.donors.map { Float(layers[request.layers[$0]].value) },
      title: "layer whose mask is taken")
    findings.number("donor_target", request.recall, .share, title: "recall that sharing must keep")
    findings.number(
      "donors", Double(Set(donors.donors).count), .count, title: "layers with a mask of their own")
    return findings
  }

  func square(
    _ name: String, _ axis: Axis, _ values: [Float], _ findings: inout Findings, _ title: String
  ) {
    findings.field(
      name, WholeField(rows: axis, columns: axis, values: values), .magnitude(.share), title: title)
  }

  /// A field a layer: head 3 of one layer has nothing to do with head 3 of another.
  private func headReuse(_ request: ReuseRequest, _ each: (Int, Int) throws -> Void) throws
    -> Findings
  {
    var findings = Findings()
    for (done, layer) in request.layers.enumerated() {
      try each(done, request.layers.count)
      let chosen = request.heads.filter { $0 < heads(layer) }
      let masks = try chosen.map { try bits(HeadID(layer: layer, head: $0), request.settings[0]) }
      let axis = Axis(.head, chosen.count, labels: chosen.map { "\(headNumber($0))" })
      square(
        "overlap_\(layers[layer])", axis, Overlap.masks(masks), &findings,
        "overlap of heads, layer \(layers[layer])")
    }
    return findings
  }

  /// Heads that the request names, layer by layer.
  private func chosen(_ request: ReuseRequest) -> [HeadID] {
    request.layers.flatMap { layer in
      request.heads.filter { $0 < heads(layer) }.map { HeadID(layer: layer, head: $0) }
    }
  }

  private func stepReuse(_ request: ReuseRequest, _ each: (Int, Int) throws -> Void) throws
    -> Findings
  {
    let chosen = self.chosen(request)
    var sum: [Float] = [], rows: [Int] = [], buffers: WorkingSet?
    var findings = Findings()
    for (done, id) in chosen.enumerated() {
      try each(done, chosen.count)
      let (field, head) = try kept(id, request.settings[0])
      let mask = KeptBits(field, isLong: head.isLong, most: request.steps)
      // Means of all heads, without a matrix a head; a step that keeps nothing stays unknown.
      let steps = Overlap.steps(mask)
      sum = sum.isEmpty ? steps : zip(sum, steps).map { $0 + $1 }
      rows = mask.rows
      guard !head.isLong else {
        findings.note("no buffer is followed over a head of this length; `slice` cuts")
        continue
      }
      let one = try WorkingSet(field)
      if buffers == nil { buffers = one } else { buffers?.add(one) }
    }
    let values = sum.map { $0 / Float(chosen.count) }
    let axis = Axis(.step, rows.count, labels: rows.map(String.init))
    square("overlap", axis, values, &findings, "overlap of steps")
    let apart = Overlap.byDistance(values, rows: rows.count)
    let span = rows.count > 1 ? Double(rows[rows.count - 1] - rows[0]) / Double(rows.count - 1) : 1
    findings.curve(
      "overlap_by_distance",
      Curve(
        x: "steps apart", y: "overlap",
        points: apart.map { Curve.Point(Double($0.distance) * span, $0.overlap) },
        isLogarithmic: true), title: "overlap by distance")
    if let buffers {
      findings.curve(
        "working_set",
        Curve(x: "keys of the buffer", y: "hit rate", points: buffers.curve, isLogarithmic: true),
        title: "hit rate of a hot buffer")
      for share in [90, 99] {
        findings.number(
          "working_set_\(share)", buffers.size(for: Double(share) / 100).map(Double.init), .tokens,
          title: "keys of a buffer that hits \(share) %")
      }
    }
    return findings
  }

  private func methodReuse(_ request: ReuseRequest, _ each: (Int, Int) throws -> Void) throws
    -> Findings
  {
    let chosen = self.chosen(request)
    var all: [[Float]] = []
    for (done, id) in chosen.enumerated() {
      try each(done, chosen.count)
      all.append(Overlap.masks(try request.settings.map { try bits(id, $0) }))
    }
    let axis = Axis(
      .source, request.settings.count, labels: request.settings.map(\.description))
    var findings = Findings()
    square("overlap", axis, Overlap.mean(all), &findings, "overlap of methods")
    return findings
  }
}
