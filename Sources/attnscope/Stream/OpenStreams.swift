import ArgumentParser
import Attention
import Backends
import Canvas
import Formats
import Glibc
import Interface
import Sessions

/// The flags about streams.
struct StreamArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Run a command whose standard output is a stream, e.g. \"ssh gpu python3 serve.py\".",
      valueName: "command"))
  var spawn: String?
  @Option(help: "What a stream's sender asks for; needed for other hosts than this one.")
  var token: String?
  @Option(
    help: ArgumentHelp("Write what a stream brings to a file as it comes.", valueName: "file"))
  var record: String?
  @Option(help: ArgumentHelp("Where a spawned command's messages go.", valueName: "file"))
  var spawnLog: String?

  /// Where the stream comes from, of the words in the place of files; nil where they are files.
  /// Throws `ValidationError` for several, and for another host without a token.
  func address(_ files: [String]) throws -> StreamAddress? {
    let found = try files.compactMap { try StreamAddress($0) }
    guard spawn == nil || files.isEmpty else {
      throw ValidationError("Give either --spawn or a file or an address.")
    }
    guard let first = found.first else {
      guard spawn != nil || (record == nil && token == nil) else {
        throw ValidationError("--record and --token go with a stream.")
      }
      return nil
    }
    guard files.count == 1 else {
      throw ValidationError("One stream at a time: give one address and no file beside it.")
    }
    guard !first.isFar || token != nil else {
      throw ValidationError(
        "A TCP stream from another host needs --token, and is not encrypted: ssh is (--spawn).")
    }
    return first
  }

  /// For listening. Throws when the file to record to cannot be made.
  func options() throws(FormatError) -> StreamBackend.Options {
    var options = StreamBackend.Options()
    options.token = token
    options.record = try record.map { (path) throws(FormatError) in try StreamRecord(path) }
    return options
  }
}

extension OpenCommand {
  /// A stream, on the screen or as a summary of all that it brought; returns the file to be opened
  /// next. Throws what connecting throws.
  func listen(_ address: StreamAddress?, _ saved: SavedState?) async throws -> String? {
    let spawned = try streams.spawn.map { try SpawnedStream($0, log: streams.spawnLog) }
    defer { spawned?.end() }
    guard let link = try spawned?.link ?? address?.link() else { return nil }
    let name =
      streams.spawn ?? (address == .input ? "standard input" : dump.files.first ?? "a stream")
    var options = try streams.options()
    // What comes on standard input leaves the keys to the terminal itself.
    let hasScreen = isatty(1) == 1 && (address != .input || Self.takeKeysFromTerminal())
    options.isFile = plain || !hasScreen || isatty(0) != 1
    if isatty(2) == 1 { say("waiting for the first frame of \(Printable.text(name))…") }
    let backend = try StreamBackend(link, name: name, options)
    return try await show(backend, file: name, saved, isStream: true)
  }

  /// A file of what a stream brought, as a recording. Throws what reading throws.
  func reopen(_ file: String, _ saved: SavedState?) async throws -> String? {
    if isatty(2) == 1 { say("reading \(Printable.text(file))…") }
    var options = StreamBackend.Options()
    options.isFile = true
    let backend = try StreamBackend(DescriptorLink(reading: file), name: file, options)
    return try await show(backend, file: file, saved, isStream: false)
  }

  /// The first view is that of the newest token, as of a recording.
  private func show(
    _ backend: StreamBackend, file: String, _ saved: SavedState?, isStream: Bool
  ) async throws -> String? {
    let about = backend.describe(), choice = about.live?.attention
    defer { backend.close() }
    return try await present(
      backend, file: file, layer: about.middleLayer,
      lambda: tiles.chosenLambda ?? choice?.lambda ?? tiles.lambda,
      choice?.prefill ?? tiles.spec(queries: 2), saved, isStream: isStream,
      whenReady: { backend.start() })
  }

  /// Makes the terminal standard input; false where there is none.
  private static func takeKeysFromTerminal() -> Bool {
    let terminal = Glibc.open("/dev/tty", O_RDWR | O_CLOEXEC)
    guard terminal >= 0 else { return false }
    defer { close(terminal) }
    return dup2(terminal, 0) == 0
  }
}
