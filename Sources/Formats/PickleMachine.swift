import Tensors

/// Reads a Python pickle, protocols 0 to 5, and runs nothing.
///
/// A pickle is a program for a small stack machine whose instructions may call any function
/// of Python. This one has a stack and a memo, and no way to call: a function that is named
/// stays a name, and `PickleObjects` knows by heart what a dozen of them would have made
/// (tensors of torch, arrays of numpy, ordered dictionaries). Everything else is kept as what
/// it would be made from, for whoever looks for arrays inside it.
///
/// Memory and time are bounded by the length of the stream, though a few bytes of it may name a
/// list of a million members once more: what calls copy is paid for. Nothing is nested on the
/// stack of this program. The opcodes are those of Python's `pickletools`.
struct PickleMachine {
  /// The bytes that the stream lies in.
  let storage: Storage
  /// For messages.
  let file: String
  /// Where the next opcode is, in bytes from the start of the storage.
  private(set) var at: Int
  /// Where the stream ends at the latest.
  let end: Int
  var heap = PickleHeap()
  private var stack: [PickleRef] = []
  private var marks: [Int] = []
  private var memo: [Int: PickleRef] = [:]
  /// Bytes that calls may still copy.
  private var left: Int

  /// A stream that begins at `at` and ends before `end`, in bytes from the start of `storage`.
  init(_ storage: Storage, at: Int, end: Int, file: String) {
    (self.storage, self.at, self.end, self.file) = (storage, at, end, file)
    // A member of a list is a byte of a pickle at least, and 16 where it is copied at most.
    left = 16 * max(end - at, 0)
  }

  /// Reads one pickle and returns what it holds; the next one, if there is one, begins at
  /// `at`. Throws `truncated` where the stream ends before its STOP, `malformed` for what no
  /// pickle holds, `unsupported` for buffers outside of the stream, `tooLarge` for more values
  /// than any dump has.
  mutating func read() throws(FormatError) -> PickleRef {
    stack = []
    marks = []
    memo = [:]
    while true {
      let code = try byte()
      if code == UInt8(ascii: ".") { return try pop() }
      if try constant(code) { continue }
      if try collection(code) { continue }
      if try memory(code) { continue }
      if try object(code) { continue }
      throw fail("opcode \(code) at byte \(at - 1) is no pickle's")
    }
  }

  /// A pickle that is none, in a sentence.
  func fail(_ what: String, _ code: FormatError.Code = .malformed) -> FormatError {
    FormatError(code, "the pickle cannot be read: \(what); save it again", file: file)
  }

  // MARK: the stream

  private mutating func byte() throws(FormatError) -> UInt8 {
    guard at < end else { throw fail("it ends in the middle", .truncated) }
    at += 1
    return storage.bytes[at - 1]
  }

  private mutating func number<T: FixedWidthInteger>(_ type: T.Type) throws(FormatError) -> Int {
    let range = try take(MemoryLayout<T>.size)
    guard let value = storage.bytes.integer(type, at: range.lowerBound),
      let number = Int(exactly: value)
    else { throw fail("a length of it is absurd") }
    return number
  }

  /// The next `count` bytes, which must be there.
  private mutating func take(_ count: Int) throws(FormatError) -> Range<Int> {
    guard count >= 0, count <= end - at else { throw fail("it ends in the middle", .truncated) }
    at += count
    return at - count..<at
  }

  /// The text up to the end of the line, without it.
  private mutating func line() throws(FormatError) -> String {
    let start = at
    while try byte() != UInt8(ascii: "\n") {}
    return storage.bytes.text(start..<at - 1)
  }

  /// The same of bytes that are a letter each, as raw-unicode-escape writes them.
  private mutating func latinLine() throws(FormatError) -> String {
    let start = at
    while try byte() != UInt8(ascii: "\n") {}
    var text = String.UnicodeScalarView()
    for byte in storage.bytes[start..<at - 1] { text.append(Unicode.Scalar(byte)) }
    return String(text)
  }

  // MARK: the stack

  mutating func push(_ value: PickleValue) throws(FormatError) {
    guard let ref = heap.add(value) else { throw tooMany }
    try push(ref)
  }

  mutating func push(_ ref: PickleRef) throws(FormatError) {
    guard stack.count < PickleHeap.most else { throw tooMany }
    stack.append(ref)
  }

  private var tooMany: FormatError {
    fail("it makes more than \(PickleHeap.most) values", .tooLarge)
  }

  /// Pays for a copy of a value, without what it names. Throws `tooLarge` where the stream is
  /// shorter than what is copied of it.
  mutating func pay(_ ref: PickleRef) throws(FormatError) {
    left -= heap.size(ref)
    guard left >= 0 else { throw fail("it copies what it holds again and again", .tooLarge) }
  }

  mutating func pop() throws(FormatError) -> PickleRef {
    guard stack.count > (marks.last ?? 0), let ref = stack.popLast() else {
      throw fail("its stack runs empty")
    }
    return ref
  }

