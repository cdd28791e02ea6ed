import Analysis
import Attention
import Methods
import Support
import Tensors
import Testing

/// What every registered method must hold to: one check for all.
func checkMethod(_ type: any EngineMethod.Type) throws {
  let card = type.card
  #expect(
    !card.id.isEmpty && !card.idea.isEmpty && card.source.contains("20"),
    "\(card.id): the card is incomplete")
  #expect(throws: KnobError.self) { try type.init(knobs: ["no such knob": .number(1)]) }
  for knob in card.knobs {
    #expect(knob.name == knob.name.lowercased() && !knob.help.isEmpty)
    if case .integer = knob.range {
      #expect(throws: KnobError.self) { try type.init(knobs: [knob.name: .number(0.5)]) }
    }
    #expect(throws: KnobError.self) { try type.init(knobs: [knob.name: .word("nonsense")]) }
  }
  for one in [
    Case(heads: 2, queries: 70, keys: 70, TileSpec(rows: 16, keys: 16), scale: 2),
    Case(heads: 1, queries: 1, keys: 90, TileSpec(rows: 1, keys: 16)),
    Case(heads: 3, queries: 20, keys: 50, TileSpec(rows: 16, keys: 16)),
  ] {
    try checkMethod(type, on: one)
  }
}

private func checkMethod(_ type: any EngineMethod.Type, on one: Case) throws {
  let group = one.group(seed: 5), card = type.card
  let method = try type.init(knobs: [:])
  var state = AttentionState(), trace = Trace()
  let outputs = try #require(method.attend(group, state: &state, trace: &trace))
  #expect(
    outputs.count == group.heads.count
      && outputs.allSatisfy { $0.count == one.queries * one.valueDim })
  #expect(trace.masks.count == group.heads.count, "\(card.id) leaves no masks")
  #expect(trace.cost.scores > 0 && trace.cost.exponentials <= trace.cost.scores)
  // Every row that has an output keeps something, and what it keeps it may see.
  let leavesOut = (type as? any MaskMethod.Type)?.leavesRowsOut == true
  for (head, set) in trace.keptSets.enumerated() {
    for row in 0..<one.queries {
      let kept = set.row(row, group.visibility), limit = group.visibility.limit(row: row)
      #expect(
        leavesOut || kept[..<limit].contains(1), "\(card.id) head \(head) row \(row) keeps nothing")
      #expect(
        !kept[limit...].contains(1), "\(card.id) head \(head) row \(row) keeps what it cannot see")
    }
  }
  // The shapes of this family tell what they keep; others decide block by block.
  #expect(trace.keptSets.isEmpty == !(type is any MaskMethod.Type), "\(card.id): kept sets")
  if !trace.keptSets.isEmpty { try checkError(outputs, trace, group, one, card) }
  if card.promises.contains(.deterministic) {
    var again = Trace()
    #expect(
      method.attend(group, state: &state, trace: &again) == outputs,
      "\(card.id) is not deterministic")
  }
  if let dense = card.denseKnobs {
    let everything = dense
    let whole = try #require(try Dense(knobs: [:]).attend(group, state: &state, trace: &trace))
    let all = try #require(
      try type.init(knobs: everything).attend(group, state: &state, trace: &trace))
    let worst = zip(whole.joined(), all.joined()).map { abs($0 - $1) }.max() ?? 0
    #expect(worst < 1e-5, "\(card.id) with everything kept is off by \(worst)")
  }
}

/// |O' - O| <= 2 (1 - R) max |v|, R the recall of the row (card 0, identity 4), and A' = A / R on
/// kept entries.
private func checkError(
  _ outputs: [[Float]], _ trace: Trace, _ group: HeadGroup, _ one: Case, _ card: MethodCard
) throws {
  let dense = ReferenceAttention(group).run(one.spec, lambda: 0)
  let values = group.heads[0].value!.floats()
  for head in group.heads.indices {
    for row in 0..<one.queries {
      let kept = trace.keptSets[head].row(row, group.visibility)
      guard kept.contains(1) else { continue }
      let p = dense.patterns[head][row * one.keys..<(row + 1) * one.keys]
      let recall = zip(p, kept).reduce(0) { $0 + ($1.1 == 1 ? $1.0 : 0) }
      for x in 0..<one.valueDim {
        var exact = 0.0
        for (j, weight) in p.enumerated() where kept[j] == 1 {
          exact += weight / recall * Double(values[j * one.valueDim + x])
        }
        let got = Double(outputs[head][row * one.valueDim + x])
        #expect(abs(got - exact) < 2e-5, "\(card.id) row \(row): \(got) for \(exact)")
      }
    }
  }
}

@Suite struct MethodsTests {
  /// Those that an engine can run.
  static let engine = Registry.standard.methods.compactMap { $0 as? any EngineMethod.Type }
    .map { $0.card.id }

