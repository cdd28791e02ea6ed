import Tensors

/// What the few functions that dumps are made of would have returned. They are known by name
/// and by heart; none is called, and a name that is not among them makes an object that does
/// nothing.
extension PickleMachine {
  /// Where the functions are that are known.
  private static let modules = [
    "torch.", "numpy.", "collections.", "builtins.", "__builtin__.", "_codecs.",
  ]

  /// What calling `callable` would make.
  mutating func made(_ callable: PickleRef, _ arguments: [PickleRef]) throws(FormatError)
    -> PickleValue
  {
    guard let name = heap.global(callable) else {
      return .object(PickledObject(name: "?", arguments: arguments))
    }
    // What is made is made by copying; all else is kept as it is.
    guard Self.modules.contains(where: name.hasPrefix), arguments.count <= 8 else {
      return inert(name, arguments)
    }
    for argument in arguments { try pay(argument) }
    switch name {
    case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2",
      "torch._utils._rebuild_tensor_v3":
      return tensor(arguments).map { .array($0) } ?? inert(name, arguments)
    case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
      return arguments.first.map { heap[$0] } ?? inert(name, arguments)
    case "torch._tensor._rebuild_from_type_v2" where arguments.count > 2:
      return try made(again: arguments)
    case "collections.OrderedDict", "collections.defaultdict", "builtins.dict",
      "__builtin__.dict":
      return .dict(arguments.last.map(pairs) ?? [])
    case "torch.Size", "builtins.tuple", "builtins.list", "__builtin__.tuple", "__builtin__.list":
      return arguments.first.map { heap[$0] } ?? .tuple([])
    case "_codecs.encode": return encoded(arguments) ?? inert(name, arguments)
    case "builtins.bytearray", "__builtin__.bytearray", "builtins.bytes", "__builtin__.bytes":
      return arguments.first.map { heap[$0] } ?? .bytes(.place(0..<0))
    case "numpy.dtype":
      let code = arguments.first.flatMap(heap.text) ?? "?"
      return .elementType(code.utf8.count < 64 ? code : "?")
    default: break
    }
    // numpy moved these from `numpy.core` to `numpy._core`.
    if name.hasPrefix("numpy."), name.hasSuffix("._frombuffer"), let array = buffer(arguments) {
      return .array(array)
    }
    return inert(name, arguments)
  }

  private func inert(_ name: String, _ arguments: [PickleRef]) -> PickleValue {
    .object(PickledObject(name: name, arguments: arguments))
  }

  /// `_rebuild_from_type_v2(function, type, arguments, state)`: a tensor of a subclass. One level
  /// alone: what it is rebuilt with is a plain tensor's.
  private mutating func made(again arguments: [PickleRef]) throws(FormatError) -> PickleValue {
    guard heap.global(arguments[0]) != "torch._tensor._rebuild_from_type_v2",
      let own = heap.members(arguments[2])
    else { return inert("torch._tensor._rebuild_from_type_v2", arguments) }
    return try made(arguments[0], own)
  }

  /// `(storage, offset, size, stride, ...)`; version 3 has its element type as seventh.
  private func tensor(_ arguments: [PickleRef]) -> PickledArray? {
    guard arguments.count >= 4, case .persistent(let id) = heap[arguments[0]],
      let parts = heap.members(id), parts.count >= 5, heap.text(parts[0]) == "storage",
      let kind = heap.global(parts[1]), let key = heap.text(parts[2]),
      let offset = heap.int(arguments[1]), let shape = heap.integers(arguments[2]),
      let strides = heap.integers(arguments[3])
    else { return nil }
    let later = arguments.count > 6 ? heap.global(arguments[6]) : nil
    let type = (later ?? kind).split(separator: ".").last.map(String.init) ?? kind
    return PickledArray(
      type: type, shape: shape, strides: strides, isFortran: false, offset: offset,
      source: .storage(key))
  }

