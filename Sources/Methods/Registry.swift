public import Attention

/// Every method there is: one line each. Nothing registers itself.
public enum Registry {
  public static let methods: [any AttentionMethod.Type] = [
    Dense.self,
    BLASST.self,
    AShape.self,
    VerticalSlash.self,
    BlockSparse.self,
  ]

  public static func method(_ id: String) -> (any AttentionMethod.Type)? {
    methods.first { $0.card.id == id }
  }
}
