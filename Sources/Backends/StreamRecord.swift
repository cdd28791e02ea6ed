public import Formats
import Glibc
import Synchronization
import Wire

/// A file of the frames that came, written as they come: the same bytes, so that a recording is a
/// stream in a file.
///
/// Example: `options.record = try StreamRecord("run.safetensors")`. Whole frames are written in
/// one call each, so that a viewer that dies leaves a file that opens. The catch: a full disk ends
/// the recording and not the stream; `takeTrouble` says so once.
public final class StreamRecord: Sendable {
  private let path: String
  /// -1 once writing has failed.
  private let state: Mutex<(file: Int32, trouble: String?)>

  /// Begins a file. Throws `exists` when the name is taken, and `unreadable` when it cannot be
  /// made.
  public init(_ path: String) throws(FormatError) {
    let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard file >= 0 else {
      let why = errno
      throw FormatError(
        why == EEXIST ? .exists : .unreadable,
        why == EEXIST
          ? "the file exists; choose another name"
          : "cannot be written: \(String(cString: strerror(why)).lowercased())", file: path)
    }
    self.path = path
    state = Mutex((file: file, trouble: nil))
  }

  deinit { state.withLock { if $0.file >= 0 { close($0.file) } } }

  /// Appends a frame; answers to questions and moments are of the screen and stay out.
  func write(_ frame: WireFrame) {
    guard frame.kind != .answer, frame.kind != .moment else { return }
    state.withLock { state in
      guard state.file >= 0 else { return }
      var rest = frame.bytes[...]
      while !rest.isEmpty {
        let count = rest.withUnsafeBytes { Glibc.write(state.file, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else {
          let why = String(cString: strerror(errno)).lowercased()
          state.trouble = "Recording to \(path) stopped: \(why); what was written opens."
          close(state.file)
          state.file = -1
          return
        }
        rest = rest.dropFirst(count)
      }
    }
  }

  /// What went wrong, once.
  func takeTrouble() -> String? {
    state.withLock { state in
      defer { state.trouble = nil }
      return state.trouble
    }
  }
}
