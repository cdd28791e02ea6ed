import Attention
import Sessions

/// Keys and commands of view 6.
extension Model {
  /// Another head on the right, within its file; at the end it says which there are.
  mutating func stepOther(_ step: Int) {
    var other = look.counterpart
    let heads = sources[other.head.source].heads
    let wanted = other.head.head + step
    if !(0..<heads).contains(wanted) {
      message = "Heads are 0 to \(heads - 1); :compare 18.0 takes another layer."
    }
    other.head.head = min(max(wanted, 0), heads - 1)
    viewpoint.other = other
  }

  /// Left becomes right and right becomes left, methods and tiles with them.
  mutating func swapSides() {
    let other = look.counterpart
    let mine = Counterpart(
      viewpoint.head, method: viewpoint.method,
      spec: other.spec == nil ? nil : viewpoint.spec)
    if let spec = other.spec { viewpoint.spec = spec }
    if other.head.source != viewpoint.head.source {
      viewpoint.show(other.head.source, sources)
    }
    (viewpoint.head, viewpoint.method, viewpoint.field) = (other.head, other.method, nil)
    viewpoint.other = mine
    viewpoint.clampCursor(in: source)
  }

  /// `:compare ..`
  mutating func compareWith(_ text: String) -> [Effect] {
    do throws(SettingError) {
      let other = try Counterpart(text, beside: viewpoint, sources)
      return performing {
        $0.viewpoint.other = other
        $0.viewpoint.view = .compare
      }
    } catch {
      return say(error.description + ".")
    }
  }
}
