import ArgumentParser
import Attention

/// The flags that say how blocks are decided.
///
/// Example: `--lambda 0.01 --tile hopper --vote group`. What is not said depends on the phase: a
/// decode step has one row, so its tile is another and its heads vote together. Later flags
/// override a preset one by one.
///
/// The catch: masks of different tiles are not comparable, so every command that prints a number of
/// blocks prints the tile with it.
struct TileArguments: ParsableArguments {
  @Option(
    name: .customLong("lambda"), parsing: .unconditional,
    help: ArgumentHelp(
      """
      Skip blocks more than ln(1/lambda) below the running maximum; 0 is dense, above 1 is refused \
      (default: 0.01).
      """,
      valueName: "lambda"))
  var chosenLambda: Double?

  /// What the flag says, or 0.01; `chosenLambda` tells whether it was said.
  var lambda: Double { chosenLambda ?? 0.01 }

  @OptionGroup var blocks: BlockArguments

  /// Query rows that vote and keys of a block; nil: by the phase.
  var tile: TileSides? {
    get { blocks.tile }
    set { blocks.tile = newValue }
  }
  /// Who decides; nil: by the phase.
  var vote: Vote? {
    get { blocks.vote }
    set { blocks.vote = newValue }
  }
  /// Order of key blocks; nil: ascending.
  var order: Order? {
    get { blocks.order }
    set { blocks.order = newValue }
  }
  /// Runs of key blocks with a running maximum of their own.
  var splits: Int {
    get { blocks.splits }
    set { blocks.splits = newValue }
  }

  /// Throws `ValidationError` for a lambda above 1 or none at all.
  func validate() throws {
    do { _ = try Lambda(lambda) } catch { throw ValidationError("\(error)") }
  }

  /// The tile and the rules for maps of `queries` rows (1 means decode).
  func spec(queries: Int) -> TileSpec { blocks.spec(queries: queries) }
}

/// The flags that say what a block is and who votes on it, for any lambda.
struct BlockArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      Query rows that vote x keys, e.g. 128x128, or a preset: modelopt, hopper, blackwell, \
      flashinfer, fine.
      """,
      valueName: "QxK"), completion: .list(TilePreset.all.map(\.name)))
  var tile: TileSides?

  /// Nil: by the phase.
  @Option(help: "Who decides: head or group (default: head in prefill, group in decode).")
  var vote: Vote?

  /// Nil: ascending.
  @Option(help: "Order of key blocks: ascending or descending.")
  var order: Order?

  /// The published comparison unless told otherwise.
  @Option(help: "Compare with the running maximum (max), or the running log-sum-exp (lse).")
  var criterion: Criterion = .max

  @Option(
    parsing: .unconditional,
    help: "Split-K: runs of key blocks, each with a running maximum of its own.")
  var splits = 1

  /// Throws `ValidationError` for fewer than one split.
  func validate() throws {
    guard (1...1 << 20).contains(splits) else {
      throw ValidationError("--splits is 1 or more.")
    }
  }

  /// The tile and the rules for maps of `queries` rows (1 means decode). A preset brings its
  /// own rule for each phase; single flags override what it says.
  func spec(queries: Int) -> TileSpec {
    var spec = TileSpec.standard(queries: queries)
    if let tile {
      let preset = TilePreset.all.first { $0.name == tile.preset }
      if let preset {
        spec = queries == 1 ? preset.decode : preset.prefill
      } else {
        (spec.rows, spec.keys) = (tile.rows, tile.keys)
      }
    }
    if let vote { spec.vote = vote }
    if let order { spec.order = order }
    (spec.criterion, spec.splits) = (criterion, splits)
    return spec
  }
}
