import Analysis
import Attention
import Canvas
public import Sessions

/// Why a setting was not taken: a sentence that says what would be.
public struct SettingError: Error, CustomStringConvertible {
  /// The sentence, without a full stop.
  public let description: String

  /// A sentence without a full stop.
  init(_ description: String) { self.description = description }
}

/// Everything about a view that has a name and a text: what state files, bookmarks, lessons and the
/// palette write.
///
/// Example: `head 3`, `cursor 831,0`, `zoom all`. The order of the table is the order in which
/// settings must be taken: a file before its layers, a size before a place.
public struct ViewSetting: Sendable {
  /// What stands before the value.
  public let name: String
  /// What may stand behind the name.
  public let values: String
  /// Its present value as text, which `set` reads again.
  let get: @Sendable (Viewpoint, [SourceDescription]) -> String
  /// Takes a text, or throws `SettingError` and leaves the view as it was.
  let set: @Sendable (inout Viewpoint, String, [SourceDescription]) throws(SettingError) -> Void

  /// Every setting, in the order in which they must be taken.
  public static let all: [ViewSetting] = place + decision + picture

  /// Takes a text into a view.
  /// Throws `SettingError` for a name that there is not, and what the setting throws.
  public static func take(
    _ name: String, _ value: String, into view: inout Viewpoint, _ sources: [SourceDescription]
  ) throws(SettingError) {
    guard let setting = all.first(where: { $0.name == name }) else {
      throw SettingError(
        "there is no setting '\(name)'; there are \(all.map(\.name).joined(separator: ", "))")
    }
    try setting.set(&view, value, sources)
  }

  /// What is another in a second view, as `lambda 0.1 → 0.01`; three settings at most.
  static func changes(
    from old: Viewpoint, to new: Viewpoint, _ sources: [SourceDescription]
  ) -> String {
    // The window says what zoom would, at more length.
    let changed = all.filter { $0.name != "window" }.compactMap { setting -> String? in
      let (a, b) = (setting.get(old, sources), setting.get(new, sources))
      return a == b ? nil : "\(setting.name) \(Self.shown(a)) → \(Self.shown(b))"
    }
    let more = changed.count > 3 ? ", and \(changed.count - 3) more" : ""
    return changed.prefix(3).joined(separator: ", ") + more
  }

  /// A value as screens write it: what state files keep to the last digit is read by nobody.
  private static func shown(_ value: String) -> String {
    guard value.contains(".") || value.contains("e-"), let number = Double(value) else {
      return value
    }
    return Numbers.threshold(number)
  }

  /// The file that a view looks at.
  private static func about(_ view: Viewpoint, _ sources: [SourceDescription]) -> SourceDescription
  {
    sources[min(max(view.head.source, 0), sources.count - 1)]
  }

  // MARK: Where

