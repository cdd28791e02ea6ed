import Attention
import Backends
import Formats
import Sessions

/// Patterns that heads were assigned elsewhere, as `info` says them.
extension InfoCommand {
  /// A head and its pattern, by the numbers of the model.
  struct Assigned {
    /// As the file calls it.
    let layer: LayerNumber
    /// As the model calls it.
    let head: Int
    /// What the table has for it.
    let pattern: AssignedPatterns.Pattern
  }

  /// Every head that the table speaks of.
  static func assigned(_ backend: FileBackend) -> [Assigned] {
    let about = backend.describe()
    return about.allHeads.compactMap { id in
      backend.assigned(id).map {
        Assigned(layer: about.layers[id.layer], head: about.headNumber(id.head), pattern: $0)
      }
    }
  }

  /// How often each pattern was assigned, a line a layer.
  static func assignedWords(_ backend: FileBackend) -> [String] {
    let all = assigned(backend), about = backend.describe()
    return about.layers.compactMap { layer in
      let own = all.filter { $0.layer == layer }.map(\.pattern.label)
      guard !own.isEmpty else { return nil }
      let names = Set(own).sorted().map { name in "\(own.count { $0 == name }) \(name)" }
      return
        "layer \(layer): \(own.count) of \(about.heads) heads: \(names.joined(separator: ", "))"
    }
  }

  /// The same for programs, a head each.
  static func assignedJSON(_ backend: FileBackend) -> JSON {
    .array(
      assigned(backend).map { one in
        .object([
          ("layer", .integer(one.layer.value)), ("head", .integer(one.head)),
          ("assigned", Report.assignedJSON(one.pattern)),
        ])
      })
  }
}
