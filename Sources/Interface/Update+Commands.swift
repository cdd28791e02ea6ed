import Sessions
import Attention
import Canvas

/// What was typed or chosen, done: answers of the footer, commands of the palette, names of lists.
extension Model {
  /// What the mode in force lists and scrolls through, as the model stands now.
  var offer: Prompt.Offer {
    switch prompt.mode {
    case .normal, .ask: Prompt.Offer()
    case .help(_, let find):
      Prompt.Offer(page: display.height / 2, lastScroll: Help.lastScroll(self, find))
    case .palette(let text, _):
      Prompt.Offer(hits: Palettes.hits(text, keymap.bindings).map(\.text))
    case .list(let list, let text, _): Prompt.Offer(hits: Palettes.best(text, names(list)) { $0 })
    }
  }

  /// Does what was typed or chosen.
  mutating func finish(_ outcome: Prompt.Outcome) -> [Effect] {
    switch outcome {
    case .open: []
    case .answered(let ask, let text): finish(ask, text)
    case .entered(let text, let choice): run(text, choice)
    case .chosen(let list, let name): choose(name, from: list)
    }
  }

  /// The answer to a question of the footer.
  private mutating func finish(_ ask: Prompt.Ask, _ text: String) -> [Effect] {
    switch ask {
    case .export:
      message = "Drawing \(text)…"
      return [.export(path: text)]
    case .mark: return addMark(text)
    case .branch: return branch(with: text)
    case .goTo, .goToQuery, .goToStep:
      guard let number = Int(text.filter { $0 != " " }) else {
        message = "\"\(text)\" is not a token number; / finds tokens by text."
        return []
      }
      if ask == .goToStep { return stepTo(number) }
      return performing { ask == .goTo ? $0.goTo(number) : $0.goTo(query: number) }
    case .find:
      prompt.search = text
      return findAgain(forward: true, includingHere: true)
    }
  }

  /// Runs what was typed in the palette. What was typed in full is preferred to the first hit of
  /// the list; a command that wants a value is written out, and waits for it.
  private mutating func run(_ text: String, _ choice: Int) -> [Effect] {
    if choice == 0 {
      if let action = action(named: text) { return perform(action) }
      if let done = command(text) { return done }
    }
    let hits = Palettes.hits(text, keymap.bindings)
    guard choice < hits.count else {
      message = text.isEmpty ? nil : "There is no command \"\(text)\"."
      return []
    }
    switch hits[choice] {
    case .action(let binding): return perform(binding.action)
    case .command(let example, let what):
      guard example.contains(" ") else { return command(example) ?? [] }
      let name = example.prefix { $0 != " " }
      prompt.mode = .palette(text: name + " ", choice: 0)
      return say("\(example): \(what).")
    }
  }

  /// The action whose name begins with these words, two at least. Some names begin as a command
  /// does: `zoom out` is no setting of zoom, `go to a key` no bookmark.
  private func action(named text: String) -> Action? {
    let words = text.trimmed.lowercased()
    guard words.contains(" ") else { return nil }
    return keymap.bindings.first { $0.name.lowercased().hasPrefix(words) }?.action
  }

  /// Several commands with commas between them, as examples are written; nil when one is none.
  private mutating func commands(_ text: String) -> [Effect]? {
    // "cursor 100,5" has a comma of its own: without a blank behind it, it parts nothing.
    let parts = text.split(separator: ", ").map { String($0).trimmed }
    guard parts.count > 1 else { return nil }
    var trial = self, effects: [Effect] = []
    for part in parts {
      guard let done = trial.command(part) else { return nil }
      effects += done
    }
    self = trial
    return effects
  }

  /// `L12H3`, as the screen names a head, or `12.3`; nil for anything else.
  private mutating func goToHead(_ text: String) -> [Effect]? {
    guard let (layer, head) = HeadName.read(text) else { return nil }
    return performing { model in
      do throws(SettingError) {
        // Both or none.
        var wanted = model.viewpoint
        try ViewSetting.take("layer", layer, into: &wanted, model.sources)
        try ViewSetting.take("head", head, into: &wanted, model.sources)
        model.viewpoint = wanted
      } catch {
        model.message = error.description + "."
      }
    }
  }

