public import Canvas

/// The key table as this user has it: the standard one, with what the config file binds anew.
///
/// Example: `Keymap([.tile: [.character("T")]]).action(for: .character("T"))`. Help, footer and
/// messages ask here for keys, so that they never name one the user has moved.
public struct Keymap: Sendable {
  /// Every action with its keys, in the order of help.
  public let bindings: [Binding]
  private let byKey: [Key: Action]

  /// A key that is bound anew leaves the action that had it.
  public init(_ bound: [Action: [Key]] = [:]) {
    let taken = Set(bound.values.joined())
    bindings = KeyTable.bindings.map { row in
      Binding(
        action: row.action, keys: bound[row.action] ?? row.keys.filter { !taken.contains($0) },
        name: row.name, short: row.short, group: row.group, views: row.views)
    }
    var map: [Key: Action] = [:]
    for binding in bindings { for key in binding.keys { map[key] = binding.action } }
    byKey = map
  }

  /// What a key does; nil for keys that are free.
  public func action(for key: Key) -> Action? { byKey[key] }

  /// The row of an action; every action has one.
  public func binding(_ action: Action) -> Binding { bindings.first { $0.action == action }! }

  /// The name of the first key of an action.
  public func key(_ action: Action) -> String { binding(action).keys.first?.name ?? "-" }

  /// Actions that a count repeats or aims.
  private static let counted: Set<Action> = [
    .left, .right, .up, .down, .pageUp, .pageDown, .goTo, .goToQuery, .lambdaDown, .lambdaUp,
    .lambdaDecadeDown, .lambdaDecadeUp, .previousHead, .nextHead, .previousLayer, .nextLayer,
    .otherHeadDown, .otherHeadUp, .nextFile,
  ]

  /// Whether a number before it is a count.
  func counts(_ action: Action) -> Bool { Self.counted.contains(action) }

  /// The key that a place of a footer's item stands for: the one that is named there, or the last
  /// one named before it. Nil where the item names none.
  func key(of item: String, at column: Int) -> Key? {
    var found: Key?, x = 0
    for word in item.split(separator: " ") {
      let key = bindings.lazy.flatMap(\.keys).first { $0.name == word }
      if let key, x <= column || found == nil { found = key }
      x += Width.of(String(word)) + 1
      if x > column, found != nil { break }
    }
    return found
  }

  /// Two keys and what they do together: `[ ] lambda`.
  private func pair(_ a: Action, _ b: Action, _ word: String) -> String {
    "\(key(a)) \(key(b)) \(word)"
  }

  /// What the footer says, most useful first; the frame drops what does not fit.
  ///
  /// `knob` is what the two keys of lambda move: the main knob of another method, or nothing. A
  /// recording is live, and yet neither runs nor branches.
  public func footer(
    _ view: ViewKind, isLive: Bool = false, isReplay: Bool = false, knob: String? = "lambda"
  ) -> [String] {
    let help = "\(key(.help)) help", quit = "\(key(.quit)) quit",
      command = "\(key(.palette)) command"
    let lambda = knob.map { pair(.lambdaDown, .lambdaUp, $0) } ?? ""
    let head = pair(.previousHead, .nextHead, "head")
    let next = "\(key(.nextView)) view"
    var items = [
      help, quit, "arrows move", lambda, head, pair(.previousLayer, .nextLayer, "layer"), next,
    ]
    if view == .map || view == .compare { items.insert(pair(.zoomIn, .zoomOut, "zoom"), at: 3) }
    if view == .compare {
      items.insert(pair(.otherHeadDown, .otherHeadUp, "other head"), at: 4)
      items.insert("\(key(.otherBranch)) swap", at: 5)
    }
    let run = isReplay ? "" : "\(key(.pause)) run"
    let branch = isReplay ? "" : "\(key(.branch)) branch"
    if isLive { items.insert(run, at: 2) }
    if view == .tokens {
      items = [
        help, quit, run, pair(.left, .right, "step"), branch, "\(key(.otherBranch)) other", command,
        lambda, next, head,
      ]
      if !isLive { items = [help, quit, "arrows move", head, lambda, "\(key(.find)) find", next] }
    }
    let extra = bindings.filter {
      !$0.short.isEmpty && !$0.keys.isEmpty && ($0.views?.contains(view) ?? true)
        && ($0.group != "Live" || isLive) && !(isReplay && [.pause, .branch].contains($0.action))
    }
    items += extra.map { "\($0.keys[0].name) \($0.short)" }.filter { !items.contains($0) }
    if !items.contains(command) { items.append(command) }
    return items.filter { !$0.isEmpty }
  }
}
