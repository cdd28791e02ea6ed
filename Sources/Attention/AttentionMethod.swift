public import Tensors

/// One published method: it examines a subject and returns findings.
///
/// Example: `try LUCID(knobs: ["strength": .number(0.5)]).examine(Subject(head), MethodRun())`. A
/// finding has one of five shapes; every screen, figure, report and lesson knows the five shapes,
/// and no method. `MaskMethod` and `MapMethod` (room Analysis) give `examine` to those that only
/// keep entries or only mix rows otherwise.
public protocol AttentionMethod: Sendable {
  /// The facts of the method: what it is called, what it needs, its knobs and its source. One for
  /// the type, not for the values of its knobs.
  static var card: MethodCard { get }
  /// Throws `KnobError` when a knob is unknown or out of range.
  init(knobs: Knobs) throws(KnobError)
  /// Everything the method has to say. Throws `Missing` ("needs V") and `CancellationError`.
  func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings
}

/// The few that can also run inside an engine, for all query heads of a KV head.
///
/// It takes a `HeadGroup` and not one head because deployed decode kernels let all query heads of a
/// KV head vote together. A method is synchronous; parallelism over heads and row tiles is below
/// it, in `TilePass`.
///
/// The catch: `attend` runs once a layer and token while somebody waits, so that an engine method
/// must not compute numbers that only a screen would show; those belong into `examine`.
public protocol EngineMethod: AttentionMethod {
  /// Query rows that are decided together: a prompt that is read in parts is cut between them, so
  /// that tiles lie where one large pass has them.
  var rowsTogether: Int { get }
  /// Why this setting cannot decide rows as they come, in parts of a prompt and then one by one: a
  /// clause after the method's name. Nil when it can.
  var engineRefusal: String? { get }
  /// What the rows of one query head leave behind for those after them; nothing is seen yet. Nil
  /// for methods that decide each row, or part, by itself. `prompt` is how many tokens the run
  /// begins with: what a method sets by the length of a text it sets by these.
  func memory(prompt: Int) -> (any RowMemory)?
  /// The output rows of every query head, `[queries * valueDim]` each; empty arrays when the group
  /// has no V. Nil when the task was cancelled.
  func attend(_ group: HeadGroup, state: inout AttentionState, trace: inout Trace) -> [[Float]]?
  /// One new row of a KV group, as `attend` would compute it and to the same bits, into `output`
  /// `[heads, dim]`; the counts of blocks are left in `row`. False when the method has no such
  /// shortcut.
  func decode(
    _ query: UnsafePointer<Float>, _ keys: CachedKeys, _ row: DecodeRow,
    into output: UnsafeMutablePointer<Float>
  ) -> Bool
}

extension EngineMethod {
  /// Every row for itself.
  public var rowsTogether: Int { 1 }

  /// Nothing speaks against it.
  public var engineRefusal: String? { nil }

  /// Nothing is remembered.
  public func memory(prompt: Int) -> (any RowMemory)? { nil }

  /// No shortcut.
  public func decode(
    _ query: UnsafePointer<Float>, _ keys: CachedKeys, _ row: DecodeRow,
    into output: UnsafeMutablePointer<Float>
  ) -> Bool { false }
}

/// Where a method computes, and how exactly.
public struct AttentionState: Sendable {
  /// Threads for the loops below the method; an engine that already spreads its heads gives none
  /// but the caller's.
  public var threads: ComputeThreads
  /// An engine computes in float, where its cache lies ready; analysis lets the tile pass decide.
  public var precision: TilePass.Precision
  /// Of each query head of the group, what a method that remembers knows of the rows before;
  /// `attend` brings it up to date. Empty where no run goes on: the group's rows are all there are.
  public var memories: [any RowMemory] = []

  /// All threads, unless told otherwise.
  public init(threads: ComputeThreads = .shared, precision: TilePass.Precision = .automatic) {
    (self.threads, self.precision) = (threads, precision)
  }
}
