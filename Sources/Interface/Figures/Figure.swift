import Analysis
public import Attention
import Canvas
public import Pictures
public import Sessions

/// What a figure shows.
///
/// Raw values are the words that users type.
public enum FigureKind: String, Sendable, CaseIterable {
  /// One a view, with the row for the text, and the curve of every head beside.
  case map, heads, blocks, sinks, row, curve, compare, gallery
  /// The overlay of methods at one budget.
  case budget

  /// Every word that is understood: those of the figures, and the titles of views 3 and 4.
  public init?(word: String) {
    switch word {
    case "method": self = .blocks
    case "scores": self = .sinks
    default: self.init(rawValue: word)
    }
  }

  /// What a screen exports as: the overlay that is open, or its view.
  init(_ viewpoint: Viewpoint) {
    guard viewpoint.budget == nil else {
      self = .budget
      return
    }
    switch viewpoint.view {
    case .map: self = .map
    case .heads: self = viewpoint.gallery == nil ? .heads : .gallery
    case .blocks: self = .blocks
    case .sinks: self = .sinks
    case .tokens: self = .row
    case .compare: self = .compare
    }
  }

  /// The view whose questions it needs.
  public var view: ViewKind {
    switch self {
    case .map, .row: .map
    case .heads, .gallery: .heads
    // Lies over any: the one that asks for least.
    case .budget: .tokens
    case .blocks, .curve: .blocks
    case .sinks: .sinks
    case .compare: .compare
    }
  }
}

/// A figure to publish: the same numbers, scales and masks as the screen, on a page of its own.
///
/// Example: `var figure = Figure(model, .map); try await figure.complete(ask); figure.picture.svg`.
///
/// The catch: it holds a look of its own with a fixed size, so that the same view gives the same
/// bytes in any window. Ask for its answers before reading `picture`.
public struct Figure: Sendable {
  /// What is shown.
  public let kind: FigureKind
  /// A dark page; ramps run the other way.
  public let isDark: Bool
  /// Points, without the caption.
  public let width: Double
  /// What it reads, with its answers, on a screen of 160x60 cells.
  var look: Look

  /// Cells on the longer side of a map: finer than that no page shows.
  static let mostCells = 512

  /// The figure of the model's view, 760 points wide on a light page, unless told otherwise; widths
  /// are held to 480...4000 points.
  public init(_ model: Model, _ kind: FigureKind? = nil, isDark: Bool? = nil, width: Double = 760) {
    self.init(model.look, kind, isDark: isDark ?? false, width: width)
  }

  /// The methods of a gallery when none are named: the family of a method, else the largest.
  public static func standardGallery(_ method: MethodSetting?, _ source: SourceDescription)
    -> String?
  {
    MethodGallery.standard(method, source)
  }

  /// Of a look: the lesson and a stop are left behind.
  private init(_ look: Look, _ kind: FigureKind?, isDark: Bool, width: Double) {
    self.kind = kind ?? FigureKind(look.viewpoint)
    self.isDark = isDark
    self.width = min(max(width, 480), 4000)
    var still = look
    still.viewpoint.view = self.kind.view
    if self.kind != .gallery {
      still.viewpoint.gallery = nil
    } else if still.viewpoint.gallery == nil {
      still.viewpoint.gallery = Self.standardGallery(still.viewpoint.method, still.source)
    }
    still.viewpoint.budget = self.kind == .budget ? look.viewpoint.budget ?? 0.1 : nil
    // A page is no terminal: what a figure shows does not depend on the size of a window.
    (still.display.width, still.display.height) = (160, 60)
    (still.lesson, still.isStopped) = (nil, false)
    self.look = still
  }

  /// Another figure of the same look, with its answers.
  public func of(_ kind: FigureKind) -> Figure {
    Figure(look, kind, isDark: isDark, width: width)
  }

  /// Asks for all that it shows and that is not known yet.
  /// Throws `FigureError` when the source cannot give the map, and what `ask` throws.
  public mutating func complete(_ ask: (Question) async throws -> Answer) async throws {
    try await Still.complete(&look, ask)
    // The pictures of a gallery are known by their axes, which answers bring.
    for _ in 0..<2 {
      for question in questions where !look.isKnown(question) {
        look.store(question, try await ask(question))
      }
    }
    // What a view cannot show it says; a figure without its map is none.
    if let why = questions.first.flatMap(look.refusal) { throw FigureError(why) }
  }

  /// What it shows beyond the view's own questions.
  private var questions: [Question] {
    switch kind {
    case .map: [mapQuestion(look)]
    case .budget: look.budgetQuestion.map { [$0] } ?? []
    case .compare: [mapQuestion(look.leftSide), mapQuestion(look.rightSide)]
    case .curve: look.isLong ? [] : look.source.allHeads.map { look.tableQuestion($0) }
    case .heads:
      look.source.allHeads.flatMap {
        [thumbnailQuestion($0), look.tableQuestion($0), .summary($0)]
      } + look.scoreQuestions
    case .gallery: GalleryFigure.questions(look)
    case .blocks where !look.isByTable: FindingFigure.questions(look)
    case .blocks, .row, .sinks: []
    }
  }

