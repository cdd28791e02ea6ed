import Attention
import Formats
import Glibc
public import Sessions
import Synchronization
import Tensors
import Wire

/// What the viewer may say to a stream, and saving what came.
extension StreamBackend {
  /// Passes a command on where the sender takes it; else a note says what it does not take.
  public func send(_ command: Command) {
    switch command {
    case .run: tell(.run, "run", phase: .running)
    case .pause: tell(.pause, "pause", phase: .paused)
    case .step(let count): tell(.step(count), "step", phase: nil)
    case .attend(let choice): attend(choice)
    case .stop: tell(.stop, "stop", phase: nil)
    case .save(let path): ComputeThreads.shared.submit { [self] in save(to: path) }
    case .select(0): break
    case .branch, .select:
      say("A stream has one branch: branching needs the model here, attnscope run.")
    case .breakAt, .clearBreakpoints:
      say("A stream does not stop at breakpoints: they need the model here, attnscope run.")
    }
  }

  /// A note, told at once.
  private func say(_ sentence: String) {
    state.withLock { $0.say(sentence) }
    tell()
  }

  /// Lambda and tiles go to the sender; any other method is the model's own.
  private func attend(_ choice: AttentionChoice) {
    guard choice.method == nil else {
      return say("A stream attends by its own method; lambda and tile may be sent to it.")
    }
    let before = state.withLock { $0.status.attention }
    if before?.lambda != choice.lambda { tell(.lambda(choice.lambda), "lambda", phase: nil) }
    if let before, (before.prefill, before.decode) != (choice.prefill, choice.decode) {
      tell(.tile(prefill: choice.prefill, decode: choice.decode), "tile", phase: nil)
    }
    state.withLock { state in
      let takes = state.store.hello.takes
      if takes.contains("lambda") { state.status.attention?.lambda = choice.lambda }
      if takes.contains("tile") {
        state.status.attention?.prefill = choice.prefill
        state.status.attention?.decode = choice.decode
      }
    }
  }

  /// Sends a line if hello says that it is taken, and shows `phase` at once: the sender's own word
  /// follows. What is not taken is said once.
  private func tell(_ line: Upstream, _ name: String, phase: LiveStatus.Phase?) {
    let refusal = state.withLock { state -> String? in
      guard state.isOpen else { return nil }
      guard state.store.hello.takes.contains(name) else {
        guard state.said.insert(name).inserted || name == "pause" || name == "run" else {
          return nil
        }
        return name == "lambda" || name == "tile"
          ? "The \(name) is of this screen alone: the sender does not take it."
          : "The sender does not take \(name): its hello says what it takes."
      }
      guard link.send(line.line) else { return "The sender does not read what it is told." }
      if let phase, state.status.phase == .running || state.status.phase == .paused {
        state.status.phase = phase
      }
      return nil
    }
    if let refusal { state.withLock { $0.say(refusal) } }
    tell()
  }

  /// Writes every frame that was kept, as it came.
  private func save(to path: String) {
    let (frames, full, lengths) = state.withLock {
      ($0.store.frames, $0.store.fullFrom, $0.status.lengths)
    }
    do throws(FormatError) {
      let bytes = try writeFrames(frames, to: path)
      state.withLock { $0.status.savedLengths = lengths }
      let partly = full.map { "; it is whole up to token \($0)" } ?? ""
      say(
        "Recording saved to \(path), \(bytes / 1_000_000) MB\(partly); attnscope open shows it.")
    } catch {
      say("\(error)")
    }
  }
}
