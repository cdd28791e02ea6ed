import Glibc
import Kernels
import Synchronization

/// Threads that stay awake between short loops: a decode step is a hundred loops of twenty microseconds each, and waking
/// a sleeping thread costs as much as one of them.
///
/// Example: `team.run { for layer in layers { team.forEach(8) { ... } } }`. The caller leads and works too; helpers from
/// `threads` join when they are free, so a busy pool makes it slower and never stuck. Between loops helpers spin, and
/// give way after a while.
///
/// `@unchecked Sendable`: `body` is written by the leader before the ticket that announces it, and read only by those
/// who hold an item of that ticket, which the leader waits for.
public final class Team: @unchecked Sendable {
  private let threads: ComputeThreads
  /// Loop number, how many items it has, and the next item to take: see `Ticket`.
  private let ticket = Atomic<UInt64>(0)
  private let unfinished = Atomic<Int>(0)
  private let closed = Atomic<Bool>(true)
  private let helping = Atomic<Int>(0)
  private var body: ((Int) -> Void)?
  private var loop: UInt64 = 0
  /// Bytes that will be read soon: first address and end.
  private let soonFrom = Atomic<UInt>(0)
  private let soonTo = Atomic<UInt>(0)

  public init(_ threads: ComputeThreads = .shared) { self.threads = threads }

  public var count: Int { threads.count }

  /// Keeps helpers awake while `body` runs. Runs may be nested: then the outer one keeps them.
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
      var cursor = Expected()
      while unfinished.load(ordering: .acquiring) > 0 {
        if !bringNearer(&cursor, isLeader: true) { as_pause() }
      }
      self.body = nil
    }
  }

  /// Says what the next loop will read. Whoever has nothing to do in the meantime brings it nearer, so that the memory
  /// bus does not rest while one thread normalises.
  public func expect(_ base: UnsafeRawPointer, byteCount: Int) {
    soonFrom.store(UInt(bitPattern: base), ordering: .relaxed)
    soonTo.store(UInt(bitPattern: base) + UInt(byteCount), ordering: .relaxed)
  }

  /// Two cache lines of what is expected, from `cursor` on: first the caller's own share (the leader takes the first part
  /// of every loop), then the others'.
  private func bringNearer(_ cursor: inout Expected, isLeader: Bool) -> Bool {
    let from = soonFrom.load(ordering: .relaxed), to = soonTo.load(ordering: .relaxed)
    if cursor.from != from { cursor = Expected(from: from, done: 0) }
    guard from < to, cursor.done + 128 <= to - from else { return false }
    let share = (to - from) / UInt(threads.count)
    var at = cursor.done + (isLeader ? 0 : share)
    if at >= to - from { at -= to - from }
    for line in 0..<2 { as_prefetch(UnsafeRawPointer(bitPattern: from + at + UInt(line * 64))) }
    cursor.done += 128
    return true
  }

  /// How far one thread has brought what is expected.
  private struct Expected {
    var from: UInt = 0
    var done: UInt = 0
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

  private func help() {
    helping.wrappingAdd(1, ordering: .acquiringAndReleasing)
    defer { helping.wrappingSubtract(1, ordering: .acquiringAndReleasing) }
    var idle = 0
    var cursor = Expected()
    while !closed.load(ordering: .acquiring) {
      if takeOne() {
        idle = 0
      } else if !bringNearer(&cursor, isLeader: false) {
        idle += 1
        if idle % 4096 == 0 { sched_yield() } else { as_pause() }
      }
    }
  }

  /// 24 bits of loop number, 20 of count, 20 of the next item: one atomic word, so that an item always belongs to the loop
  /// whose count it was checked against.
  private struct Ticket {
    let bits: UInt64

    init(bits: UInt64) { self.bits = bits }

    init(loop: UInt64, count: Int) { bits = loop << 40 | UInt64(count) << 20 }

    var item: Int { Int(bits & 0xfffff) }
    var isOpen: Bool { bits & 0xfffff < bits >> 20 & 0xfffff }
  }
}
