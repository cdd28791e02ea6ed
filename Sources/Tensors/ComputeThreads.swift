import Glibc
import Synchronization

/// The threads that compute: every kernel runs here, never on Swift's pool.
///
/// Example: `Task(executorPreference: ComputeThreads.shared) { ... }` runs a task on them,
/// and `ComputeThreads.shared.forEach(0..<tiles) { ... }` spreads the items of a loop over
/// all of them. They run at a lower priority than the rest of the process, so that a key
/// press never waits for a kernel. The catch: `forEach` blocks its caller, so call it from a
/// compute thread or from a command, never from an actor.
///
/// `@unchecked Sendable`: the queue is touched only under `mutex`; the pthread objects have
/// stable addresses.
public final class ComputeThreads: TaskExecutor, @unchecked Sendable {
  /// One thread for each processor, or as many as `setSharedCount` or `ATTNSCOPE_THREADS`
  /// say; made on first use and never ended.
  public static let shared: ComputeThreads = {
    let chosen = sharedCount.exchange(made, ordering: .relaxed)
    return ComputeThreads(count: chosen > 0 ? chosen : processorCount())
  }()

  /// How many threads `shared` can have.
  public static let counts = 1...256

  /// What was chosen for `shared`; 0: nothing; `made` once it is there.
  private static let sharedCount = Atomic<Int>(0)
  private static let made = -1

  /// Gives `shared` so many threads, of `counts`. Must be said before it is first used: they
  /// are made once.
  public static func setSharedCount(_ count: Int) {
    precondition(counts.contains(count), "\(count) threads")
    let before = sharedCount.exchange(count, ordering: .relaxed)
    precondition(before != made, "the threads are there already")
  }

  /// What is wrong with `ATTNSCOPE_THREADS`, as a sentence; nil when it says nothing, or a
  /// number of threads.
  public static var refusal: String? {
    guard let text = variable, Int(text).map(counts.contains) != true else { return nil }
    return
      """
      ATTNSCOPE_THREADS is '\(text)', which is no number of threads; it is \(counts.lowerBound) to \
      \(counts.upperBound)
      """
  }

  /// What the environment says; an empty text says nothing.
  private static var variable: String? {
    getenv("ATTNSCOPE_THREADS").map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
  }

  /// Threads that compute, at least 1; a loop runs on as many, its caller among them.
  public let count: Int
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var queue: [@Sendable () -> Void] = []

  /// Starts `count` threads (at least one). They live as long as the process, so make few of
  /// these: tests do, the program has `shared`.
  public convenience init(count: Int) { self.init(workers: max(count, 1)) }

  /// No workers is the case of `callerOnly`; then nothing takes from the queue, and `forEach`
  /// never puts anything there.
  private init(workers: Int) {
    count = max(workers, 1)
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(wake, nil)
    for _ in 0..<workers { start() }
  }

  /// Runs a piece of a Swift task on one of the threads: what `executorPreference` calls.
  public func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    push { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }

