/// How near a method's result is to what was published.
public enum Fidelity: Sendable, Hashable {
  /// Nothing trained is involved: this is the paper's result on this head.
  case exact
  /// Exact once the paper's own weights are there.
  case exactWithWeights
  /// A stated stand-in for something trained: its level, and a sentence.
  case surrogate(Level, String)
  /// A number that stands for another: a sentence.
  case proxy(String)

  /// How much of a surrogate is made up, from least to most.
  public enum Level: String, Sendable, Hashable, CaseIterable {
    /// The paper's neutral or initial value.
    case U0
    /// A seeded draw from the paper's initialiser.
    case U1
    /// Fitted on this head.
    case U2
    /// A statistic of our own in its place.
    case U3
  }

  /// One word or two, always shown beside the result.
  public var tag: String {
    switch self {
    case .exact: "exact"
    case .exactWithWeights: "exact with weights"
    case .surrogate(let level, _): level.rawValue
    case .proxy: "proxy"
    }
  }

  /// What the tag means here; empty for exact results.
  public var sentence: String {
    switch self {
    case .exact: ""
    case .exactWithWeights: "exact once the paper's own weights are supplied"
    case .surrogate(_, let text), .proxy(let text): text
    }
  }
}

/// Methods whose blocks are read off one table for every threshold (`BlockTable`): the slider, the
/// curve, the calibration and the head grid then need no recomputation. A capability of a card, so
/// that nobody asks for a method's name.
public struct BlockTables: Sendable {
  /// The setting of a tile and a lambda.
  public let setting: @Sendable (TileSpec, Double) -> MethodSetting
  /// The tile and lambda of a setting, for so many queries. Throws what the method's `init` throws.
  public let read:
    @Sendable (MethodSetting, _ queries: Int) throws -> (spec: TileSpec, lambda: Double)

  /// Both ways between a setting and what a table is asked with.
  public init(
    setting: @escaping @Sendable (TileSpec, Double) -> MethodSetting,
    read: @escaping @Sendable (MethodSetting, Int) throws -> (spec: TileSpec, lambda: Double)
  ) {
    (self.setting, self.read) = (setting, read)
  }
}

/// The facts of a method that every screen, help text and README section is made from.
///
/// Example: `MethodCard(id: "a-shape", title: "A-shape", family: "static", idea: "...", source:
/// "...")`. A method is known to the rest of the program by this card alone; nothing asks for a
/// method by name. `mainField` and `mainNumber` are names of findings that `examine` says.
public struct MethodCard: Sendable {
  /// What users type: lower case, words joined by `-`.
  public let id: String
  /// For a person, in the spelling of the paper.
  public let title: String
  /// Methods of one family stand together in lists.
  public let family: String
  /// One sentence.
  public let idea: String
  /// Authors, title, year, identifier.
  public let source: String
  /// How much of a head's surroundings the method reads.
  public let scope: Subject.Scope
  /// What must be there beside a head's own pattern; without it `examine` throws `Missing`.
  public let needs: Set<Need>
  /// Its settings, in the order of help texts; the main one is marked.
  public let knobs: [KnobFacts]
  /// What checks hold the method to.
  public let promises: Set<Promise>
  /// How near the result is to what was published.
  public let fidelity: Fidelity
  /// Most tokens for a whole map; above it rows are computed as they are looked at, and the screen
  /// says so.
  public let wholeMap: Int
  /// The field that stands for the method on the map and in comparisons; nil for methods without
  /// one.
  public let mainField: String?
  /// The number that heads are ranked by.
  public let mainNumber: String?
  /// How its setting and a tile and lambda translate; nil for methods that are not read off a block
  /// table.
  public let blockTables: BlockTables?
  /// Ids of their own for some settings: `lucid-half`.
  public let variants: [String: Knobs]
  /// How near the variants are to what was published, where that is not `fidelity`.
  public let variantFidelity: [String: Fidelity]
  /// The same of knobs, those of a variant among them, whatever the id; nil where they leave it as
  /// it is.
  public let knobFidelity: @Sendable (Knobs) -> Fidelity?
  /// The setting under which everything is kept; nil where there is none.
  public let denseKnobs: Knobs?
  /// How the cost of choosing grows with the text; nil where the card does not say.
  public let growth: Growth?

