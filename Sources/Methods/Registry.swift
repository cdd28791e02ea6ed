public import Attention

/// Every method there is: one line each. Nothing registers itself, and no other room names a
/// method.
///
/// How to add one:
///
/// - One file in the folder of its family, 80 to 150 lines: a public struct whose comment says what
///   the method does, by which formula, from which paper, what of it is computed here and what is
///   replaced.
/// - Its knobs as `static let`, its `card`, and `init(knobs:)` that checks them with
///   `CheckedKnobs`. A number of tokens that was tuned for long prompts goes through `Budget`.
/// - One of three ways to speak. A method that keeps entries is a `MaskMethod` and writes
///   `keep(head) -> KeptSet`; one that mixes rows by another matrix is a `MapMethod` and writes
///   `map(head) -> RowField`; both get their outputs and the shared numbers for that. Anything else
///   writes `examine(subject) -> Findings` itself: numbers, series, fields, curves, spans, under
///   names in lower case joined by `_`. Two methods that mean the same say the same name.
/// - What is missing (V, residuals, an image grid) is said by throwing `Missing`, never by a
///   made-up number; a number that cannot be known is nil, never 0. Loops over rows call
///   `run.checkCancellation()`.
/// - One line below, and where it begins a family, a paragraph in `Families`. Then record its
///   golden text (`RECORD_GOLDEN=1 swift test --filter GoldenTests`), read it against the paper,
///   and write the card's own checks beside `CardTests`.
///
/// Screens, figures, reports, lessons, state files and help then know it without a further line.
///
/// Example: `try Registry.standard.make(MethodSetting(parsing: "lucid:strength=0.5"))`.
public struct Registry: Sendable {
  /// In the order of lists and menus; ids and variants are unique.
  public let methods: [any AttentionMethod.Type]

  /// Those of the library: softmax and its thresholds, masks, maps, then what looks at layers and
  /// schedules.
  public static let standard = Registry([
    Dense.self,
    BLASST.self,
    Deployed.self,
    AShape.self,
    VerticalSlash.self,
    BlockSparse.self,
    PatternSearch.self,
    SlidingWindow.self,
    SinkWindow.self,
    TriShape.self,
    DilatedWindow.self,
    NATTEN.self,
    FlexPrefill.self,
    HyperAttention.self,
    ZipVL.self,
    HiP.self,
    SALE.self,
    XAttention.self,
    SpargeAttn.self,
    Quest.self,
    MoBA.self,
    DHSA.self,
    NSA.self,
    InfLLM.self,
    STILL.self,
    NATSL.self,
    DuoAttention.self,
    SnapKV.self,
    H2O.self,
    TOVA.self,
    KeyNorm.self,
    KeyDiff.self,
    TopK.self,
    TopP.self,
    BlockTopK.self,
    BlockTopP.self,
    SeerOracle.self,
    Selected.self,
    LUCID.self,
    TestTimeRegression.self,
    DeltaNet.self,
    MesaLayer.self,
    LocalLinearAttention.self,
    InfSA.self,
    InfSAVisits.self,
    LinearInfSA.self,
    DeltaLLM.self,
    ClippedSoftmax.self,
    GatedAttention.self,
    SigmoidAttention.self,
    LSSA.self,
    AffineAttention.self,
    SelectiveAttention.self,
    ALiBi.self,
    FlashBias.self,
    LinearAttention.self,
    MALA.self,
    InLine.self,
    L2ViT.self,
    NaLaFormer.self,
    RALA.self,
    Taylor.self,
    SOFT.self,
    Hedgehog.self,
    HedgehogFit.self,
    NPRF.self,
    SoftPAG.self,
    ATTNFIQA.self,
    AdaptInfer.self,
    SGL.self,
    ASViT.self,
    Debias.self,
    Sinks.self,
    UNIP.self,
    LeanAttention.self,
    DynamicalSystems.self,
    TensorAttention.self,
    WeightShifting.self,
    ICLRegression.self,
    AttentionResiduals.self,
    PRIOR.self,
    LayerBoost.self,
    AttentionInfluence.self,
  ])

  /// Tests add methods of their own; nothing is checked here.
  public init(_ methods: [any AttentionMethod.Type]) { self.methods = methods }

  /// The facts of all of them, in the same order: what help, lists and README sections are made
  /// from.
  public var cards: [MethodCard] { methods.map { $0.card } }

  /// What the families of these methods are, in the order of the library; last those that nobody
  /// has written about, without a paragraph.
  public var families: [MethodFamily] {
    let known = MethodFamily.all, words = cards.map(\.family)
    var left = Set(words).subtracting(known.map(\.word))
    let others = words.filter { left.remove($0) != nil }.map { MethodFamily($0, $0, "") }
    return known.filter { words.contains($0.word) } + others
  }

  /// The method of an id or of one of its variants (`lucid-half`); nil for an id that is not there.
  public func method(_ id: String) -> (any AttentionMethod.Type)? {
    methods.first { $0.card.answers(to: id) }
  }

  /// A method with its knobs, those of a variant under those that were given. Throws `KnobError`
  /// that names what there is: for unknown ids, unknown knobs and values out of range.
  public func make(_ setting: MethodSetting) throws(KnobError) -> any AttentionMethod {
    guard let type = method(setting.id) else { throw unknown(setting.id) }
    return try type.init(knobs: type.card.knobs(of: setting))
  }

  /// A method that an engine can run. Throws what `make` throws, and `KnobError` for methods that
  /// only describe attention, naming those that can.
  public func makeEngine(_ setting: MethodSetting) throws(KnobError) -> any EngineMethod {
    let method = try make(setting)
    let engine = method as? any EngineMethod
    if let engine, engine.engineRefusal == nil { return engine }
    let able = methods.filter { Self.engineRefusal($0) == nil }
    let names = able.map { $0.card.id }.joined(separator: ", ")
    let why = engine?.engineRefusal ?? "describes attention"
    throw KnobError("\(setting.id) \(why): it cannot run in the engine; these can: \(names)")
  }

  /// Why an engine cannot run a method at its standard knobs: a clause after the method's name.
  /// Nil when it can.
  public static func engineRefusal(_ type: any AttentionMethod.Type) -> String? {
    guard let engine = type as? any EngineMethod.Type else { return "describes attention" }
    guard let method = try? engine.init(knobs: [:]) else { return "has no standard knobs" }
    return method.engineRefusal
  }

  private func unknown(_ id: String) -> KnobError {
    KnobError(
      "there is no method '\(id)'; there are \(cards.map(\.id).joined(separator: ", "))")
  }

  /// The card whose blocks are read off one table for every threshold: what the screen is about
  /// when no other method is chosen.
  public var tableCard: MethodCard? { cards.first { $0.blockTables != nil } }
}