  private func top() throws(FormatError) -> PickleRef {
    guard let ref = stack.last else { throw fail("its stack runs empty") }
    return ref
  }

  /// Everything above the last mark.
  private mutating func popMarked() throws(FormatError) -> [PickleRef] {
    guard let mark = marks.popLast(), mark <= stack.count else { throw fail("a mark is missing") }
    let refs = Array(stack[mark...])
    stack.removeSubrange(mark...)
    return refs
  }

  // MARK: opcodes

  /// Numbers, texts, bytes and the like; false for other opcodes.
  private mutating func constant(_ code: UInt8) throws(FormatError) -> Bool {
    switch code {
    case UInt8(ascii: "N"): try push(.none)
    case 0x88, 0x89: try push(.bool(code == 0x88))
    case UInt8(ascii: "K"): try push(.int(number(UInt8.self)))
    case UInt8(ascii: "M"): try push(.int(number(UInt16.self)))
    case UInt8(ascii: "J"): try push(.int(number(Int32.self)))
    case UInt8(ascii: "I"): try push(try Self.shortNumber(line()))
    case UInt8(ascii: "L"): try push(.int(Int(try line().filter { $0 != "L" }) ?? .max))
    case 0x8a, 0x8b:
      let length = code == 0x8a ? try number(UInt8.self) : try number(Int32.self)
      try push(.int(Self.long(storage.bytes, take(length))))
    case UInt8(ascii: "F"): try push(.double(Double(try line()) ?? .nan))
    case UInt8(ascii: "G"):
      let bits = storage.bytes.integer(UInt64.self, at: try take(8).lowerBound) ?? 0
      try push(.double(Double(bitPattern: bits.byteSwapped)))
    default: return try text(code)
    }
    return true
  }

  /// Texts and bytes; false for other opcodes.
  private mutating func text(_ code: UInt8) throws(FormatError) -> Bool {
    switch code {
    case 0x8c: try push(.text(storage.bytes.text(take(number(UInt8.self)))))
    case UInt8(ascii: "X"): try push(.text(storage.bytes.text(take(number(UInt32.self)))))
    case 0x8d: try push(.text(storage.bytes.text(take(number(UInt64.self)))))
    case UInt8(ascii: "V"): try push(.text(Self.unescaped(latinLine())))
    case UInt8(ascii: "S"): try push(.text(String(try line().dropFirst().dropLast())))
    case UInt8(ascii: "U"): try push(oldString(take(number(UInt8.self))))
    case UInt8(ascii: "T"): try push(oldString(take(number(Int32.self))))
    case UInt8(ascii: "C"): try push(.bytes(.place(take(number(UInt8.self)))))
    case UInt8(ascii: "B"): try push(.bytes(.place(take(number(UInt32.self)))))
    case 0x8e, 0x96: try push(.bytes(.place(take(number(UInt64.self)))))
    default: return false
    }
    return true
  }

  /// What Python 2 called a string: a text where it is one, else bytes.
  private func oldString(_ range: Range<Int>) -> PickleValue {
    String(validating: storage.bytes[range], as: UTF8.self).map { .text($0) }
      ?? .bytes(.place(range))
  }

  /// Tuples, lists, dictionaries and marks; false for other opcodes.
  private mutating func collection(_ code: UInt8) throws(FormatError) -> Bool {
    switch code {
    case UInt8(ascii: "("):
      guard marks.count < PickleHeap.most else { throw tooMany }
      marks.append(stack.count)
    case UInt8(ascii: ")"): try push(.tuple([]))
    case UInt8(ascii: "t"): try push(.tuple(popMarked()))
    case 0x85: try push(.tuple([pop()]))
    case 0x86, 0x87:
      var refs: [PickleRef] = []
      for _ in 0..<Int(code) - 0x84 { refs.insert(try pop(), at: 0) }
      try push(.tuple(refs))
    case UInt8(ascii: "]"), 0x8f: try push(.list([]))
    case UInt8(ascii: "l"), 0x91: try push(.list(popMarked()))
    case UInt8(ascii: "}"): try push(.dict([]))
    case UInt8(ascii: "d"):
      let refs = try popMarked()
      try push(.dict([]))
      try add(pairs: refs, to: top())
    case UInt8(ascii: "a"):
      let item = try pop()
      heap.append([item], to: try top())
    case UInt8(ascii: "e"), 0x90:
      let items = try popMarked()
      heap.append(items, to: try top())
    case UInt8(ascii: "s"):
      let value = try pop(), key = try pop()
      try add(pairs: [key, value], to: top())
    case UInt8(ascii: "u"):
      let refs = try popMarked()
      try add(pairs: refs, to: top())
    default: return false
    }
    return true
  }

