import Formats
import Foundation
import Support
import Testing

/// A wrong file with a name that says what is wrong, and the words that its refusal must have.
struct Wrong: Sendable, CustomTestStringConvertible {
  let name: String
  /// Made when it is asked for: some are large.
  let bytes: @Sendable () -> [UInt8]
  let words: String
  /// Formats are told by bytes; the name of the file is the name that it would have.
  let file: String

  init(
    _ name: String, _ words: String, file: String = "dump.bin",
    _ bytes: @escaping @Sendable () -> [UInt8]
  ) {
    (self.name, self.words, self.file, self.bytes) = (name, words, file, bytes)
  }

  var testDescription: String { name }
}

/// The zoo: every wrong file that some reader has tripped over, built by code.
///
/// Each is refused with one sentence that names the file and says what is wrong, within two
/// seconds, and without memory beyond its own size and a little. What lies here is not in
/// `HostileTests`.
@Suite struct ZooTests {
  static let all = Wrong.safetensors + Wrong.zips + Wrong.masks + Wrong.npy + Wrong.others

  @Test(arguments: all) func isRefused(_ wrong: Wrong) throws {
    try Fixture.with(wrong.bytes(), name: wrong.file) { path in
      let start = ContinuousClock.now
      let error = #expect(throws: FormatError.self) { try Dump.open(path) }
      let text = error.map { "\($0)" } ?? ""
      #expect(text.contains(wrong.words), "\(text) lacks \"\(wrong.words)\"")
      #expect(text.contains(path) && !text.contains("\n") && text.count < 1000)
      #expect(ContinuousClock.now - start < Self.most, "\(wrong.name)")
    }
  }

  /// Debug builds of the readers are not optimised.
  static let most: Duration = isRelease ? .seconds(2) : .seconds(10)

  /// No two have one name, or a failure would not say which it is.
  @Test func namesAreNames() {
    let names = Self.all.map(\.name)
    #expect(Set(names).count == names.count && !names.contains(""))
  }

  /// In a process of its own, since others allocate meanwhile. What the file itself takes counts
  /// thrice: as it was made, as it was written, as it was read.
  @Test(.disabled(if: Peak.isMoved)) func memoryStaysInProportion() async {
    await #expect(processExitsWith: .success) {
      for wrong in ZooTests.all {
        let bytes = wrong.bytes()
        try Fixture.with(bytes, name: wrong.file) { path in
          let before = Peak.start()
          _ = try? Dump.open(path)
          let grown = Peak.bytes() - before, most = 24 << 20 + 8 * bytes.count
          guard grown < most else {
            FileHandle.standardError.write(Data("\(wrong.name): \(grown) of \(most)\n".utf8))
            exit(1)
          }
        }
      }
    }
  }
}

/// The most memory that this process has had, as Linux counts it.
enum Peak {
  /// Sanitizers keep shadows, and what was freed.
  static let isMoved = dlsym(nil, "__asan_init") != nil || dlsym(nil, "__tsan_init") != nil

  /// Begins to count anew; returns what there is now, in bytes.
  static func start() -> Int {
    let file = open("/proc/self/clear_refs", O_WRONLY)
    _ = write(file, "5", 1)
    close(file)
    return bytes()
  }

  /// The peak since then.
  static func bytes() -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") } ?? ""
    return (line.split(separator: " ").dropLast().last.flatMap { Int($0) } ?? 0) << 10
  }
}
