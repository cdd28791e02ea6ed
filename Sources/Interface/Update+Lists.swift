import Analysis
import Canvas
import Sessions

/// Moves through heads, and the mouse. The mouse reads the same layouts that the views are drawn
/// with.
extension Model {
  /// Through the heads in the order in which the view shows them.
  mutating func moveInHeads(_ action: Action, _ count: Int) {
    let layout = HeadsLayout(look)
    guard !layout.order.isEmpty else {
      message = look.noHeads
      return
    }
    let here = layout.order.firstIndex(of: viewpoint.head) ?? 0
    let wanted = layout.grid.moved(action, count, from: here)
    if wanted == here { message = "There are no more heads this way." }
    viewpoint.head = layout.order[wanted]
  }

  // MARK: Mouse

  /// The wheel zooms where there is a map and moves elsewhere; a press outside the normal mode
  /// closes what is open.
  mutating func takeMouse(_ mouse: Mouse) -> [Effect] {
    guard prompt.isNormal else {
      if mouse.action == .press { prompt.mode = .normal }
      return []
    }
    switch mouse.action {
    case .wheelUp, .wheelDown:
      let isMap = viewpoint.view == .map && viewpoint.budget == nil
      if isMap { point(mouse) }
      let up = mouse.action == .wheelUp
      return perform(isMap ? (up ? .zoomIn : .zoomOut) : (up ? .up : .down))
    case .press where viewpoint.budget != nil: break
    case .press:
      drag = (mouse.x, mouse.y)
      message = nil
      let before = viewpoint
      let effects = press(mouse)
      if viewpoint != before { isStopped = false }
      return effects
    case .drag: dragMap(mouse)
    case .release: drag = nil
    }
    return []
  }

  /// A name on the line of views shows that view. Elsewhere: puts the cursor there; a second press
  /// on the chosen head opens it.
  private mutating func press(_ mouse: Mouse) -> [Effect] {
    if let view = ViewBar(in: ScreenLayout(look).tabs).view(x: mouse.x, y: mouse.y) {
      return performing { $0.viewpoint.view = view }
    }
    switch viewpoint.view {
    case .map: point(mouse)
    case .heads where viewpoint.gallery != nil:
      let gallery = GalleryLook(look), layout = gallery.grid
      let index = layout.visible.first { layout.rect($0).contains(mouse.x, mouse.y) }
      guard let index else { return [] }
      if index == gallery.chosen { return perform(.open) }
      take(fromGallery: index)
    case .heads:
      let layout = HeadsLayout(look)
      let index = layout.visible.indices.first { layout.grid.rect($0).contains(mouse.x, mouse.y) }
      guard let index else { return [] }
      if layout.order[index] == viewpoint.head { return perform(.open) }
      viewpoint.head = layout.order[index]
    case .tokens: return pointAtToken(mouse)
    case .compare: pointInComparison(mouse)
    case .blocks, .sinks: break
    }
    return []
  }

  /// Puts the cursor where the mouse is.
  private mutating func point(_ mouse: Mouse) {
    point(mouse, MapLayout(look), viewpoint.window)
  }

  /// Any of the three maps moves the one cursor they share.
  private mutating func pointInComparison(_ mouse: Mouse) {
    let layout = CompareLayout(look)
    for map in [layout.left, layout.right, layout.difference] {
      point(mouse, map, look.sharedWindow)
    }
  }

  /// The middle of the tokens under the cell.
  private mutating func point(_ mouse: Mouse, _ layout: MapLayout, _ window: MapWindow) {
    guard layout.plot.contains(mouse.x, mouse.y) else { return }
    let keys = layout.keys(mouse.x, window), queries = layout.queries(mouse.y, window)
    viewpoint.point(queries, keys, in: source)
  }

  /// Pans by what the mouse has moved since the last report.
  private mutating func dragMap(_ mouse: Mouse) {
    guard let from = drag, viewpoint.view == .map else { return }
    let layout = MapLayout(look), window = viewpoint.window
    let keys = (from.x - mouse.x) * window.keys.count / max(layout.plot.width, 1)
    let queries = (from.y - mouse.y) * window.queries.count / max(layout.plot.height, 1)
    viewpoint.pan(queries: queries, keys: keys, in: source)
    drag = (mouse.x, mouse.y)
    isStopped = false
  }
}
