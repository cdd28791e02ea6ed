import Pictures
public import ArgumentParser
import Attention
import Backends
import Canvas
import Formats
import Glibc
public import Interface
import Methods
import Sessions

/// `attnscope render FILE --layer 12 --head 6 -o map.svg --data map.csv`: a figure without a
/// screen, for papers and pages.
///
/// The view is set by the same words as on the screen, and the figure waits until everything
/// in it is exact. Text formats are the screen's own cells.
struct RenderCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "render",
    abstract: "Draw a figure: SVG, PNG, PDF, HTML or text, and the numbers behind it.",
    discussion: """
      The ending of -o says the format. --set takes any setting of a view by its name, as behind : \
      on the screen: \
      --set zoom=64 --set cursor=100,5 --set mute=on --set other="12.3".
      """)

  /// Of figures; text for a terminal is dark unless told otherwise.
  enum Theme: String, ExpressibleByArgument, CaseIterable { case light, dark }

  @OptionGroup var dump: DumpArguments
  @OptionGroup var texts: TokenArguments
  @OptionGroup var tiles: TileArguments
  @Option(
    help: ArgumentHelp(
      "A method, ID[:knob=value,..]; `attnscope methods` lists them.", valueName: "method"),
    completion: MethodWord.completion)
  var method: String?
  @Option(
    help: ArgumentHelp(
      "Of a gallery: family:NAME, variants:ID, or methods with commas between.",
      valueName: "methods"))
  var methods: String?
  @Option(help: "Layer number (default: the middle one).") var layer: LayerNumber?
  /// Nil: 0, or the sample's own choice.
  @Option(help: "Head number.") var head: Int?
  @Option(
    help: """
      map, heads, blocks (or method), sinks (or scores), row, curve, compare, gallery or budget.
      """)
  var view: FigureKind = .map
  @Option(
    help: """
      svg, png, pdf, html, txt or ansi (default: by the ending of -o, else ansi on a terminal and \
      txt in a pipe).
      """)
  var format: String?
  /// 40 to 500.
  @Option(help: "Of text: columns.") var width = 120
  /// 12 to 300.
  @Option(help: "Of text: lines.") var height = 40
  /// 480 to 4000.
  @Option(help: "Of figures: width in points.") var points = 760.0
  /// 0.5 to 8.
  @Option(help: "Of PNG: pixels to a point.") var pngScale = 2.0
  @Option(help: "Of figures: light or dark.") var theme: Theme = .light
  @Option(name: .customLong("map-scale"), help: "log, linear or rank.") var scale: String?
  @Option(help: "max or mean.") var pool: String?
  @Option(help: "Whose map: one, mean or max of the layer's heads, or group (mean of a KV group).")
  var heads: String?
  @Option(help: "cividis, viridis, magma or gray.") var colors: String?
  @Option(help: ArgumentHelp("Any setting of a view; may be repeated.", valueName: "name=value"))
  var set: [String] = []
  @Option(name: .shortAndLong, help: "File to write; standard output otherwise.") var output:
    String?
  @Option(
    help: ArgumentHelp("Write the numbers behind the figure: .csv or .npy.", valueName: "file"))
  var data: String?
  @Flag(help: "Replace existing files.") var force = false

  /// Refuses sizes that cannot be drawn and formats that do not fit together. Throws
  /// `ValidationError`.
  func validate() throws {
    guard (40...500).contains(width), (12...300).contains(height) else {
      throw ValidationError("--width is 40 to 500 and --height 12 to 300.")
    }
    guard (480...4000).contains(points), (0.5...8).contains(pngScale) else {
      throw ValidationError("--points is 480 to 4000 and --png-scale 0.5 to 8.")
    }
    guard let chosen else {
      throw ValidationError(
        "The format is one of svg, png, pdf, html, txt, ansi; by the ending of -o or by --format.")
    }
    if [.csv, .npy].contains(chosen) { throw ValidationError("Numbers are written by --data.") }
    if let data, ![.csv, .npy].contains(PictureFormat(path: data)) {
      throw ValidationError("--data ends in .csv or .npy.")
    }
    if chosen == .png || chosen == .pdf, output == nil, isatty(1) == 1 {
      throw ValidationError("A \(chosen == .png ? "PNG" : "PDF") needs -o FILE.")
    }
    for text in set where !text.contains("=") {
      throw ValidationError("--set \(text) is not name=value.")
    }
    if methods != nil, view != .gallery {
      throw ValidationError("--methods is of --view gallery.")
    }
    if method != nil, set.contains(where: { $0.hasPrefix("method=") }) {
      throw ValidationError("Give the method by --method or by --set method=, not by both.")
    }
  }

  /// The format by flag, then by the ending of `-o`, else ANSI on a terminal and plain text in a
  /// pipe; nil when neither is known.
  private var chosen: PictureFormat? {
    if let format { return PictureFormat(rawValue: format) }
    return output.map { PictureFormat(path: $0) } ?? (isatty(1) == 1 ? .ansi : .txt)
  }

  /// Draws, then writes picture and numbers. Both paths are checked before anything is
  /// computed. Throws what opening, computing and writing throw.
  func run() async throws {
    try dump.refuse(writingTo: [output, data])
    for file in [output, data].compactMap({ $0 }) { try checkWritable(file, force: force) }
    let parts = try dump.open(texts).map(texts.backend)
    let backend = SeveralBackends(parts)
    let selection = try selection(backend.describe())
    let format = chosen ?? .ansi
    if format == .txt || format == .ansi {
      let grid = try await Still.grid(
        backend, width: width, height: height,
        capabilities: Capabilities(colors: format == .txt ? .mono : .palette)
      ) { $0 = selection }
      try deliver(format == .txt ? grid.lines.joined(separator: "\n") + "\n" : grid.ansi)
      if data == nil { return }
    }
    let model = Model(backend.describe(), width: 160, height: 60, viewpoint: selection)
    var figure = Figure(model, view, isDark: theme == .dark, width: points)
    try await figure.complete { try await backend.answer($0) }
    if format != .txt, format != .ansi { try await write(figure, format, backend) }
    if let data, let format = PictureFormat(path: data) {
      try FigureFile(path: data, format: format, force: force).write(figure)
      say("written to \(Printable.text(data))")
    }
  }

  /// To the file, or to standard output as bytes: a PNG must not go through `print`.
  private func write(_ figure: Figure, _ format: PictureFormat, _ backend: SeveralBackends)
    async throws
  {
    let table =
      format == .html ? try await Exporter.heads(figure) { try await backend.answer($0) } : ""
    if let output {
      try FigureFile(path: output, format: format, force: force, scale: pngScale).write(
        figure, table: table)
      say("written to \(Printable.text(output))")
    } else if format == .png {
      let bytes = try figure.picture.pixels(scale: pngScale).png(
        dpi: 96 * pngScale, title: figure.picture.title)
      emit(bytes)
    } else if format == .pdf {
      emit(try figure.picture.pdf())
    } else {
      print(format == .svg ? figure.picture.svg : Page.html(figure, table: table), terminator: "")
    }
  }

  /// Text to the file or to standard output. Throws what writing throws.
  private func deliver(_ text: String) throws {
    guard let output else { return emit(text) }
    try writeText(text, to: output, force: force)
    say("written to \(Printable.text(output))")
  }

  /// The view to draw, by the same settings as on the screen.
  ///
  /// Flags with names of their own are settings like the others and come last, so they win over
  /// `--set`; the method comes first, since a field is one of its own. Throws `ValidationError` for
  /// a setting that does not exist or does not fit, `KnobError` for a method, and `mismatch` for a
  /// layer or a head that is not there.
  private func selection(_ about: SourceDescription) throws -> Viewpoint {
    var selection = Viewpoint(about)
    selection.head.layer =
      try layer.map { try about.layerIndex($0, file: about.name) } ?? about.middleLayer
    selection.head.head =
      try head.map { try about.headIndex($0, file: about.name) }
      ?? (dump.isSample ? Sample.head : 0)
    selection.spec = about.storedTile ?? tiles.spec(queries: about.queries)
    selection.lambda = max(0, tiles.lambda)
    selection.light = theme == .light
    // On a terminal a figure is dark unless told otherwise.
    if [.txt, .ansi].contains(chosen), theme == .light { selection.light = false }
    selection.view = view.view
    var settings: [(String, String)] = []
    if let method {
      // By the rules of `report`; the view then reads the same text.
      _ = try Registry.standard.setting(
        method, knobs: [], tiles, queries: about.queries, spec: about.storedTile)
      settings.append(("method", method))
    }
    settings += set.map { text in
      let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      return (String(parts[0]), String(parts[1]))
    }
    if let methods { settings.append(("gallery", methods)) }
    if let scale { settings.append(("scale", scale)) }
    if let pool { settings.append(("pooling", pool)) }
    if let heads { settings.append(("heads", heads)) }
    if let colors { settings.append(("colormap", colors)) }
    for (name, value) in settings {
      do throws(SettingError) {
        try ViewSetting.take(name, value, into: &selection, [about] + about.others)
      } catch {
        throw ValidationError("\(error.description).")
      }
    }
    if view == .gallery, selection.gallery == nil {
      selection.gallery = Figure.standardGallery(selection.method, about)
    }
    // Methods at one budget lie over a view; the share is set by --set budget=0.1.
    if view == .budget { selection.budget = selection.budget ?? 0.1 }
    return selection
  }
}

extension FigureKind: ExpressibleByArgument {
  /// The word that the user writes, which may be another than the case's name.
  public init?(argument: String) { self.init(word: argument) }
}

extension Interface.Theme: ExpressibleByArgument {}
