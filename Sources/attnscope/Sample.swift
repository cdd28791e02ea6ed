import Formats
import Glibc

/// Finds the bundled sample: beside an installed program, or in the checkout the program was
/// built in.
///
/// Example: `try Sample.path("lessons")`. Names are paths relative to the folder of samples.
enum Sample {
  /// Heads of a small model, 832 tokens of the text below.
  static let name = "smollm2-log-832.safetensors"

  /// The head of layer 12 that is shown first: BLASST prunes a good part of it.
  static let head = 6

  /// The sample's text, which a run continues when nothing else is said.
  static let text = "tarn-point-log.txt"

  /// The path of a sample file: in the folder that ATTNSCOPE_SAMPLES names, else in `samples`
  /// or `share/attnscope/samples` of the program's folder or one of six above it. Throws
  /// `missing` when it is in none; with the variable, its word is taken.
  static func path(_ name: String = name) throws -> String {
    if let named = getenv("ATTNSCOPE_SAMPLES") {
      return String(cString: named) + "/" + name
    }
    let program = programPath()
    var folder = program[..<(program.lastIndex(of: "/") ?? program.endIndex)]
    var tried = 0
    while tried < 6 {
      for place in ["samples", "share/attnscope/samples"] {
        let candidate = "\(folder)/\(place)/\(name)"
        if access(candidate, R_OK) == 0 { return candidate }
      }
      guard let slash = folder.lastIndex(of: "/") else { break }
      folder = folder[..<slash]
      tried += 1
    }
    throw FormatError(
      .missing,
      """
      the bundled sample is not beside the program; name a file, or set ATTNSCOPE_SAMPLES to its \
      folder
      """,
      file: name)
  }

  /// The program's own file, links resolved.
  private static func programPath() -> String {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
    guard count > 0 else { return CommandLine.arguments[0] }
    return String(decoding: buffer[0..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
