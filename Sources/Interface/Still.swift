public import Canvas
public import Sessions

/// One finished screen without a terminal: asks until nothing is missing, then draws.
public enum Still {
  public static func grid(
    _ backend: any Backend, width: Int, height: Int, capabilities: Capabilities = .init(),
    _ change: (inout Viewpoint) -> Void
  ) async throws -> Grid {
    var model = Model(backend.describe(), width: width, height: height, capabilities: capabilities)
    change(&model.selection)
    let needs = Needs(model)
    let everything =
      model.selection.view == .map || model.selection.view == .blocks ? [] : needs.background
    for question in needs.foreground + everything where !model.isKnown(question) {
      _ = update(&model, .answered(question, .whole, try await backend.answer(question)))
    }
    model.isWhole = true
    return view(model)
  }
}
