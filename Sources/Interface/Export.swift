import Sessions

extension Model {
  /// The name an export is offered under.
  var exportName: String {
    "attnscope-L\(layerNumber)-H\(selection.head.head)-\(selection.view.word).svg"
  }
}
