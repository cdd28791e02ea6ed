import ArgumentParser
import Attention
import Backends
import Methods

/// A word of `--method` that stands for several methods.
///
/// Example: `--method masks`, `--method family:static`. The catch: what it stands for grows with
/// the library; a script that wants the same methods next year names them.
enum MethodWord {
  /// Every method, those that keep entries, or those of one family of the library.
  case all, masks
  case family(String)

  /// Nil for anything else, which is a setting.
  init?(_ text: String) {
    switch text {
    case "all": self = .all
    case "masks": self = .masks
    default:
      guard text.hasPrefix("family:") else { return nil }
      self = .family(String(text.dropFirst("family:".count)))
    }
  }

  /// What a shell offers behind `--method`: every method, asked of the program when it is wanted.
  static var completion: CompletionKind {
    .custom { _, _, _ in Registry.standard.cards.map(\.id) + ["all", "masks"] }
  }

  /// Whether a text is such a word.
  static func isWord(_ text: String) -> Bool { MethodWord(text) != nil }
}

extension Registry {
  /// The settings that a text of `--method` stands for, as texts: itself, or the ids behind a
  /// word. Throws `ValidationError` for a family that is not there.
  func texts(of text: String) throws -> [String] {
    guard let word = MethodWord(text) else { return [text] }
    switch word {
    case .all: return cards.map(\.id)
    case .masks: return methods.filter(FileBackend.keepsEntries).map { $0.card.id }
    case .family(let name):
      let found = cards.filter { $0.family == name }.map(\.id)
      guard found.isEmpty else { return found }
      let names = Set(cards.map(\.family)).sorted().joined(separator: ", ")
      throw ValidationError("There is no family '\(name)'; there are \(names).")
    }
  }
}

extension Registry {
  /// A method as a command line writes it, with `--knob`s, tiles and lambda where its blocks
  /// are read off a table.
  ///
  /// Without a name it is the block-table method. Its settings come from `--tile` and its
  /// kin, those of all others from knobs; mixing the two is refused and not ignored. The
  /// method is made once here, so that a wrong knob is found before anything is computed.
  /// Throws `ValidationError` or what making it throws.
  func setting(
    _ text: String?, knobs texts: [String], _ tiles: TileArguments, queries: Int,
    spec given: TileSpec? = nil, screen: Screening = .none
  ) throws -> MethodSetting {
    var wanted = try MethodSetting(parsing: text ?? tableCard?.id ?? "")
    wanted.knobs.merge(try parsedKnobs(texts)) { $1 }
    guard let card = method(wanted.id)?.card else {
      _ = try make(wanted)
      return wanted
    }
    guard let tables = card.blockTables else {
      guard tiles.tile == nil, tiles.vote == nil, tiles.order == nil else {
        throw ValidationError(
          """
          --tile, --vote and --order are settings of \(tableCard?.id ?? "another method"); \
          \(card.id) has --knob.
          """
        )
      }
      guard screen == .none else {
        throw ValidationError(
          "--screen is of \(tableCard?.id ?? "another method"); \(card.id) has no bound to skip by."
        )
      }
      _ = try make(wanted)
      return wanted
    }
    var setting = tables.setting(given ?? tiles.spec(queries: queries), tiles.lambda)
    setting.knobs.merge(wanted.knobs) { $1 }
    if screen != .none { setting.knobs["screen"] = .word(screen.rawValue) }
    _ = try make(setting)
    return setting
  }
}

/// `name=value` texts as knobs; the later of two equal names wins. Throws `ValidationError`
/// for a text without `=`.
func parsedKnobs(_ texts: [String]) throws -> Knobs {
  var knobs: Knobs = [:]
  for text in texts {
    let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
    guard parts.count == 2 else { throw ValidationError("--knob \(text) is not name=value.") }
    knobs[parts[0]] = KnobValue(parts[1])
  }
  return knobs
}
