public import Attention

/// What the families of the library are: a title and a paragraph each, for the library on the
/// screen and for `attnscope methods`.
///
/// Example: `MethodFamily.all.first { $0.word == "pages" }?.title`. A card says by its `family`
/// which of them it belongs to; a test holds every card to one that is here.
extension MethodFamily {
  /// In the order of the library: what is computed otherwise, what is left out, what is mixed
  /// otherwise, and what only looks.
  public static let all: [MethodFamily] = exact + masks + maps + instruments

  /// The family of a card; nil for a word that nobody has written about.
  public static func named(_ word: String) -> MethodFamily? { all.first { $0.word == word } }

  /// Softmax itself.
  private static let exact: [MethodFamily] = [
    MethodFamily(
      "softmax", "Softmax and its thresholds",
      """
      Softmax as it stands, and rules that skip a block while it is computed because nothing in it \
      can matter any more. Scores are still made for every block, so what is saved is the \
      exponentials, the values and their traffic, and no pass comes before. They fail to save \
      anything where attention is flat: then no block falls far below the running maximum.
      """)
  ]

  /// Methods that keep entries of the pattern.
  private static let masks: [MethodFamily] = [
    MethodFamily(
      "static", "Fixed shapes",
      """
      A window, a sink, a dilation: which keys a query may read follows from its place alone. \
      There is nothing to select, so the cost is that of the kept entries and known beforehand. \
      They fail on retrieval: a key outside of the shape is lost however much weight it has.
      """),
    MethodFamily(
      "minference", "Patterns of a head",
      """
      Each head gets one of a few shapes (a sink with a window, columns with diagonals, blocks), \
      and what the shape needs is estimated from the last queries or from pooled keys. The \
      estimate costs a small part of the scores; the shape itself is chosen once, offline. They \
      fail when a prompt makes a head behave otherwise than when its shape was chosen, or when the \
      last queries are not like the others.
      """),
    MethodFamily(
      "search", "Estimate, then keep",
      """
      A cheap stand-in for the scores (sampled queries, pooled or quantised keys, a tree, sums \
      along antidiagonals) ranks keys or blocks, and the best are computed exactly. The selection \
      is paid for every query and grows with the length, though slower than the scores. They fail \
      where the stand-in averages away what matters: a single heavy key in a block of light ones.
      """),
    MethodFamily(
      "pages", "Pages of keys",
      """
      The cache is cut into pages, each with a small summary (bounds, a mean, a few \
      representatives); a query scores the summaries and reads the best pages. That costs one \
      score a page and keeps all keys in memory. They fail when what a query needs is spread \
      thinly over many pages, or when the summary hides an outlier within one.
      """),
    MethodFamily(
      "eviction", "Caches that forget",
      """
      Keys are thrown away for good, by the attention that they have had, by their norm, or by how \
      like the others they are. Memory stays bounded, and selection costs next to nothing beside \
      the scores that are there anyway. They fail when a key becomes important late: it may be \
      gone, and nothing brings it back.
      """),
    MethodFamily(
      "hash", "Hashing and sampling",
      """
      Queries and keys are sorted into buckets by a hash that likes large products; entries of a \
      common bucket are computed, and the rest is estimated from a sample. The cost grows almost \
      linearly with the length, with a constant that pays for itself on long prompts alone. They \
      fail on flat rows, where buckets say little, and their variance is that of the sample.
      """),
    MethodFamily(
      "hybrid", "Exact here, approximate there",
      """
      A part of the entries or tokens keeps softmax, and the rest goes a cheaper way, through a \
      state or a coarser sum. They cost what the two parts and the decision between them cost. \
      They fail where the division is wrong, and what was trained with the model has only a \
      stand-in here.
      """),
    MethodFamily(
      "learned", "Selections that were learned",
      """
      An indexer that was trained with the model says which keys a query reads; its selection is \
      taken from the file. The indexer scores every key, with few and narrow heads, so its cost is \
      still quadratic but small. It fails where a query needs more keys than the selection has \
      places, or where the text is unlike what it was trained on.
      """),
    MethodFamily(
      "oracle", "Oracles",
      """
      The best that any selection of so many entries or blocks could do: it reads the dense \
      pattern first and keeps its largest part. The cost is that of dense attention and more, so \
      they are yardsticks and no method to run. What they cannot say is whether a cheap rule would \
      find these entries.
      """),
    MethodFamily(
      "multimodal", "Budgets by layer and token",
      """
      How much is kept follows from the mass of the attention: layers that look at many tokens \
      keep many, others few, and tokens of images and of text share one budget. The probe reads a \
      few query rows in full. They fail when those rows are not like the ones that follow, as with \
      a question that comes after the image.
      """),
    MethodFamily(
      "reuse", "Taken over from neighbours",
      """
      What one step or layer has computed is used again by the next wherever little has changed; \
      only differences above a threshold are computed. Comparing costs a pass over what is stored, \
      and the old results must be kept. They fail at turns of the text, where everything changes \
      at once, and small errors add up along the way.
      """),
    MethodFamily(
      "heads", "Kinds of heads",
      """
      Heads are sorted by what they do (retrieving, streaming, holding a sink), and each kind may \
      then have a cache or a mask of its own. Sorting costs a pass over some rows, or is learned \
      once. They fail when a head does two things, or changes its kind with the text.
      """),
  ]

