import Algebra
import Analysis
import Attention
import Tensors

/// The circuits of a layer's heads, KQ = W_Q W_Kᵀ and OV = W_V W_O, by their sizes and diagonals.
///
/// A row x of the stream attends to a row y by x KQ yᵀ, and adds y OV where it does (Elhage et al.,
/// "A mathematical framework for transformer circuits", 2021). But for the zero-sum ratio, no
/// `[width, width]` product is made: ‖W_Q W_Kᵀ‖² = tr((W_QᵀW_Q)(W_KᵀW_K)), and the
/// diagonal is a dot product of two rows.
struct ProjectionLens: Sendable {
  /// What one head's weights say.
  struct Circuit: Sendable {
    /// ‖diag KQ‖ / ‖KQ‖, the mean of the diagonal and its deviation over the mean's size.
    let diagonality, mean, cv: Double?
    /// tr OV / ‖OV‖_*: 1 where OV copies, -1 where it takes away.
    let copying: Double?
    /// μ.
    let mu: Double
    /// |OV[last, last]| / ‖OV‖; nil where the last coordinate is no label.
    let lastEntry: Double?
    /// ‖OV‖_F.
    let size: Double
  }

  /// Widest stream of which Σ_h OV_h is made: H d width² products.
  static let widest = 3072

  /// `[heads]`.
  let circuits: [Circuit]
  /// ‖Σ_h OV_h‖ / Σ_h ‖OV_h‖; nil for wider streams.
  let zeroSum: Double?
  private let projections: Projections
  private let labelIsLast: Bool

  /// All heads of a layer. Throws `CancellationError`.
  init(_ projections: Projections, labelIsLast: Bool, _ run: MethodRun) throws {
    (self.projections, self.labelIsLast) = (projections, labelIsLast)
    circuits = try RowPicks.spread(projections.heads, by: 1, run) { heads in
      heads.map { Self.circuit(projections, $0, labelIsLast) }
    }
    zeroSum = try Self.zeroSum(projections, circuits, run)
  }

  /// A `[rows, columns]` slice of weights in double precision, whatever type and order it lies in.
  private static func matrix(_ tensor: Tensor) -> Matrix {
    Matrix(
      rows: tensor.shape[0], columns: tensor.shape[1],
      elements: tensor.floats().map(Double.init))
  }

  /// tr(P Q) of two symmetric matrices.
  private static func trace(_ p: Matrix, _ q: Matrix) -> Double {
    zip(p.elements, q.elements).reduce(0) { $0 + $1.0 * $1.1 }
  }

  /// One head: W_Q, W_K, W_V `[width, d]` and W_Oᵀ `[width, d_v]`. Cost width d², and the singular
  /// values of OV from its two factors.
  private static func circuit(_ all: Projections, _ head: Int, _ labelIsLast: Bool) -> Circuit {
    let shared = all.shared(head)
    let q = matrix(all.query[head]), k = matrix(all.key[shared])
    let v = matrix(all.value[shared]), o = matrix(all.output[head]).transposed()
    let n = Double(max(q.rows, 1))
    let diagonal = (0..<q.rows).map { LensRows.dot(q.elements, $0, k.elements, $0, q.columns) }
    let size = max(0, trace(q.gram(), k.gram())).squareRoot()
    let mean = diagonal.reduce(0, +) / n
    let spread = (diagonal.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / n).squareRoot()
    let values = (0..<v.rows).map { LensRows.dot(v.elements, $0, o.elements, $0, v.columns) }
    let total = values.reduce(0, +), valueSize = max(0, trace(v.gram(), o.gram())).squareRoot()
    let nuclear = (try? SingularValues(product: v, transposed: o))?.values.reduce(0, +)
    let last = values.last ?? 0
    return Circuit(
      diagonality: size > 0 ? LensRows.norm(diagonal) / size : nil, mean: mean,
      cv: mean != 0 ? spread / mean.magnitude : nil,
      copying: nuclear.flatMap { $0 > 0 ? total / $0 : nil },
      mu: labelIsLast ? last : total / n,
      lastEntry: labelIsLast && valueSize > 0 ? last.magnitude / valueSize : nil, size: valueSize)
  }

  /// Σ_h OV_h is one product of all values beside each other with all outputs below each other.
  /// Throws `CancellationError`.
  private static func zeroSum(_ all: Projections, _ circuits: [Circuit], _ run: MethodRun) throws
    -> Double?
  {
    let sizes = circuits.reduce(0) { $0 + $1.size }, width = all.width
    guard width <= widest, sizes > 0 else { return nil }
    let d = all.value.shape[2], inner = all.heads * d
    let values = (0..<all.heads).map { matrix(all.value[all.shared($0)]) }
    let outputs = (0..<all.heads).flatMap { all.output[$0].floats().map(Double.init) }
    let left = Matrix(rows: width, columns: inner) { x, c in values[c / d][x, c % d] }
    let right = Matrix(rows: inner, columns: width, elements: outputs)
    let sum = try KernelRows.product(left, right, run)
    return sum.frobeniusNorm / sizes
  }

  /// KQ or OV of a head, `[width, width]`, a row at a time.
  private static func field(_ left: Matrix, _ right: Matrix) -> RuleField {
    let rows = Axis(.row, left.rows), columns = Axis(.column, right.rows)
    return RuleField(rows: rows, columns: columns) { x, out in
      for y in out.indices {
        out[y] = Float(LensRows.dot(left.elements, x, right.elements, y, left.columns))
      }
    }
  }

  /// What is said of a head and its layer. Rows of both circuits are made as they are drawn: width
  /// d each.
  func add(_ head: Int, to findings: inout Findings) {
    let all = projections, shared = all.shared(head), mine = circuits[head]
    findings.field(
      "kq", Self.field(Self.matrix(all.query[head]), Self.matrix(all.key[shared])), .signed,
      title: "KQ = W_Q W_Kᵀ")
    findings.field(
      "ov", Self.field(Self.matrix(all.value[shared]), Self.matrix(all.output[head]).transposed()),
      .signed, title: "OV = W_V W_O")
    findings.number("diagonality", mine.diagonality, .share, title: "diagonal share of KQ")
    findings.number("diagonal_mean", mine.mean, title: "ω, mean of the diagonal of KQ")
    findings.number("diagonal_cv", mine.cv, title: "its deviation over its size")
    findings.number("copying", mine.copying, title: "copying, tr OV / ‖OV‖_*")
    findings.number(
      "last_entry", mine.lastEntry, .share, title: "share of OV's last entry, if it is the label")
    findings.number("zero_sum", zeroSum, .share, title: "size of Σ OV over the heads' sizes")
    findings.number("mu_sum", circuits.reduce(0) { $0 + $1.mu }, title: "Σ μ over the heads")
    let axis = Axis(.head, circuits.count)
    func series(_ name: String, _ title: String, _ unit: Unit, _ of: (Circuit) -> Double?) {
      findings.series(name, axis, circuits.map { Float(of($0) ?? .nan) }, unit, title: title)
    }
    series("omegas", "ω by head", .none) { $0.mean }
    series("mus", labelIsLast ? "μ by head" : "μ by head, mean of OV's diagonal", .none) { $0.mu }
    series("diagonalities", "diagonal share of KQ by head", .share) { $0.diagonality }
    series("copyings", "copying by head", .none) { $0.copying }
    if zeroSum == nil, all.width > Self.widest {
      findings.note("zero-sum ratio: for streams up to \(Self.widest) wide")
    }
    findings.note("weights as they are: without norms, biases and rotations")
  }
}
