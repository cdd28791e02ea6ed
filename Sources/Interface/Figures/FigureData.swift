import Analysis
import Attention
import Canvas
import Sessions

/// The numbers behind a figure: a table for people and spreadsheets, and, where it is one, an
/// array.
///
/// Example: `try figure.data.csv`. The same answers as the picture, before any colouring; fields of
/// methods are exported as arrays and not as rows.
public struct FigureData: Sendable {
  /// Headings.
  public let columns: [String]
  /// `[rows][columns]`, numbers with all their digits.
  public let rows: [[String]]
  /// Row-major, NaN where nothing is visible; nil for figures that are no matrix.
  public let matrix: (shape: [Int], values: [Float])?

  /// RFC 4180, one line a row.
  public var csv: String {
    ([columns] + rows).map { $0.map(Self.field).joined(separator: ",") + "\n" }.joined()
  }

  /// A field, in quotes where it must be.
  private static func field(_ text: String) -> String {
    guard text.contains(where: { "\",\n\r".contains($0) }) else { return text }
    return "\"" + text.replacing("\"", with: "\"\"") + "\""
  }
}

/// One table a kind of figure, made from the answers that its picture is made from.
extension Figure {
  /// The numbers of this kind of figure; empty while its answers are missing.
  public var data: FigureData {
    switch kind {
    case .map: map
    case .compare: comparison
    case .blocks where !look.isByTable: findings
    case .blocks: blocks
    case .heads: heads
    case .gallery: GalleryFigure(self).data
    case .sinks: sinks
    case .row: row
    case .curve: curve
    case .budget: budget
    }
  }

  /// Empty for what is not there.
  private func number(_ value: Float) -> String { value.isNaN ? "" : "\(value)" }

  /// A row a cell that holds something visible.
  private var map: FigureData {
    guard let map = look.map(mapQuestion(look)) else {
      return FigureData(columns: [], rows: [], matrix: nil)
    }
    var rows: [[String]] = []
    for r in 0..<map.rows {
      for c in 0..<map.columns where !map.max[r * map.columns + c].isNaN {
        rows.append(
          [map.rowEdges[r], map.rowEdges[r + 1] - 1, map.keyEdges[c], map.keyEdges[c + 1] - 1].map(
            String.init) + [
              number(map.max[r * map.columns + c]), number(map.mean[r * map.columns + c]),
            ])
      }
    }
    return FigureData(
      columns: ["query_first", "query_last", "key_first", "key_last", "max", "mean"], rows: rows,
      matrix: ([map.rows, map.columns], look.viewpoint.pooling == .max ? map.max : map.mean))
  }

  /// Every number of the method in force; the values of series behind them.
  private var findings: FigureData {
    var rows: [[String]] = []
    for finding in look.findings(look.viewpoint.head)?.all ?? [] {
      switch finding.content {
      case .number(let value, let unit):
        rows.append([finding.name, "", value.map { "\($0)" } ?? "", unit.rawValue])
      case .series(let axis, let values, let unit):
        for (index, value) in values.enumerated() {
          rows.append([finding.name, axis.name(index), number(value), unit.rawValue])
        }
      case .curve(let curve):
        for point in curve.points { rows.append([finding.name, "\(point.x)", "\(point.y)", ""]) }
      case .spans(let spans, _, let unit):
        for span in spans {
          rows.append(
            [finding.name, "\(span.lane):\(span.key)", "\(span.from)-\(span.to)", unit.rawValue])
        }
      case .field: break
      }
    }
    return FigureData(columns: ["name", "at", "value", "unit"], rows: rows, matrix: nil)
  }

  /// Both sides and their difference, a row a cell.
  private var comparison: FigureData {
    let sides = [look.leftSide, look.rightSide]
    guard let a = sides[0].map(mapQuestion(sides[0])), let b = sides[1].map(mapQuestion(sides[1])),
      let difference = MapDifference(
        a, b, usesMean: look.viewpoint.pooling == .mean, look.source.visibility)
    else { return FigureData(columns: [], rows: [], matrix: nil) }
    let (x, y) = look.viewpoint.pooling == .mean ? (a.mean, b.mean) : (a.max, b.max)
    var rows: [[String]] = []
    for r in 0..<a.rows {
      for c in 0..<a.columns where !difference.values[r * a.columns + c].isNaN {
        let at = r * a.columns + c
        rows.append(
          [
            "\(a.rowEdges[r])", "\(a.keyEdges[c])", number(x[at]), number(y[at]),
            number(difference.values[at]),
          ])
      }
    }
    return FigureData(
      columns: ["query_first", "key_first", "left", "right", "difference"], rows: rows,
      matrix: ([a.rows, a.columns], difference.values))
  }

