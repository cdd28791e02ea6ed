import Analysis
import Attention
import Canvas
import Sessions

/// What masks have in common, in views 4 and 6.
extension Look {
  /// What is asked for; nil where nothing is laid over one another. Asked of the first head that
  /// has the same answer, so that moving among heads asks nothing anew.
  var overlapQuestion: Question? {
    guard let along = viewpoint.overlap, [.sinks, .compare].contains(viewpoint.view),
      let setting = methodInForce
    else { return nil }
    var head = viewpoint.head
    switch along {
    case .layers: (head.layer, head.head) = (0, 0)
    case .heads: head.head = 0
    case .steps: break
    case .methods:
      guard viewpoint.view == .compare else { break }
      let right = rightSide
      guard let other = right.methodInForce else { return nil }
      return .overlap(
        head, OverlapRequest(along, setting, other: .init(right.viewpoint.head, other)))
    }
    return .overlap(head, OverlapRequest(along, setting))
  }

  /// One sentence about what is laid over one another.
  func overlapCaption(_ along: OverlapRequest.Along) -> String {
    switch along {
    case .layers: "Masks of two layers, mean over heads; :recall 0.95 says whose could be shared."
    case .heads: "Masks of two heads of this layer: 1 is the same entries, 0 none in common."
    case .steps: "Keys of two decode steps, and a hot buffer of the keys read last."
    case .methods where viewpoint.view == .compare: "What both sides keep, of what either keeps."
    case .methods: "Masks of two methods on this head, each at its standard."
    }
  }

  /// What masks have in common, once it is there.
  var overlaps: Findings? {
    guard let question = overlapQuestion, case .findings(let found) = known.answer(question) else {
      return nil
    }
    return found
  }
}

/// Overlaps in words: lines under the picture, and sentences without one.
///
/// Everything is read from the findings; which layer could take whose mask follows from the recall
/// that the view asks for, so that another recall needs no other answer.
struct OverlapText {
  private let look: Look
  private let findings: Findings
  private let along: OverlapRequest.Along

  /// Nil before the answer is there.
  init?(_ look: Look) {
    guard let findings = look.overlaps, let along = look.viewpoint.overlap else { return nil }
    (self.look, self.findings, self.along) = (look, findings, along)
  }

  /// The square of overlaps: its axis and `[places * places]` values; nil of two sides.
  var square: (axis: Axis, values: [Float])? {
    guard let finding = findings.all.first(where: { $0.name.hasPrefix("overlap") && $0.isField }),
      case .field(let field, _) = finding.content
    else { return nil }
    return (field.rows, Self.values(field))
  }

  /// A small field whole; empty when its values are not there.
  private static func values(_ field: any RowField) -> [Float] {
    (0..<field.rows.count).flatMap { (try? field.row($0)) ?? [] }
  }

  /// A curve of the findings, the hit rate of a hot buffer first.
  var curve: Finding? { findings["working_set"] ?? findings["overlap_by_distance"] }

  /// The overlap of two sides by query.
  var strip: Finding? { findings["overlap_rows"] }

  /// What stands below the picture, the most telling first, without full stops.
  var lines: [String] {
    switch along {
    case .layers: [donors].compactMap { $0 } + pairs
    case .heads: pairs
    case .steps: steps
    case .methods: (look.viewpoint.view == .compare ? sides : likeMine) + findings.notes
    }
  }

  /// Whose mask each layer could take at the recall that is asked for.
  private var donors: String? {
    guard case .field(let field, _) = findings["donor_recall"]?.content else { return nil }
    let recall = Self.values(field), axis = field.rows
    let found = DonorLayers(recall: recall, target: look.viewpoint.recall).donors
    let words = found.indices.map { layer -> String in
      let donor = found[layer], name = "L\(axis.name(layer))"
      guard donor != layer else { return "\(name) its own" }
      let share = Double(recall[donor * axis.count + layer])
      return "\(name) takes L\(axis.name(donor))'s (\(Numbers.fixed(share, 3)))"
    }
    let own = Set(found).count
    return
      """
      masks for recall \(Numbers.short(look.viewpoint.recall)): \(own) of \(axis.count); \
      \(words.joined(separator: ", "))
      """
  }

