import Attention
import Sessions

/// Keys that turn to another map of the method in force, or move its knob.
extension Model {
  /// From the pattern through the method's fields and back.
  mutating func nextField() {
    let look = look, fields = look.mapFields
    let names: [String?] = [nil] + fields.map(\.name)
    guard names.count > 1 else {
      let why = look.findingsQuestion(viewpoint.head).flatMap(look.refusal)
      message = "\(look.methodInForce?.id ?? "No method"): \(why ?? "there is no other map yet")."
      return
    }
    let at = names.firstIndex { $0 == viewpoint.field } ?? 0
    viewpoint.field = names[(at + 1) % names.count]
    message =
      viewpoint.field.flatMap { name in fields.first { $0.name == name }?.title }
      .map { "Map: \($0), of \(look.methodInForce?.id ?? "")." } ?? "Map: the pattern itself."
  }

  /// `[` and `]` of a method without a table: its main knob, a step at a time.
  /// Knobs that the card pins are written down by the first step, or moving another would change
  /// them as well.
  mutating func stepKnob(_ steps: Int) {
    guard var setting = viewpoint.method, let card = source.card(setting.id),
      let knob = card.mainKnob
    else {
      message = "\(look.methodInForce?.id ?? "This method") has no knob to move."
      return
    }
    let all = card.knobs(of: setting)
    let value = all[knob.name] ?? knob.standard, next = knob.stepped(value, by: steps)
    guard next != value else {
      message = "\(knob.name) \(value) is as far as it goes (\(knob.rangeText))."
      return
    }
    setting.knobs = card.pinned(setting)
    setting.knobs[knob.name] = next
    viewpoint.method = setting
    message = "\(knob.name) = \(next): \(knob.help)."
  }
}
