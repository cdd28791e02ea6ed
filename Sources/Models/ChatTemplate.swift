/// How a chat model wants its turns marked: read off the model's own template by the roles it
/// names.
///
/// Templates are programs; this knows the four layouts that the supported models use and
/// fills in one turn.
///
/// Example: `ChatTemplate(model)?.tokens(Array("Hello".utf8), system: nil, model.tokenizer,
/// special: false)`. The catch: a template that computes something beyond roles and turns (tools,
/// dates) loses it here.
public struct ChatTemplate: Sendable {
  /// The families of marks, named after where they came from.
  public enum Layout: String, Sendable, CaseIterable { case chatML, llama3, llama2, zephyr }

  /// The family that the model's template belongs to.
  public let layout: Layout
  /// What the template says as system when nobody does.
  public let standardSystem: String?

  /// Nil when the model has no template, or one of another layout.
  public init?(_ model: LanguageModel) {
    guard let text = model.config.chatTemplate else { return nil }
    self.init(template: text)
  }

  /// Recognises a template by the first mark that only one family has. Nil for other
  /// templates.
  package init?(template: String) {
    if template.contains("<|im_start|>") {
      layout = .chatML
    } else if template.contains("<|start_header_id|>") {
      layout = .llama3
    } else if template.contains("[INST]") {
      layout = .llama2
    } else if template.contains("<|user|>") {
      layout = .zephyr
    } else {
      return nil
    }
    standardSystem =
      layout == .chatML ? Self.literal(template, "<|im_start|>system\n", "<|im_end|>") : nil
  }

  /// The first text between two marks that is written out in the template, not computed.
  private static func literal(_ template: String, _ open: String, _ close: String) -> String? {
    let text = template.replacing("\\n", with: "\n")
    guard let start = text.firstRange(of: open) else { return nil }
    let rest = text[start.upperBound...]
    guard let end = rest.firstRange(of: close) else { return nil }
    let words = rest[..<end.lowerBound]
    return words.contains { "{}'\"+".contains($0) } || words.isEmpty ? nil : String(words)
  }

  /// One user turn, and the beginning of the answer, as token numbers. Only the marks are
  /// special unless `special`: a prompt that contains `<|im_end|>` must not end its own turn.
  public func tokens(
    _ user: [UInt8], system: [UInt8]?, _ tokenizer: Tokenizer, special: Bool
  ) -> [Int] {
    let system = system ?? standardSystem.map { Array($0.utf8) }
    var out: [Int] = tokenizer.encode([], beginning: true)
    func mark(_ text: String) { out += tokenizer.encode(Array(text.utf8), beginning: false) }
    func words(_ text: [UInt8]) {
      out += tokenizer.encode(text, special: special, beginning: false)
    }
    switch layout {
    case .chatML:
      for (role, text) in [("system", system), ("user", user)] {
        guard let text else { continue }
        mark("<|im_start|>\(role)\n")
        words(text)
        mark("<|im_end|>\n")
      }
      mark("<|im_start|>assistant\n")
    case .llama3:
      for (role, text) in [("system", system), ("user", user)] {
        guard let text else { continue }
        mark("<|start_header_id|>\(role)<|end_header_id|>\n\n")
        words(text)
        mark("<|eot_id|>")
      }
      mark("<|start_header_id|>assistant<|end_header_id|>\n\n")
    case .llama2:
      mark("[INST] ")
      if let system {
        mark("<<SYS>>\n")
        words(system)
        mark("\n<</SYS>>\n\n")
      }
      words(user)
      mark(" [/INST]")
    case .zephyr:
      for (role, text) in [("system", system), ("user", user)] {
        guard let text else { continue }
        mark("<|\(role)|>\n")
        words(text)
        mark("</s>\n")
      }
      mark("<|assistant|>\n")
    }
    return out
  }
}
