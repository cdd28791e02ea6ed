public import Canvas

/// The screens, by their number key.
///
/// Raw values are the number keys. `blocks` and `sinks` kept their words when they grew into views
/// of any method and any number, so that older state files still open.
public enum ViewKind: Int, Sendable, Hashable, CaseIterable {
  /// One head's weights, the heat map.
  case map = 1
  /// All heads; what the method found; a number of every head; the text; two sides.
  case heads, blocks, sinks, tokens, compare

  /// What frames and help call it.
  public var title: String {
    switch self {
    case .map: "Map"
    case .heads: "Heads"
    case .blocks: "Method"
    case .sinks: "Scores"
    case .tokens: "Text"
    case .compare: "Compare"
    }
  }

  /// What state files, flags and the palette write.
  public var word: String {
    switch self {
    case .map: "map"
    case .heads: "heads"
    case .blocks: "blocks"
    case .sinks: "sinks"
    case .tokens: "tokens"
    case .compare: "compare"
    }
  }

  /// Every word that is understood: those written, and the views' titles.
  public init?(word: String) {
    let found = Self.allCases.first { $0.word == word || $0.title.lowercased() == word }
    guard let found else { return nil }
    self = found
  }

}

/// Everything a person can do. Keys, help, footer and palette are made from `KeyTable`.
///
/// Raw values are the names of the config file (`key.zoomIn = +`), so that renaming one breaks
/// settings.
public enum Action: String, Sendable, Hashable, CaseIterable {
  /// Moves of the cursor, or through heads and text, by view.
  case up, down, left, right, pageUp, pageDown, home, end
  /// The window of the map, and places in it.
  case zoomIn, zoomOut, fit, goTo, goToQuery, nextHeavy, find, findNext, findPrevious
  case select, selectTo
  /// The threshold, or the main knob of another method; a decade is four steps.
  case lambdaDown, lambdaUp, lambdaDecadeDown, lambdaDecadeUp
  /// What is on the map, and the method in force.
  case field, library, gallery
  /// Which head is looked at.
  case previousHead, nextHead, previousLayer, nextLayer
  /// How the picture looks and what blocks are counted in.
  case overlay, scale, normalise, pooling, mute, tile, vote, order, colorMap, background, sort
  case costs, open, poolHeads, strip
  /// Which view is shown.
  case viewMap, viewHeads, viewBlocks, viewSinks, viewTokens, viewCompare, nextView, previousView
  /// The program, and a live run.
  case undo, redo, palette, help, export, pause, branch, otherBranch, branches, difference, quit
  /// All methods side by side; what masks have in common.
  case budget, overlap
  /// Comparison, files and bookmarks.
  case otherHeadDown, otherHeadUp, nextFile, mark, marks
  /// A lesson that is playing.
  case lessonNext, lessonHint, lessonShow, lessonAgain, lessonSkip, lessonBack, lessonTurn,
    lessonLeave
}

/// One line of the key table.
///
/// Example: the row of `zoomIn` has the keys `+` and `=`, and matters in map and comparison.
public struct Binding: Sendable {
  /// What it does.
  public let action: Action
  /// Any of them; the first is the one that is shown.
  public let keys: [Key]
  /// For palette and help.
  public let name: String
  /// For the footer, two words at most; empty keeps it out.
  public let short: String
  /// The heading it stands under in help.
  public let group: String
  /// Views it matters in; nil means all.
  public let views: Set<ViewKind>?
}

/// The one table of keys.
///
/// Help, footer, palette, config file, README and man page are made from it: a key is written here
/// and nowhere else.
public enum KeyTable {
  /// A line of the table.
  private static func row(
    _ action: Action, _ keys: [Key], _ name: String, _ short: String = "", _ group: String,
    _ views: Set<ViewKind>? = nil
  ) -> Binding {
    Binding(action: action, keys: keys, name: name, short: short, group: group, views: views)
  }

  /// A key for each character.
  private static func char(_ text: String) -> [Key] { text.map { Key.character($0) } }

  /// A digit alone, Alt with it, or the function key of that number.
  private static func view(_ number: Int) -> [Key] {
    let digit = Character("\(number)")
    return [.character(digit), .alt(digit), .function(number)]
  }

