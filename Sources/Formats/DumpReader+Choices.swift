import Tensors

/// Arrays of one role that belong together: the maps of all layers, or Q, K and V of all of them.
///
/// A file may hold several: encoder, decoder and cross attention; samples; scores beside
/// patterns. One is shown, the others are named, and `--array NAME` chooses.
public struct ArrayChoice: Sendable, Equatable {
  /// The name of its only array, or of the first with a star for every number that counts.
  public let name: String
  /// How many arrays it has, and their shape: `2 arrays of 1x4x9x9`.
  public let what: String
  /// Whether this one is shown.
  public let isShown: Bool
}

extension DumpReader {
  /// One group of arrays, as a candidate for being shown.
  struct Candidate {
    let name: String
    /// In the order of their names.
    let items: [Found]
    /// Shown first where it is higher.
    let rank: Int
    /// Every name that means this one.
    var names: Set<String> { Set(items.map(\.entry.name) + [name]) }
  }

  /// Leaves one group of maps and one of Q, K and V, and notes the others. Throws `mismatch` when
  /// `--array` names nothing that is here.
  mutating func choose() throws(FormatError) {
    try adoptUnknown()
    let maps = mapCandidates(), pairs = pairCandidates()
    let all = maps + pairs
    var wanted: Candidate?
    if let name = options.array {
      wanted =
        all.first { $0.names.contains(name) }
        ?? only(all.filter { $0.name.lowercased().contains(name.lowercased()) })
      guard wanted != nil else { throw unknownArray(name, all) }
    }
    let isMap = wanted.map { one in maps.contains { $0.name == one.name } }
    let map = isMap == false ? nil : isMap == true ? wanted : maps.first
    let pair = isMap == true ? nil : isMap == false ? wanted : pairs.first
    if pairs.isEmpty { halves = [.query, .key].compactMap { found[$0] } }
    if let map { self.maps = try numbered(map.items) } else { self.maps = [] }
    for role in [ArrayRole.query, .key, .value] {
      let own = pair?.items.filter { $0.role == role } ?? []
      found[role] = own.isEmpty ? nil : try numbered(own)
    }
    let shown = Set([map?.name, pair?.name].compactMap { $0 })
    choices = all.map { one in
      ArrayChoice(name: one.name, what: Self.words(one.items), isShown: shown.contains(one.name))
    }
    noteOthers(map, maps)
    noteOthers(pair, pairs)
  }

  private func only(_ found: [Candidate]) -> Candidate? { found.count == 1 ? found[0] : nil }

  private func unknownArray(_ name: String, _ all: [Candidate]) -> FormatError {
    let names = all.prefix(6).map { "\"\($0.name)\"" }.joined(separator: ", ")
    return FormatError(
      .mismatch,
      all.isEmpty
        ? "--array \(name): it has no array that could be shown"
        : "--array \(name) is none of its arrays, or several; there are \(names)",
      file: path)
  }

  /// Says which of several is shown, and what else there is.
  private mutating func noteOthers(_ shown: Candidate?, _ all: [Candidate]) {
    guard let shown, all.count > 1, options.array == nil else { return }
    let others = all.filter { $0.name != shown.name }
    let list = others.prefix(4).map { "\($0.name) (\(Self.words($0.items)))" }
    let more = others.count > 4 ? " and \(others.count - 4) more" : ""
    guesses.append(
      Guess(
        "\(shown.name) is shown, of \(all.count) that could be: also "
          + "\(list.joined(separator: ", "))\(more)",
        flag: "--array NAME"))
  }

  static func words(_ items: [Found]) -> String {
    let shapes = Set(items.map { "\($0.entry.shape)" })
    let shape = shapes.count == 1 ? "\(items[0].entry.shape)" : "different shapes"
    return items.count == 1 ? shape : "\(items.count) arrays of \(shape)"
  }

  // MARK: candidates

  /// Maps by group, the likeliest first: patterns before scores before masks, self attention
  /// before cross attention, a decoder before an encoder.
  private func mapCandidates() -> [Candidate] {
    var groups: [String: [Found]] = [:]
    for map in maps {
      groups["\(map.name.group) \(map.hint?.rawValue ?? "")", default: []].append(map)
    }
    let looks = groups.count > 1 && groups.count <= 64
    let all = groups.values.map { items in
      let first = items[0]
      let seen = looks ? (try? MapContent(first.archive, first.entry))?.kind : nil
      let content =
        switch first.hint ?? seen {
        case .pattern: 300
        case .mask: 0
        default: first.hint == .scores ? 100 : 200
        }
      return Candidate(
        name: Self.title(items), items: items, rank: content + Self.preference(first))
    }
    return all.sorted { $0.rank != $1.rank ? $0.rank > $1.rank : naturalOrder($0.name, $1.name) }
  }

