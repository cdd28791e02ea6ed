import Sessions
import Analysis
import Attention
import ArgumentParser
import Backends
import Canvas
import Formats
import Tensors

/// `attnscope info FILE`: the first thing to run on a file of somebody else.
///
/// It computes nothing, and reads the numbers of small files alone, so it answers at once for a
/// file of any size; every guess stands with the flag that overrides it.
struct InfoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "info",
    abstract: "What a file holds, and every guess with the flag that overrides it.")

  @OptionGroup var dump: DumpArguments
  @OptionGroup var texts: TokenArguments
  @Flag(help: "Print JSON.") var json = false

  /// One block of text, or one object, for each file.
  func run() throws {
    for dump in try self.dump.open(texts) {
      let backend = try texts.backend(dump)
      print(json ? Self.json(dump, backend).text(pretty: true) : Self.text(dump, backend))
    }
  }

  /// The same facts for programs; `head_dim` is null where maps alone are stored.
  private static func json(_ dump: Dump, _ backend: FileBackend) -> JSON {
    let about = backend.describe()
    return .object([
      ("file", .string(dump.path)), ("format", .string(dump.format)),
      ("kind", .string(dump.kind.rawValue)),
      ("model", .optional(dump.model, JSON.string)),
      ("layers", .array(about.layers.map { .integer($0.value) })),
      ("heads", .integer(about.heads)), ("kv_heads", .integer(about.kvHeads)),
      ("q", .integer(about.queries)),
      ("k", .integer(about.keys)),
      ("head_dim", about.headDim == 0 ? .null : .integer(about.headDim)),
      ("elements", .array(dump.elementTypes.map { .string($0.rawValue) })),
      ("rounded_to", dump.isRounded ? .string("F32") : .null),
      ("causal", .bool(dump.causal)), ("query_offset", .integer(about.visibility.offset)),
      ("has_v", .bool(about.hasValues)), ("tokens", .integer(about.tokens.count)),
      (
        "image_grid",
        .optional(about.facts.grid) { .array([.integer($0.rows), .integer($0.columns)]) }
      ),
      (
        "image_first_token",
        .optional(about.facts.grid?.tokens(of: about.keys)?.lowerBound, JSON.integer)
      ),
      ("roles", roles(about.facts)),
      ("selected", .array(selections(dump).map(JSON.string))),
      ("probe", .optional(dump.probe, JSON.init(probe:))),
      ("head_numbers", .optional(dump.headNumbers) { .array($0.map(JSON.integer)) }),
      ("left_padding", .integer(dump.rules.padding)),
      ("windows", windows(backend)), ("learned_sinks", sinks(backend)),
      ("assigned", assignedJSON(backend)),
      ("arrays", .array(dump.arrays.map(array))),
      ("choices", .array(dump.choices.map(choice))),
      ("guesses", .array(about.guesses.map(JSON.string))),
      ("notes", .array(dump.remarks.map(JSON.string))),
      ("doubts", .array(doubts(dump, backend).map(JSON.string))),
    ])
  }

  /// An array of the file; its use is null where it is not read.
  private static func array(_ array: ArrayUse) -> JSON {
    .object([
      ("name", .string(array.name)), ("type", .string(array.dtype.rawValue)),
      ("shape", .array(array.shape.axes.map(JSON.integer))),
      ("use", .optional(array.use, JSON.string)),
    ])
  }

  private static func choice(_ choice: ArrayChoice) -> JSON {
    .object([
      ("name", .string(choice.name)), ("holds", .string(choice.what)),
      ("shown", .bool(choice.isShown)),
    ])
  }

  /// Arrays that are listed one by one; of more the first and the last are.
  private static let mostListed = 24

  /// Every array with its shape and its use; what could be shown instead comes first.
  private static func listing(_ dump: Dump) -> [[String]] {
    var rows: [[String]] = []
    if dump.choices.count > 1 {
      rows += dump.choices.map { one in
        [
          one.isShown ? "shown" : "also here",
          "\(one.name), \(one.what)\(one.isShown ? "" : " (--array)")",
        ]
      }
    }
    let lines = dump.arrays.map {
      ["array", "\($0.name) \($0.shape) \($0.dtype.rawValue), \($0.use ?? "not used")"]
    }
    guard lines.count > mostListed else { return rows + lines }
    let rest = lines.count - mostListed
    return rows + lines.prefix(mostListed - 2)
      + [["array", "\(rest) more, which --json lists"]] + lines.suffix(2)
  }

  /// What selectors and delta rules left in the file: each array with its sides, layer by layer.
  private static func selections(_ dump: Dump) -> [String] {
    dump.layers.flatMap { layer in
      [ArrayRole.selected, .indexScores, .beta].compactMap { role in
        layer.arrays[role].map { "layers.\(layer.layer).\(role.rawValue) \($0.shape)" }
      }
    }
  }

  /// Numbers that are looked at: 16 million, in a tenth of a second or so.
  private static let mostNumbers = 1 << 24

  /// What is odd about the numbers, head by head: NaN, rows that are no distribution. At most
  /// eight, and how many more; of files too large to be read here, that they were not.
  private static func doubts(_ dump: Dump, _ backend: FileBackend) -> [String] {
    let count = dump.layers.reduce(0) { sum, layer in
      layer.arrays.values.reduce(sum) { $0 + $1.count }
    }
    guard count <= mostNumbers else {
      return ["\(count) numbers were not looked at: report does"]
    }
    // Q and K are looked at as they are: rules would make scores of them first.
    var plain = dump
    if plain.kind == .qkv { plain.rules = AttentionRules() }
    let heads = DumpHeads(plain), about = backend.describe()
    // Heads that share a key share its doubts: one line for all of them.
    let all = heads.layers.layerIndices.flatMap { layer -> [String] in
      var numbers: [String: [Int]] = [:], order: [String] = []
      for index in 0..<heads.heads(layer) {
        for badge in heads.head(layer, index).map({ Quality.scan($0).badges }) ?? [] {
          if numbers[badge] == nil { order.append(badge) }
          numbers[badge, default: []].append(about.headNumber(index))
        }
      }
      return order.map { badge in
        let list = numbers[badge]!.map(String.init).joined(separator: ", ")
        return "layer \(heads.layers[layer]) head \(list): \(badge)"
      }
    }
    return all.prefix(8) + (all.count > 8 ? ["and \(all.count - 8) more"] : [])
  }

  /// How many tokens have each role; null where no roles are known.
  private static func roles(_ facts: TokenFacts) -> JSON {
    guard !facts.roles.isEmpty else { return .null }
    return .object(
      TokenFacts.Role.allCases.map { role in
        (role.rawValue, .integer(facts.roles.count { $0 == role }))
      })
  }

  /// Names in a column, then what they say.
  private static func text(_ dump: Dump, _ backend: FileBackend) -> String {
    let about = backend.describe()
    let isWithoutValues = dump.kind == .qkv && !about.hasValues
    let dim = about.headDim > 0 ? ", dim \(about.headDim)" : ""
    let seen =
      dump.causal
      ? "causal, query 0 at position \(about.visibility.offset)" : "every query sees every key"
    let types = dump.elementTypes.map(\.rawValue).joined(separator: ", ")
    let rounded = dump.isRounded ? ", read as F32: what float32 does not hold is rounded away" : ""
    var rows: [[String]] = [
      ["file", dump.path], ["format", dump.format],
      ["holds", dump.kind.words + (isWithoutValues ? " (without V: no output error)" : "")],
      ["model", dump.model ?? "not named"],
      ["layers", about.layerNames],
      [
        "heads",
        "\(Numbers.count(about.heads, "query head")) over "
          + "\(Numbers.count(about.kvHeads, "KV head"))\(dim)",
      ],
      [
        "size",
        "\(Numbers.count(about.queries, "query", "queries")) x "
          + "\(Numbers.count(about.keys, "key")), \(seen)",
      ],
      ["tokens", about.tokens.isEmpty ? "no texts" : about.tokens.prefix(12).joined()],
      ["numbers", types + rounded],
    ]
    rows += about.facts.listing(of: about.keys)
    if let tile = about.storedTile {
      rows.append(["blocks", "\(tile.rows)x\(tile.keys) query rows x keys"])
    }
    if let numbers = dump.headNumbers {
      rows.append(["head numbers", numbers.map(String.init).joined(separator: ", ")])
    }
    rows += Self.listing(dump)
    rows += Self.selections(dump).map { ["chosen keys", $0] }
    rows += dump.probe.map(Self.probed) ?? []
    rows += Self.learnedSinks(backend).map { ["learned sink", words($0)] }
    rows += Self.assignedWords(backend).map { ["assigned", $0] }
    rows += doubts(dump, backend).map { ["doubt", $0] }
    rows += about.guesses.isEmpty ? [["guesses", "none"]] : about.guesses.map { ["guess", $0] }
    rows += dump.remarks.map { ["note", $0] }
    return Table(listing: rows, gap: 3).text
  }
}
