import Kernels

/// The instruction set the kernels run with. `best` is asked once; `ATTNSCOPE_ISA=plain` (or
/// baseline, avx2, avx512) forces one.
public enum InstructionSet: Int32, Sendable, CaseIterable {
  /// Scalar C, the oracle.
  case plain = 0
  /// What every machine of the architecture has.
  case baseline = 1
  /// 256-bit vectors with fused multiply-add.
  case avx2 = 2
  /// 512-bit vectors.
  case avx512 = 3

  /// The widest that this machine has and the environment allows.
  public static let best = InstructionSet(rawValue: Int32(as_best_isa().rawValue))!

  /// What is wrong with `ATTNSCOPE_ISA`, as a sentence; nil when it says nothing, or names a set
  /// that is there.
  public static var refusal: String? {
    guard let wanted = as_wanted_isa().map({ String(cString: $0) }) else { return nil }
    func list(_ sets: [InstructionSet]) -> String { sets.map(\.name).joined(separator: ", ") }
    guard let set = allCases.first(where: { $0.name == wanted }) else {
      return
        "ATTNSCOPE_ISA is '\(wanted)', which is no instruction set; it is one of \(list(allCases))"
    }
    return set.isAvailable
      ? nil
      : """
      ATTNSCOPE_ISA is \(wanted), which this machine lacks; it has \
      \(list(allCases.filter(\.isAvailable)))
      """
  }

  /// True when kernels for it were compiled in and this machine can run them.
  public var isAvailable: Bool { as_isa_available(as_isa(rawValue: UInt32(rawValue))) != 0 }

  /// What the kernels call it: the word that the environment variable takes.
  public var name: String { String(cString: as_isa_name(as_isa(rawValue: UInt32(rawValue)))) }
}
