import Analysis
import Attention
import Backends
import Formats
import Methods
import Sessions
import Support
import Synchronization
import Testing

/// Several methods asked about one head: what they share changes no number.
@Suite struct SeveralMethodsTests {
  private static func backend() throws -> FileBackend {
    FileBackend(try Dump.open(checkout() + "/samples/smollm2-log-832.safetensors"))
  }

  private static func numbers(_ report: HeadReport) -> [String: Double] {
    var numbers: [String: Double] = [:]
    for finding in report.findings.all { numbers[finding.name] = finding.number }
    return numbers
  }

  /// To the bit, summaries included.
  @Test func togetherAsAlone() throws {
    let settings = ["a-shape", "top-k:k=32", "blasst", "hip", "dense", "nsa", "softpag"].map {
      try! MethodSetting(parsing: $0)
    }
    var request = ReportRequest(settings)
    (request.layers, request.heads) = ([1], [6, 7])
    var together: [Int: [HeadReport]] = [:]
    let out = try Self.backend().reports(request) { together[$0, default: []].append($1) }
    #expect(out.isEmpty)
    for (index, setting) in settings.enumerated() {
      request.settings = [setting]
      var alone: [HeadReport] = []
      try Self.backend().report(request) { alone.append($0) }
      let found = try #require(together[index])
      #expect(found.map(\.head) == [6, 7] && alone.map(\.head) == [6, 7])
      for (one, other) in zip(found, alone) {
        #expect(Self.numbers(one) == Self.numbers(other), "\(setting)")
        #expect(!Self.numbers(one).isEmpty && one.summary?.entropy == other.summary?.entropy)
        #expect(one.summary?.label == other.summary?.label && one.tile == other.tile)
      }
    }
  }

  /// The file holds no chosen keys.
  @Test func whoLacksSomethingIsLeftOutOrSaysSo() throws {
    var request = ReportRequest([MethodSetting("a-shape"), MethodSetting("selected")])
    (request.layers, request.heads) = ([1], [6])
    #expect(throws: Missing.self) { try Self.backend().reports(request) { _, _ in } }
    request.leavesOut = true
    var asked: [Int] = []
    let out = try Self.backend().reports(request) { index, _ in asked.append(index) }
    #expect(asked == [0] && out.map(\.setting.id) == ["selected"])
    #expect(out[0].reason.contains("chosen keys"))
  }

  /// Stopped while knobs are tuned, while numbers are taken, and before anything is known.
  @Test(arguments: [(0.5, 0, true), (0.9, 1, true), (0.0, nil, false)] as [(Double, Int?, Bool)])
  func aStoppedSearchGivesWhatItHas(_ share: Double, _ heads: Int?, _ hasRows: Bool) throws {
    let isStopped = Mutex(share == 0)
    var request = BudgetRequest(
      0.4, heads: [HeadID(layer: 1, head: 6), HeadID(layer: 1, head: 7)],
      methods: [MethodSetting("top-k"), MethodSetting("a-shape")])
    request.isCancelled = { isStopped.withLock { $0 } }
    let backend = try Self.backend()
    func search() throws -> EqualBudget.Outcome {
      try backend.equalBudget(request) { done in
        if done > share { isStopped.withLock { $0 = true } }
      }
    }
    guard hasRows else {
      #expect(throws: CancellationError.self) { try search() }
      return
    }
    let found = try search()
    #expect(found.stoppedAfter == heads && found.rows.count == 2)
    for row in found.rows {
      #expect((row.numbers["recall_mean"] == nil) == (heads == 0) && row.tileDensity > 0)
    }
  }
}
