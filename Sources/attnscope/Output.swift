import Canvas
@preconcurrency import Glibc

// The only door to the terminal. What is printed may quote a file, a file's name, a token or
// an argument, and those are data: here they lose what would act on a terminal, wherever they
// were quoted.

/// Text to standard output. Takes the place of Swift's `print` in this room, so that no text
/// can pass beside it.
func print(_ text: String, terminator: String = "\n") {
  emit(Printable.lines(text + terminator))
}

/// What is no text would go to Swift's `print`, past this door.
@available(*, unavailable, message: "make it a String: everything that is printed is made harmless")
func print(_ items: Any..., separator: String = " ", terminator: String = "\n") {}

/// One line to standard error.
func say(_ text: String) {
  fputs(Printable.lines(text) + "\n", errorStream)
}

/// Bytes as they are to standard output: colours and pictures that were drawn here, from
/// texts that are printable.
func emit(_ text: String) {
  var text = text
  text.withUTF8 { _ = fwrite($0.baseAddress, 1, $0.count, stdout) }
}

/// The same, of a picture.
func emit(_ bytes: [UInt8]) {
  bytes.withUnsafeBytes { _ = fwrite($0.baseAddress, 1, $0.count, stdout) }
}

/// Swift 6 does not let `stderr` be read; a stream of our own on the same descriptor is the
/// same thing.
nonisolated(unsafe) private let errorStream: UnsafeMutablePointer<FILE> = {
  let stream = fdopen(2, "w")!
  setvbuf(stream, nil, _IONBF, 0)
  return stream
}()
