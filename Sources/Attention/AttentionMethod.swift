public import Tensors

/// One published way of computing attention: a card, its knobs, and a forward pass that says what it did.
///
/// Example: `try BLASST(knobs: ["lambda": .number(0.01)]).attend(group, state: &state, trace: &trace)`. A method is
/// synchronous; parallelism over heads and row tiles is below it, in `TilePass`. It takes a `HeadGroup` and not one
/// head because deployed decode kernels let all query heads of a KV head vote together.
public protocol AttentionMethod: Sendable {
  static var card: MethodCard { get }
  /// Throws `KnobError` when a knob is unknown or out of range.
  init(knobs: Knobs) throws(KnobError)
  /// The output rows of every query head, `[queries * valueDim]` each; empty arrays when the group has no V.
  /// Nil when the task was cancelled.
  func attend(_ group: HeadGroup, state: inout AttentionState, trace: inout Trace) -> [[Float]]?
  /// One new row of a KV group, as `attend` would compute it and to the same bits, into `output` `[heads, dim]`; the
  /// counts of blocks are left in `row`. False when the method has no such shortcut.
  func decode(
    _ query: UnsafePointer<Float>, _ keys: CachedKeys, _ row: DecodeRow,
    into output: UnsafeMutablePointer<Float>
  ) -> Bool
}

extension AttentionMethod {
  public func decode(
    _ query: UnsafePointer<Float>, _ keys: CachedKeys, _ row: DecodeRow,
    into output: UnsafeMutablePointer<Float>
  ) -> Bool { false }
}

/// Where a method computes, and how exactly.
public struct AttentionState: Sendable {
  /// Threads for the loops below the method; an engine that already spreads its heads gives none but the caller's.
  public var threads: ComputeThreads
  /// An engine computes in float, where its cache lies ready; analysis lets the tile pass decide.
  public var precision: TilePass.Precision

  public init(threads: ComputeThreads = .shared, precision: TilePass.Precision = .automatic) {
    (self.threads, self.precision) = (threads, precision)
  }
}

/// The facts of a method that every screen, help text and README section is made from.
public struct MethodCard: Sendable {
  public let id: String
  public let title: String
  public let family: String
  /// One sentence.
  public let idea: String
  public let citation: String
  public let knobs: [Knob]
  public let promises: Set<Promise>

  /// What `checkMethod` may hold a method to.
  public enum Promise: String, Sendable, CaseIterable {
    /// Some setting keeps everything and gives dense attention: see `denseKnobs`.
    case canBeDense
    /// The kept set does not depend on V.
    case ignoresValues
    /// Deterministic: the same input gives the same bits.
    case deterministic
  }

  /// The setting under which everything is kept.
  public let denseKnobs: Knobs

  public init(
    id: String, title: String, family: String, idea: String, citation: String, knobs: [Knob],
    promises: Set<Promise> = [.canBeDense, .ignoresValues, .deterministic], denseKnobs: Knobs = [:]
  ) {
    (self.id, self.title, self.family, self.idea) = (id, title, family, idea)
    (self.citation, self.knobs, self.promises, self.denseKnobs) = (
      citation, knobs, promises, denseKnobs
    )
  }
}

public typealias Knobs = [String: KnobValue]

public enum KnobValue: Sendable, Hashable, CustomStringConvertible {
  case number(Double)
  case word(String)

  public var description: String {
    switch self {
    case .number(let x): x == x.rounded() && abs(x) < 1e9 ? String(Int(x)) : String(x)
    case .word(let text): text
    }
  }
}

/// A setting of a method with its range and default.
public struct Knob: Sendable {
  public enum Range: Sendable {
    case number(ClosedRange<Double>)
    case integer(ClosedRange<Int>)
    case words([String])
  }

  public let name: String
  public let help: String
  public let range: Range
  public let standard: KnobValue

  public init(_ name: String, _ help: String, _ range: Range, standard: KnobValue) {
    (self.name, self.help, self.range, self.standard) = (name, help, range, standard)
  }
}

public struct KnobError: Error, Sendable, CustomStringConvertible {
  public let description: String

  public init(_ description: String) { self.description = description }
}

/// Knob values checked against a card.
public struct CheckedKnobs: Sendable {
  private let values: Knobs

  public init(_ knobs: Knobs, for card: MethodCard) throws(KnobError) {
    var values: Knobs = [:]
    for knob in card.knobs { values[knob.name] = knob.standard }
    for (name, value) in knobs {
      guard let knob = card.knobs.first(where: { $0.name == name }) else {
        let known = card.knobs.map(\.name).joined(separator: ", ")
        throw KnobError(
          "\(card.id) has no knob '\(name)'; it has \(known.isEmpty ? "none" : known)")
      }
      if let complaint = knob.complaint(about: value) {
        throw KnobError("\(card.id): \(complaint)")
      }
      values[name] = value
    }
    self.values = values
  }

  public func number(_ name: String) -> Double {
    if case .number(let x) = values[name] {
      x
    } else {
      preconditionFailure("\(name) is not a number knob")
    }
  }

  public func integer(_ name: String) -> Int { Int(number(name)) }

  public func word(_ name: String) -> String {
    if case .word(let text) = values[name] {
      text
    } else {
      preconditionFailure("\(name) is not a word knob")
    }
  }
}

extension Knob {
  func complaint(about value: KnobValue) -> String? {
    switch (range, value) {
    case (.number(let range), .number(let x)):
      return range.contains(x)
        ? nil : "\(name) = \(x) is outside \(range.lowerBound)...\(range.upperBound)"
    case (.integer(let range), .number(let x)):
      guard x == x.rounded(), abs(x) < 1e15 else {
        return "\(name) must be a whole number and is \(x)"
      }
      return range.contains(Int(x))
        ? nil : "\(name) = \(Int(x)) is outside \(range.lowerBound)...\(range.upperBound)"
    case (.words(let words), .word(let text)):
      return words.contains(text)
        ? nil : "\(name) must be one of \(words.joined(separator: ", ")) and is '\(text)'"
    case (.words(let words), .number):
      return "\(name) must be one of \(words.joined(separator: ", "))"
    default: return "\(name) must be a number"
    }
  }

  /// The range as help shows it.
  public var rangeText: String {
    switch range {
    case .number(let range): "\(range.lowerBound)...\(range.upperBound)"
    case .integer(let range):
      range.upperBound == .max
        ? "\(range.lowerBound)..." : "\(range.lowerBound)...\(range.upperBound)"
    case .words(let words): words.joined(separator: "|")
    }
  }
}
