import Analysis
import Attention
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

  /// A name on the line of views shows that view, an item of the footer presses its key. Elsewhere:
  /// puts the cursor there; a second press on the chosen head opens it.
  private mutating func press(_ mouse: Mouse) -> [Effect] {
    let layout = ScreenLayout(look)
    if let view = ViewBar(in: layout.tabs).view(x: mouse.x, y: mouse.y) {
      return performing { $0.viewpoint.view = view }
    }
    if layout.footer.contains(mouse.x, mouse.y) { return pressFooter(mouse, layout) }
    // Beside the text of a run stands a token, and not a head.
    if layout.side.contains(mouse.x, mouse.y), live == nil || viewpoint.view == .map {
      return pressCurve(mouse, layout.side)
    }
    switch viewpoint.view {
    case .map:
      if let key = RowPanel(look).key(x: mouse.x, y: mouse.y, in: layout.row) {
        return performing { $0.goTo(key) }
      }
      point(mouse)
    case .heads: return pressHead(mouse)
    case .tokens: return pointAtToken(mouse)
    case .compare: pointInComparison(mouse)
    case .blocks where look.isByTable: return pressBlocks(mouse, layout.main)
    case .sinks:
      if let head = SinksScreen(look).head(x: mouse.x, y: mouse.y, in: layout.main) {
        if head == viewpoint.head { return perform(.open) }
        return performing { $0.viewpoint.head = head }
      }
    case .blocks: break
    }
    return []
  }

  /// Presses the key that an item of the footer names.
  private mutating func pressFooter(_ mouse: Mouse, _ layout: ScreenLayout) -> [Effect] {
    let item = Screen.footer(self, layout).first {
      ($0.x..<$0.x + Width.of($0.item)).contains(mouse.x)
    }
    guard let item, let key = keymap.key(of: item.item, at: mouse.x - item.x) else { return [] }
    return takeKey(key)
  }

  /// Sets lambda to what lies under the curve beside the map.
  private mutating func pressCurve(_ mouse: Mouse, _ rect: Rect) -> [Effect] {
    var scratch = Grid(width: display.width, height: display.height)
    guard let curve = SidePanel(look).draw(in: rect, on: &scratch),
      let lambda = CurvePlot(look).lambda(x: mouse.x, y: mouse.y, in: curve)
    else { return [] }
    message = "lambda = \(Numbers.threshold(lambda))."
    return performing { $0.viewpoint.lambda = lambda }
  }

  /// In view 3: lambda of the curve, or the cursor to a block.
  private mutating func pressBlocks(_ mouse: Mouse, _ rect: Rect) -> [Effect] {
    switch BlocksScreen(look).target(x: mouse.x, y: mouse.y, in: rect) {
    case .lambda(let lambda):
      message = "lambda = \(Numbers.threshold(lambda))."
      return performing { $0.viewpoint.lambda = lambda }
    case .block(let row, let key):
      return performing { model in
        model.viewpoint.query = row * model.viewpoint.spec.rows
        model.viewpoint.key = key * model.viewpoint.spec.keys
        model.viewpoint.clampCursor(in: model.source)
      }
    case nil: return []
    }
  }

  /// Chooses a picture of view 2; a second press opens it.
  private mutating func pressHead(_ mouse: Mouse) -> [Effect] {
    guard viewpoint.gallery == nil else {
      let gallery = GalleryLook(look), layout = gallery.grid
      let index = layout.visible.first { layout.rect($0).contains(mouse.x, mouse.y) }
      guard let index else { return [] }
      if index == gallery.chosen { return perform(.open) }
      take(fromGallery: index)
      return []
    }
    if viewpoint.costs == .map {
      let area = ScreenLayout(look).main
      guard let head = CostScreen(look).head(x: mouse.x, y: mouse.y, in: area) else { return [] }
      if head == viewpoint.head { return perform(.open) }
      viewpoint.head = head
      return []
    }
    let layout = HeadsLayout(look)
    let index = layout.visible.indices.first { layout.grid.rect($0).contains(mouse.x, mouse.y) }
    guard let index else { return [] }
    if layout.order[index] == viewpoint.head { return perform(.open) }
    viewpoint.head = layout.order[index]
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