  /// Words that are one action, whatever else the palette finds: more than one speaks of branches,
  /// and `heads` with a word pools them.
  private static let words: [String: Action] = [
    ViewKind.heads.word: .viewHeads, "branches": .branches,
  ]

  /// Commands with a value; nil when the text is none of them.
  mutating func command(_ text: String) -> [Effect]? {
    if let done = commands(text) ?? goToHead(text) { return done }
    if let done = liveCommand(text) { return done }
    let words = text.split(separator: " ").map(String.init)
    if let done = fileCommand(words) { return done }
    if words.count == 1, let action = Self.words[words[0]] { return perform(action) }
    if words.count == 1, let wanting = wanting(words[0]) { return say(wanting) }
    // A method's words may hold spaces, and so may a text.
    if words.count > 2, ["method", "select", "where"].contains(words[0]) {
      return settingCommand(words[0], words.dropFirst().joined(separator: " "))
    }
    guard words.count == 2 else { return nil }
    switch words[0] {
    case "lambda", "λ": return setLambda(words[1])
    case "sort" where Viewpoint.Sort(rawValue: words[1]) == nil:
      // By any number: what heads are shown by, and the order.
      guard let effects = settingCommand("score", words[1]) else { return nil }
      guard viewpoint.score == words[1] else { return effects }
      return effects + performing { $0.viewpoint.sort = .number }
    case "tile":
      let preset = TilePreset.all.first { $0.name == words[1] }.map {
        source.queries == 1 && live == nil ? $0.decode : $0.prefill
      }
      guard let sides = preset.map({ ($0.rows, $0.keys) }) ?? TileSpec.sides(words[1]) else {
        return say(
          """
          A tile is written like 128x128, or \
          \(TilePreset.all.map(\.name).joined(separator: ", ")).
          """
        )
      }
      return performing { $0.setSpec { ($0.rows, $0.keys) = sides } }
    case "criterion":
      guard let criterion = Criterion(rawValue: words[1]) else {
        return say("A criterion is max (the running maximum) or lse (the running log-sum-exp).")
      }
      return performing { $0.setSpec { $0.criterion = criterion } }
    case "splits":
      guard let count = Int(words[1]), (1...1 << 20).contains(count) else {
        return say("Splits are 1 or more: runs of key blocks with a running maximum of their own.")
      }
      return performing { $0.setSpec { $0.splits = count } }
    case "query":
      guard let number = Int(words[1]) else { return say("\(words[1]) is not a query number.") }
      return performing { $0.goTo(query: number) }
    case "key", "token", "goto":
      guard let number = Int(words[1]) else { return say("\(words[1]) is not a token number.") }
      return performing { $0.goTo(number) }
    default: return settingCommand(words[0], words[1])
    }
  }

  /// What a name without its value wants; nil for names of no setting.
  private func wanting(_ name: String) -> String? {
    let examples = [
      "lambda": "0.01", "tile": "128x128", "layer": "12", "head": "3", "query": "100", "key": "100",
      "select": "3-9,14", "criterion": "lse", "splits": "4", "budget": "0.1", "overlap": "layers",
      "recall": "0.95",
    ]
    if let example = examples[name] { return "Give it a value: \(name) \(example)." }
    return setting(named: name).map { "\($0.name) takes a value: \($0.values)." }
  }

  /// The setting of a name that no action begins with.
  private func setting(named name: String) -> ViewSetting? {
    guard !keymap.bindings.contains(where: { $0.name.lowercased().hasPrefix(name) }) else {
      return nil
    }
    return ViewSetting.all.first { $0.name == name }
  }