  /// Methods that mix rows by another matrix.
  private static let maps: [MethodFamily] = [
    MethodFamily(
      "reweighting", "Softmax, changed",
      """
      The softmax stays and its scores or weights are changed: by a bias of the distance, a clip, \
      a gate, a perturbation. The cost is that of dense attention and a few operations an entry; \
      biases of low rank go through the product itself. They fail on models that were not trained \
      so, whose heads count on the weights they know.
      """),
    MethodFamily(
      "solvers", "Attention as a solved problem",
      """
      The row of weights is the solution of a least-squares or fixed-point problem over the keys, \
      solved exactly, by gradient steps as tokens come, or by a recurrence with one correction a \
      token. Exact forms cost a factorisation, cubic in the length or in the width; recurrent ones \
      a state of d_k by d_v a head and a few products a token. They fail where keys are nearly \
      equal: the problem is badly conditioned, weights grow large and of both signs, and step size \
      and ridge decide the result.
      """),
    MethodFamily(
      "kernel", "Feature maps and linear attention",
      """
      exp(q·k) is replaced by a product of features of q and of k, or of landmarks, so that sums \
      over keys are made once and every query reads a state. A token costs the same however long \
      the text is, and the state has features times d_v elements. They fail on peaked rows: the \
      features smear what softmax would concentrate, random ones have a variance that grows with \
      the norms, and the state cannot hold more associations than it has dimensions.
      """),
    MethodFamily(
      "systems", "Dynamical systems",
      """
      Attention and its relatives in one form, a linear system whose state is updated by the input \
      and read by the query, which state-space models share. Seen so, decay, gates and \
      normalisation are entries of matrices that can be laid beside the softmax map. The cost is \
      that of the state: constant a token for finite ones, growing for softmax itself. They fail \
      to recall exactly what lies far back when the decay is strong, and to forget when it is \
      weak.
      """),
    MethodFamily(
      "tensor", "More than pairs",
      """
      A weight belongs to a query and two keys (or more) and not to a pair: a score of three \
      vectors, or a tensor that is folded back to a map. Exact forms are cubic in the length, \
      which is why whole maps stop at a hundred tokens or so and windows or factors stand in \
      beyond. They fail where pairs say all there is, and pay for nothing then.
      """),
    MethodFamily(
      "lens", "Attention as learning",
      """
      Readings of what a head does with the examples before it: a regression in context, a shift \
      of weights that the context amounts to. They change nothing; the numbers say how near the \
      head is to one step or to the solution of such a problem. The cost is a factorisation or a \
      few products of the head's own sides. They fail as explanations where softmax is far from \
      linear or the rank is cut too low: then the residual is large, and says so.
      """),
    MethodFamily(
      "depth", "Mixing over depth",
      """
      What a layer reads is a weighted sum of what all layers before it wrote, with weights that \
      depend on the token, where a plain residual stream adds with weight one. The map is one of \
      sublayers by sublayers, and the cost a small softmax a token and layer, with all outputs \
      kept. It needs residuals, and without the trained queries only a stand-in can be shown.
      """),
  ]

  /// Methods that look, count and rank.
  private static let instruments: [MethodFamily] = [
    MethodFamily(
      "schedules", "How the work is divided",
      """
      The result is that of dense attention; what differs is which worker computes which tiles and \
      when, and how partial softmaxes are joined. It costs the joining, and gains where the heads \
      are fewer than the workers. It gains nothing where every worker is busy anyway, and what is \
      drawn is a count of tiles and not a measurement.
      """),
    MethodFamily(
      "scores", "Numbers out of attention",
      """
      A number is read from the attention of a pass that was made anyway, as the quality of an \
      image or the weight of a token. That costs a sum over the pattern. It fails where attention \
      is not what carries the quality: such a number ranks inputs of one kind and does not \
      measure.
      """),
    MethodFamily(
      "images", "Tokens of images",
      """
      Image tokens are ranked by the attention that they get from text, from a class token or from \
      a small model, and the rest are dropped or merged; others take a bias of place out of that \
      ranking first. It costs a sum over a few rows and saves every layer that follows. It fails \
      on fine print and on questions that come late: what was dropped early cannot be read again.
      """),
    MethodFamily(
      "models", "Experiments on the whole model",
      """
      The model reads the text again with a layer skipped, a head masked or the attention of \
      another layer, and what it says is compared with what it said before. That costs one pass an \
      experiment, and needs the model and not just a dump. Effects are of this text and of one \
      change at a time: heads that stand in for each other look unimportant.
      """),
  ]
}