  /// One line an action, in the order of help.
  public static let bindings: [Binding] = [
    row(
      .left, [.left] + char("h"), "move left; with a count: 20h, 3h (cells; view 3: blocks)", "",
      "Move"),
    row(.right, [.right] + char("l"), "move right", "", "Move"),
    row(.up, [.up] + char("k"), "move up", "", "Move"),
    row(.down, [.down] + char("j"), "move down", "", "Move"),
    row(.pageUp, [.pageUp], "move up by half a screen", "", "Move"),
    row(.pageDown, [.pageDown], "move down by half a screen", "", "Move"),
    row(.home, [.home], "to the first token; of a live run: the first decoded", "", "Move"),
    row(.end, [.end], "to the last token", "", "Move"),
    row(.goTo, char("g"), "go to a key by its number (or type it first: 120g)", "", "Move"),
    row(.goToQuery, char("G"), "go to a query row by its number (120G)", "", "Move"),
    row(
      .nextHeavy, char("w"), "to the key that takes the next most weight in this row", "", "Move"),
    row(
      .find, char("/"), "find a token by its text (a regular expression) or number", "find",
      "Move"),
    row(.findNext, char("n"), "next match; without a search: normalise", "", "Move"),
    row(.findPrevious, char("N"), "previous match", "", "Move"),
    row(
      .select, char("i"), "select the key under the cursor, or let it go", "", "Move",
      [.map, .tokens]),
    row(
      .selectTo, char("I"), "select all from the nearest selected key to the cursor", "", "Move",
      [.map, .tokens]),
    row(.zoomIn, char("+="), "zoom in at the cursor", "", "Zoom", [.map, .compare]),
    row(.zoomOut, char("-"), "zoom out", "", "Zoom", [.map, .compare]),
    row(.fit, char("0"), "show everything", "", "Zoom", [.map, .compare]),
    row(
      .lambdaDown, char("["), "lambda (or the method's knob) down a quarter decade",
      "", "BLASST"),
    row(
      .lambdaUp, char("]"), "lambda (or the method's knob) up: prune more", "",
      "BLASST"),
    row(.lambdaDecadeDown, char("{"), "lambda down by a decade", "", "BLASST"),
    row(.lambdaDecadeUp, char("}"), "lambda up by a decade", "", "BLASST"),
    row(.tile, char("t"), "next tile preset", "tile", "BLASST"),
    row(.vote, char("v"), "vote: each head alone, or the KV group together", "vote", "BLASST"),
    row(.order, char("r"), "order of key blocks: ascending, or local first", "order", "BLASST"),
    row(.library, char("L"), "library: choose a method, by family", "", "Method"),
    row(
      .gallery, char("A"), "gallery: one head under every method of a family", "",
      "Method"),
    row(
      .budget, char("E"), "equal budget: every method tuned to one share of tiles", "", "Method"),
    row(
      .overlap, char("O"), "overlap of masks: layers, heads, steps, methods, off", "", "Method",
      [.sinks, .compare]),
    row(
      .field, char("y"), "the map of: the pattern, then each map of the method", "", "Method",
      [.map]),
    row(.previousHead, char(","), "previous head", "", "Head"),
    row(.nextHead, char("."), "next head", "", "Head"),
    row(.previousLayer, char("<"), "previous layer", "", "Head"),
    row(.nextLayer, char(">"), "next layer", "", "Head"),
    row(
      .overlay, char("o"), "overlay: skipped blocks, with block corners, or none", "overlay",
      "Picture", [.map]),
    row(.scale, char("s"), "scale: log, linear or rank", "scale", "Picture", [.map]),
    row(
      .normalise, char("z"), "normalise: global or by row (n too, without a search)", "", "Picture",
      [.map]),
    row(.pooling, char("p"), "pool a cell by maximum or mean", "pool", "Picture", [.map]),
    row(
      .poolHeads, char("P"), "pool heads: one, mean, max, or the mean of a KV group", "",
      "Picture", [.map]),
    row(
      .strip, char("W"), "a number of each query: keys, distance, kept mass, off", "",
      "Picture", [.map]),
    row(
      .mute, char("m"), "mute the sink: leave its column out and renormalise", "mute", "Picture",
      [.map]),
    row(.colorMap, char("c"), "next colour map", "colours", "Picture"),
    row(.background, char("b"), "colours for a light or a dark background", "", "Picture"),
    row(.open, [.enter], "open the chosen head in the Map", "open", "Head", [.heads, .sinks]),
    row(
      .sort, char("S"), "sort heads: layer, sparsity, sink, entropy, pattern, number", "sort",
      "Head",
      [.heads]),
    row(
      .costs, char("C"), "what is skipped and its price: list, map, off", "costs", "Head",
      [.heads]),
    row(.viewMap, view(1), "view 1: Map (a digit alone; before a move it counts)", "", "Views"),
    row(.viewHeads, view(2), "view 2: Heads", "", "Views"),
    row(.viewBlocks, view(3), "view 3: Method: what it found; of BLASST the blocks", "", "Views"),
    row(.viewSinks, view(4), "view 4: Scores: a number of every head; sinks first", "", "Views"),
    row(.viewTokens, view(5), "view 5: Text: the tokens and their timeline", "", "Views"),
    row(
      .viewCompare, view(6), "view 6: Compare: two heads, layers, files or methods", "", "Views"),
    row(
      .otherHeadDown, char("("), "compare with the previous head", "", "Head", [.compare]),
    row(.otherHeadUp, char(")"), "compare with the next head", "", "Head", [.compare]),
    row(.nextFile, char("f"), "next file, when several are open", "", "Head"),
    row(.nextView, [.tab], "next view", "", "Views"),
    row(.previousView, [.backTab], "previous view", "", "Views"),
    row(.undo, char("u"), "undo the last change of view", "", "Program"),
    row(.redo, char("U"), "redo", "", "Program"),
    row(
      .palette, char(":"), "any action by name; or: lambda 0.01, break sparsity<0.3", "", "Program"
    ),
    row(
      .export, char("e"), "export: SVG, PNG, HTML, text or data, by the name's ending", "",
      "Program"),
    row(.mark, char("M"), "bookmark this view", "", "Program"),
    row(.marks, char("'"), "bookmarks: go back to one", "", "Program"),
    row(.pause, [.character(" ")], "run or pause a live model", "run", "Live", [.tokens]),
    row(
      .branch, char("B"), "decode anew from this token: asks with what", "branch", "Live",
      [.tokens]),
    row(
      .otherBranch, char("x"), "the other branch; in view 6: swap the sides", "other", "Live",
      [.tokens, .compare]),
    row(
      .difference, char("d"), "to the first token that two branches differ in", "differs", "Live",
      [.tokens]),
    row(.branches, char("V"), "the list of branches: go to any", "", "Live", [.tokens]),
    row(.lessonNext, char("a"), "lesson: go on, once the task is done (Enter too)", "", "Lesson"),
    row(.lessonHint, char("H"), "lesson: a hint", "", "Lesson"),
    row(.lessonShow, char("D"), "lesson: do it for me", "", "Lesson"),
    row(.lessonAgain, char("R"), "lesson: this step again from its start", "", "Lesson"),
    row(.lessonSkip, char("K"), "lesson: skip this step", "", "Lesson"),
    row(.lessonBack, char("F"), "lesson: one step back", "", "Lesson"),
    row(.lessonTurn, char("T"), "lesson: turn the page of a long text", "", "Lesson"),
    row(.lessonLeave, char("X"), "lesson: leave it; progress is kept", "", "Lesson"),
    row(.help, char("?"), "this help", "", "Program"),
    row(.quit, char("q"), "quit (Ctrl-C stops work; twice quits)", "", "Program"),
  ]

