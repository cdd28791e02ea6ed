public import Canvas
public import Sessions

/// One finished screen without a terminal: asks until nothing is missing, then draws.
///
/// For pictures, pages, sentences and tests. It waits for every answer, however long that takes;
/// cancelling the task ends it.
public enum Still {
  /// The screen as a grid. `change` sets what is looked at. Throws what the backend throws.
  public static func grid(
    _ backend: any Backend, width: Int, height: Int, capabilities: Capabilities = .init(),
    _ change: (inout Viewpoint) -> Void
  ) async throws -> Grid {
    view(
      try await model(
        backend, width: width, height: height, capabilities: capabilities, change))
  }

  /// The model of that screen, with every answer that its view shows.
  /// Throws what the backend throws.
  public static func model(
    _ backend: any Backend, width: Int, height: Int, capabilities: Capabilities = .init(),
    _ change: (inout Viewpoint) -> Void
  ) async throws -> Model {
    var model = Model(backend.describe(), width: width, height: height, capabilities: capabilities)
    change(&model.viewpoint)
    try await complete(&model) { try await backend.answer($0) }
    return model
  }

  /// Asks for everything that the view of a model shows and has not got yet.
  /// Of views of many heads the background questions are asked as well, since their picture is
  /// those. Throws what `ask` throws.
  public static func complete(
    _ model: inout Model, _ ask: (Question) async throws -> Answer
  ) async throws {
    let frame = model.frame
    // An answer can make another question: the key of a muted sink, say, and of a long head each
    // question waits for the one before it.
    var asked: Set<Question> = []
    while case let missing = missing(model.look, but: asked), !missing.isEmpty {
      asked.formUnion(missing)
      for question in missing {
        // A lesson follows its answers; what it wants done has no place in a picture.
        _ = update(&model, .answered(question, frame, try await ask(question)))
      }
    }
    model.isWhole = true
  }

  /// The same for a look, which has no lesson to follow.
  static func complete(
    _ look: inout Look, _ ask: (Question) async throws -> Answer
  ) async throws {
    var asked: Set<Question> = []
    while case let missing = missing(look, but: asked), !missing.isEmpty {
      asked.formUnion(missing)
      for question in missing { look.store(question, try await ask(question)) }
    }
  }

  /// What the view wants, has not got and has not asked for: of many heads all that is wanted later
  /// as well.
  private static func missing(_ look: Look, but asked: Set<Question>) -> [Question] {
    let needs = Needs(look)
    let isOfOne = [.map, .blocks, .tokens, .compare].contains(look.viewpoint.view)
    return (needs.foreground + (isOfOne ? [] : needs.background)).filter {
      !look.isKnown($0) && !asked.contains($0)
    }
  }
}