  /// Files, bookmarks and comparisons; nil when the words are none of them.
  private mutating func fileCommand(_ words: [String]) -> [Effect]? {
    guard let name = words.first else { return nil }
    let value = words.dropFirst().joined(separator: " ")
    switch name {
    case "compare" where !value.isEmpty: return compareWith(value)
    case "gallery" where !value.isEmpty:
      return performing { model in
        do throws(SettingError) { try model.showGallery(value) } catch {
          model.message = error.description + "."
        }
      }
    case "overlap" where OverlapRequest.Along(rawValue: value) != nil:
      return performing { $0.showOverlap(OverlapRequest.Along(rawValue: value)) }
    case "mark" where !value.isEmpty: return addMark(value)
    case "go" where !value.isEmpty: return goToMark(value)
    case "export" where !value.isEmpty:
      message = "Drawing \(value)…"
      return [.export(path: value)]
    case "state":
      guard !value.isEmpty else { return say("Give it a file: state view.attnscope.") }
      return [.saveState(path: value, text: stateText)]
    case "open":
      guard !value.isEmpty else { return say("Give it a file: open dump.safetensors.") }
      guard mayLeave else { return say("A live run is left first: q, then attnscope FILE.") }
      return reopen(value)
    case "recent" where value.isEmpty:
      guard mayLeave else { return say("A live run is left first: q, then attnscope FILE.") }
      guard !recent.isEmpty else { return say("No file was opened before this one.") }
      prompt.mode = .list(.recent, text: "", choice: 0)
      return []
    case "bytes" where value.isEmpty:
      meter = meter == nil ? Meter() : nil
      return say(meter == nil ? "Bytes are not shown." : "Bytes a second stand on the top line.")
    default: return nil
    }
  }

  /// A run would be lost with its screen; a file and a recording can be opened again.
  private var mayLeave: Bool { live?.isReplay ?? true }

  /// Another file in this one's place, once it is seen that it can be read.
  private mutating func reopen(_ path: String) -> [Effect] {
    message = "Opening \(path)…"
    return [.reopen(path: path)]
  }

  /// Any setting of a view by its name; nil when there is none of this name.
  private mutating func settingCommand(_ name: String, _ value: String) -> [Effect]? {
    guard ViewSetting.all.contains(where: { $0.name == name }) else { return nil }
    return performing { model in
      let before = model.viewpoint
      do throws(SettingError) {
        try ViewSetting.take(name, value, into: &model.viewpoint, model.sources)
        model.viewpoint.clampCursor(in: model.source)
        if name == "select" { model.message = model.selectedMessage }
        guard let complaint = model.look.complaint(about: name) else { return }
        (model.viewpoint, model.message) = (before, complaint)
      } catch {
        model.message = error.description + "."
      }
    }
  }

  /// What choosing does, by list.
  private mutating func choose(_ name: String, from list: Prompt.List) -> [Effect] {
    switch list {
    case .marks: return goToMark(name)
    case .branches: return goTo(branch: name)
    case .recent: return reopen(name)
    case .library:
      let id = name.split(separator: " ").first.map(String.init) ?? name
      return choose(method: id)
    }
  }

  /// Takes a method of the library, with its first map on the map; live: from the next token on,
  /// where it can.
  private mutating func choose(method id: String) -> [Effect] {
    guard let card = source.card(id) else { return say("There is no method \"\(id)\".") }
    let effects = settingCommand("method", id) ?? []
    message = "\(card.title): \(card.idea)"
    if let need = look.unmet(card) { message = "\(card.title) \(Missing(need))." }
    return effects
  }

  /// The names of a list, in its own order.
  func names(_ list: Prompt.List) -> [String] {
    switch list {
    case .marks: marks.map(\.name)
    case .recent: recent
    case .branches: branchNames
    case .library:
      source.methods.map { "\($0.id)  \($0.family)  \($0.title)" }
    }
  }

  /// Reopens the source at this view.
  var stateText: String {
    let files = sources.compactMap(\.path).map { "source \($0)\n" }.joined()
    return "# attnscope state 1\n" + files + ViewState.text(viewpoint, sources)
  }

  /// `:lambda ..`, up to 1.
  private mutating func setLambda(_ text: String) -> [Effect] {
    guard let value = Double(text) else { return say("\(text) is not a number.") }
    guard value <= 1 else {
      return say("lambda above 1 is refused: a block that raises the maximum could be skipped.")
    }
    message =
      value <= 0
      ? "lambda = 0: dense, nothing is skipped." : "lambda = \(Numbers.threshold(value))."
    return performing { $0.viewpoint.lambda = max(value, 0) }
  }

  /// A sentence for the caption, and nothing to do.
  mutating func say(_ text: String) -> [Effect] {
    message = text
    return []
  }
}