  /// What may be written after `:`, beside the name of any action.
  public static let commands: [(text: String, what: String)] = [
    ("lambda 0.01", "set lambda; 0 is dense"),
    ("tile hopper", "a tile preset, or sides like 64x128"),
    ("criterion lse", "compare with the running log-sum-exp; max is the rule"),
    ("splits 4", "split-K: so many runs, each with its own maximum"),
    ("layer 12, head 3", "show a layer, a head; L12H3 says both"),
    ("query 100, key 5", "move the cursor"),
    ("select 3-9,14", "mark keys and add up what falls on them; \"lamp\" by text; off"),
    ("where selected>0.3", "heads by the mass on selected keys; sort selected, score selected"),
    ("branch 0.1", "live: decode anew from here; also dense, a-shape, ..."),
    ("method lucid:strength=0.5", "a method with its knobs; live: attend so from the next token"),
    ("break sparsity<0.3", "live: stop there; also divergence, kl>0.5, token \"x\""),
    ("break off", "live: forget all breakpoints; break lists them, break off 2 takes one"),
    ("save FILE", "live: write the recording; attnscope open FILE replays"),
    ("sort error", "view 2 by any number, the largest first; layer goes back"),
    ("costs list", "view 2: what lambda skips, the cheapest first; map, off"),
    ("score error", "heads by any number a method reports; none goes back"),
    ("where layer<8,pattern=a-shape", "only heads of which this holds, as error>0.1; all"),
    ("field map", "the map of a field of the method; pattern goes back"),
    ("heads mean", "view 1: all heads of the layer as one map; max, group, one"),
    ("strip keys", "view 1: a number of each query beside the map; distance, kept, off"),
    ("gallery family:NAME", "view 2: a head under many methods; variants:ID, ids, none"),
    ("budget 0.1", "every method at this share of 64x64 tiles, sorted by recall; off"),
    ("overlap layers", "views 4, 6: masks over one another; heads, steps, methods, off"),
    ("recall 0.95", "what a layer must keep that takes another layer's mask"),
    ("compare 12.3", "view 6 beside layer 12 head 3; also a-shape, tile 64x64, file 2, desc"),
    ("mark NAME", "bookmark this view; go NAME comes back"),
    ("state FILE", "write this view; attnscope --state FILE reopens it"),
    ("open FILE", "another file; recent lists those of before"),
    ("zoom 64, cursor 100,5", "any setting of a view by its name"),
    ("bytes", "what the screen sends a second, on or off"),
  ]
}
