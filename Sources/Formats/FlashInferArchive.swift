import Tensors

/// The folder that FlashInfer's flight recorder writes (FLASHINFER_LOGLEVEL=10): a folder a call.
///
/// Every call of attention becomes a layer, in the order of the calls, since nothing says which
/// layer called. Q, K and V of one request of the batch are `layers.N.q` `[heads, n, dim]`, `.k`
/// and `.v` `[kvHeads, n, dim]`, joined from the pages of the cache when they are read; scale,
/// window, softcap and sinks go with them. Methods of wrappers are read with the `plan` before.
///
/// Example: `try FlashInferArchive("flashinfer_dumps", request: 0)`; nil for any other folder. The
/// catch: of several steps of a model every step is layers of its own.
struct FlashInferArchive: TensorArchive {
  let path: String
  let entries: [ArrayEntry]
  let metadata: [String: String]
  let remarks: [String]
  let leftOut: [LeftOut]
  private let layers: [(call: FlashInferCall, request: FlashInferCall.Request)]

  var format: String { "folder of FlashInfer" }

  /// A recorder stops at a thousand calls unless told otherwise.
  private static let mostCalls = 1 << 16

  /// Nil where no call of attention lies there. Throws `malformed` or `unsupported` where calls lie
  /// there and none can be read, and `mismatch` for a request that none of them has.
  init?(_ folder: String, names: [String], request: Int?) throws(FormatError) {
    let folders =
      names.contains("metadata.jsonl")
      ? [folder] : sortedNaturally(names) { $0 }.prefix(Self.mostCalls).map { folder + "/" + $0 }
    var records: [(record: FlashInferRecord, folder: String)] = []
    for one in folders {
      guard let record = FlashInferRecord.last(of: one + "/metadata.jsonl") else { continue }
      records.append((record, one))
    }
    guard !records.isEmpty else { return nil }
    records.sort {
      ($0.record.timestamp, $0.record.sequence) < ($1.record.timestamp, $1.record.sequence)
    }
    var reading = Reading()
    for (record, folder) in records { reading.take(record, folder) }
    guard !reading.calls.isEmpty else {
      if let refusal = reading.refusal { throw refusal }
      return nil
    }
    let most = reading.calls.map(\.requests.count).max() ?? 0, chosen = request ?? 0
    layers = reading.calls.compactMap { call in
      call.requests.indices.contains(chosen) ? (call, call.requests[chosen]) : nil
    }
    guard chosen >= 0, !layers.isEmpty else {
      throw FormatError(
        .mismatch, "--batch \(chosen) does not exist; the calls have \(most) requests at most",
        file: folder)
    }
    path = folder
    leftOut = reading.leftOut
    entries = Self.entries(layers)
    metadata = Self.metadata(layers.map(\.call))
    remarks = Self.remarks(layers.map(\.call), request: request, of: most)
  }

  /// What is read of one folder after another.
  private struct Reading {
    var calls: [FlashInferCall] = []
    var leftOut: [LeftOut] = []
    /// The first reason why a call could not be read.
    var refusal: FormatError?
    /// The last plan of each object, with the file of its lists, and the layout it was made with.
    private var plans: [Int: (record: FlashInferRecord, inputs: (any TensorArchive)?)] = [:]
    private var layouts: [Int: String] = [:]

    mutating func take(_ record: FlashInferRecord, _ folder: String) {
      let name = lastComponent(folder)
      do throws(FormatError) {
        let object = record.object ?? -1
        if record.function.hasSuffix(".__init__") {
          layouts[object] = record.text("kv_layout")
          return
        }
        let isPlan = [".plan", ".begin_forward"].contains(where: record.function.hasSuffix)
        guard let inputs = try Self.inputs(folder) else {
          if isPlan { plans[object] = (record, nil) }
          return
        }
        guard !isPlan else {
          plans[object] = (record, inputs)
          return
        }
        let plan = plans[object]
        let call = try FlashInferCall(
          record, plan: plan?.record, planned: plan?.inputs, layout: layouts[object],
          inputs: inputs)
        guard let call else {
          leftOut.append(LeftOut(name: name, why: "\(record.function) is no attention of Q, K, V"))
          return
        }
        calls.append(call)
      } catch {
        refusal = refusal ?? error
        leftOut.append(LeftOut(name: name, why: error.message))
      }
    }

