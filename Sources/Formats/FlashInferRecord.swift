import FoundationEssentials

/// What FlashInfer wrote of one call of its interface: a line of `metadata.jsonl`.
///
/// With FLASHINFER_LOGLEVEL=10 every call has a folder with `inputs.safetensors` (or `inputs.pt`),
/// `outputs.*` and `metadata.jsonl`, whose last line is the most complete. Tensors go by `arg_0` or
/// `kwarg_query`, all other arguments stand in `input_metadata` under such names; which name an
/// `arg_3` has is told by the signature. The catch: tensors inside tuples and lists are not
/// recorded, so that a cache given as `(k, v)` is not there.
struct FlashInferRecord: Decodable {
  /// `trtllm_batch_context_with_kv_cache`, or `BatchDecodeWithPagedKVCacheWrapper.run`.
  let function: String
  /// `(query: torch.Tensor, kv_cache: ..., block_tables: ...)`.
  private let signature: String?
  /// `20261130_211605_123`; orders calls, with `sequence` where it is the same.
  let timestamp: String
  let sequence: Int
  /// Which object a method was called of: joins `plan` and `run`.
  let object: Int?
  /// Arguments that are no tensors.
  private let values: [String: Value]
  /// Names of arguments that are tensors.
  private let tensors: [String]

  private enum CodingKeys: String, CodingKey {
    case function = "function_name", signature = "function_signature", timestamp
    case sequence = "call_sequence", object = "self_id", values = "input_metadata"
    case info = "tensor_info"
  }

  /// A number, a text, or a word for anything else.
  enum Value: Decodable, Equatable {
    case number(Double)
    case text(String)
    case truth(Bool)
    case none

    /// Enumerations and types are objects with their `value`.
    private struct Described: Decodable { let value: String? }

    init(from decoder: any Decoder) throws {
      let value = try decoder.singleValueContainer()
      if let truth = try? value.decode(Bool.self) {
        self = .truth(truth)
      } else if let number = try? value.decode(Double.self) {
        self = .number(number)
      } else if let text = try? value.decode(String.self) {
        self = .text(text)
      } else {
        self = (try? value.decode(Described.self))?.value.map(Value.text) ?? .none
      }
    }
  }

  private struct Info: Decodable {
    let keys: [String]?
    enum CodingKeys: String, CodingKey { case keys = "input_tensor_keys" }
  }

  /// What is missing is left out; a call has a name at least.
  init(from decoder: any Decoder) throws {
    let all = try decoder.container(keyedBy: CodingKeys.self)
    function = try all.decode(String.self, forKey: .function)
    signature = try? all.decode(String.self, forKey: .signature)
    timestamp = (try? all.decode(String.self, forKey: .timestamp)) ?? ""
    sequence = (try? all.decode(Int.self, forKey: .sequence)) ?? 0
    object = try? all.decode(Int.self, forKey: .object)
    values = (try? all.decode([String: Value].self, forKey: .values)) ?? [:]
    tensors = (try? all.decode(Info.self, forKey: .info))?.keys ?? []
  }

  /// The last line of a file that can be read; nil where there is none.
  static func last(of path: String) -> FlashInferRecord? {
    guard let bytes = try? readWhole(path, most: 1 << 22) else { return nil }
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    return lines.reversed().prefix(4).lazy.compactMap {
      try? JSONDecoder().decode(FlashInferRecord.self, from: Data($0.utf8))
    }.first
  }

  // MARK: Arguments

  /// `[arguments]`, names in the order of the signature, `self` among them.
  private var names: [String] {
    var names: [String] = [], depth = 0, word = "", isName = true
    for character in signature ?? "" {
      switch character {
      case "(", "[", "{":
        depth += 1
        if depth == 1 { continue }
      case ")", "]", "}": depth -= 1
      default: break
      }
      if depth == 0 || (depth == 1 && character == ",") {
        if !word.isEmpty { names.append(word) }
        (word, isName) = ("", true)
        if depth == 0 { break }
      } else if depth == 1, isName {
        if character == ":" || character == "=" { isName = false }
        if character == "_" || character.isLetter || character.isNumber { word.append(character) }
      }
    }
    return names
  }

  /// What an argument is recorded as: `kwarg_NAME`, or `arg_3` by the signature.
  private func keys(_ name: String) -> [String] {
    ["kwarg_\(name)"] + (names.firstIndex(of: name).map { ["arg_\($0)"] } ?? [])
  }

  /// The name that a tensor has in the file of inputs; nil where it was not given, or no tensor.
  func tensor(_ candidates: String...) -> String? {
    candidates.lazy.flatMap(keys).first(where: tensors.contains)
  }

  /// An argument that is no tensor; nil where it was left out, or is None.
  private func value(_ candidates: [String]) -> Value? {
    candidates.lazy.flatMap(keys).compactMap { values[$0] }.first { $0 != .none }
  }

  func number(_ candidates: String...) -> Double? {
    if case .number(let number)? = value(candidates) { number } else { nil }
  }

  func text(_ candidates: String...) -> String? {
    if case .text(let text)? = value(candidates) { text } else { nil }
  }

  func truth(_ candidates: String...) -> Bool? {
    if case .truth(let truth)? = value(candidates) { truth } else { nil }
  }

  /// Given, and no tensor that was recorded: a tuple of two, say.
  func isUnrecorded(_ name: String) -> Bool {
    tensor(name) == nil && keys(name).contains { values[$0] != nil }
  }
}
