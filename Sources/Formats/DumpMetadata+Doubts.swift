extension DumpMetadata {
  /// What the metadata says and cannot be meant, a sentence each: it is read as if it were not
  /// there, and that is said.
  static func ignored(_ map: [String: String]) -> [String] {
    var out: [String] = []
    func doubt(_ name: String, _ wanted: String, _ flag: String, _ isMeant: (String) -> Bool) {
      guard let text = map[name], !isMeant(text) else { return }
      out.append(
        "metadata \(name) is '\(text.prefix(40))', not \(wanted), and was passed over (\(flag))")
    }
    doubt("scale", "a positive number", "--scale gives it") {
      Double($0).map { $0.isFinite && $0 > 0 } ?? false
    }
    doubt("query_offset", "a position among the keys", "--query-offset gives it") {
      Int($0).map { (-(1 << 30)...1 << 30).contains($0) } ?? false
    }
    doubt("causal", "true or false", "--causal or --no-causal gives it") {
      Bool($0.lowercased()) != nil
    }
    doubt("tile", "two numbers like 128x64", "--mask-tile gives it") {
      let sides = $0.split(separator: "x").map { Int($0) }
      return sides.count == 2 && sides.allSatisfy { $0.map { (1...1 << 20).contains($0) } ?? false }
    }
    return out
  }
}
