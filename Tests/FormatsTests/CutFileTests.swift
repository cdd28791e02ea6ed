import Formats
import Foundation
import Tensors
import Testing

/// A file that another program cuts short while it is open: zeros from there on, and a sentence.
@Suite struct CutFileTests {
  /// In a process of its own, whose handler of SIGBUS is nobody else's.
  @Test func readingGoesOn() async {
    await #expect(processExitsWith: .success) {
      let page = Int(sysconf(Int32(_SC_PAGESIZE)))
      let bytes = [UInt8](repeating: 7, count: 8 * page)
      try Fixture.with(bytes, name: "cut.bin") { path in
        let file = try MappedFile(path), other = try MappedFile(path)
        guard MappedFile.takeCut().isEmpty else { exit(2) }
        guard truncate(path, off_t(3 * page + 10)) == 0 else { exit(3) }
        // The rest of the last page that is there is zero already.
        guard file.bytes[3 * page + 9] == 7, file.bytes[3 * page + 10] == 0 else { exit(4) }
        guard MappedFile.cut.isEmpty else { exit(5) }
        guard file.bytes[6 * page] == 0, file.bytes[8 * page - 1] == 0 else { exit(6) }
        guard file.bytes[4 * page] == 0, file.bytes[page] == 7 else { exit(7) }
        let said = MappedFile.takeCut()
        guard said.count == 1, said[0].contains(path), said[0].contains("was cut short") else {
          exit(8)
        }
        guard MappedFile.takeCut().isEmpty, MappedFile.cut == said else { exit(9) }
        // Threads that come to it together.
        DispatchQueue.concurrentPerform(iterations: 64) { at in
          guard other.bytes[(4 + at % 4) * page + at] == 0 else { exit(10) }
        }
      }
    }
  }

  /// What is no file of ours ends the program as before.
  @Test func otherFaultsEndTheProgram() async {
    await #expect(processExitsWith: .signal(SIGBUS)) {
      try Fixture.with([1], name: "x.bin") { path in
        _ = try MappedFile(path)
        signal(SIGBUS, SIG_DFL)
        MappedFile.watchAgain()
        raise(SIGBUS)
      }
    }
  }
}
