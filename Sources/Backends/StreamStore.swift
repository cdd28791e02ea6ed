import Analysis
import Attention
import Formats
import Sessions
import Tensors
import Wire

/// Heads as of some frame, and which layers of the stream they are of.
typealias StreamDump = (dump: Dump, layers: [LayerIndex])

/// What a stream has brought: its steps by position, Q, K and V as far as they were sent, the
/// newest pushed table of each head, and every frame that is worth keeping.
///
/// Example: `try store.take(frame)`, then `store.dump(tokens: 120)`. A value under its backend's
/// lock. Frames are checked against hello before anything of them is kept; one that is wrong is
/// refused alone, and the stream goes on. Memory: the frames as they came, and Q, K and V once
/// more, together at most `budget`; beyond it steps are kept without them.
struct StreamStore: Sendable {
  /// What the sender said of itself.
  let hello: Hello
  /// For messages and titles.
  let name: String
  /// Bytes of frames and rows together.
  let budget: Int

  /// One position that came.
  struct Taken: Sendable {
    /// The token as screens know it.
    var step: Step
    /// Block counts `[layers * heads]`; empty for prompt tokens.
    var visible: [Int32] = [], skipped: [Int32] = []
    /// `[layers * heads]`, or empty.
    var sinks: [Float] = []
  }

  /// Positions of the prompt that came.
  private(set) var promptTokens = 0
  /// By position: where it is in `taken`; -1 where its frame was lost.
  private var places: [Int32] = []
  private var taken: [Taken] = []
  /// `[layers]`, each of q, k and v.
  private var rows: [[PositionRows?]]
  /// Frames as they came, for saving: hello, parts of the prompt, steps, findings.
  private(set) var frames: [[UInt8]]
  private var bytes: Int
  /// The newest table that was pushed of a head and a tile, and how many tokens it is of.
  private var tables: [TableKey: TableFrame] = [:]
  /// The newest picture that was pushed of a head.
  private var pictures: [HeadKey: PictureFrame] = [:]
  /// Of all that was pushed.
  private var pushedBytes = 0
  /// Of the last frame.
  private(set) var lastSeq: Int
  /// Frames between those that came.
  private(set) var lostFrames = 0
  /// Steps that the sender says its ring has lost.
  private(set) var lostSteps = 0
  /// Frames that were refused, and why the first of them was.
  private(set) var refused = 0
  private(set) var firstRefusal: String?
  /// The first position whose Q, K and V are not kept for want of room.
  private(set) var fullFrom: Int?

  /// Of which head and tile.
  private struct TableKey: Hashable {
    let layer: LayerIndex, head: Int, spec: TileSpec
  }

  private struct HeadKey: Hashable {
    let layer: LayerIndex, head: Int
  }

  /// Tables and pictures that were pushed take so much at most; then all are let go.
  private static let pushedBudget = 256 << 20

  /// Nothing but hello.
  init(_ hello: Hello, name: String, budget: Int) {
    (self.hello, self.name, self.budget) = (hello, name, budget)
    rows = [[PositionRows?]](repeating: [nil, nil, nil], count: hello.layers.count)
    // A recording's prompt is its hello, and is still to be taken.
    let isHello = hello.frame.kind == .hello
    frames = isHello ? [hello.frame.bytes] : []
    bytes = isHello ? hello.frame.bytes.count : 0
    lastSeq = (hello.frame.seq ?? 0) - (isHello ? 0 : 1)
  }

  /// Tokens that came, lost ones among them.
  var count: Int { places.count }
  /// Positions whose frames were lost.
  var missing: Int { places.count - taken.count }

  // MARK: Taking