  /// Runs `body` for every item, in order of `items`, on all threads; returns when all are
  /// done. Items not yet begun are left out once `isCancelled` is true. The caller works too,
  /// so nesting cannot deadlock.
  public func forEach(
    _ items: Range<Int>, isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled },
    _ body: @escaping @Sendable (Int) -> Void
  ) {
    guard !items.isEmpty else { return }
    let loop = SharedLoop(items, body: body)
    for _ in 0..<min(count - 1, items.count - 1) { push { self.help(loop) } }
    loop.work(unless: isCancelled)
    loop.wait()
  }

  /// Works on a loop until it is done, or until something else waits: a cursor move shall not
  /// wait for a long map.
  private func help(_ loop: SharedLoop) {
    if loop.work(while: { !self.isWaitedFor }) { push { self.help(loop) } }
  }

  /// Somebody else's work is in the queue. Asked between two items, which is often enough: an
  /// item is a tile, not a map.
  private var isWaitedFor: Bool {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return !queue.isEmpty
  }

  /// What `body` computes on one of the threads; cancelling the asker cancels it. Throws what
  /// `body` throws.
  public func value<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    let task = Task(executorPreference: self) { try body() }
    return try await withTaskCancellationHandler {
      try await task.value
    } onCancel: {
      task.cancel()
    }
  }

  /// The same for work that spreads itself over threads: `body` gets what says, on whichever of
  /// them it is asked, that nobody waits any more. (`Task.isCancelled` knows it on one alone.)
  public func cancellable<R: Sendable>(
    _ body: @escaping @Sendable (_ isCancelled: @escaping @Sendable () -> Bool) throws -> R
  ) async throws -> R {
    let flag = Flag()
    return try await withTaskCancellationHandler {
      try await value { try body { flag.isRaised } }
    } onCancel: {
      flag.raise()
    }
  }

  /// Runs `work` on one of the threads, when one is free.
  public func submit(_ work: @escaping @Sendable () -> Void) { push(work) }

  /// Loops run on whoever calls, and nobody else.
  public static let callerOnly = ComputeThreads(workers: 0)

  /// First come, first served; one push wakes one thread.
  private func push(_ work: @escaping @Sendable () -> Void) {
    pthread_mutex_lock(mutex)
    queue.append(work)
    pthread_cond_signal(wake)
    pthread_mutex_unlock(mutex)
  }

  /// Threads keep the pool alive (the retain is never balanced), which is right for something
  /// that is never ended.
  private func start() {
    var thread = pthread_t()
    let me = Unmanaged.passRetained(self)
    pthread_create(
      &thread, nil,
      { raw in
        // On Linux this is about this thread alone.
        setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)
        Unmanaged<ComputeThreads>.fromOpaque(raw!).takeUnretainedValue().run()
      }, me.toOpaque())
    pthread_detach(thread)
  }

  /// Everything a thread does: wait, take, work. The lock is not held while it works.
  private func run() -> Never {
    while true {
      pthread_mutex_lock(mutex)
      while queue.isEmpty { pthread_cond_wait(wake, mutex) }
      let work = queue.removeFirst()
      pthread_mutex_unlock(mutex)
      work()
    }
  }

  /// The environment wins, within `counts`, so that a benchmark or a shared machine can say
  /// how many.
  private static func processorCount() -> Int {
    if let wanted = variable.flatMap({ Int($0) }), counts.contains(wanted) { return wanted }
    return max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
  }
}

/// One `forEach`: a counter that hands out items, and a count of those still running.
private final class SharedLoop: @unchecked Sendable {
  private let items: Range<Int>
  private let body: @Sendable (Int) -> Void
  private let next: Atomic<Int>
  private let unfinished: Atomic<Int>
  private let stopped = Atomic<Bool>(false)
  private var mutex = pthread_mutex_t()
  private var done = pthread_cond_t()

  init(_ items: Range<Int>, body: @escaping @Sendable (Int) -> Void) {
    self.items = items
    self.body = body
    next = Atomic(items.lowerBound)
    unfinished = Atomic(items.count)
    pthread_mutex_init(&mutex, nil)
    pthread_cond_init(&done, nil)
  }

  /// Takes items until none is left; true when `goes` stopped it although items are left. At least
  /// one is taken first: helpers of loops within loops would else hand each other's work around and
  /// do none. A cancelled loop still counts every item off, so `wait` returns as soon as those that
  /// run are done.
  @discardableResult
  func work(unless isCancelled: () -> Bool = { false }, while goes: () -> Bool = { true }) -> Bool {
    while true {
      let item = next.wrappingAdd(1, ordering: .relaxed).oldValue
      guard item < items.upperBound else { return false }
      if isCancelled() { stopped.store(true, ordering: .relaxed) }
      if !stopped.load(ordering: .relaxed) { body(item) }
      if unfinished.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
        pthread_mutex_lock(&mutex)
        pthread_cond_broadcast(&done)
        pthread_mutex_unlock(&mutex)
      }
      guard goes() else { return next.load(ordering: .relaxed) < items.upperBound }
    }
  }

  /// Sleeps until the last item was counted off, on whichever thread that was.
  func wait() {
    pthread_mutex_lock(&mutex)
    while unfinished.load(ordering: .acquiring) > 0 { pthread_cond_wait(&done, &mutex) }
    pthread_mutex_unlock(&mutex)
  }
}

/// Raised once, seen from any thread.
private final class Flag: Sendable {
  private let value = Atomic<Bool>(false)

  /// It was raised.
  var isRaised: Bool { value.load(ordering: .relaxed) }

  /// From any thread.
  func raise() { value.store(true, ordering: .relaxed) }
}