  /// A row a block that somebody may see.
  private var blocks: FigureData {
    guard let table = look.table(look.viewpoint.head) else {
      return FigureData(columns: [], rows: [], matrix: nil)
    }
    let mask = table.mask(look.lambda)
    var rows: [[String]] = []
    for i in 0..<table.rowTiles {
      for j in 0..<table.keyTiles where mask[i, j] != .invisible {
        let at = i * table.keyTiles + j
        rows.append([
          "\(i)", "\(j)", "\(i * table.spec.rows)",
          "\(min(table.queries, (i + 1) * table.spec.rows) - 1)", "\(j * table.spec.keys)",
          "\(min(table.keys, (j + 1) * table.spec.keys) - 1)",
          table.margins[at] == .infinity ? "inf" : number(table.margins[at]),
          table.isFixed ? "" : number(table.massSum[at]),
          mask[i, j] == .skipped ? "skipped" : "computed",
        ])
      }
    }
    return FigureData(
      columns: [
        "row_tile", "key_tile", "query_first", "query_last", "key_first", "key_last", "margin",
        "mass", "verdict",
      ], rows: rows, matrix: ([table.rowTiles, table.keyTiles], table.margins))
  }

  /// A row a head, in the order of the view.
  private var heads: FigureData {
    let costs = HeadCosts(look)
    let rows = HeadsLayout(look).order.map { head -> [String] in
      let table = look.isByTable ? look.table(head) : nil, summary = look.summary(head)
      let dropped = look.droppedMass(head)
      func count(_ name: String) -> String? { look.number(name, head).map { "\(Int($0))" } }
      return [
        "\(look.source.layers[head.layer])", "\(look.source.headNumber(head.head))",
        table.map { "\($0.visibleBlocks)" } ?? count("visible_blocks") ?? "",
        table.map { "\($0.skippedBlocks(look.lambda))" } ?? count("skipped_blocks") ?? "",
        look.sparsity(head).map { "\($0)" } ?? "", dropped.map { "\($0.mean)" } ?? "",
        dropped.map { "\($0.max)" } ?? "", summary.map { "\($0.entropy)" } ?? "",
        summary.map { "\($0.sink.position)" } ?? "", summary.map { "\($0.sink.mass)" } ?? "",
        summary?.label.name.rawValue ?? "", summary?.sampledRows.map { "\($0)" } ?? "",
        costs.error(head).map { "\($0)" } ?? "",
      ]
    }
    return FigureData(
      columns: [
        "layer", "head", "visible_blocks", "skipped_blocks", "sparsity", "dropped_mean",
        "dropped_max", "entropy", "sink_key", "sink_mass", "pattern", "sampled_rows",
        "output_error",
      ], rows: rows, matrix: nil)
  }

  /// Mean mass of each key of the chosen head.
  private var sinks: FigureData {
    let mass = look.summary(look.viewpoint.head)?.columnMass ?? []
    return FigureData(
      columns: ["key", "token", "mass"],
      rows: mass.indices.map { ["\($0)", look.token($0) ?? "", number(mass[$0])] },
      matrix: ([mass.count], mass))
  }

  /// What the query under the cursor gives each key.
  private var row: FigureData {
    let row = look.row(look.viewpoint.query) ?? []
    return FigureData(
      columns: ["key", "token", "probability"],
      rows: row.indices.map { ["\($0)", look.token($0) ?? "", number(row[$0])] },
      matrix: ([row.count], row))
  }

  /// Sparsity and dropped mass at every eighth of a decade of lambda.
  private var curve: FigureData {
    guard let table = look.table(look.viewpoint.head), table.madeFor == nil else {
      return FigureData(columns: [], rows: [], matrix: nil)
    }
    let rows = stride(from: CurvePlot.left, through: 0, by: 0.125).map { exponent -> [String] in
      let lambda = (try? Lambda(Scale.pow10(exponent))) ?? (try! Lambda(1))
      let dropped = table.droppedMass(lambda)
      return [
        "\(lambda.value)", "\(table.sparsity(lambda))", dropped.map { "\($0.mean)" } ?? "",
        dropped.map { "\($0.max)" } ?? "",
      ]
    }
    return FigureData(
      columns: ["lambda", "sparsity", "dropped_mean", "dropped_max"], rows: rows,
      matrix: (
        [rows.count, 4], rows.flatMap { $0.map { Float($0) ?? .nan } }
      ))
  }
}
