import Tensors

/// What the arrays are, and what is said of a file in which none is attention.
extension DumpReader {
  /// Q and K win over maps: everything else can be computed from them. Throws `mismatch` where
  /// there is no attention, with what there is instead.
  mutating func chooseKind(_ archive: any TensorArchive) throws(FormatError) -> DumpKind {
    if let kind = options.kind { return kind }
    if found[.query] != nil, found[.key] != nil { return .qkv }
    if let map = maps.first {
      if let hint = maps.compactMap(\.hint).first { return hint }
      let content = try MapContent(map.archive, map.entry)
      guard let kind = content.kind else {
        throw FormatError(
          .mismatch,
          """
          holds whole numbers from \(Self.whole(content.range.lowerBound)) to \
          \(Self.whole(content.range.upperBound)): a mask has 0 and 1 (255: not visible), a \
          pattern shares that sum to 1; --kind pattern, scores or mask says what they are
          """,
          file: path, place: map.entry.name)
      }
      let quantised = content.rowSum.map {
        "; its rows sum to \(Self.whole($0)), so they are quantised"
      }
      guesses.append(
        Guess("read as \(kind.words) from a look at its values\(quantised ?? "")", flag: "--kind"))
      return kind
    }
    if found[.blocks] != nil { return .mask }
    throw refusal(archive)
  }

  /// A number without its fraction; those of 64 bits may be larger than any `Int`.
  private static func whole(_ value: Float) -> String {
    Int(exactly: value.rounded(.towardZero)).map(String.init) ?? "\(value)"
  }

  /// Why a file shows nothing: what it holds, and what to do.
  private func refusal(_ archive: any TensorArchive) -> FormatError {
    let entries = archive.entries
    let parts = entries.map { nameParts($0.name) }
    if let fused = zip(entries, parts).first(where: { Self.isFused($1) })?.0 {
      return none(
        """
        "\(fused.name)" is the output of one projection for Q, K and V together, before it is \
        split: split it, apply the rotary positions, and save the parts as layers.0.q, layers.0.k \
        and layers.0.v
        """)
    }
    if parts.contains(where: { $0.last == "weight" }) {
      return none(
        """
        these are the weights of a model; samples/export/attnscope_export.py --model FOLDER makes \
        a dump of what it computes, attnscope capture one of a GGUF model
        """)
    }
    if entries.contains(where: {
      $0.name.hasSuffix("kv_indices") || $0.name.hasSuffix("num_blocks")
    }) {
      return none(
        """
        it is a BlockMask of FlexAttention without its kv_num_blocks or kv_indices; save \
        mask.to_dense() as block_mask
        """)
    }
    if let chosen = found[.selected]?.first {
      return FormatError(
        .mismatch,
        """
        has chosen keys ("\(chosen.entry.name)") and nothing that they were chosen of; save Q \
        and K, or a map, beside them
        """,
        file: path)
    }
    return incomplete(entries)
  }

  /// The same of arrays that nothing is known of, or half.
  private func incomplete(_ entries: [ArrayEntry]) -> FormatError {
    if !entries.isEmpty, entries.allSatisfy({ $0.shape.rank < 2 }) {
      let shapes = entries.prefix(4).map { "\($0.shape)" }.joined(separator: ", ")
      return FormatError(
        .mismatch,
        """
        holds no attention, only vectors (\(shapes)): it has two axes at least, queries and keys
        """,
        file: path)
    }
    if let half = (found[.query] ?? found[.key] ?? halves.first).map({ $0[0] }) {
      return FormatError(
        .mismatch, "has \"\(half.entry.name)\" but not its partner; Q and K are both needed",
        file: path)
    }
    let names = entries.prefix(4).map { "\"\($0.name)\" \($0.shape)" }.joined(separator: ", ")
    return none(
      """
      its arrays are \(names.isEmpty ? "none" : names); --array NAME takes one for attention, or \
      name them layers.0.q, layers.0.k, layers.0.v or attention
      """)
  }

  private func none(_ why: String) -> FormatError {
    FormatError(.mismatch, "holds no attention that is recognised: \(why)", file: path)
  }

  private static func isFused(_ parts: [String]) -> Bool {
    parts.contains("qkv") || zip(parts, parts.dropFirst()).contains { $0 == "c" && $1 == "attn" }
  }
}