  /// Q and K, and V where it is, of one group. A file with one group of each needs no equal names.
  private func pairCandidates() -> [Candidate] {
    func groups(_ role: ArrayRole) -> [String: [Found]] {
      Dictionary(grouping: found[role] ?? [], by: \.name.group)
    }
    let queries = groups(.query), keys = groups(.key), values = groups(.value)
    let isPlain = queries.count == 1 && keys.count == 1
    let all = queries.compactMap { group, items -> Candidate? in
      guard let key = keys[group] ?? (isPlain ? keys.first?.value : nil) else { return nil }
      let value = values[group] ?? (values.count == 1 && isPlain ? values.first?.value : nil)
      let rotated = group.split(separator: " ").contains("rot") ? 50 : 0
      return Candidate(
        name: Self.title(items), items: items + key + (value ?? []),
        rank: Self.preference(items[0]) + rotated)
    }
    return all.sorted { $0.rank != $1.rank ? $0.rank > $1.rank : naturalOrder($0.name, $1.name) }
  }

  /// Of equally good ones: what this program is about comes first.
  private static func preference(_ item: Found) -> Int {
    let name = item.entry.name.lowercased()
    if name.contains("cross") || name.contains("attn2") { return 10 }
    return name.contains("encoder") && !name.contains("decoder") ? 20 : 30
  }

  /// The name of the only array; of several the first one's, with a star for what differs.
  private static func title(_ items: [Found]) -> String {
    let first = items[0].entry.name
    guard items.count > 1 else { return first }
    var out = "", digits = ""
    func close() {
      if !digits.isEmpty { out += "*" }
      digits = ""
    }
    for character in first {
      if character.isASCII, character.isNumber {
        digits.append(character)
      } else {
        close()
        out.append(character)
      }
    }
    close()
    return out
  }

  /// Layers by number; where names have other numbers too, so that two arrays would be the same
  /// layer, every module is one, in the order of the names. Throws `mismatch` where two arrays
  /// have the same names but for punctuation.
  private mutating func numbered(_ items: [Found]) throws(FormatError) -> [Found] {
    struct Place: Hashable { let layer: Int?, head: Int?, step: Int? }
    let places = Set(items.map { Place(layer: $0.layer, head: $0.name.head, step: $0.name.step) })
    guard places.count < items.count else { return items }
    struct Module: Hashable { let numbers: [Int] }
    func module(_ item: Found) -> Module {
      Module(numbers: (item.layer.map { [$0] } ?? []) + item.name.others)
    }
    var order: [Module: Int] = [:]
    for item in items where order[module(item)] == nil { order[module(item)] = order.count }
    let all = Set(
      items.map {
        Place(layer: order[module($0)], head: $0.name.head, step: $0.name.step)
      })
    guard all.count == items.count else {
      throw FormatError(
        .mismatch,
        "\"\(items[0].entry.name)\" and others would be the same layer; rename them",
        file: path)
    }
    let guess = Guess(
      "\(order.count) modules read as layers 0 to \(order.count - 1), in the order of their names: "
        + "\(items[0].entry.name) is layer 0", flag: "--array NAME")
    if !guesses.contains(guess) { guesses.append(guess) }
    return items.map { $0.numbered(order[module($0)]!) }
  }

  // MARK: names that say nothing

  /// Where nothing has a name of attention, the only arrays that can be maps are taken for them.
  /// With `--array` those it names. Throws what reading throws.
  private mutating func adoptUnknown() throws(FormatError) {
    if let name = options.array {
      maps += unknown.filter { $0.entry.name == name }.map { $0.taken(for: nil) }
      return
    }
    guard maps.allSatisfy({ $0.hint == .mask }), found[.query] == nil, found[.key] == nil,
      found[.blocks] == nil
    else { return }
    let groups = Dictionary(grouping: unknown, by: \.name.group)
    var likely: [[Found]] = []
    for items in groups.values where try isLikely(items[0]) { likely.append(items) }
    guard !likely.isEmpty else { return }
    for items in likely { maps += items.map { $0.taken(for: nil) } }
    maps = sortedNaturally(maps, by: \.entry.name)
    guard likely.count == 1 else { return }
    let name = Self.title(likely[0])
    let layers = Set(likely[0].compactMap(\.layer)).count
    guesses.append(
      Guess(
        likely[0].count > 1
          ? "\"\(name)\" taken for attention, \(layers) layers by their names: nothing else can be"
          : "\"\(name)\" taken for attention: the only array here that can be",
        flag: "--array NAME"))
  }

  /// Whether an array of any name can be a map: rows (or columns) that sum to 1, a mask, or a
  /// square whose upper half is empty.
  private func isLikely(_ item: Found) throws(FormatError) -> Bool {
    let shape = item.entry.shape
    guard (2...5).contains(shape.rank), shape.count > 0, shape[-1] > 1 || shape[-2] == 1 else {
      return false
    }
    let content = try MapContent(item.archive, item.entry)
    if content.sumsToOne { return true }
    if content.kind == .mask { return content.range.upperBound > 0 && shape.rank > 2 }
    let isSquare = shape[-1] == shape[-2] && shape[-1] > 2
    if isSquare, content.kind != nil { return content.causal == true || shape.rank > 2 }
    return try otherAxis(item, content) != nil
  }
}
