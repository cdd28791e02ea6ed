import Glibc
import Kernels
import Synchronization

/// Threads that stay awake between short loops.
///
/// A decode step is a hundred loops of twenty microseconds each, and waking a sleeping thread
/// costs as much as one of them.
///
/// Example: `team.run { for layer in layers { team.forEach(8) { ... } } }`. The caller leads
/// and works too; helpers from `threads` join when they are free, so a busy pool makes it
/// slower and never stuck. Between loops helpers spin, and give way after a while.
///
/// `@unchecked Sendable`: `body` is written by the leader before the ticket that announces
/// it, and read only by those who hold an item of that ticket, which the leader waits for.
public final class Team: @unchecked Sendable {
  private let threads: ComputeThreads
  /// Loop number, how many items it has, and the next item to take: see `Ticket`.
  private let ticket = Atomic<UInt64>(0)
  private let unfinished = Atomic<Int>(0)
  private let closed = Atomic<Bool>(true)
  private let helping = Atomic<Int>(0)
  private var body: ((Int) -> Void)?
  private var loop: UInt64 = 0

  /// A team borrows its helpers from `threads`; making one starts nothing.
  public init(_ threads: ComputeThreads = .shared) { self.threads = threads }

  /// Threads that may work at once, the leader included.
  public var count: Int { threads.count }

  /// Keeps helpers awake while `body` runs. Runs may be nested: then the outer one keeps
  /// them. Throws what `body` throws, after the helpers have left. Only one thread may lead.
  public func run<R>(_ body: () throws -> R) rethrows -> R {
    guard closed.load(ordering: .relaxed) else { return try body() }
    closed.store(false, ordering: .releasing)
    for _ in 1..<max(threads.count, 1) {
      threads.submit { [self] in help() }
    }
    defer {
      closed.store(true, ordering: .releasing)
      while helping.load(ordering: .acquiring) > 0 { as_pause() }
    }
    return try body()
  }

  /// Runs `body` for 0..<count on the caller and on whoever helps; returns when all are done.
  /// At most 2^20 - 1 items, of which nobody may throw or wait for another.
  public func forEach(_ count: Int, _ body: (Int) -> Void) {
    guard count > 1, threads.count > 1 else {
      for item in 0..<count { body(item) }
      return
    }
    precondition(count < 1 << 20, "\(count) items are too many for one loop")
    withoutActuallyEscaping(body) { body in
      self.body = body
      loop &+= 1
      unfinished.store(count, ordering: .relaxed)
      ticket.store(Ticket(loop: loop, count: count).bits, ordering: .releasing)
      while takeOne() {}
      while unfinished.load(ordering: .acquiring) > 0 { as_pause() }
      self.body = nil
    }
  }

  /// False when nothing is left to take.
  private func takeOne() -> Bool {
    guard Ticket(bits: ticket.load(ordering: .acquiring)).isOpen else { return false }
    let mine = Ticket(bits: ticket.wrappingAdd(1, ordering: .acquiringAndReleasing).oldValue)
    guard mine.isOpen else { return false }
    body?(mine.item)
    unfinished.wrappingSubtract(1, ordering: .acquiringAndReleasing)
    return true
  }

  /// A helper's life between two runs: spin politely, and let another thread have the core
  /// now and then, since the machine may have fewer free cores than helpers.
  private func help() {
    helping.wrappingAdd(1, ordering: .acquiringAndReleasing)
    defer { helping.wrappingSubtract(1, ordering: .acquiringAndReleasing) }
    var idle = 0
    while !closed.load(ordering: .acquiring) {
      if takeOne() {
        idle = 0
      } else {
        idle += 1
        if idle % 4096 == 0 { sched_yield() } else { as_pause() }
      }
    }
  }

  /// 24 bits of loop number, 20 of count, 20 of the next item: one atomic word, so that an
  /// item always belongs to the loop whose count it was checked against.
  private struct Ticket {
    let bits: UInt64

    init(bits: UInt64) { self.bits = bits }

    init(loop: UInt64, count: Int) { bits = loop << 40 | UInt64(count) << 20 }

    var item: Int { Int(bits & 0xfffff) }
    var isOpen: Bool { bits & 0xfffff < bits >> 20 & 0xfffff }
  }
}
