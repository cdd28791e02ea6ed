public import Attention

/// Every method there is: one line each. Nothing registers itself.
public struct Registry: Sendable {
  /// In the order of lists and menus.
  public let methods: [any AttentionMethod.Type]

  /// Those of the library.
  public static let standard = Registry([
    Dense.self,
    BLASST.self,
    AShape.self,
    VerticalSlash.self,
    BlockSparse.self,
    FlexPrefill.self,
    LUCID.self,
    ATTNFIQA.self,
    LeanAttention.self,
    AttentionResiduals.self,
  ])

  /// Tests add methods of their own.
  public init(_ methods: [any AttentionMethod.Type]) { self.methods = methods }

  /// The facts of all of them.
  public var cards: [MethodCard] { methods.map { $0.card } }

  /// Nil for an id that is not there.
  public func method(_ id: String) -> (any AttentionMethod.Type)? {
    methods.first { $0.card.answers(to: id) }
  }

  /// A method with its knobs. Throws `KnobError` that names what there is.
  public func make(_ setting: MethodSetting) throws(KnobError) -> any AttentionMethod {
    guard let type = method(setting.id) else { throw unknown(setting.id) }
    return try type.init(knobs: type.card.knobs(of: setting))
  }

  /// A method that an engine can run. Throws `KnobError` for others.
  public func makeEngine(_ setting: MethodSetting) throws(KnobError) -> any EngineMethod {
    guard let method = try make(setting) as? any EngineMethod else {
      let able = methods.filter { $0 is any EngineMethod.Type }.map { $0.card.id }
      throw KnobError(
        "\(setting.id) describes attention and cannot run in the engine; these can: \(able.joined(separator: ", "))"
      )
    }
    return method
  }

  private func unknown(_ id: String) -> KnobError {
    KnobError(
      "there is no method '\(id)'; there are \(cards.map(\.id).joined(separator: ", "))")
  }

  /// The card whose blocks are read off one table: what the screen is about when no other method is chosen.
  public var tableCard: MethodCard? { cards.first { $0.blockTables != nil } }
}
