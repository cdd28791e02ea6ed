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

  // MARK: Gallery

  /// Opens the gallery of the family of the method in force in view 2, or leaves it.
  mutating func toggleGallery() {
    guard viewpoint.view != .heads || viewpoint.gallery == nil else {
      viewpoint.gallery = nil
      return
    }
    viewpoint.gallery = viewpoint.gallery ?? MethodGallery.standard(viewpoint.method, source)
    guard viewpoint.gallery != nil else {
      message = "No library of methods is known here."
      return
    }
    viewpoint.view = .heads
    message = ":gallery family:NAME shows another; \(keymap.key(.library)) lists the families."
  }

  /// `:gallery ..`: in view 2, where it is seen. Throws `SettingError` for what there is not.
  mutating func showGallery(_ text: String) throws(SettingError) {
    try ViewSetting.take("gallery", text, into: &viewpoint, sources)
    if viewpoint.gallery != nil { viewpoint.view = .heads }
  }

  /// Through the pictures; the method under the cursor is in force.
  mutating func moveInGallery(_ action: Action, _ count: Int) {
    let gallery = GalleryLook(look), here = gallery.chosen
    let wanted = gallery.grid.moved(action, count, from: here)
    if wanted == here { message = "There are no more methods this way." }
    take(fromGallery: wanted)
  }

  /// Takes a method of the gallery, or with the first picture the source's own blocks again.
  mutating func take(fromGallery index: Int) {
    let items = GalleryLook(look).items
    guard items.indices.contains(index) else { return }
    (viewpoint.method, viewpoint.field) = (items[index], nil)
    if let item = items[index], let card = source.card(item.id) {
      message = "\(card.title): \(card.idea)"
    }
  }

  /// The map of the method under the cursor, in view 1.
  mutating func openFromGallery() {
    // Of what is not computed yet the card says which field will stand for it.
    viewpoint.field = viewpoint.method.flatMap { method in
      look.findings(viewpoint.head, method) == nil
        ? source.card(method.id)?.mainField : GalleryLook(look).mapName(method)
    }
    viewpoint.view = .map
  }

  // MARK: Knobs

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
    let isScaled = look.findings(viewpoint.head)?.applied[knob.name] != nil
    // Under one name alone: a knob may have been given by an alias.
    setting.knobs = card.pinned(setting).filter { card.knob($0.key)?.name != knob.name }
    setting.knobs[knob.name] = next
    viewpoint.method = setting
    message =
      isScaled
      ? "\(knob.name) = \(next) at the paper's length, brought down to this map: \(knob.help)."
      : "\(knob.name) = \(next): \(knob.help)."
  }
}
