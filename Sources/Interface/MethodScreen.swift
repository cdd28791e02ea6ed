import Attention
import Canvas
import Sessions

/// View 3 of any method: its maps, curves, timelines and strips, and its numbers.
///
/// Numbers keep their place on the right whatever else there is; what finds no room is counted, and
/// `report --fields` has it.
struct MethodScreen {
  private let look: Look
  private let paint: Paint

  /// Reads the look.
  init(_ look: Look) {
    self.look = look
    paint = Paint(look)
  }

  /// The numbers first, then each finding in its rectangle.
  func draw(in rect: Rect, on grid: inout Grid) {
    let layout = MethodLayout(look, in: rect)
    if !layout.numbers.isEmpty {
      Panel(
        "Method", right: "L\(look.layerNumber) H\(look.chosenHeadNumber)", style: paint.dim,
        unicode: paint.unicode
      ).draw(in: layout.numbers, on: &grid)
      var lines = Lines(layout.numbers, paint)
      MethodNumbers(look).draw(&lines, room: layout.numbers.height - 2, on: &grid)
    }
    guard let setting = look.methodInForce, look.findings(look.viewpoint.head) != nil else {
      return
    }
    let view = FindingView(look, setting)
    for (finding, place) in layout.items { view.draw(finding, in: place, on: &grid) }
    if layout.left > 0 {
      grid.put(
        endingAt: rect.maxX - 2, " \(layout.left) more: a larger window, or report --fields ",
        rect.maxY - 1, paint.dim)
    }
  }
}

/// Where the findings of a method stand: maps above, the rest below, numbers on the right.
///
/// The same layout answers what to ask for (`questions`) and where to draw, so that a picture is
/// asked for at the size that it gets.
struct MethodLayout {
  /// Findings and where each is drawn.
  private(set) var items: [(Finding, Rect)] = []
  /// The panel of numbers; empty where there is no room beside findings.
  let numbers: Rect
  /// Findings that found no room.
  private(set) var left = 0

  /// Below 70 columns there is one panel only: findings, or numbers when there are none.
  init(_ look: Look, in rect: Rect) {
    let isWide = rect.width >= 70
    let side = isWide ? (rect.width >= 110 ? 44 : 34) : 0
    let (area, right) = rect.splitLeft(rect.width - side)
    let all = Self.shown(look)
    numbers = isWide ? right : (all.isEmpty ? rect : Rect(x: 0, y: 0, width: 0, height: 0))
    guard !all.isEmpty else { return }
    let fields = all.filter(\.isField), rest = all.filter { !$0.isField }
    let across = max(1, min(fields.count, area.width >= 90 ? 2 : 1))
    var below = area
    if !fields.isEmpty {
      let high = rest.isEmpty ? area.height : max(min(8, area.height), area.height * 11 / 20)
      let (top, other) = area.splitTop(high)
      below = other
      place(Array(fields.prefix(across)), side: top)
      left += max(0, fields.count - across)
    }
    stack(rest, in: below)
  }

  /// Everything that is no number, the method's own map first; outputs and tiles stay in files.
  private static func shown(_ look: Look) -> [Finding] {
    let main = look.card?.mainField
    let all = (look.findings(look.viewpoint.head)?.all ?? []).filter { finding in
      if case .number = finding.content { return false }
      return !["output", "blocks"].contains(finding.name) || finding.name == main
    }
    return all.filter { $0.name == main } + all.filter { $0.name != main }
  }

  /// Side by side, in equal parts.
  private mutating func place(_ findings: [Finding], side rect: Rect) {
    for (index, finding) in findings.enumerated() {
      let from = index * rect.width / findings.count
      let to = (index + 1) * rect.width / findings.count
      items.append(
        (finding, Rect(x: rect.x + from, y: rect.y, width: to - from, height: rect.height)))
    }
  }

  /// Curves and timelines need more height than strips.
  private mutating func stack(_ findings: [Finding], in rect: Rect) {
    func least(_ finding: Finding) -> Int { finding.isStrip ? 4 : 6 }
    var fitting: [Finding] = [], used = 0
    for finding in findings where used + least(finding) <= rect.height {
      fitting.append(finding)
      used += least(finding)
    }
    left += findings.count - fitting.count
    guard !fitting.isEmpty else { return }
    let spare = rect.height - used, tall = max(1, fitting.filter { !$0.isStrip }.count)
    var y = rect.y
    for (index, finding) in fitting.enumerated() {
      var height = least(finding) + (finding.isStrip ? 0 : spare / tall)
      if index == fitting.count - 1 { height = rect.maxY - y }
      items.append((finding, Rect(x: rect.x, y: y, width: rect.width, height: height)))
      y += height
    }
  }

  /// Pictures of the fields that are shown.
  func questions(_ look: Look) -> [Question] {
    guard let setting = look.methodInForce else { return [] }
    let paint = Paint(look)
    return items.compactMap { finding, rect in
      guard case .field(let field, _) = finding.content else { return nil }
      let inner = rect.inset(2, 1)
      let plot = Rect(x: inner.x, y: inner.y, width: inner.width, height: inner.height - 1)
      guard rect.height >= 5, inner.width >= 8 else { return nil }
      return FindingView.question(
        look, setting, finding.name, field, plot,
        pixelsPerCell: paint.unicode && paint.colors.hasRamps ? 2 : 1)
    }
  }
}

/// What decides a finding's place.
extension Finding {
  /// It is a map.
  var isField: Bool { if case .field = content { true } else { false } }
  /// It is values along an axis.
  var isStrip: Bool { if case .series = content { true } else { false } }
}