  /// Takes a frame; true when there is something new to be shown. One that came before, as its
  /// number says, is passed over. Never fails: what is wrong is counted.
  mutating func take(_ frame: WireFrame) -> Bool {
    if let seq = frame.seq {
      guard seq > lastSeq else { return false }
      lostFrames += seq - lastSeq - 1
      lastSeq = seq
    }
    do throws(FormatError) {
      switch frame.kind {
      case .prefill: try take(PrefillFrame(frame, hello), frame)
      case .step: try take(StepFrame(frame, hello), frame)
      case .table: take(try TableFrame(frame, hello), bytes: frame.bytes.count)
      case .picture: take(try PictureFrame(frame, hello), bytes: frame.bytes.count)
      case .findings: _ = keep(frame)
      case .moment: if let lost = try MomentFrame(frame).lost { lostSteps = lost }
      case .hello, .answer, .error, .bye: break
      }
      return true
    } catch {
      refused += 1
      firstRefusal = firstRefusal ?? "\(error)"
      return true
    }
  }

  /// Keeps the bytes; false when there is no room.
  private mutating func keep(_ frame: WireFrame) -> Bool {
    guard bytes + frame.bytes.count <= budget else {
      fullFrom = fullFrom ?? count
      return false
    }
    frames.append(frame.bytes)
    bytes += frame.bytes.count
    return true
  }

  private mutating func take(_ part: PrefillFrame, _ frame: WireFrame) throws(FormatError) {
    guard part.position >= count else {
      throw fault(frame, "position \(part.position) has come before")
    }
    fill(to: part.position)
    for (index, id) in part.ids.enumerated() {
      add(
        Taken(
          step: Step(
            position: part.position + index, token: max(0, id), text: part.texts[index],
            isPrompt: true)))
    }
    promptTokens = count
    take(part.rows, at: part.position, part.ids.count, isKept: keep(frame))
  }

  private mutating func take(_ part: StepFrame, _ frame: WireFrame) throws(FormatError) {
    guard part.position >= count else {
      throw fault(frame, "position \(part.position) comes where \(count) is due")
    }
    fill(to: part.position)
    add(
      Taken(
        step: part.step, visible: part.visible, skipped: part.skipped, sinks: part.sinks))
    take(part.rows, at: part.position, 1, isKept: keep(frame))
  }

  private func fault(_ frame: WireFrame, _ what: String) -> FormatError {
    FormatError(
      .malformed, what, file: name,
      place: frame.kind.rawValue + (frame.seq.map { " \($0)" } ?? ""))
  }

  /// Positions that never came stand as lost, four bytes each.
  private mutating func fill(to position: Int) {
    guard position > count else { return }
    places += [Int32](repeating: -1, count: position - count)
  }

  private mutating func add(_ one: Taken) {
    places.append(Int32(taken.count))
    taken.append(one)
  }

  /// Rows go on only where nothing is missing before them.
  private mutating func take(
    _ layers: [LayerRows], at position: Int, _ positions: Int, isKept: Bool
  ) {
    guard isKept else { return }
    for layer in layers {
      for (slot, part) in [layer.query, layer.key, layer.value].enumerated() {
        guard let part else { continue }
        let room = positions * part.shape[0] * part.shape[2] * part.dtype.byteWidth
        guard bytes + 2 * room <= budget else {
          fullFrom = fullFrom ?? position
          continue
        }
        let held =
          rows[layer.layer.value][slot]
          ?? PositionRows(
            heads: part.shape[0], width: part.shape[2], dtype: part.dtype, first: position,
            capacity: positions)
        guard held.first + held.count == position, held.dtype == part.dtype else { continue }
        let before = rows[layer.layer.value][slot] == nil ? 0 : held.bytes
        held.append(part)
        bytes += held.bytes - before
        rows[layer.layer.value][slot] = held
      }
    }
  }

  private mutating func take(_ table: TableFrame, bytes: Int) {
    let key = TableKey(
      layer: table.place.layer, head: table.place.head, spec: table.table.spec)
    makeRoom(bytes)
    tables[key] = table
  }

  private mutating func take(_ picture: PictureFrame, bytes: Int) {
    makeRoom(bytes)
    pictures[HeadKey(layer: picture.place.layer, head: picture.place.head)] = picture
  }

  /// Counts what is replaced as well: the sum falls only when all are let go.
  private mutating func makeRoom(_ bytes: Int) {
    if pushedBytes + bytes > Self.pushedBudget { (tables, pictures, pushedBytes) = ([:], [:], 0) }
    pushedBytes += bytes
  }

