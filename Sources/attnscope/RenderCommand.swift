import ArgumentParser
import Attention
import Backends
import Canvas
import Formats
import Interface
import Sessions

struct RenderCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "render",
    abstract: "Draw a view into a file or to standard output, as text or with ANSI colours.")

  enum View: String, ExpressibleByArgument, CaseIterable {
    case map, blocks, heads, sinks

    var kind: ViewKind {
      switch self {
      case .map: .map
      case .blocks: .blocks
      case .heads: .heads
      case .sinks: .sinks
      }
    }
  }

  enum Format: String, ExpressibleByArgument, CaseIterable { case txt, ansi }

  @OptionGroup var dump: DumpArguments
  @OptionGroup var texts: TokenArguments
  @OptionGroup var tiles: TileArguments
  @Option(help: "Layer number (default: the middle one).") var layer: Int?
  @Option(help: "Head number.") var head = 0
  @Option(help: "map, blocks, heads or sinks.") var view: View = .map
  @Option(help: "txt or ansi (default: by the ending of -o, else ansi).") var format: Format?
  @Option(help: "Columns.") var width = 120
  @Option(help: "Lines.") var height = 40
  @Option(name: .customLong("map-scale"), help: "log, linear or rank.") var scale = "log"
  @Option(help: "max or mean.") var pool = "max"
  @Option(name: .shortAndLong, help: "File to write; standard output otherwise.") var output:
    String?
  @Flag(help: "Replace an existing file.") var force = false

  func validate() throws {
    guard (40...500).contains(width), (12...300).contains(height) else {
      throw ValidationError("--width is 40 to 500 and --height 12 to 300.")
    }
    guard Viewpoint.Scale(rawValue: scale) != nil else {
      throw ValidationError("--map-scale is log, linear or rank.")
    }
    guard Viewpoint.Pooling(rawValue: pool) != nil else {
      throw ValidationError("--pool is max or mean.")
    }
    if let output, ["png", "svg"].contains(Self.ending(output)) {
      throw ValidationError("\(Self.ending(output)) is not written yet; name a .txt or .ansi file.")
    }
  }

  private static func ending(_ path: String) -> String {
    path.split(separator: ".").last.map { $0.lowercased() } ?? ""
  }

  func run() async throws {
    let dump = try self.dump.one(texts)
    let backend = self.dump.backend(dump)
    let about = backend.describe()
    let index =
      try layer.map { try about.layerIndex($0, file: dump.path) } ?? about.layers.count / 2
    let head = try about.checkedHead(head, file: dump.path)
    let spec = about.storedTile ?? tiles.spec(queries: about.queries)
    let text = format == .txt || (format == nil && output.map(Self.ending) == "txt")
    let grid = try await Still.grid(
      backend, width: width, height: height,
      capabilities: Capabilities(colors: text ? .mono : .palette)
    ) { selection in
      selection.head = HeadID(layer: index, head: head)
      selection.view = view.kind
      selection.spec = spec
      selection.lambda = max(0, tiles.lambda)
      selection.scale = Viewpoint.Scale(rawValue: scale)!
      selection.pooling = Viewpoint.Pooling(rawValue: pool)!
    }
    let picture = text ? grid.lines.joined(separator: "\n") + "\n" : grid.ansi
    if let output {
      try writeText(picture, to: output, force: force)
      say("written to \(Printable.text(output))")
    } else {
      print(picture, terminator: "")
    }
  }
}
