import ArgumentParser
import Formats
import Glibc
import Models

/// Which model. Without a name it is the small one that a script fetches once into the cache
/// folder.
struct ModelArguments: ParsableArguments {
  /// A path; nil: the bundled model.
  @Option(
    help: ArgumentHelp(
      "A GGUF model; without it the one that samples/get-model.sh brings.", valueName: "m.gguf"))
  var model: String?

  /// The file of the model. Throws `missing`, with the script that brings it, when nothing
  /// was named and nothing is there.
  func path() throws -> String {
    if let model { return model }
    let path = Self.bundled
    guard access(path, R_OK) == 0 else {
      throw ModelError(
        .missing, "no model is here; run samples/get-model.sh once, or name one with --model",
        place: path.split(separator: "/").last.map(String.init) ?? path)
    }
    return path
  }

  /// Where samples/get-model.sh puts it.
  static var bundled: String {
    let cache =
      getenv("XDG_CACHE_HOME").map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
      ?? Desk.home + "/.cache"
    return cache + "/attnscope/SmolLM2-135M-Instruct.Q4_1.gguf"
  }
}

/// `attnscope tokenize < text`: how a model cuts a text, for comparing with other tokenizers
/// byte by byte.
struct TokenizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize",
    abstract: "Read text from standard input, byte for byte, and print its tokens as JSON.")

  @OptionGroup var model: ModelArguments
  @Flag(inversion: .prefixedNo, help: "Read special tokens, such as <|im_start|>, in the text.")
  var special = true

  /// Prints numbers and texts; says so when bytes were lost, since a vocabulary without byte
  /// tokens drops them in silence.
  func run() throws {
    let tokenizer = try Tokenizer(try GGUFFile(try model.path()))
    let text = try readWhole("-", most: PromptArguments.mostBytes)
    let ids = tokenizer.encode(text, special: special)
    if tokenizer.isByteLevel, ids.reduce(0, { $0 + tokenizer.bytes($1).count }) < text.count {
      say("some bytes have no token in this vocabulary and are left out")
    }
    let pieces = ids.map { JSON.string(tokenizer.piece($0)) }
    print(JSON.object([("ids", .array(ids.map(JSON.integer))), ("pieces", .array(pieces))]).text())
  }
}
