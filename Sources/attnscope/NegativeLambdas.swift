/// A lambda below 0 is dense, and its minus sign is none of a flag.
///
/// The parser takes `-1` for an option of that name, and says that --lambda lacks its value;
/// written as one word it does not. Example: `report --lambda 0.1 -1 x.npz` is read as
/// `report --lambda 0.1 --lambda=-1 x.npz`. The catch: behind `--` nothing is an option, and
/// nothing is changed.
enum NegativeLambdas {
  private static let flag = "--lambda"

  /// The words of a command line, each negative number behind --lambda joined to it, and the
  /// numbers behind that one, which would be files.
  static func joined(_ words: [String]) -> [String] {
    var out: [String] = [], isBehindFlag = false, hasJoined = false
    for (index, word) in words.enumerated() {
      if word == "--" { return out + words[index...] }
      guard isBehindFlag, let number = Double(word) else {
        (isBehindFlag, hasJoined) = (word == flag || word.hasPrefix(flag + "="), false)
        out.append(word)
        continue
      }
      hasJoined = hasJoined || word.hasPrefix("-") && !number.isNaN
      guard hasJoined else {
        out.append(word)
        continue
      }
      if out.last == flag { out.removeLast() }
      out.append("\(flag)=\(word)")
    }
    return out
  }
}