  /// Where: file, view, head, window, cursor. In this order each is checked against those before
  /// it.
  private static let place: [ViewSetting] = [
    ViewSetting(name: "file", values: "the number of an open file, from 1") { view, _ in
      "\(view.head.source + 1)"
    } set: { (view, text, sources) throws(SettingError) in
      guard let number = Int(text), sources.indices.contains(number - 1) else {
        throw SettingError("file is 1 to \(sources.count), not '\(text)'")
      }
      view.show(number - 1, sources)
    },
    ViewSetting(name: "view", values: ViewKind.allCases.map(\.word).joined(separator: ", ")) {
      view, _ in
      view.view.word
    } set: { (view, text, _) throws(SettingError) in
      guard let kind = ViewKind(word: text.lowercased()) else {
        throw SettingError(
          "view is one of \(ViewKind.allCases.map(\.word).joined(separator: ", ")), not '\(text)'")
      }
      view.view = kind
    },
    ViewSetting(name: "layer", values: "a layer number of the file") { view, sources in
      "\(about(view, sources).layers[view.head.layer])"
    } set: { (view, text, sources) throws(SettingError) in
      let about = about(view, sources)
      guard let number = Int(text), let index = about.index(of: LayerNumber(number)) else {
        throw SettingError("this file has layers \(about.layerNames), not '\(text)'")
      }
      view.head.layer = index
    },
    ViewSetting(name: "head", values: "a head number") { view, sources in
      "\(about(view, sources).headNumber(view.head.head))"
    } set: { (view, text, sources) throws(SettingError) in
      let about = about(view, sources)
      guard let number = Int(text), let head = about.head(numbered: number) else {
        throw SettingError("heads are \(about.headNames), not '\(text)'")
      }
      view.head.head = head
    },
    ViewSetting(name: "window", values: "query rows and keys, like 0-831,0-831") { view, _ in
      let (q, k) = (view.window.queries, view.window.keys)
      return "\(q.lowerBound)-\(q.upperBound - 1),\(k.lowerBound)-\(k.upperBound - 1)"
    } set: { (view, text, sources) throws(SettingError) in
      let about = about(view, sources)
      let ends = text.split(separator: ",").map { part in
        part.split(separator: "-").compactMap { Int($0) }
      }
      guard ends.count == 2, ends.allSatisfy({ $0.count == 2 && $0[0] >= 0 && $0[0] <= $0[1] }),
        ends[0][1] < about.queries, ends[1][1] < about.keys
      else {
        throw SettingError(
          "a window is like 0-\(about.queries - 1),0-\(about.keys - 1), not '\(text)'")
      }
      view.window = MapWindow(
        queries: ends[0][0]..<ends[0][1] + 1, keys: ends[1][0]..<ends[1][1] + 1)
    },
    ViewSetting(name: "cursor", values: "a query row and a key, like 100,5") { view, _ in
      "\(view.query),\(view.key)"
    } set: { (view, text, sources) throws(SettingError) in
      let about = about(view, sources)
      let numbers = text.split(separator: ",").map { Int($0) }
      guard numbers.count == 2, let query = numbers[0], let key = numbers[1],
        (0..<about.queries).contains(query), (0..<about.keys).contains(key)
      else {
        throw SettingError(
          "a cursor is QUERY,KEY up to \(about.queries - 1),\(about.keys - 1), not '\(text)'")
      }
      (view.query, view.key) = (query, key)
    },
    ViewSetting(name: "zoom", values: "all, or how many tokens on a side around the cursor") {
      view, sources in
      let about = about(view, sources)
      return view.window.keys.count == about.keys && view.window.queries.count == about.queries
        ? "all" : "\(view.window.keys.count)"
    } set: { (view, text, sources) throws(SettingError) in
      let about = about(view, sources)
      if text == "all" {
        view.window = MapWindow(queries: 0..<about.queries, keys: 0..<about.keys)
        return
      }
      guard let size = Int(text), size >= 8 else {
        throw SettingError("zoom is all, or a number of tokens from 8 on, not '\(text)'")
      }
      func around(_ place: Int, _ limit: Int) -> Range<Int> {
        let size = min(size, limit), start = min(max(place - size / 2, 0), limit - size)
        return start..<start + size
      }
      view.window = MapWindow(
        queries: around(view.query, about.queries), keys: around(view.key, about.keys))
    },
  ]

  // MARK: What decides

  /// What decides: the method, and the tile that blocks are counted in.
  private static let decision: [ViewSetting] = [
    ViewSetting(
      name: "method", values: "a method of the library with its knobs, like a-shape:local=64"
    ) { view, sources in
      view.method?.description ?? about(view, sources).tableCard?.id ?? "none"
    } set: { (view, text, sources) throws(SettingError) in
      view.method = text == "none" ? nil : try MethodChoice.read(text, about(view, sources))
      view.field = nil
    },
    ViewSetting(name: "lambda", values: "0 (dense) to 1") { view, _ in
      "\(view.lambda)"
    } set: { (view, text, _) throws(SettingError) in
      guard let value = Double(text), value.isFinite, value <= 1 else {
        throw SettingError("lambda is 0 (dense) to 1, not '\(text)'")
      }
      view.lambda = max(value, 0)
    },
    ViewSetting(name: "tile", values: "query rows x keys, or a preset") { view, _ in
      "\(view.spec.rows)x\(view.spec.keys)"
    } set: { (view, text, sources) throws(SettingError) in
      let preset = TilePreset.named(text).map {
        about(view, sources).queries == 1 ? $0.decode : $0.prefill
      }
      guard let sides = preset.map({ ($0.rows, $0.keys) }) ?? TileSpec.sides(text) else {
        throw SettingError(
          """
          a tile is like 128x128, or \(TilePreset.all.map(\.name).joined(separator: ", ")), not \
          '\(text)'
          """
        )
      }
      guard about(view, sources).storedTile == nil else { return }
      let blocks = about(view, sources).blocks(TileSpec(rows: sides.0, keys: sides.1))
      guard blocks <= TileLimit.blocks else {
        throw SettingError(
          "a tile of \(text) makes \(blocks) blocks of this map; \(TileLimit.blocks) are the most")
      }
      (view.spec.rows, view.spec.keys) = sides
    },
    choice("vote", \.spec.vote, Vote.allCases.map { ($0.rawValue, $0) }),
    choice("order", \.spec.order, Order.allCases.map { ($0.rawValue, $0) }),
    choice("criterion", \.spec.criterion, Criterion.allCases.map { ($0.rawValue, $0) }),
    ViewSetting(name: "splits", values: "1 or more") { view, _ in
      "\(view.spec.splits)"
    } set: { (view, text, _) throws(SettingError) in
      guard let count = Int(text), (1...1 << 20).contains(count) else {
        throw SettingError("splits are 1 or more, not '\(text)'")
      }
      view.spec.splits = count
    },
  ]

