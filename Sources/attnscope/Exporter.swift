import Canvas
import Formats
import Interface
import Sessions

/// Writes what is on the screen to a file, in the format that its ending names.
enum Exporter {
  @Sendable static func write(
    _ path: String, _ model: Model, _ ask: @escaping Surroundings.Ask
  ) async -> String {
    "\(path): not yet"
  }
}
