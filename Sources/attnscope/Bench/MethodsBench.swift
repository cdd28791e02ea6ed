import Analysis
import Attention
import Backends
import Canvas
import Glibc
import Methods
import Tensors

/// How the cost of every method's choice grows with the length of a text, beside what its card
/// says.
///
/// Masks are timed at deciding what to keep, maps at making the whole map. One thread, and the
/// processor's time, which neighbours hardly disturb; heads are synthetic, from a fixed seed, and
/// knobs stand at the paper's numbers, so that no budget grows with the text. The catch: a shape at
/// its paper's numbers may keep all of a short text; the search before that is what is timed.
struct MethodsBench {
  /// Turns of each length at most; fewer where one takes long.
  let repeats: Int
  /// Tokens of the heads, ascending.
  var lengths = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]
  /// Width of the heads.
  private static let dim = 64
  /// Seconds of one length after which no longer one is tried.
  private static let patience = 1.0
  /// Seconds that the turns of a length take together, about.
  private static let turns = 0.4

  /// Every method of the library that chooses entries or mixes by another matrix, in its order.
  func growths(_ registry: Registry = .standard) -> [MethodGrowth] {
    let chosen = registry.methods.filter { type in
      FileBackend.keepsEntries(type) || type is any MapMethod.Type
    }
    let heads = Dictionary(
      uniqueKeysWithValues: lengths.map { ($0, AttentionBench.head($0, Self.dim)) })
    return chosen.map { growth($0, heads) }
  }

  /// One method, up to the length that took too long, or of which a card wants no whole map.
  private func growth(_ type: any AttentionMethod.Type, _ heads: [Int: Head]) -> MethodGrowth {
    let card = type.card, isMask = FileBackend.keepsEntries(type)
    var growth = MethodGrowth(card: card, isMask: isMask)
    do {
      let method = try type.init(knobs: Self.literal(card))
      for n in lengths where isMask || n <= card.wholeMap {
        let point = try measure(method, heads[n]!, tokens: n)
        growth.points.append(point)
        if point.seconds > Self.patience { break }
      }
    } catch {
      growth.leftOut = "\(error)"
    }
    return growth
  }

  /// The knob that scales budgets to short texts, where a card has one, at the paper's word.
  private static func literal(_ card: MethodCard) -> Knobs {
    let scaled = KnobValue.word("scaled")
    guard let knob = card.knobs.first(where: { $0.standard == scaled }) else { return [:] }
    return [knob.name: .word("paper")]
  }

  /// The median of some turns. Throws what the method throws.
  private func measure(_ method: any AttentionMethod, _ head: Head, tokens: Int) throws
    -> MethodGrowth.Point
  {
    var times: [Double] = [], products: Int?
    while times.isEmpty || (times.count < repeats && times.reduce(0, +) < Self.turns) {
      let start = Self.processorSeconds()
      products = try Self.choose(method, head)
      times.append(Self.processorSeconds() - start)
    }
    return MethodGrowth.Point(
      tokens: tokens, seconds: BenchFigure.median(times), products: products)
  }

  /// What is timed: a mask's choice, with the dot products that it counts, or a map. Throws what
  /// the method throws.
  private static func choose(_ method: any AttentionMethod, _ head: Head) throws -> Int? {
    let run = MethodRun(threads: .callerOnly, wantsNumbers: false)
    guard let mask = method as? any MaskMethod else {
      _ = try method.examine(Subject(head), run)
      return nil
    }
    var aside = Aside()
    _ = try mask.keep(head, run, &aside)
    return aside.selection > 0 ? aside.selection : nil
  }

  /// Of all threads of the program.
  private static func processorSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
  }
}

/// What a method cost at several lengths, and the powers of n that fit it.
struct MethodGrowth {
  /// The facts of the method.
  let card: MethodCard
  /// It keeps entries; otherwise it is a map.
  let isMask: Bool
  /// Ascending by length.
  var points: [Point] = []
  /// Why it could not be timed; nil where it was.
  var leftOut: String?

  /// One length.
  struct Point {
    /// n.
    let tokens: Int
    /// Processor seconds, the median.
    let seconds: Double
    /// Query-key dot products spent on choosing; nil where none are counted.
    let products: Int?
  }

  /// Times below it are mostly those of starting.
  private static let least = 1e-4
  /// By how much an exponent may pass the card's and still count as it.
  private static let slack = 0.15

  /// Points that are fitted: the four longest. Growth is what happens in the end: shortly behind
  /// the length at which a search begins, or a cache is full, cost climbs faster than it will.
  /// Lengths at which the card says that nothing is searched yet tell nothing of the search.
  private var fitted: [Point] {
    let points = points.filter { point in
      card.growth.map { !$0.isSearch || $0.cost(Double(point.tokens)) > 0 } ?? true
    }
    let long = points.filter { $0.seconds >= Self.least }
    return (long.count >= 3 ? long : points).suffix(4)
  }

