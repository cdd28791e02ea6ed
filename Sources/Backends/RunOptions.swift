public import Models
public import Sessions

/// What a run begins with: attention, sampling, and how far it goes by itself.
public struct RunOptions: Sendable {
  /// How the trunk attends, in prefill and decode.
  public var attention: AttentionChoice
  /// How the next token is chosen; branches go on with the same.
  public var sampler: SamplerSettings
  /// Tokens to decode; the model's context bounds it in any case.
  public var maxTokens: Int
  /// Dense attention on the same tokens beside every branch: about twice the work, and what
  /// divergences are measured against.
  public var hasShadow: Bool
  /// Reads the prompt and waits.
  public var startsPaused: Bool
  /// Bytes of queries to keep, for each branch; beyond it the oldest are let go.
  public var queryBudget: Int
  /// Bytes of the residual stream to keep, of each branch; 0 keeps none.
  public var residualBudget: Int
  /// What all branches may hold together.
  public var memory = BranchMemory()

  /// Where the run is written while it goes on; nil: nowhere.
  public var autosave: AutosavePlan?

  /// Sets what is given; the rest runs on at once, without a shadow, to the end of the context.
  public init(
    attention: AttentionChoice, sampler: SamplerSettings = .init(), maxTokens: Int = .max,
    hasShadow: Bool = false, startsPaused: Bool = false,
    queryBudget: Int = QueryRecord.standardBudget,
    residualBudget: Int = ResidualRecord.standardBudget, autosave: AutosavePlan? = nil
  ) {
    self.autosave = autosave
    (self.attention, self.sampler, self.maxTokens) = (attention, sampler, maxTokens)
    (self.hasShadow, self.startsPaused) = (hasShadow, startsPaused)
    (self.queryBudget, self.residualBudget) = (queryBudget, residualBudget)
  }
}
