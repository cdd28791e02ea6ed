import Sessions

/// What an export is called unless the user says otherwise.
extension Model {
  /// The name an export is offered under.
  var exportName: String {
    "attnscope-L\(look.layerNumber)-H\(viewpoint.head.head)-\(viewpoint.view.word).svg"
  }
}
