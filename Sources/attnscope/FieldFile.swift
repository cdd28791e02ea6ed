import Attention
import Backends
import Formats
import Sessions

/// Collects what `report --fields` writes: `layers.{l}.{method}.{name}` of every field
/// `[heads, rows, columns]`, series `[heads, count]` and curve `[heads, points, 2]`, for who wants
/// to go on with them.
///
/// Kept entries are u8 (1 kept); all else is f32, NaN where there is nothing to see. An array whose
/// heads differ in shape gets a name a head, `layers.{l}.{method}.{name}.{head}`. The metadata hold
/// the setting under each method's name, and under each array's name the heads in it.
///
/// A method is named by its id; where several of its settings are in the file, by the whole
/// setting: `layers.12.a-shape:initial=4.kept` beside `layers.12.a-shape:initial=16.kept`.
///
/// Example, in Python: `load_file("out.safetensors")["layers.12.vertical-slash.columns"]`. The
/// catch: everything is held until the end, because an array's heads lie together in the file.
struct FieldFile {
  /// The file to write.
  let path: String
  /// What was taken in, by array.
  private var parts: [Key: [Part]] = [:]
  /// Every setting that was taken in.
  private var settings: Set<MethodSetting> = []

  /// What the heads of an array have in common.
  private struct Key: Hashable {
    /// As the file calls it; nil for what is about several layers.
    let layer: LayerNumber?
    /// Those it is about: one, or several that were laid over one another.
    let settings: [MethodSetting]
    /// Of the finding.
    let name: String
  }

  /// One head's share of an array.
  private struct Part {
    /// Query head, as the model calls it.
    let head: Int
    /// Row-major, as long as `shape` says.
    let values: [Float]
    /// Without the heads' axis.
    let shape: [Int]
    /// Values are 0 and 1.
    let isKept: Bool
  }

  /// Writes nothing before `write`.
  init(path: String) { self.path = path }

  /// Takes in what one head was said. Throws what the rows of a field throw.
  mutating func add(_ head: HeadReport, _ setting: MethodSetting) throws {
    settings.insert(setting)
    for finding in head.findings.all {
      guard let part = try Self.part(finding, head.number) else { continue }
      let key = Key(layer: head.layer, settings: [setting], name: finding.name)
      parts[key, default: []].append(part)
    }
  }

  /// Takes in what was said of several heads together: `overlap.{method}.{name}`, arrays without an
  /// axis of heads. Throws what the rows of a field throw.
  mutating func add(_ findings: Findings, _ settings: [MethodSetting]) throws {
    self.settings.formUnion(settings)
    for finding in findings.all {
      guard let part = try Self.part(finding, 0) else { continue }
      parts[Key(layer: nil, settings: settings, name: finding.name)] = [part]
    }
  }

  /// A finding as numbers; nil for single numbers and spans, which the report itself prints.
  /// Throws what reading a field's rows throws.
  private static func part(_ finding: Finding, _ head: Int) throws -> Part? {
    switch finding.content {
    case .number, .spans: return nil
    case .series(let axis, let values, _):
      return Part(head: head, values: values, shape: [axis.count], isKept: false)
    case .curve(let curve):
      let values = curve.points.flatMap { [Float($0.x), Float($0.y)] }
      return Part(head: head, values: values, shape: [curve.points.count, 2], isKept: false)
    case .field(let field, let look):
      return Part(
        head: head, values: try field.values(), shape: [field.rows.count, field.columns.count],
        isKept: look == .kept)
    }
  }

  /// Writes all arrays, ascending by layer, method and name; the metadata say which heads an
  /// array holds. Throws what writing throws.
  func write(force: Bool) throws {
    var arrays: [ArrayToWrite] = [], metadata: [String: String] = [:]
    for setting in settings { metadata[self.name(of: setting)] = setting.description }
    for (key, list) in parts.sorted(by: { order($0.key) < order($1.key) }) {
      let method = names(key)
      guard let layer = key.layer else {
        let name = "overlap.\(method).\(key.name)"
        arrays.append(Self.array(name, list[0].values, list[0].shape, list[0].isKept))
        continue
      }
      let name = "layers.\(layer).\(method).\(key.name)"
      metadata[name] = "heads \(list.map { "\($0.head)" }.joined(separator: ","))"
      if Set(list.map(\.shape)).count == 1 {
        arrays.append(
          Self.array(name, list.flatMap(\.values), [list.count] + list[0].shape, list[0].isKept))
      } else {
        for part in list {
          arrays.append(Self.array("\(name).\(part.head)", part.values, part.shape, part.isKept))
        }
      }
    }
    try writeSafetensors(arrays, metadata: metadata, to: path, force: force)
  }

  /// The method's id, or the whole setting where the file has others of the same method.
  private func name(of setting: MethodSetting) -> String {
    settings.count { $0.id == setting.id } > 1 ? setting.description : setting.id
  }

  /// What an array is about, as its name says it.
  private func names(_ key: Key) -> String {
    key.settings.map(name(of:)).joined(separator: "+")
  }

  /// The order of the file.
  private func order(_ key: Key) -> (LayerNumber, String, String) {
    (key.layer ?? LayerNumber(-1), names(key), key.name)
  }

  /// Kept fields as bytes, everything else as float32.
  private static func array(_ name: String, _ values: [Float], _ shape: [Int], _ isKept: Bool)
    -> ArrayToWrite
  {
    isKept
      ? ArrayToWrite(name, bytes: values.map { $0 > 0 ? 1 : 0 }, shape: shape)
      : ArrayToWrite(name, floats: values, shape: shape)
  }
}