  /// `numpy.core.numeric._frombuffer(buffer, type, shape, order)`, protocol 5.
  private func buffer(_ arguments: [PickleRef]) -> PickledArray? {
    guard arguments.count == 4, case .bytes(let bytes) = heap[arguments[0]],
      case .elementType(let type) = heap[arguments[1]], let shape = heap.integers(arguments[2])
    else { return nil }
    return PickledArray(
      type: type, shape: shape, strides: nil, isFortran: heap.text(arguments[3]) == "F", offset: 0,
      source: .bytes(bytes))
  }

  /// Bytes as protocols 0 to 2 write them: a text of latin-1.
  private func encoded(_ arguments: [PickleRef]) -> PickleValue? {
    guard let text = arguments.first.flatMap(heap.text) else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.utf8.count)
    for scalar in text.unicodeScalars {
      guard let byte = UInt8(exactly: scalar.value) else { return nil }
      bytes.append(byte)
    }
    return .bytes(.own(OwnedStorage(bytes)))
  }

  /// A list of pairs, or another dictionary, as a dictionary is made from.
  private func pairs(_ ref: PickleRef) -> [(key: PickleRef, value: PickleRef)] {
    if case .dict(let pairs) = heap[ref] { return pairs }
    return (heap.members(ref) ?? []).compactMap { pair in
      guard let two = heap.members(pair), two.count == 2 else { return nil }
      return (two[0], two[1])
    }
  }
}

extension PickleHeap {
  /// Appends to a list, or to an object that would be one.
  mutating func append(_ refs: [PickleRef], to target: PickleRef) {
    // Taken out before it is changed, or every append would copy the list.
    switch values[target] {
    case .list(var list):
      self[target] = .none
      list += refs
      self[target] = .list(list)
    case .object(var object):
      self[target] = .none
      object.items += refs
      self[target] = .object(object)
    default: break
    }
  }

  /// Sets entries of a dictionary, or of an object that would be one.
  mutating func set(_ pairs: [(key: PickleRef, value: PickleRef)], on target: PickleRef) {
    switch values[target] {
    case .dict(var own):
      self[target] = .none
      own += pairs
      self[target] = .dict(own)
    case .object(var object):
      self[target] = .none
      object.pairs += pairs
      self[target] = .object(object)
    default: break
    }
  }

  /// Whether a value is an array of numpy that has no state yet.
  func isUnbuiltArray(_ ref: PickleRef) -> Bool {
    guard case .object(let object) = values[ref] else { return false }
    return object.name.hasSuffix(".multiarray._reconstruct")
  }

  /// Gives an object its state: numpy's arrays and element types are made in two steps.
  mutating func build(_ target: PickleRef, _ state: PickleRef) {
    switch values[target] {
    case .elementType(let code):
      // (version, byte order, ...)
      let marks = "<>|="
      guard let parts = members(state), parts.count > 1, let order = text(parts[1])?.first,
        marks.contains(order)
      else { return }
      let bare = code.drop { marks.contains($0) }
      self[target] = .elementType("\(order)\(bare)")
    case .object(let object) where isUnbuiltArray(target):
      self[target] = array(state) ?? .object(object)
    case .object(var object):
      self[target] = .none
      object.state = state
      self[target] = .object(object)
    default: break
    }
  }

  /// `(version, shape, type, is Fortran, bytes or list)` as an array, or, of Python objects, as
  /// the list that it is.
  private func array(_ state: PickleRef) -> PickleValue? {
    guard let parts = members(state), parts.count == 5, let shape = integers(parts[1]),
      case .elementType(let type) = self[parts[2]]
    else { return nil }
    if case .list(let refs) = self[parts[4]] { return .list(refs) }
    let bytes: PickleBytes
    switch self[parts[4]] {
    case .bytes(let own): bytes = own
    case .text(let text):
      bytes = .own(OwnedStorage(text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }))
    default: return nil
    }
    return .array(
      PickledArray(
        type: type, shape: shape, strides: nil, isFortran: int(parts[3]) == 1, offset: 0,
        source: .bytes(bytes)))
  }
}
