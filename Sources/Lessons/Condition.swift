/// Why a check cannot be read: a sentence, and the column where.
///
/// Example: `try Condition("sparsity >= 50%").holds { facts[$0] }`. Names and kinds are checked
/// when it is read, so that a lesson with a slip is found when the file is checked and not by a
/// learner.
public struct ConditionError: Error, CustomStringConvertible {
  /// As a person reads it: `column 12: there is no fact 'lamda'`.
  public let description: String
}

/// A condition on the program's state: `sparsity >= 0.5 and error < 0.01`, `view == blocks`, `not
/// block.skipped`, `lambda > start.lambda`.
///
/// A fact that is not known yet makes a comparison unknown (nil), neither true nor false; `and` and
/// `or` are those of three values.
public struct Condition: Sendable {
  /// The tree of a condition.
  indirect enum Node: Sendable {
    case and(Node, Node), or(Node, Node), not(Node)
    /// A truth by itself.
    case isTrue(String)
    case compare(String, Operator, Operand)
  }

  /// Comparisons; raw values are how they are written.
  enum Operator: String, Sendable {
    case equal = "==", unequal = "!=", less = "<", atMost = "<=", more = ">", atLeast = ">="
  }

  /// The right side of a comparison: another fact, or a constant.
  enum Operand: Sendable {
    case fact(String)
    case constant(Fact)
  }

  /// As it was written.
  public let text: String
  private let root: Node

  /// Reads the text. Throws `ConditionError` with the column where it stops making sense.
  public init(_ text: String) throws(ConditionError) {
    self.text = text
    var parser = try ConditionParser(text)
    root = try parser.whole()
  }

  /// The facts it reads, in order, without repeats; `start.` ones under their full name.
  public var names: [String] {
    var names: [String] = []
    func add(_ name: String) { if !names.contains(name) { names.append(name) } }
    func walk(_ node: Node) {
      switch node {
      case .and(let a, let b), .or(let a, let b):
        walk(a)
        walk(b)
      case .not(let a): walk(a)
      case .isTrue(let name): add(name)
      case .compare(let name, _, let operand):
        add(name)
        if case .fact(let other) = operand { add(other) }
      }
    }
    walk(root)
    return names
  }

  /// Nil while something that matters is unknown.
  /// `facts` gives the value of a name, nil while it is not known; it may be asked twice for one
  /// name.
  public func holds(_ facts: (String) -> Fact?) -> Bool? { Self.value(root, facts) }

  /// Logic of three values: a false side settles `and`, a true side settles `or`, whatever the
  /// other side is.
  private static func value(_ node: Node, _ facts: (String) -> Fact?) -> Bool? {
    switch node {
    case .and(let a, let b):
      let (x, y) = (value(a, facts), value(b, facts))
      if x == false || y == false { return false }
      return x == nil || y == nil ? nil : true
    case .or(let a, let b):
      let (x, y) = (value(a, facts), value(b, facts))
      if x == true || y == true { return true }
      return x == nil || y == nil ? nil : false
    case .not(let a): return value(a, facts).map { !$0 }
    case .isTrue(let name):
      guard case .truth(let value) = facts(name) else { return nil }
      return value
    case .compare(let name, let sign, let operand):
      var right: Fact?
      switch operand {
      case .fact(let other): right = facts(other)
      case .constant(let fact): right = fact
      }
      guard let left = facts(name), let right else { return nil }
      return compare(left, sign, right)
    }
  }

  /// Nil for kinds that do not go together; texts are compared without case.
  private static func compare(_ left: Fact, _ sign: Operator, _ right: Fact) -> Bool? {
    switch (left, right) {
    case (.number(let a), .number(let b)):
      // Numbers of a screen have about six digits; equality beyond that would be luck.
      // A first block's margin is infinite, and near to nothing.
      let apart = abs(a - b)
      let near = a == b || (apart.isFinite && apart <= 1e-6 * max(abs(a), abs(b)))
      switch sign {
      case .equal: return near
      case .unequal: return !near
      case .less: return a < b && !near
      case .atMost: return a <= b || near
      case .more: return a > b && !near
      case .atLeast: return a >= b || near
      }
    case (.text(let a), .text(let b)):
      let isSame = a.lowercased() == b.lowercased()
      return sign == .equal ? isSame : (sign == .unequal ? !isSame : nil)
    case (.truth(let a), .truth(let b)):
      return sign == .equal ? a == b : (sign == .unequal ? a != b : nil)
    default: return nil
    }
  }
}
