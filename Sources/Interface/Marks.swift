import Canvas
public import Sessions

/// A view as text: a line a setting. State files and bookmarks are this, and nothing in them is
/// trusted.
///
/// Example: `view map`, `layer 12`, `cursor 831,0`. Text and not JSON, so that a person can write
/// it, and unknown lines of a later version are passed over by name.
public enum ViewState {
  /// `view map`, `layer 12`, ...
  public static func text(_ view: Viewpoint, _ sources: [SourceDescription]) -> String {
    // The window says what zoom would.
    ViewSetting.all.filter { $0.name != "zoom" }.map { "\($0.name) \($0.get(view, sources))" }
      .joined(separator: "\n") + "\n"
  }

  /// Takes the lines into a view; what is wrong with any of them, with its number, is returned and
  /// passed over.
  /// Twenty problems at most; the lines that are right are taken all the same.
  public static func read(
    _ text: String, into view: inout Viewpoint, _ sources: [SourceDescription], firstLine: Int = 1
  ) -> [String] {
    var problems: [String] = []
    for (index, line) in text.textLines.enumerated() {
      let parts = line.split(separator: " ").map(String.init)
      guard let name = parts.first, !name.hasPrefix("#") else { continue }
      guard problems.count < 20 else { break }
      do throws(SettingError) {
        try ViewSetting.take(
          name, parts.dropFirst().joined(separator: " "), into: &view, sources)
      } catch {
        problems.append("line \(index + firstLine): \(error)")
      }
    }
    return problems
  }
}

/// A view kept under a name.
public struct Bookmark: Sendable, Equatable {
  /// As it was typed.
  public let name: String
  /// As `ViewState` writes it.
  public let state: String

  /// Kept as it is; nothing is read yet.
  public init(name: String, state: String) { (self.name, self.state) = (name, state) }
}

/// Bookmarks of the user: views under a name, kept across sessions and files.
extension Model {
  /// What a bookmark is called unless the user says otherwise.
  var markName: String {
    "L\(look.layerNumber)-H\(look.chosenHeadNumber)-\(viewpoint.view.word)"
  }

  /// Bookmarks the view; one of the same name is replaced.
  mutating func addMark(_ name: String) -> [Effect] {
    let mark = Bookmark(name: name, state: ViewState.text(viewpoint, sources))
    marks.removeAll { $0.name == name }
    marks.append(mark)
    message = "Bookmarked as \(name); \(keymap.key(.marks)) lists bookmarks."
    return [.keepMarks(marks)]
  }

  /// Lists the bookmarks to choose from.
  mutating func showMarks() {
    guard !marks.isEmpty else {
      message = "There are no bookmarks yet; \(keymap.key(.mark)) makes one."
      return
    }
    prompt.mode = .list(.marks, text: "", choice: 0)
  }

  /// Takes the view of a bookmark, as far as it fits this file, with undo.
  mutating func goToMark(_ name: String) -> [Effect] {
    guard let mark = marks.last(where: { $0.name == name }) else {
      return say("There is no bookmark \"\(name)\"; \(keymap.key(.marks)) lists them.")
    }
    return performing { model in
      let problems = ViewState.read(mark.state, into: &model.viewpoint, model.sources)
      model.viewpoint.clampCursor(in: model.source)
      model.message = problems.first.map { "The bookmark does not fit this file: \($0)" }
    }
  }
}
