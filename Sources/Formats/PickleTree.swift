import Tensors

/// The arrays and the texts that a pickle holds, under names made from where they stand.
///
/// Keys of dictionaries are names already. Members of lists get the word for what a list of
/// such things is: `attentions` of a model is a tuple with a tensor a layer, what `generate`
/// returns is a tuple a step of tuples with a tensor a layer. Example: `step_2.layer_11`,
/// `encoder_attentions.layer_0`, `layer_3.head_5`.
struct PickleTree {
  private let heap: PickleHeap
  /// In the order in which they were met.
  private(set) var arrays: [(name: String, array: PickledArray)] = []
  private(set) var texts: [String: [String]] = [:]
  /// Names of what holds neither, with why.
  private(set) var leftOut: [LeftOut] = []
  private var names: Set<String> = []
  /// What the walk may still meet: values, members of lists, texts, and bytes of names. Nothing
  /// that people save has more.
  private var left = (visits: 1 << 20, members: 1 << 24, texts: 1 << 22, letters: 64 << 20)

  /// Nothing that people save is deeper, nor has a longer key.
  private static let mostDepth = 16, longestKey = 4096

  /// Walks what `root` holds. The catch: a value that is shared is met once for each place,
  /// and so the walk is bounded and not only the pickle.
  init(_ heap: PickleHeap, _ root: PickleRef) {
    self.heap = heap
    walk(root, [], word: "")
    if isSpent {
      let why = "it holds more than is looked through"
      leftOut.insert(LeftOut(name: "the rest of the pickle", why: why), at: 0)
    }
  }

  private var isSpent: Bool {
    left.visits < 0 || left.members < 0 || left.texts < 0 || left.letters < 0
  }

  private mutating func walk(_ ref: PickleRef, _ path: [String], word: String) {
    left.visits -= 1
    guard !isSpent, path.count < Self.mostDepth else { return }
    switch heap[ref] {
    case .array(let array):
      let name = path.isEmpty ? "arr_0" : name(path)
      if names.insert(name).inserted { arrays.append((name, array)) }
    case .tuple(let members), .list(let members): walk(members, path, word)
    case .dict(let pairs): walk(pairs, path)
    case .object(let object):
      walk(object.pairs, path)
      if let state = object.state { walk(state, path, word: word) }
      if object.pairs.isEmpty, object.state == nil { walk(object.arguments, path, word) }
      walk(object.items, path, word)
      if object.pairs.isEmpty, object.items.isEmpty { note(path, "an object of \(object.name)") }
    case .text(let text): keep([text], path)
    default: break
    }
  }

  private mutating func name(_ path: [String]) -> String {
    let name = path.joined(separator: ".")
    left.letters -= name.utf8.count
    return name
  }

  private mutating func keep(_ list: [String], _ path: [String]) {
    let name = name(path)
    left.texts -= list.count
    if !isSpent, texts[name] == nil { texts[name] = list }
  }

  private mutating func note(_ path: [String], _ why: String) {
    guard !path.isEmpty, leftOut.count < 64 else { return }
    let item = LeftOut(name: name(path), why: why)
    if !leftOut.contains(item) { leftOut.append(item) }
  }

  private mutating func walk(_ pairs: [(key: PickleRef, value: PickleRef)], _ path: [String]) {
    for (key, value) in pairs where !isSpent {
      switch heap[key] {
      case .text(let text) where text.utf8.count <= Self.longestKey:
        walk(value, path + [text], word: "")
      case .int(let number): walk(value, path + ["\(number)"], word: "")
      default: break
      }
    }
  }

  /// A list of texts is one thing; of anything else each member is.
  private mutating func walk(_ members: [PickleRef], _ path: [String], _ parent: String) {
    left.members -= members.count
    guard !isSpent else { return }
    let list = members.compactMap(heap.text)
    if !list.isEmpty, list.count == members.count { return keep(list, path) }
    guard let word = word(members, path, parent) else { return }
    for (index, member) in members.enumerated() where !isSpent {
      walk(member, path + ["\(word)_\(index)"], word: word)
    }
  }

  /// What the members of a list are; nil where none holds an array.
  private func word(_ members: [PickleRef], _ path: [String], _ parent: String) -> String? {
    let shapes = members.lazy.compactMap { shape($0) }
    if let shape = shapes.first {
      if parent == "layer" { return shape.count == 2 ? "head" : "item" }
      return "layer"
    }
    // Lists of lists: what the inner ones hold tells.
    let inner = members.lazy.compactMap { heap.members($0) }.prefix(4)
    let first = inner.compactMap { list in list.lazy.compactMap { shape($0) }.first }
    guard let shape = first.first else {
      return members.contains { if case .int = heap[$0] { false } else { true } } ? "item" : nil
    }
    if path.last.map({ $0.contains("past") }) ?? false || shape.count == 2 { return "layer" }
    let isGrowing = first.contains { $0 != shape } || shape.count > 1 && shape[shape.count - 2] == 1
    return isGrowing || first.count == 1 ? "step" : "sample"
  }

  private func shape(_ ref: PickleRef) -> [Int]? {
    if case .array(let array) = heap[ref] { return array.shape }
    return nil
  }
}