  // MARK: Reading

  /// The steps of some positions, as far as they came; one that was lost says so.
  func steps(_ range: Range<Int>) -> [Step] {
    range.clamped(to: 0..<count).map { position in
      places[position] >= 0
        ? taken[Int(places[position])].step
        : Step(position: position, token: 0, text: "", isPrompt: false, attention: "lost")
    }
  }

  /// What came of a position; nil where it was lost.
  func taken(_ position: Int) -> Taken? {
    places.indices.contains(position) && places[position] >= 0
      ? taken[Int(places[position])] : nil
  }

  /// A table that was pushed of this head, tile and number of tokens.
  func table(_ layer: LayerIndex, _ head: Int, _ spec: TileSpec, tokens: Int) -> BlockTable? {
    tables[TableKey(layer: layer, head: head, spec: spec)].flatMap {
      $0.place.tokens == tokens && $0.table.keys == tokens ? $0.table : nil
    }
  }

  /// A picture that was pushed of this head and number of tokens, of just this part of the map.
  func picture(
    _ layer: LayerIndex, _ head: Int, _ request: PictureRequest, tokens: Int
  ) -> PooledMap? {
    pictures[HeadKey(layer: layer, head: head)].flatMap { pushed in
      let map = pushed.picture
      return pushed.place.tokens == tokens && map.window == request.window
        && map.muted == request.muted && map.rows <= request.rows
        && map.columns <= request.columns ? map : nil
    }
  }

  /// Whether some layer has brought values.
  var hasValues: Bool { rows.contains { $0[2] != nil } }
  /// Whether some layer has brought Q and K.
  var hasQueriesAndKeys: Bool { rows.contains { $0[0] != nil && $0[1] != nil } }

  /// Why a layer's Q and K are not there up to `tokens`; nil where they are.
  func lacks(_ layer: LayerIndex, tokens: Int) -> String? {
    let all = rows[layer.value]
    guard let q = all[0], let k = all[1] else {
      let isAny = rows.contains { $0[0] != nil && $0[1] != nil }
      return "the stream does not carry Q and K"
        + (isAny ? " of layer \(hello.layers[layer])" : "")
    }
    if q.first == 0, k.first == 0, min(q.count, k.count) >= tokens { return nil }
    if let full = fullFrom, full < tokens {
      return "the stream's Q and K are kept up to token \(full), for want of room"
    }
    let from = max(q.first, k.first) > 0 ? 0 : min(q.count, k.count)
    return "Q and K of token \(from) never came: the stream has gaps"
  }

  /// The layers whose Q and K are whole up to `tokens`.
  func whole(tokens: Int) -> [LayerIndex] {
    hello.layers.layerIndices.filter { lacks($0, tokens: tokens) == nil }
  }

  /// The layers whose Q and K are whole up to `tokens`, as a dump of views, and which layers they
  /// are; nil where there are none.
  func dump(tokens: Int) -> StreamDump? {
    let whole = whole(tokens: tokens)
    guard tokens > 0, !whole.isEmpty else { return nil }
    let hasValues = whole.allSatisfy {
      rows[$0.value][2].map { $0.first == 0 && $0.count >= tokens } ?? false
    }
    let layers = whole.map { layer in
      var arrays: [ArrayRole: Tensor] = [:]
      let all = rows[layer.value]
      arrays[.query] = all[0]?.tensor(tokens)
      arrays[.key] = all[1]?.tensor(tokens)
      if hasValues { arrays[.value] = all[2]?.tensor(tokens) }
      return LayerArrays(layer: hello.layers[layer].value, arrays: arrays)
    }
    let steps = steps(0..<tokens)
    var dump = Dump(
      of: hello.model, path: name, layers: layers, tokens: steps.map(\.text),
      ids: steps.map(\.token))
    dump.scale = hello.scale
    dump.takeRules(hello.frame.archive)
    return (dump, whole)
  }
}