  /// The window of a side at the cells of a page.
  func mapQuestion(_ side: Look) -> Question {
    let window = side.viewpoint.window
    // Three maps share the width of a page.
    let most = kind == .compare ? 320 : Self.mostCells
    return .picture(
      side.mapField,
      PictureRequest(
        window, rows: min(window.queries.count, most), columns: min(window.keys.count, most),
        muted: side.mutedKey, perCell: side.isLong && side.pool != .one ? 16 : nil))
  }

  /// A head's whole pattern, 96 cells on a side at most.
  func thumbnailQuestion(_ head: HeadID) -> Question {
    let whole = MapWindow(queries: 0..<look.source.queries, keys: 0..<look.source.keys)
    let cells = min(look.source.keys, 96)
    return .picture(
      .pattern(head),
      PictureRequest(whole, rows: min(look.source.queries, cells), columns: cells))
  }

  /// The finished page.
  public var picture: Picture {
    switch kind {
    case .map: MapFigure(self).picture
    case .heads: HeadsFigure(self).picture
    case .gallery: GalleryFigure(self).picture
    case .blocks where !look.isByTable: FindingFigure(self).picture
    case .blocks: BlocksFigure(self).picture
    case .sinks: SinksFigure(self).picture
    case .row: RowFigure(self).picture
    case .curve: CurveFigure(self).picture
    case .compare: CompareFigure(self).picture
    case .budget: BudgetFigure(self).picture
    }
  }

  // MARK: Colours

  /// The cells of a field in the colours of this page; nil where there is nothing to see.
  func colors(_ shade: FieldShade) -> [RGB?] {
    (0..<shade.rows * shade.columns).map { index in
      let value = shade.value(index / shade.columns, index % shade.columns)
      return value.isNaN ? nil : tone(value, shade)
    }
  }

  /// The colour of a shade.
  private func tone(_ value: Float, _ shade: FieldShade) -> RGB {
    shade.isSigned
      ? DifferenceColors.tone(value, ink) : look.viewpoint.colors.tone(value, ink)
  }

  /// The ramp of a field with its two ends.
  func colorBar(_ shade: FieldShade, _ area: Area, title: String, on sheet: inout Sheet) {
    sheet.colorBar(
      area, low: Numbers.short(shade.low), high: Numbers.short(shade.high), title: title
    ) { tone(Float(shade.isSigned ? 2 * $0 - 1 : $0), shade) }
  }

  // MARK: Words

  /// The colours of its page.
  var ink: Ink { Ink(isDark: isDark) }

  /// The head in words.
  var headName: String {
    look.poolNames.first.map { "layer \(look.layerNumber), \($0)" }
      ?? "layer \(look.layerNumber) head \(look.chosenHeadNumber)"
  }

  /// File and head.
  var title: String { "\(look.source.name), \(headName)" }

  /// Everything that a reader needs to make the figure again. `byTable`: its blocks are those of
  /// lambda and tile; otherwise the method in force is what they need.
  func caption(_ parts: [String] = [], byTable: Bool = true) -> String {
    let viewpoint = look.viewpoint
    var words = ["File \(look.source.name)"]
    if let name = look.source.model { words.append("model \(name)") }
    let size = (look.source.queries, look.source.keys)
    words.append(
      Numbers.count(size.0, "query", "queries") + " by " + Numbers.count(size.1, "key"))
    words += parts
    if !byTable, let setting = viewpoint.method {
      return (words + ["method \(setting)"]).joined(separator: "; ") + "."
    }
    let spec = viewpoint.spec
    words.append(
      """
      λ = \(MapScreen.lambdaText(viewpoint.lambda)), tile \(spec.rows)x\(spec.keys), vote \
      \(spec.vote.rawValue), order \(spec.order.rawValue)
      """
    )
    if spec.criterion != .max { words.append("criterion \(spec.criterion.rawValue)") }
    if spec.splits > 1 { words.append("\(spec.splits) splits") }
    return words.joined(separator: "; ") + "."
  }

  /// How values became colours, for the caption.
  var looks: String {
    let viewpoint = look.viewpoint
    var text =
      """
      scale \(viewpoint.scale.rawValue), pooling \(viewpoint.pooling.rawValue), colours \
      \(viewpoint.colors.rawValue)
      """
    if viewpoint.normaliseRows { text += ", each row by its own maximum" }
    if let muted = look.mutedKey { text += ", key \(muted) left out" }
    if kind == .map, look.isLong, look.pool != .one { text += ", 16 rows of each cell looked at" }
    return text
  }

  /// What BLASST does to the chosen head, in a sentence.
  public var outcome: String { look.hasBlocksOnMap ? PlainText(look).outcome : look.poolSentence }

  /// The sheet as a picture of this figure's width; heights are in points.
  func page(_ sheet: Sheet, height: Double, title: String, summary: String) -> Picture {
    Picture(
      width: width, height: height, background: ink.page, title: title, summary: summary,
      shapes: sheet.shapes)
  }
}

/// Why there is no figure.
public struct FigureError: Error, CustomStringConvertible {
  /// A sentence for a person.
  public let description: String

  /// A sentence for a person.
  init(_ description: String) { self.description = description }
}
