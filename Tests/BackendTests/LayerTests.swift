import Attention
import Backends
import Formats
import Foundation
import Methods
import Sessions
import Support
import Testing

/// Says which layers it was given, and which one it was asked about.
private struct Whereabouts: AttentionMethod {
  static let card = MethodCard(
    id: "whereabouts", title: "Whereabouts", family: "tests", idea: "Names its layers.",
    source: "Nobody, 2026", scope: .model)

  init(knobs: Knobs) throws(KnobError) {}

  func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    var findings = Findings()
    findings.number("layer", Double(subject.numbers[subject.focus.layer].value))
    findings.series(
      "layers", Axis(.layer, subject.layers.count), subject.numbers.map { Float($0.value) })
    return findings
  }
}

/// What is said of a layer is its number; what it is asked by is its index.
@Suite struct LayerTests {
  private static let registry = Registry([Whereabouts.self])

  /// Layers 3 and 7, of two heads each.
  private static func withFile(_ body: (FileBackend) async throws -> Void) async throws {
    let path = FileManager.default.temporaryDirectory.appending(
      path: "layers-\(UUID()).safetensors"
    ).path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let arrays = [3, 7].flatMap { layer in
      ["q", "k"].map { name in
        ArrayToWrite(
          "layers.\(layer).\(name)", floats: (0..<2 * 6 * 4).map { Float(($0 * 7 + layer) % 5) },
          shape: [2, 6, 4])
      }
    }
    try writeSafetensors(arrays, metadata: ["causal": "true"], to: path, force: false)
    try await body(FileBackend(try Dump.open(path), registry: registry))
  }

  private func said(_ backend: any Backend, _ head: HeadID) async throws -> Findings {
    let answer = try await backend.answer(.findings(head, MethodSetting("whereabouts")))
    guard case .findings(let findings) = answer else {
      Issue.record("\(answer)")
      return Findings()
    }
    return findings
  }

  @Test func aFileNamesItsLayers() async throws {
    try await Self.withFile { backend in
      let about = backend.describe()
      #expect(about.layers == [3, 7] && about.layerNames == "3, 7" && about.middleLayer == 1)
      #expect(about.number(of: 1) == 7 && about.index(of: 7) == 1 && about.index(of: 1) == nil)
      let findings = try await said(backend, HeadID(layer: 1, head: 0))
      #expect(findings["layer"]?.number == 7 && findings.series("layers") == [3, 7])
    }
  }

  /// The synthetic source numbers its layers 0, 4, 8, and its methods heard 0, 1, 2.
  @Test func aSyntheticSourceNamesItsLayers() async throws {
    let backend = SyntheticBackend(layers: 3, heads: 2, tokens: 16, registry: Self.registry)
    let findings = try await said(backend, HeadID(layer: 2, head: 1))
    #expect(findings["layer"]?.number == 8 && findings.series("layers") == [8])
  }

  /// A sentence about a head that is not there called the layer by its index.
  @Test func whatIsMissingIsCalledByItsNumber() async throws {
    try await Self.withFile { backend in
      for (head, expected) in [
        (HeadID(layer: 1, head: 2), "layer 7 has no head 2"),
        (HeadID(layer: 0, head: -1), "layer 3 has no head -1"),
        (HeadID(layer: 2, head: 0), "there is no such layer"),
        (HeadID(layer: -1, head: 0), "there is no such layer"),
      ] {
        guard case .unavailable(let why) = try await backend.answer(.summary(head)) else {
          Issue.record("\(head) has an answer")
          continue
        }
        #expect(why == expected)
      }
    }
  }

  /// A report asks by index and prints the number.
  @Test func reportsPrintNumbers() async throws {
    try await Self.withFile { backend in
      var request = ReportRequest(MethodSetting("whereabouts"))
      request.layers = [1]
      request.wantsSummary = false
      var rows: [HeadReport] = []
      try backend.report(request) { rows.append($0) }
      #expect(rows.map(\.layer) == [7, 7] && rows.map(\.head) == [0, 1])
    }
  }
}