  // MARK: How it looks

  /// How it looks: nothing here makes anything be computed anew but pictures.
  private static let picture: [ViewSetting] = [
    choice("scale", \.scale, Viewpoint.Scale.allCases.map { ($0.rawValue, $0) }),
    choice("pooling", \.pooling, Viewpoint.Pooling.allCases.map { ($0.rawValue, $0) }),
    choice("normalise", \.normaliseRows, [("global", false), ("row", true)]),
    choice("mute", \.mute, [("off", false), ("on", true)]),
    choice("strip", \.strip, Viewpoint.Strip.allCases.map { ($0.rawValue, $0) }),
    choice("overlay", \.overlay, Viewpoint.Overlay.allCases.map { ($0.rawValue, $0) }),
    choice("colormap", \.colors, ColorMap.allCases.map { ($0.rawValue, $0) }),
    choice("background", \.light, [("dark", false), ("light", true)]),
    ViewSetting(
      name: "field", values: "the field on the map: pattern, or one that the method found"
    ) {
      view, _ in
      view.field ?? "pattern"
    } set: { (view, text, _) throws(SettingError) in
      view.field = text == "pattern" ? nil : try Self.name(text, "a field")
    },
    choice("heads", \.heads, HeadPool.allCases.map { ($0.rawValue, $0) }),
    ViewSetting(
      name: "score", values: "the number that heads are shown by, like error or entropy; none"
    ) { view, _ in
      view.score ?? "none"
    } set: { (view, text, _) throws(SettingError) in
      view.score = text == "none" ? nil : try Self.name(text, "a number")
    },
    ViewSetting(
      name: "where", values: "heads of which it holds, like error>0.1,layer<8,pattern=a-shape; all"
    ) {
      view, _ in
      view.filter?.description ?? "all"
    } set: { (view, text, _) throws(SettingError) in
      guard text != "all" else {
        view.filter = nil
        return
      }
      guard let filter = NumberFilter(text) else {
        let words = NumberFilter.patterns.joined(separator: ", ")
        throw SettingError(
          "where is like error>0.1, layer<8 or pattern=a-shape (or \(words)), or all, not '\(text)'"
        )
      }
      view.filter = filter
    },
    ViewSetting(
      name: "gallery", values: "methods side by side in view 2, like family:solvers; none"
    ) { view, _ in
      view.gallery ?? "none"
    } set: { (view, text, sources) throws(SettingError) in
      guard text != "none" else {
        view.gallery = nil
        return
      }
      view.gallery = try MethodGallery(text, about(view, sources)).text
    },
    ViewSetting(
      name: "select", values: "keys to mark, like 3-9,14, or those of a text in quotes; off"
    ) { view, _ in
      view.selection?.description ?? "off"
    } set: { (view, text, sources) throws(SettingError) in
      view.selection = text == "off" ? nil : try KeySelection.read(text, about(view, sources))
    },
    choice("sort", \.sort, Viewpoint.Sort.allCases.map { ($0.rawValue, $0) }),
    choice("costs", \.costs, Viewpoint.Costs.allCases.map { ($0.rawValue, $0) }),
    ViewSetting(
      name: "budget", values: "off, or a share of 64x64 tiles that all methods are tuned to, 0.1"
    ) { view, _ in
      view.budget.map { "\($0)" } ?? "off"
    } set: { (view, text, _) throws(SettingError) in
      let share = Double(text)
      guard text == "off" || share.map({ $0 > 0 && $0 <= 1 }) ?? false else {
        throw SettingError("budget is off, or a share above 0 and at most 1, not '\(text)'")
      }
      view.budget = text == "off" ? nil : share
    },
    choice(
      "overlap", \.overlap,
      [("off", nil)] + OverlapRequest.Along.allCases.map { ($0.rawValue, Optional($0)) }),
    ViewSetting(
      name: "recall", values: "what a shared mask must keep, above 0 and at most 1, like 0.95"
    ) { view, _ in
      "\(view.recall)"
    } set: { (view, text, _) throws(SettingError) in
      guard let value = Double(text), value > 0, value <= 1 else {
        throw SettingError("recall is a share above 0 and at most 1, not '\(text)'")
      }
      view.recall = value
    },
    ViewSetting(name: "other", values: "what view 6 compares with: 12.3, a method, a tile, file 2")
    {
      view, sources in
      view.other.map { $0.text(sources) } ?? "next"
    } set: { (view, text, sources) throws(SettingError) in
      view.other = text == "next" ? nil : try Counterpart(text, beside: view, sources)
    },
  ]

