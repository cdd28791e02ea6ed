import Sessions

/// What an export is called unless the user says otherwise.
extension Model {
  /// The name an export is offered under.
  var exportName: String {
    let what = viewpoint.budget == nil ? viewpoint.view.word : "budget"
    return "attnscope-L\(look.layerNumber)-H\(look.chosenHeadNumber)-\(what).svg"
  }
}
