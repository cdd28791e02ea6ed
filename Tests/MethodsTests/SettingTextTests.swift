import Attention
import Foundation
import Methods
import Testing

/// Settings as texts: words with spaces, rules in the place of numbers, and what is refused.
@Suite struct SettingTextTests {
  /// Both texts mean the same map, on a head where they could differ.
  @Test(arguments: [
    ("clipped:gamma=-3.2/n", "clipped"), ("clipped:gamma=-6.4/n", "clipped:alpha=6.4"),
    ("clipped: gamma = -3.2 / n , zeta = 1", "clipped"),
    ("gated:pi=1 - A_i1", "gated-sink"), ("gated:pi=1-a_i1", "gated:gate=sink"),
    ("sigmoid:b=-ln n", "sigmoid"), ("sigmoid:b=-ln c_i", "sigmoid-per-row"),
    ("sigmoid:b=\u{2212}ln c_i", "sigmoid-per-row"),
    ("affine:alpha=U3,alpha_ma=mean", "affine"), ("affine:alpha=u0", "affine:alpha=0.5"),
    ("ssa:kappa=0.5,token=tanh(z of row entropy)", "ssa"), ("ssa:token=None", "ssa-position"),
    ("ssa:token=none,kappa=0.5", "ssa-position"), ("lssar-3:p=3", "lssa:p=3"),
    ("lssar-15", "lssa:p=15"), ("gated:rescale=True", "gated:rescale=true"),
  ]) func sameMap(_ text: String, _ other: String) throws {
    let head = Bench.random.head
    let a = try RowwiseTests.map(try RowwiseTests.examine(text, head))
    let b = try RowwiseTests.map(try RowwiseTests.examine(other, head))
    #expect(a == b)
    let setting = try MethodSetting(parsing: text)
    #expect(try MethodSetting(parsing: setting.description) == setting)
  }

  /// What is written is read again, whatever the words hold.
  @Test(arguments: [
    "1 - A_i1", "a, b", "f(a, b)", "x=y", "it's", "'a' b", " edge ", "(open, b", "a,b='c'",
  ]) func wordsComeBack(_ word: String) throws {
    let setting = MethodSetting("gated", ["pi": .word(word), "rescale": .word("true")])
    let read = try MethodSetting(parsing: setting.description)
    #expect(read == setting, "\(setting.description)")
  }

  @Test func listsOfSettings() {
    #expect(
      MethodSetting.pieces(of: "top-k,ssa:token=f(a,b),kappa=1,x:y='p, q',,z")
        == ["top-k", "ssa:token=f(a,b)", "kappa=1", "x:y='p, q'", "z"])
  }

  @Test(arguments: [
    ("sigmoid:b=-ln m", "-ln n, -ln c_i"), ("sigmoid:b=99", "outside"), ("ssa:token=x", "None"),
    ("clipped:gamma=3/n", "above 0"), ("clipped:gamma=two/n", "x/n"), ("gated:pi=2", "outside"),
    ("affine:alpha=U2", "U3, U0, U1"), ("ssa:token", "knob=value"), ("lssar-3:p=-1", "outside"),
  ]) func refusals(_ text: String, _ words: String) throws {
    let error = #expect(throws: KnobError.self) {
      try Registry.standard.make(MethodSetting(parsing: text))
    }
    #expect(error?.description.contains(words) == true, "\(String(describing: error))")
  }

  /// `]` walks the rules and then the numbers from the lowest on, `[` the way back.
  @Test func stepsOfRules() throws {
    let b = try #require(Registry.standard.method("sigmoid")?.card.knob("b"))
    #expect(b.standard == .word("-ln n") && b.rangeText == "-16.0...16.0|-ln n|-ln c_i")
    var value = b.standard
    var seen: [String] = []
    for _ in 0..<3 {
      value = b.stepped(value, by: 1)
      seen.append("\(value)")
    }
    #expect(seen == ["-ln c_i", "-16", "-15.5"])
    for wanted in ["-16", "-ln c_i", "-ln n", "-ln n"] {
      value = b.stepped(value, by: -1)
      #expect("\(value)" == wanted)
    }
    let gamma = try #require(Registry.standard.method("clipped")?.card.knob("gamma"))
    #expect("\(gamma.stepped(.word("-3.2/N"), by: 1))" == "-3.195/n")
    #expect(gamma.stepped(.number(-0.025), by: -1) == .number(-0.03))
  }
}