  /// The two that are most alike and the two that are least, and the mean.
  private var pairs: [String] {
    guard let (axis, values) = square, axis.count > 1, values.count == axis.count * axis.count
    else { return [] }
    var all: [(a: Int, b: Int, overlap: Float)] = []
    for a in 0..<axis.count {
      for b in a + 1..<axis.count {
        let overlap: Float = values[a * axis.count + b]
        if !overlap.isNaN { all.append((a: a, b: b, overlap: overlap)) }
      }
    }
    guard let most = all.max(by: { $0.overlap < $1.overlap }),
      let least = all.min(by: { $0.overlap < $1.overlap })
    else { return ["nothing is kept"] }
    func say(_ pair: (a: Int, b: Int, overlap: Float)) -> String {
      "\(axis.name(pair.a)) and \(axis.name(pair.b)) \(Numbers.fixed(Double(pair.overlap), 3))"
    }
    var sum = 0.0
    for pair in all { sum += Double(pair.overlap) }
    let mean = sum / Double(all.count)
    return [
      "most alike: \(say(most))", "least alike: \(say(least))",
      "mean of two: \(Numbers.fixed(mean, 3))",
    ]
  }

  /// Buffers that hit most reads, and how overlap falls with distance.
  private var steps: [String] {
    let sizes = [90, 99].compactMap { share -> String? in
      guard case .number(let size, let unit) = findings["working_set_\(share)"]?.content else {
        return nil
      }
      return "\(share) % of reads hit with \(FindingText.measured(size, unit))"
    }
    var lines = sizes.isEmpty ? [] : [sizes.joined(separator: ", ")]
    if case .curve(let curve) = findings["overlap_by_distance"]?.content {
      let words = curve.points.map { "\(Numbers.short($0.x)): \(Numbers.fixed($0.y, 2))" }
      lines.append("overlap by steps apart: \(words.joined(separator: ", "))")
    }
    return lines + findings.notes
  }

  /// The method in force beside each of the others, the most alike first.
  private var likeMine: [String] {
    guard let (axis, values) = square, values.count == axis.count * axis.count else { return [] }
    let others = (1..<max(axis.count, 1)).filter { !values[$0].isNaN }
      .sorted { values[$0] > values[$1] }
    guard axis.count > 0 else { return [] }
    // A block table's setting is on the screen already, and as long as the panel is wide.
    let name = look.isByTable ? look.card?.id ?? axis.name(0) : axis.name(0)
    return ["like \(name):"]
      + others.map { "\(Numbers.fixed(Double(values[$0]), 3)) \(axis.name($0))" }
  }

  /// The numbers of the two sides.
  private var sides: [String] {
    findings.all.compactMap { finding in
      guard case .number(let value, let unit) = finding.content else { return nil }
      return "\(finding.title): \(FindingText.measured(value, unit))"
    }
  }

  /// The same in sentences.
  static func sentences(_ look: Look) -> [String] {
    guard let along = look.viewpoint.overlap,
      [.sinks, .compare].contains(look.viewpoint.view)
    else {
      return []
    }
    guard let question = look.overlapQuestion else { return [OverlapPanel.noQuestion + "."] }
    guard let text = OverlapText(look) else {
      return ["Overlap of \(along.rawValue): \(look.refusal(question) ?? look.waiting(question))."]
    }
    let whose = along == .methods ? "" : " under \(look.methodInForce?.description ?? "")"
    var lines = ["Overlap of \(along.rawValue)\(whose), intersection over union."]
    if along == .layers, let (axis, values) = text.square {
      lines += (0..<axis.count).map { row in
        let words = (0..<axis.count).filter { $0 != row }.map {
          "\(axis.name($0)) \(Numbers.fixed(Double(values[row * axis.count + $0]), 3))"
        }
        return "Layer \(axis.name(row)) with \(words.joined(separator: ", "))."
      }
    }
    if let curve = text.curve { lines.append(FindingText.sentence(curve)) }
    if let strip = text.strip { lines.append(FindingText.sentence(strip)) }
    return lines + text.lines.map { $0.hasSuffix(":") ? $0 : $0 + "." }
  }
}
