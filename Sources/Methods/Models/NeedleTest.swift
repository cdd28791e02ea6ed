import Algebra
import Attention

/// A needle test as a model reads it: a context of keys and sentences, three of them asked and
/// answered, then the key of another, and its answer, which is the needle's own text.
///
///     k1 s1 k2 s2 ... k8 s8   ka sa kb sb kc sc   kx sx        8 tokens a key, `length` a sentence
///
/// After the paper's proxy test, AttentionInfluence, 2025, arXiv 2505.07293: there keys are random
/// letters and sentences are text, in near 4096 tokens. Here all tokens are drawn without
/// repetition, so that a head whose largest weight lies on the token that comes next can have found
/// it in the needle alone.
struct NeedleTest: Sendable {
  /// Pairs of the context, those that are solved first, and tokens of a key.
  private static let pairs = 8, solved = 3, keyLength = 8

  /// What the model reads, as numbers of its vocabulary.
  let tokens: [Int]
  /// Where the last token of the key stands that is asked for, in the context and at the end: its
  /// sentence follows both.
  let first, second: Int
  /// Tokens of the sentence.
  let length: Int

  /// Draws pairs, and which are solved and asked. Throws `Missing(.model)` for a vocabulary that is
  /// too small to draw without repetition.
  init(length: Int, vocabulary: Int, _ random: inout SplitMix64) throws {
    let size = Self.keyLength + length, count = Self.pairs * size
    guard vocabulary >= count else {
      throw Missing(
        .model, hint: "with \(count) tokens for a needle of \(length); it knows \(vocabulary)")
    }
    let drawn = Self.shuffled(vocabulary, count, &random)
    let asked = Self.shuffled(Self.pairs, Self.solved + 1, &random)
    let after = asked.flatMap { drawn[$0 * size..<($0 + 1) * size] }
    tokens = drawn + after
    self.length = length
    first = asked[Self.solved] * size + Self.keyLength - 1
    second = count + Self.solved * size + Self.keyLength - 1
  }

  /// The first `count` of 0..<`all` in a random order, by swaps.
  private static func shuffled(_ all: Int, _ count: Int, _ random: inout SplitMix64) -> [Int] {
    var numbers = Array(0..<all)
    for place in 0..<count {
      let other = place + Int(random.uniform() * Double(all - place))
      numbers.swapAt(place, min(other, all - 1))
    }
    return Array(numbers.prefix(count))
  }

  /// The heads that have read it: the last token of the key and the sentence are a segment that
  /// stands twice, whose rows say every token of the sentence. Throws `CancellationError`, and
  /// `Missing(.length)` where the context is too short.
  func read(_ model: any ModelReader, name: String) throws -> RepeatedSegment {
    let layers = try model.heads(reading: tokens)
    return RepeatedSegment(
      name: name, layers: layers, numbers: .counted(layers.count), first: first, second: second,
      length: length + 1)
  }
}
