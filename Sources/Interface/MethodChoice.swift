import Attention
import Sessions

/// A method as it is typed: `lucid`, `lucid:strength=0.5`.
///
/// Knobs are checked here, so that a slip is said when it is typed and not when the method runs.
enum MethodChoice {
  /// Nil is the method of block tables at its standard, which the view's own lambda and tile stand
  /// for. Throws a sentence that names what there is.
  static func read(_ text: String, _ source: SourceDescription, orElse: String = "")
    throws(SettingError) -> MethodSetting?
  {
    let setting: MethodSetting
    do throws(KnobError) { setting = try MethodSetting(parsing: text) } catch {
      throw SettingError(error.description)
    }
    guard !source.methods.isEmpty else { return setting }
    guard let card = source.card(setting.id) else {
      let known = source.methods.map(\.id).joined(separator: ", ")
      throw SettingError("there is no method '\(setting.id)': \(known)\(orElse)")
    }
    do throws(KnobError) { _ = try CheckedKnobs(card.knobs(of: setting), for: card) } catch {
      throw SettingError(error.description)
    }
    return card.blockTables != nil && setting.knobs.isEmpty ? nil : setting
  }
}