  /// A name as findings have it.
  private static func name(_ text: String, _ what: String) throws(SettingError) -> String {
    guard let first = text.first, first.isLetter,
      text.allSatisfy({ $0 == "_" || ($0.isASCII && ($0.isNumber || $0.isLowercase)) })
    else { throw SettingError("\(what) is named like output_error, not '\(text)'") }
    return text
  }

  /// A setting that is one of a few words.
  private static func choice<Value: Equatable & Sendable>(
    _ name: String, _ path: any WritableKeyPath<Viewpoint, Value> & Sendable,
    _ values: [(String, Value)]
  ) -> ViewSetting {
    let words = values.map(\.0).joined(separator: ", ")
    return ViewSetting(name: name, values: words) { view, _ in
      values.first { $0.1 == view[keyPath: path] }?.0 ?? ""
    } set: { (view, text, _) throws(SettingError) in
      guard let value = values.first(where: { $0.0 == text.lowercased() }) else {
        throw SettingError("\(name) is one of \(words), not '\(text)'")
      }
      view[keyPath: path] = value.1
    }
  }
}

/// A table has a number a block: finer tiles than this would fill the memory.
enum TileLimit {
  /// Four million blocks: 80 MB a table.
  static let blocks = 1 << 22
}

/// How large a table of this source would be.
extension SourceDescription {
  /// Of a tile, those that nobody sees included.
  func blocks(_ spec: TileSpec) -> Int {
    ((queries - 1) / spec.rows + 1) * ((keys - 1) / spec.keys + 1)
  }
}

/// Moving between files that may differ in layers, heads and length.
extension Viewpoint {
  /// Turns to another open file, keeping what both have.
  mutating func show(_ index: Int, _ sources: [SourceDescription]) {
    guard sources.indices.contains(index), index != head.source else { return }
    let old = sources[head.source], new = sources[index]
    let wasAll = window.keys.count == old.keys && window.queries.count == old.queries
    let layer = old.layers.has(head.layer) ? old.number(of: head.layer) : 0
    head.source = index
    head.layer = new.index(of: layer) ?? min(head.layer, LayerIndex(new.layers.count - 1))
    head.head = min(head.head, new.heads - 1)
    query = min(query, new.queries - 1)
    selection = selection?.clamped(to: new.keys)
    key = min(key, new.keys - 1)
    func fitted(_ range: Range<Int>, _ limit: Int) -> Range<Int> {
      let size = min(range.count, limit), start = min(range.lowerBound, limit - size)
      return start..<start + size
    }
    window =
      wasAll
      ? MapWindow(queries: 0..<new.queries, keys: 0..<new.keys)
      : MapWindow(
        queries: fitted(window.queries, new.queries), keys: fitted(window.keys, new.keys))
    if let tile = new.storedTile {
      spec = tile
    } else if old.storedTile != nil {
      spec = .standard(queries: new.queries)
    }
  }
}
