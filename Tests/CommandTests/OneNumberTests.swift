// The insides of the program can be imported by a debug build alone.
#if DEBUG
  import Attention
  import Backends
  import Canvas
  import Formats
  import Foundation
  import Interface
  import Lessons
  import Methods
  import Sessions
  import Support
  import Testing

  @testable import attnscope

  /// One number has one maker: wherever it stands, it has the same digits.
  @Suite struct OneNumberTests {
    private static let head = HeadID(layer: 1, head: 6)

    private static func backend() throws -> FileBackend {
      FileBackend(try Dump.open(checkout() + "/samples/smollm2-log-832.safetensors"))
    }

    /// `report`, the panel, the caption of a figure, `compare` and a lesson's facts, for the block
    /// table and for others.
    @Test(arguments: ["blasst", "a-shape", "flexprefill"])
    func everywhereTheSameDigits(_ id: String) async throws {
      let backend = try Self.backend(), about = backend.describe()
      let setting =
        id == about.tableCard?.id
        ? about.tableCard?.blockTables?.setting(.standard(queries: 832), 0.01) : MethodSetting(id)
      var request = ReportRequest(try #require(setting))
      (request.layers, request.heads) = ([1], [6])
      var report = Report(
        dump: backend.heads.dump, about: about, setting: request.settings[0])
      try backend.report(request) { report.heads.append($0) }
      let row = report.heads[0]
      func change(_ view: inout Viewpoint) {
        view.head = Self.head
        if id != about.tableCard?.id { view.method = MethodSetting(id) }
      }
      let model = try await Still.model(backend, width: 120, height: 44, change)
      let panel = view(model).lines.joined(separator: "\n")
      var figure = Figure(model, .map)
      try await figure.complete { try await backend.answer($0) }
      let caption = figure.outcome
      let compared = try await Still.model(backend, width: 200, height: 60) {
        change(&$0)
        $0.view = .compare
      }
      let table = ComparisonTable(compared).rows
      let facts = Facts(model)
      for (name, unit, compareName) in [
        ("sparsity", Unit.share, "pruned"), ("dropped_mean", .none, "dropped"),
        ("error", .none, "error"),
      ] {
        let value = try #require(row.number(name))
        // Masses are shares, and stand as small numbers beside errors: three digits either way.
        let text = name == "sparsity" ? Numbers.percent(value) : Numbers.short(value)
        #expect(report.text.contains(text), "\(name) \(text) is not in the report")
        let left = try #require(table.first { $0.name == compareName }).left
        #expect(left == text || left.hasPrefix(text + " "), "compare has \(left) for \(text)")
        if case .number(let fact) = facts["finding.\(name)"] {
          #expect(fact == value, "\(name) is another number in lessons")
        } else {
          Issue.record("\(name) is no fact")
        }
        let shown =
          id == about.tableCard?.id
          ? text
          : FindingText.number(value, unit == .share || name == "dropped_mean" ? .share : .none)
        #expect(panel.contains(shown), "\(name) \(shown) is not on the panel:\n\(panel)")
        if id == about.tableCard?.id || name != "dropped_mean" && name != "sparsity" {
          #expect(caption.contains(shown), "\(name) \(shown) is not in: \(caption)")
        }
      }
    }

    /// The JSON of a report holds every number of a method, and null for what cannot be known.
    @Test func reportsOfAnyMethod() throws {
      let path = NSTemporaryDirectory() + "attnscope-one-\(UUID().uuidString).safetensors"
      defer { try? FileManager.default.removeItem(atPath: path) }
      func array(_ name: String, _ heads: Int) -> ArrayToWrite {
        ArrayToWrite(
          name, floats: (0..<heads * 48 * 16).map { Float(($0 * 31 + heads) % 17) / 8 - 1 },
          shape: [heads, 48, 16])
      }
      let arrays = [0, 1].flatMap { layer in
        [
          array("layers.\(layer).q", 8), array("layers.\(layer).k", 4),
          array("layers.\(layer).v", 4),
        ]
      }
      try writeSafetensors(arrays, metadata: ["causal": "true"], to: path, force: false)
      let backend = FileBackend(try Dump.open(path)), about = backend.describe()
      for card in about.methods where card.needs.isSubset(of: about.holds) {
        var request = ReportRequest(MethodSetting(card.id))
        (request.layers, request.heads) = ([1], [6])
        var report = Report(dump: backend.heads.dump, about: about, setting: request.settings[0])
        // What a text may lack beyond what a card can say (a segment that occurs twice) is said.
        do { try backend.report(request) { report.heads.append($0) } } catch let missing as Missing
        {
          #expect(missing.need == .repetition, "\(card.id) \(missing)")
          continue
        }
        let json = report.json.text(), csv = report.csvHeading + "\n" + report.csv
        for finding in report.heads[0].findings.all {
          guard case .number(let value, _) = finding.content else { continue }
          #expect(json.contains("\"\(finding.name)\":"), "\(card.id) \(finding.name)")
          if value == nil { #expect(json.contains("\"\(finding.name)\":null")) }
        }
        #expect(csv.split(separator: "\n").count == 2)
        let cells = csv.split(separator: "\n").map {
          $0.split(separator: ",", omittingEmptySubsequences: false).count
        }
        #expect(cells[0] == cells[1], "\(card.id): \(cells)")
      }
    }
  }
#endif