  /// What a check may hold a method to.
  public enum Promise: String, Sendable, CaseIterable {
    /// The kept set does not depend on V.
    case ignoresValues
    /// Deterministic: the same input gives the same bits.
    case deterministic
  }

  /// Everything but the first five may be left out.
  public init(
    id: String, title: String, family: String, idea: String, source: String,
    scope: Subject.Scope = .head, needs: Set<Need> = [], knobs: [KnobFacts] = [],
    promises: Set<Promise> = [.ignoresValues, .deterministic], fidelity: Fidelity = .exact,
    wholeMap: Int = 1 << 14, mainField: String? = nil, mainNumber: String? = nil,
    denseKnobs: Knobs? = nil, variants: [String: Knobs] = [:],
    variantFidelity: [String: Fidelity] = [:], blockTables: BlockTables? = nil,
    growth: Growth? = nil, knobFidelity: @escaping @Sendable (Knobs) -> Fidelity? = { _ in nil }
  ) {
    (self.growth, self.knobFidelity) = (growth, knobFidelity)
    (self.variants, self.variantFidelity) = (variants, variantFidelity)
    (self.id, self.title, self.family, self.idea, self.source) = (id, title, family, idea, source)
    (self.scope, self.needs, self.knobs, self.promises) = (scope, needs, knobs, promises)
    (self.fidelity, self.wholeMap, self.mainField) = (fidelity, wholeMap, mainField)
    (self.mainNumber, self.denseKnobs, self.blockTables) = (mainNumber, denseKnobs, blockTables)
  }

  /// A knob by its name, or by another that is understood.
  public func knob(_ name: String) -> KnobFacts? {
    knobs.first { $0.name == name } ?? knobs.first { $0.aliases.contains(name) }
  }

  /// The id is this card's own, or that of a variant.
  public func answers(to id: String) -> Bool { id == self.id || variants[id] != nil }

  /// How near the result of a setting is to what was published: that of its knobs, of its variant,
  /// or the card's.
  public func fidelity(of setting: MethodSetting) -> Fidelity {
    knobFidelity(knobs(of: setting)) ?? variantFidelity[setting.id] ?? fidelity
  }

  /// The knobs of a setting: those of its variant, and over them its own, by the card's names for
  /// them. A knob that is given twice, by its name and by an alias, keeps both, and `CheckedKnobs`
  /// refuses them.
  public func knobs(of setting: MethodSetting) -> Knobs {
    var all = variants[setting.id] ?? [:]
    let given = Dictionary(grouping: setting.knobs.keys) { knob($0)?.name ?? $0 }
    for (name, spellings) in given {
      let knob = knob(name), isTwice = spellings.count > 1
      if isTwice { all[name] = nil }
      for spelling in spellings {
        guard let value = setting.knobs[spelling] else { continue }
        all[isTwice ? spelling : name] = knob?.spelled(value) ?? value
      }
    }
    return all
  }

  /// The knobs of a setting as `[` and `]` take them up: where nothing is given, pinned knobs at
  /// their standard, so that giving another changes that one and nothing else.
  public func pinned(_ setting: MethodSetting) -> Knobs {
    guard knobs(of: setting).isEmpty else { return setting.knobs }
    let pinned = knobs.filter(\.isPinned).map { ($0.name, $0.standard) }
    return Knobs(uniqueKeysWithValues: pinned)
  }

  /// The knob that `[` and `]` move.
  public var mainKnob: KnobFacts? { knobs.first { $0.isMain } ?? knobs.first }
}
