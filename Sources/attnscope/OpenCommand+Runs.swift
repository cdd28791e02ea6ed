import Attention
import Backends
import Canvas
import Formats
import Glibc
import Interface
import Sessions

/// Runs that are looked at and not decoded: recordings, and streams.
extension OpenCommand {
  /// A recording, on the screen or as a summary; returns the file to be opened next. Reading a long
  /// one takes a moment, so it is said. The first view is that of its newest token, then what
  /// flags, the saved state and `--view` say, each over what came before. Throws what reading
  /// throws.
  func replay(_ file: String, _ saved: SavedState?) async throws -> String? {
    if isatty(2) == 1 { say("reading \(Printable.text(file))…") }
    let backend = try ReplayBackend(file), about = backend.describe()
    // As it was decoded, unless told otherwise.
    let lambda = tiles.chosenLambda ?? backend.lambda ?? tiles.lambda
    let left = Desk.recoveredNote(file) ?? Desk.lostRunNote(model: about.model)
    return try await present(
      backend, file: file, layer: 0, lambda: lambda, tiles.spec(queries: 2), saved, left: left)
  }

  /// A run that was recorded, or goes on elsewhere, at its text: on the screen, in lines, or as a
  /// summary; returns the file to be opened next. `layer` is that of the first view unless a flag
  /// names one; `left` is said beside what is wrong with the saved state. A stream is not among
  /// the files that are remembered. Throws what the flags and the terminal throw.
  func present(
    _ backend: any Backend, file: String, layer first: LayerIndex, lambda: Double,
    _ spec: TileSpec, _ saved: SavedState?, left: String? = nil, isStream: Bool = false,
    whenReady: () -> Void = {}
  ) async throws -> String? {
    let about = backend.describe()
    let place = HeadID(
      layer: try layer.map { try about.layerIndex($0, file: file) } ?? first,
      head: try head.map { try about.headIndex($0, file: file) } ?? 0)
    let kind = view.flatMap { ViewKind(word: $0) }
    let begin: @Sendable (inout Viewpoint) -> Void = { selection in
      (selection.view, selection.head) = (.tokens, place)
      (selection.lambda, selection.spec) = (max(0, lambda), spec)
      saved?.apply(to: &selection, about)
      if let kind { selection.view = kind }
    }
    let wrong = (saved?.problems([about]) ?? []) + [left].compactMap { $0 }
    guard !plain, isatty(0) == 1, isatty(1) == 1 else {
      for text in wrong { say(Printable.text(text)) }
      guard plain else {
        print(ReplaySummary(about).text)
        return nil
      }
      try await PlainSession(backend, begin: begin).run()
      return nil
    }
    if !isStream { Desk.remember(file) }
    return try await Screen.run(
      backend, terminal, Surroundings.standard(terminal, source: file), begin: begin,
      whenReady: whenReady, note: Self.note(wrong))
  }
}