  @Test(arguments: engine) func everyMethodHoldsToItsCard(_ id: String) throws {
    let type = try #require(Registry.standard.method(id) as? any EngineMethod.Type)
    try checkMethod(type)
  }

  @Test func idsAreUnique() {
    let ids = Registry.standard.cards.map(\.id)
    #expect(Set(ids).count == ids.count)
    #expect(Registry.standard.cards.filter { $0.blockTables != nil }.count == 1)
  }

  /// Card 1, check 3: a column and a diagonal planted among zeros are found, and nothing else.
  @Test func plantedColumnAndDiagonalAreFound() throws {
    let n = 512
    var scores = [Float](repeating: 0, count: n * n)
    for i in 0..<n {
      if i >= 200 { scores[i * n + 200] = 8 }
      if i >= 150 { scores[i * n + i - 150] = 8 }
    }
    let head = Head(scores: Tensor(scores, shape: [n, n]), causal: true)
    let seen = Shapes.lastQueries(PatternRows(head), rows: 64)
    #expect(
      abs(seen.columns.reduce(0, +) - 64) < 1e-3 && abs(seen.offsets.reduce(0, +) - 64) < 1e-3)
    let set = Shapes.verticalSlash(
      head, seen, vertical: 31, slash: 101, forcedColumns: 30, forcedOffsets: 100)
    #expect(set.columns.indices.filter { set.columns[$0] == 1 } == Array(0..<30) + [200])
    #expect(set.offsets == Array(0..<100) + [150])
    #expect(abs(seen.offsets[150] - 29.6) < 0.1)
    var kept = 0
    for row in 0..<n { kept += set.row(row, head.visibility).reduce(0) { $0 + Int($1) } }
    #expect(abs(Double(kept) / Double(n * (n + 1) / 2) - 0.447) < 0.001)
  }

  /// Card 1, check 4: a column that the last 64 rows do not look at is missed.
  @Test func theBlindSpotIsBlind() {
    let n = 512
    var scores = [Float](repeating: 0, count: n * n)
    for i in 200..<400 { scores[i * n + 200] = 8 }
    let head = Head(scores: Tensor(scores, shape: [n, n]), causal: true)
    let seen = Shapes.lastQueries(PatternRows(head), rows: 64)
    let set = Shapes.verticalSlash(
      head, seen, vertical: 31, slash: 101, forcedColumns: 30, forcedOffsets: 100)
    #expect(set.columns[200] == 0)
  }

  /// Where no row sees anything, nobody can know what is left out.
  @Test(arguments: ["blasst", "a-shape"]) func aBlindHeadDropsAnUnknownMass(_ id: String) throws {
    let head = Head(
      scores: Tensor([Float](repeating: -.infinity, count: 256), shape: [16, 16]), causal: true)
    let findings = try Registry.standard.make(MethodSetting(id)).examine(
      Subject(head), MethodRun())
    #expect(findings["dropped_mean"] != nil && findings.droppedMass == nil)
  }

  @Test func topKIsStable() {
    #expect(Shapes.top(3, of: [1, 5, 5, 2, 5]) == [1, 2, 4])
    #expect(Shapes.top(2, of: [1, 5, 5], forced: 1) == [0, 1])
    #expect(Shapes.top(9, of: [1]) == [0])
    // A few of many are found by one pass: the same as by a sort, ties and forced ones included.
    var random = Seeded(5)
    let values = (0..<500).map { _ in Double(random.next() % 40) }
    let order = values.indices.sorted {
      values[$0] != values[$1] ? values[$0] > values[$1] : $0 < $1
    }
    for count in [1, 7, 64, 65, 400] {
      #expect(Shapes.top(count, of: values) == Array(order.prefix(count)), "\(count)")
      let forced = min(3, count), rest = order.filter { $0 >= forced }.prefix(count - forced)
      #expect(Shapes.top(count, of: values, forced: 3) == Array(0..<forced) + rest, "\(count)")
    }
    let rising = (0..<500).map(Double.init)
    #expect(Shapes.top(3, of: rising) == [499, 498, 497])
  }

  @Test func budgetsScaleAsTheCardsSay() {
    #expect(Scaled.tokens(1024, n: 2048, reference: 131072) == 16)
    #expect(Scaled.tokens(30, n: 512, reference: 131072) == 1)
    #expect(Scaled.tokens(10, n: 1 << 20, reference: 1024) == 10)
    #expect(Scaled.block(64, n: 2048, reference: 131072) == 2)
    #expect(Scaled.block(64, n: 65536, reference: 131072) == 32)
    #expect(Scaled.blocks(100, size: 64, n: 65536, reference: 131072) == 100)
  }
}