  /// The power of n in the time.
  var time: PowerFit? { PowerFit(fitted.map { (Double($0.tokens), $0.seconds) }) }

  /// The power of n in the counted dot products.
  var products: PowerFit? {
    let counted = fitted.compactMap { point in
      point.products.map { (Double(point.tokens), Double($0)) }
    }
    return counted.count == fitted.count ? PowerFit(counted) : nil
  }

  /// The card's formula, fitted over the same lengths; nil where it has none, or searches nothing.
  var expected: PowerFit? {
    guard let growth = card.growth, growth.isSearch else { return nil }
    return PowerFit(fitted.map { (Double($0.tokens), growth.cost(Double($0.tokens))) })
  }

  /// Neither the time, within two standard errors, nor the count grows faster than the card says;
  /// nil where it says nothing, or no error is known.
  var holds: Bool? {
    guard let expected, let time, let error = time.error else { return nil }
    let most = expected.exponent + Self.slack
    return time.exponent - 2 * error <= most && (products.map { $0.exponent <= most } ?? true)
  }
}

/// Least squares through logarithms: y ~ x to a power.
struct PowerFit {
  /// The power.
  let exponent: Double
  /// Its standard error, from how far the points lie off the line; nil for two points.
  let error: Double?

  /// Nil for fewer than two points, and for points that are not positive.
  init?(_ points: [(x: Double, y: Double)]) {
    guard points.count > 1, points.allSatisfy({ $0.x > 0 && $0.y > 0 }) else { return nil }
    let logs = points.map { (x: log($0.x), y: log($0.y)) }, count = Double(logs.count)
    let x = logs.reduce(0) { $0 + $1.x } / count, y = logs.reduce(0) { $0 + $1.y } / count
    let spread = logs.reduce(0) { $0 + ($1.x - x) * ($1.x - x) }
    guard spread > 0 else { return nil }
    let slope = logs.reduce(0) { $0 + ($1.x - x) * ($1.y - y) } / spread
    let off = logs.reduce(0.0) { sum, point in
      let rest = point.y - y - slope * (point.x - x)
      return sum + rest * rest
    }
    exponent = slope
    error = logs.count > 2 ? (off / (count - 2) / spread).squareRoot() : nil
  }
}

extension MethodGrowth {
  /// What holds for all lines.
  static var heading: String {
    """
    \(InstructionSet.best.name), one thread, processor time; synthetic heads, knobs at the \
    papers' numbers. Powers of n by least squares on logarithms, with the standard error; \
    products are query-key dot products that a choice counts
    """
  }

  /// Aligned lines, then what the words mean and who is left out.
  static func table(_ all: [MethodGrowth]) -> String {
    let done = all.filter { $0.leftOut == nil && !$0.points.isEmpty }
    let table = Table(
      ["method", "of", "up to", "ms", "time n^", "+-", "products n^", "card n^", "", "card"],
      leftAligned: ["method", "of", "", "card"], rows: done.map(\.cells))
    let out = all.compactMap { growth in
      growth.leftOut.map { Printable.text("left out: \(growth.card.id): \($0)") }
    }
    return ([table.text] + out).joined(separator: "\n")
  }

  /// A row of the table.
  private var cells: [String] {
    func number(_ x: Double?) -> String { x.map { Numbers.fixed($0, 2) } ?? "-" }
    let verdict = holds.map { $0 ? "holds" : "steeper" } ?? "-"
    let last = points[points.count - 1]
    return [
      card.id, isMask ? "mask" : "map", "\(last.tokens)", Numbers.short(1000 * last.seconds),
      number(time?.exponent), number(time?.error), number(products?.exponent),
      number(expected?.exponent), verdict, card.growth?.text ?? "-",
    ]
  }

  /// At full precision, under the names that all figures have, and the points themselves.
  var json: JSON {
    var pairs: [(String, JSON)] = [
      ("suite", .string("methods")), ("case", .string(card.id)),
      ("isa", .string(InstructionSet.best.name)), ("threads", .integer(1)),
      ("of", .string(isMask ? "mask" : "map")), ("metric", .string("growth of processor time")),
      ("value", .optional(time?.exponent, JSON.number)), ("unit", .string("power of n")),
      ("standard_error", .optional(time?.error, JSON.number)),
      ("products_power", .optional(products?.exponent, JSON.number)),
      ("card", .optional(card.growth?.text, JSON.string)),
      ("card_power", .optional(expected?.exponent, JSON.number)),
      ("holds", .optional(holds, JSON.bool)),
      ("left_out", .optional(leftOut, JSON.string)),
    ]
    let list = points.map { point -> JSON in
      .object([
        ("tokens", .integer(point.tokens)), ("seconds", .number(point.seconds)),
        ("products", .optional(point.products, JSON.integer)),
      ])
    }
    pairs.append(("points", .array(list)))
    return .object(pairs)
  }
}
