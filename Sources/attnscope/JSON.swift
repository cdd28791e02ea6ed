import Canvas

/// JSON that keeps the order of its keys, writes null for what is not a number, and never holds a
/// raw control or bidirectional character, so that it can be looked at in a terminal.
///
/// Example: `JSON.object([("layer", .integer(3)), ("mass", .number(0.25))]).text()` is
/// `{"layer":3,"mass":0.25}`. Foundation's encoder sorts or shuffles keys and refuses NaN, which
/// reports have. The catch: it only writes.
indirect enum JSON {
  /// Keys in the order they are written; equal ones are not noticed.
  case object([(String, JSON)])
  case array([JSON])
  case string(String)
  /// Full precision; null for NaN and infinities.
  case number(Double)
  case integer(Int)
  case bool(Bool)
  case null

  /// A value that may be missing, as null.
  static func optional<T>(_ value: T?, _ make: (T) -> JSON) -> JSON { value.map(make) ?? .null }

  /// On one line, or indented by two spaces with short arrays kept on theirs.
  func text(pretty: Bool = false) -> String {
    var out = ""
    write(to: &out, indent: pretty ? 0 : nil)
    return out
  }

  /// Appends the text; `indent` is the column of the current level, nil for all on one line.
  private func write(to out: inout String, indent: Int?) {
    switch self {
    case .null: out += "null"
    case .bool(let value): out += value ? "true" : "false"
    case .integer(let value): out += String(value)
    case .number(let value): out += value.isFinite ? "\(value)" : "null"
    case .string(let text): out += Self.quoted(text)
    case .array(let items):
      let isShort = items.allSatisfy { !$0.isContainer }
      Self.list(
        "[", "]", items.map { item in { out, inner in item.write(to: &out, indent: inner) } },
        isShort ? nil : indent, &out)
    case .object(let pairs):
      Self.list(
        "{", "}",
        pairs.map { key, value in
          { out, inner in
            out += Self.quoted(key) + (indent == nil ? ":" : ": ")
            value.write(to: &out, indent: inner)
          }
        }, indent, &out)
    }
  }

  /// Arrays of plain values stay on one line even in the pretty form.
  private var isContainer: Bool {
    switch self {
    case .array, .object: true
    default: false
    }
  }

  /// Items between brackets, with commas, each on a line of its own when `indent` is given.
  private static func list(
    _ open: String, _ close: String, _ items: [(inout String, Int?) -> Void], _ indent: Int?,
    _ out: inout String
  ) {
    out += open
    for (index, item) in items.enumerated() {
      if index > 0 { out += "," }
      if let indent { out += "\n" + String(repeating: " ", count: indent + 2) }
      item(&out, indent.map { $0 + 2 })
    }
    if let indent, !items.isEmpty { out += "\n" + String(repeating: " ", count: indent) }
    out += close
  }

  /// A string in quotes. Letters of any script stay; what could move the cursor or the
  /// reading direction is escaped.
  private static func quoted(_ text: String) -> String {
    var out = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\t": out += "\\t"
      default:
        if Printable.isSafe(scalar) {
          out.unicodeScalars.append(scalar)
        } else {
          out += escape(scalar)
        }
      }
    }
    return out + "\""
  }

  /// `\uXXXX`, twice for scalars beyond the basic plane.
  private static func escape(_ scalar: Unicode.Scalar) -> String {
    String(scalar).utf16.map { unit in
      let hex = String(unit, radix: 16)
      return "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
    }.joined()
  }
}
