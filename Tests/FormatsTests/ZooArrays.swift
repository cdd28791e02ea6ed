import Formats
import Foundation
import Support
import Testing

extension Wrong {
  /// An npy file with a header of its own.
  private static func npy(
    _ name: String, _ words: String, version: UInt8 = 1, _ header: @escaping @Sendable () -> String
  ) -> Wrong {
    Wrong(name, words, file: "a.npy") {
      let text = Array(header().utf8), size = text.count
      let length = version == 1 ? Made.little(UInt16(size)) : Made.little(UInt32(size))
      return [0x93] + Array("NUMPY".utf8) + [version, 0] + length + text
        + [UInt8](repeating: 0, count: 64)
    }
  }

  private static func header(_ shape: String, type: String = "<f4") -> String {
    "{'descr': '\(type)', 'fortran_order': False, 'shape': \(shape), }"
  }

  /// Headers of npy, which others gave to an interpreter.
  static let npy: [Wrong] = [
    Wrong("an npy of 12 bytes with a header of 4 GiB", "runs past the end", file: "a.npy") {
      [0x93] + Array("NUMPY".utf8) + [2, 0, 0xff, 0xff, 0xff, 0xff]
    },
    npy("an npy of version 9", "version 9 is unknown", version: 9) { header("(1, 2, 2)") },
    npy("an npy without an element type", "names no 'descr'") { "{'shape': (1, 2, 2)}" },
    npy("an npy whose shape is code", "no readable 'shape'") { header("__import__('os')") },
    npy("an npy whose shape wraps", "absurd") { header("(4294967296, 4294967296, 4)") },
    npy("an npy whose shape is below 0", "no readable 'shape'") { header("(-1, 2, 2)") },
    npy("an npy whose shape is nested 60,000 deep", "no readable 'shape'") {
      "{'descr': '<f4', 'shape': " + String(repeating: "(", count: 60_000)
    },
    npy("an npy of dates", "element type '<M8[D]'") { header("(1, 2, 2)", type: "<M8[D]") },
    npy("an npy of texts as long as memory", "is not read") {
      header("(1,)", type: "<U99999999999")
    },
    npy("an npy that ends early", "promises 400 bytes") { header("(1, 10, 10)") },
  ]

  private static func pickle(_ name: String, _ words: String, _ bytes: [UInt8]) -> Wrong {
    Wrong(name, words, file: "a.pt") { [0x80, 4] + bytes }
  }

  /// Pickles, tables of text, and files that are two things at once.
  static let others: [Wrong] = [
    pickle("a pickle that names things by number", "copyreg's numbers", [0x82, 1, 46]),
    pickle("a pickle that builds from nothing", "a mark is missing", [116, 46, 46]),
    pickle(
      "a pickle with a text past its end", "ends in the middle", [88, 0xff, 0xff, 0xff, 0x7f]),
    pickle("a pickle that recalls what it never had", "recalls what it never had", [104, 9, 46]),
    Wrong("a table whose rows grow", "row 2 has 3 numbers", file: "a.csv") {
      Array("1,0\n0.5,0.2,0.3\n".utf8)
    },
    Wrong("a table with 200,000 empty cells", "not a safetensors", file: "a.csv") {
      Array(("1,0\n" + String(repeating: ",", count: 200_000) + "\n").utf8)
    },
    Wrong("a zip behind a script", "not a safetensors", file: "a.npz") {
      Array("#!/bin/sh\nexit\n".utf8)
        + Made.zip([("attention.npy", Made.npy(Made.pattern([2, 2])))])
    },
    Wrong("a zip behind a safetensors file", "behind the last tensor") {
      Fixture.safetensors(
        "{" + HostileTests.entry("attention", shape: "[1,2,2]", "0", "16") + "}", data: 16)
        + Made.zip([("attention.npy", Made.npy(Made.pattern([2, 2])))])
    },
  ]
}
