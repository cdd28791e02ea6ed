public import ArgumentParser
import Backends
import Canvas
import Formats
import Tensors

/// `attnscope synth --tokens 131072 -o long.safetensors`: heads of any length, for trying
/// long maps and for measuring.
///
/// Made piece by piece, so memory does not grow with length. The flags stand in the file. The
/// catch: patterns are drawn, not learnt; nothing about models follows from them.
struct SynthCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "synth",
    abstract: "Write a dump of any length whose heads behave like those of a trained model.",
    discussion:
      """
      Sinks, locality, verticals, slashes and landmarks (topics that come back), from a seed: the \
      same command writes the same bytes. For trying long maps and for measuring; it is no model.
      """
  )

  /// 1 to 2^24.
  @Option(parsing: .unconditional, help: "Positions, queries and keys alike.") var tokens = 4096
  /// 1 to 1024; five show every pattern of a mix once.
  @Option(parsing: .unconditional, help: "Query heads.") var heads = 5
  /// Nil: as many as query heads.
  @Option(parsing: .unconditional, help: "KV heads; query heads share them evenly.") var kvHeads:
    Int?
  /// 8 to 1024.
  @Option(parsing: .unconditional, help: "Width of a head.") var dim = 64
  @Option(help: "What the heads show; mix gives each head another.") var pattern = SyntheticHeads
    .Pattern.mix
  /// 1 to 1024.
  @Option(parsing: .unconditional, help: "Layers, each with a seed of its own.") var layers = 1
  /// Equal seeds, equal bytes.
  @Option(help: "Seed.") var seed: UInt64 = 1
  @Option(help: "Element type: f16 or f32.") var dtype: CaptureCommand.ElementType = .f16
  @Option(name: [.customShort("o"), .long], help: "File to write, .safetensors.") var output: String
  @Flag(help: "Replace an existing file.") var force = false

  /// Throws `ValidationError` for sizes outside their ranges and for KV heads that do not
  /// divide the heads.
  func validate() throws {
    guard output.hasSuffix(".safetensors") else {
      throw ValidationError("-o names a .safetensors file.")
    }
    guard (1...1 << 24).contains(tokens) else {
      throw ValidationError("--tokens is 1 to \(1 << 24).")
    }
    guard (1...1024).contains(heads), (1...1024).contains(layers) else {
      throw ValidationError("--heads and --layers are 1 to 1024.")
    }
    let shared = kvHeads ?? heads
    guard shared >= 1, heads % shared == 0 else {
      throw ValidationError("--kv-heads divides --heads.")
    }
    guard (8...1024).contains(dim) else { throw ValidationError("--dim is 8 to 1024.") }
  }

  /// Layers differ in their seed alone. The command stands in the file, so it can be made
  /// again. Throws what writing throws.
  func run() throws {
    try checkWritable(output, force: force)
    var arrays: [ArrayToWrite] = []
    for layer in 0..<layers {
      let made = SyntheticHeads(
        tokens: tokens, dim: dim, pattern: pattern, seed: seed &+ UInt64(layer) &* 0x9e37_79b9)
      arrays.append(array("layers.\(layer).q", heads, made.queries))
      arrays.append(array("layers.\(layer).k", kvHeads ?? heads, made.keys))
      arrays.append(array("layers.\(layer).v", kvHeads ?? heads, made.values))
    }
    let command =
      """
      attnscope synth --tokens \(tokens) --heads \(heads) --kv-heads \(kvHeads ?? heads) --dim \
      \(dim)
      """
      + " --pattern \(pattern.rawValue) --layers \(layers) --seed \(seed)"
    try writeSafetensors(
      arrays,
      metadata: [
        "model": "synthetic \(pattern.rawValue)", "causal": "true", "rope_applied": "true",
        "query_offset": "0", "scale": "\(1 / Double(dim).squareRoot())", "made_by": command,
      ], to: output, force: force)
    say(
      """
      written to \(Printable.text(output)): \(layers) x \(heads) heads of \(tokens) tokens, \
      \(pattern.rawValue), seed \(seed)
      """
    )
  }

  /// Pieces of 8192 tokens of one head, each made when it is written.
  private func array(
    _ name: String, _ heads: Int, _ make: @escaping @Sendable (Int, Range<Int>) -> [Float]
  ) -> ArrayToWrite {
    let piece = 8192, pieces = (tokens + piece - 1) / piece, tokens = tokens
    return ArrayToWrite(
      name, shape: [heads, tokens, dim], half: dtype == .f16, parts: heads * pieces
    ) { index in
      let start = index % pieces * piece
      return make(index / pieces, start..<min(start + piece, tokens))
    }
  }
}

extension SyntheticHeads.Pattern: ExpressibleByArgument {}