    /// The tensors of a call; nil where there are none.
    private static func inputs(_ folder: String) throws(FormatError) -> (any TensorArchive)? {
      for name in ["inputs.safetensors", "inputs.pt"] {
        do throws(FormatError) {
          return try openArchive(folder + "/" + name)
        } catch {
          if error.code != .missing { throw error }
        }
      }
      return nil
    }
  }

  // MARK: What a dump reads

  private static func entries(
    _ layers: [(call: FlashInferCall, request: FlashInferCall.Request)]
  ) -> [ArrayEntry] {
    layers.enumerated().flatMap { number, layer -> [ArrayEntry] in
      let shapes = layer.call.shapes(layer.request), types = layer.call.types
      var out = [ArrayEntry(name: "layers.\(number).q", dtype: types.query, shape: shapes.query)]
      for name in ["k", "v"] {
        out.append(
          ArrayEntry(name: "layers.\(number).\(name)", dtype: types.keys, shape: shapes.keys))
      }
      if let sinks = layer.call.sinks {
        out.append(
          ArrayEntry(name: "layers.\(number).sinks", dtype: sinks.dtype, shape: sinks.shape))
      }
      return out
    }
  }

  /// In the words of our own files; what differs from layer to layer as theirs.
  private static func metadata(_ calls: [FlashInferCall]) -> [String: String] {
    var out = ["causal": "\(calls[0].isCausal)"]
    out["scale"] = calls[0].scale.map { "\($0)" }
    for (number, call) in calls.enumerated() {
      if let window = call.window { out["layers.\(number).window"] = "\(window)" }
      if let softcap = call.softcap { out["layers.\(number).softcap"] = "\(softcap)" }
    }
    return out
  }

  private static func remarks(_ calls: [FlashInferCall], request: Int?, of most: Int) -> [String] {
    var out = [
      """
      \(calls.count) call\(calls.count == 1 ? "" : "s") of \
      \(Set(calls.map(\.record.function)).sorted().joined(separator: ", ")): layers are numbered \
      in their order
      """
    ]
    if most > 1, request == nil {
      out.append("request 0 of \(most) is shown (--batch)")
    }
    for (what, isSame) in [
      ("scale", Set(calls.map { $0.scale ?? 0 }).count == 1),
      ("causality", Set(calls.map(\.isCausal)).count == 1),
    ] where !isSame {
      out.append("the calls differ in their \(what); that of layer 0 is taken for all")
    }
    let factors = Set(calls.compactMap(\.skipFactor)).sorted()
    if let factor = factors.first {
      out.append(
        """
        the kernel skipped blocks by skip_softmax_threshold_scale_factor \(factor)\
        \(factors.count > 1 ? " to \(factors.last!)" : ""): lambda is that by the number of keys
        """)
    }
    return out
  }

  /// `layers.3.k` from its pages. Throws `missing` for another name, and what reading throws.
  func tensor(_ name: String) throws(FormatError) -> Tensor {
    let words = name.split(separator: ".")
    guard words.count == 3, let number = Int(words[1]), layers.indices.contains(number) else {
      throw FormatError(.missing, "there is no array of this name", file: path, place: name)
    }
    let (call, request) = layers[number]
    switch words[2] {
    case "q": return try call.query(request)
    case "k": return try call.keys(request, 0)
    case "v": return try call.keys(request, 1)
    default:
      guard let sinks = call.sinks else {
        throw FormatError(.missing, "there is no array of this name", file: path, place: name)
      }
      return sinks
    }
  }

  func sample(_ name: String, elements: Int) throws(FormatError) -> [Float] {
    Array(try tensor(name).floats().prefix(elements))
  }
}
