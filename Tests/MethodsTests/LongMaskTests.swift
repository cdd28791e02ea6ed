import Attention
import Methods
import Support
import Tensors
import Testing

/// Masks of heads too long to be kept whole: rows are decided as they are looked at.
@Suite struct LongMaskTests {
  private static let tokens = 12_000, cut = 2048, dim = 8

  /// A long head and its first tokens alone, with the same numbers.
  private static let heads: (long: Head, short: Head) = {
    var random = Seeded(71)
    let query = random.tensor([tokens, dim]), key = random.tensor([tokens, dim], scale: 1.5)
    func first(_ tensor: Tensor) -> Tensor {
      Tensor(Array(tensor.floats().prefix(cut * dim)), shape: [cut, dim])
    }
    return (
      Head(query: query, key: key, value: nil, causal: true),
      Head(query: first(query), key: first(key), value: nil, causal: true)
    )
  }()

  /// What a causal method keeps of a row does not depend on later tokens: of a long head it is the
  /// same as of the first tokens alone, which are decided all at once.
  @Test(arguments: [
    "quest:pages=8,budget=paper", "moba:count=3,block=128,budget=paper",
    "infllm:count=6,window=128,budget=paper", "nsa:budget=paper",
    "xattention:stride=16,block=128,threshold=0.6,budget=paper",
    "spargeattn:tau=0.4,theta=0,lambda=2,budget=paper",
    "spargeattn:tau=0.4,theta=0,lambda=0,budget=paper",
  ]) func rowsAreThoseOfTheBeginning(_ setting: String) throws {
    let (long, short) = Self.heads
    #expect(long.isLong && !short.isLong)
    func kept(_ head: Head) throws -> any RowField {
      let method = try Registry.standard.make(MethodSetting(parsing: setting))
      let found = try method.examine(Subject(head), MethodRun(wantsNumbers: false))
      return try #require(found.field("kept")).field
    }
    let one = try kept(long), two = try kept(short)
    var some = 0, most = 0
    for row in [0, 127, 128, 1000, 1777, Self.cut - 1] {
      let a = try one.row(row), b = try two.row(row)
      let limit = row + 1
      #expect(Array(a[..<limit]) == Array(b[..<limit]), "\(setting), query \(row)")
      some += b[..<limit].filter { $0 == 1 }.count
      most += limit
    }
    #expect(some > 0 && some < most, "\(setting) keeps all: rows of any kind would agree")
  }

  /// Numbers come from rows that are computed together; a class of a head from a sample of rows.
  @Test(arguments: ["sale", "xattention", "spargeattn", "quest", "duoattention", "h2o", "key-norm"])
  func numbersAreGiven(_ setting: String) throws {
    let method = try Registry.standard.make(MethodSetting(parsing: setting))
    let found = try method.examine(Subject(Self.heads.long), MethodRun())
    let recall = try #require(found["recall_mean"]?.number)
    #expect(recall > 0 && recall <= 1)
    if setting == "duoattention" { #expect(found["distant_mass"]?.number != nil) }
  }
}