  /// The memo, and what is about the stack alone; false for other opcodes.
  private mutating func memory(_ code: UInt8) throws(FormatError) -> Bool {
    switch code {
    case 0x80: _ = try take(1)
    case 0x95: _ = try take(8)
    case UInt8(ascii: "0"):
      if let mark = marks.last, mark == stack.count { marks.removeLast() } else { _ = try pop() }
    case UInt8(ascii: "1"): _ = try popMarked()
    case UInt8(ascii: "2"): try push(top())
    case 0x94: try remember(memo.count)
    case UInt8(ascii: "q"): try remember(number(UInt8.self))
    case UInt8(ascii: "r"): try remember(number(UInt32.self))
    case UInt8(ascii: "p"): try remember(Int(line()) ?? -1)
    case UInt8(ascii: "h"): try recall(number(UInt8.self))
    case UInt8(ascii: "j"): try recall(number(UInt32.self))
    case UInt8(ascii: "g"): try recall(Int(line()) ?? -1)
    case 0x97, 0x98:
      throw fail("its buffers were kept outside of it (out-of-band)", .unsupported)
    case 0x82, 0x83, 0x84: throw fail("it names things by copyreg's numbers", .unsupported)
    default: return false
    }
    return true
  }

  private mutating func remember(_ key: Int) throws(FormatError) {
    guard memo.count < PickleHeap.most else { throw tooMany }
    memo[key] = try top()
  }

  private mutating func recall(_ key: Int) throws(FormatError) {
    guard let ref = memo[key] else { throw fail("it recalls what it never had") }
    try push(ref)
  }

  /// Classes, functions and what they would make; false for other opcodes.
  private mutating func object(_ code: UInt8) throws(FormatError) -> Bool {
    switch code {
    case UInt8(ascii: "c"): try pushGlobal(line(), line())
    case 0x93:
      let name = try pop(), module = try pop()
      try pushGlobal(heap.text(module) ?? "?", heap.text(name) ?? "?")
    case UInt8(ascii: "Q"): try push(.persistent(pop()))
    case UInt8(ascii: "P"):
      try push(.text(line()))
      try push(.persistent(pop()))
    case UInt8(ascii: "R"), 0x81:
      let arguments = try pop(), callable = try pop()
      try push(made(callable, heap.members(arguments) ?? []))
    case 0x92:
      _ = try pop()
      let arguments = try pop(), callable = try pop()
      try push(made(callable, heap.members(arguments) ?? []))
    case UInt8(ascii: "o"):
      let refs = try popMarked()
      guard let first = refs.first else { throw fail("an object has no class") }
      try push(made(first, Array(refs.dropFirst())))
    case UInt8(ascii: "i"):
      try pushGlobal(line(), line())
      let callable = try pop()
      try push(made(callable, popMarked()))
    case UInt8(ascii: "b"):
      let state = try pop(), target = try top()
      if heap.isUnbuiltArray(target) {
        for part in (heap.members(state) ?? []).prefix(8) { try pay(part) }
      }
      heap.build(target, state)
    default: return false
    }
    return true
  }

  /// A class or a function by name. Throws `malformed` where it is longer than any program's.
  private mutating func pushGlobal(_ module: String, _ name: String) throws(FormatError) {
    guard module.utf8.count < 1024, name.utf8.count < 1024 else { throw fail("a name is absurd") }
    try push(.global("\(module).\(name)"))
  }

  private mutating func add(pairs refs: [PickleRef], to target: PickleRef) throws(FormatError) {
    guard refs.count % 2 == 0 else { throw fail("a dictionary has a key without a value") }
    heap.set(stride(from: 0, to: refs.count, by: 2).map { (refs[$0], refs[$0 + 1]) }, on: target)
  }
}

extension PickleMachine {
  /// `00` and `01` are how protocol 0 writes False and True.
  private static func shortNumber(_ line: String) -> PickleValue {
    line == "00" ? .bool(false) : line == "01" ? .bool(true) : .int(Int(line) ?? .max)
  }

  /// A little-endian number of any length; what an `Int` cannot hold is its largest, since no
  /// size of a dump is.
  private static func long(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) -> Int {
    guard range.count <= 8 else { return .max }
    var value: UInt64 = 0
    for (index, at) in range.enumerated() { value |= UInt64(bytes[at]) << (8 * UInt64(index)) }
    let shift = UInt64(64 - 8 * range.count)
    return range.isEmpty ? 0 : Int(Int64(bitPattern: value << shift) >> Int64(shift))
  }

  /// Python's raw-unicode-escape: `\u0120` and `\U0001F600`, everything else as it is.
  static func unescaped(_ line: String) -> String {
    guard line.contains("\\") else { return line }
    var out = "", rest = Substring(line)
    while let slash = rest.firstIndex(of: "\\") {
      out += rest[..<slash]
      let tail = rest[slash...].dropFirst()
      let width = tail.first == "u" ? 4 : tail.first == "U" ? 8 : 0
      let digits = tail.dropFirst().prefix(width)
      if width > 0, digits.count == width, let code = UInt32(digits, radix: 16),
        let scalar = Unicode.Scalar(code)
      {
        out.unicodeScalars.append(scalar)
        rest = tail.dropFirst(width + 1)
      } else {
        out += "\\"
        rest = tail
      }
    }
    return out + rest
  }
}
