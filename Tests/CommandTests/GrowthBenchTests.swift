// The insides of the program can be imported by a debug build alone.
#if DEBUG
  import Attention
  import Foundation
  import Methods
  import Testing

  @testable import attnscope

  /// Powers that are fitted, and what a bench of methods says.
  @Suite struct GrowthBenchTests {
    @Test func aPowerIsFound() throws {
      let points = [512.0, 1024, 2048, 4096].map { (x: $0, y: 3 * pow($0, 1.5)) }
      let exact = try #require(PowerFit(points))
      let nothing = try #require(exact.error)
      #expect(abs(exact.exponent - 1.5) < 1e-12 && nothing < 1e-9)
      // Off the line by turns: the exponent is hardly moved, and the error says so.
      let rough = zip(points, [1.2, 0.8, 0.8, 1.2]).map { (x: $0.x, y: $0.y * $1) }
      let fit = try #require(PowerFit(rough)), error = try #require(fit.error)
      #expect(abs(fit.exponent - 1.5) < 1e-12 && error > 0.1 && error < 0.3)
      #expect(PowerFit([(x: 1, y: 2)]) == nil && PowerFit([(x: 1, y: 2), (x: 2, y: 0)]) == nil)
      #expect(try #require(PowerFit([(x: 1, y: 2), (x: 2, y: 8)])).error == nil)
    }

    /// A count that grows faster than the card says is called so, whatever the time.
    @Test func whatIsSteeperIsCalledSo() {
      func growth(_ power: Double, _ said: Double) -> MethodGrowth {
        let card = MethodCard(
          id: "made", title: "Made", family: "tests", idea: "", source: "",
          growth: Growth("n^said") { pow($0, said) })
        var growth = MethodGrowth(card: card, isMask: true)
        growth.points = [512, 1024, 2048, 4096].map { n in
          MethodGrowth.Point(
            tokens: n, seconds: 1e-6 * Double(n), products: Int(pow(Double(n), power)))
        }
        return growth
      }
      #expect(growth(1, 1).holds == true && growth(1, 2).holds == true)
      #expect(growth(1.4, 1).holds == false && growth(2, 2).holds == true)
      #expect(growth(2, 0).expected.map { abs($0.exponent) < 1e-9 } == true)
    }

    @Test func everyChosenMethodHasALine() throws {
      let registry = Registry(
        Registry.standard.methods.filter {
          ["a-shape", "top-k", "vertical-slash", "selected", "clipped", "sinks"].contains(
            $0.card.id)
        })
      let found = MethodsBench(repeats: 1, lengths: [64, 128, 256]).growths(registry)
      #expect(
        found.map(\.card.id)
          == ["a-shape", "vertical-slash", "top-k", "clipped"])
      #expect(found.allSatisfy { $0.leftOut == nil }, "methods that time nothing of their own")
      let table = MethodGrowth.table(found)
      #expect(table.contains("no search"))
      let slash = try #require(found.first { $0.card.id == "vertical-slash" })
      #expect(slash.points.map(\.tokens) == [64, 128, 256])
      #expect(slash.points.map(\.products) == [64 * 64, 64 * 128, 64 * 256])
      #expect(
        slash.json.text().contains("\"card\": \"64 n\"")
          || slash.json.text().contains("\"card\":\"64 n\""))
    }
  }
#endif
