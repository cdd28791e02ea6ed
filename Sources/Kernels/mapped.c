// The handler does what may be done in one: it reads a table of atomics and makes system calls.
#define _GNU_SOURCE
#include "include/mapped.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/// A folder has 65536 files at most, and a few more may be open beside it.
enum { SLOTS = (1 << 16) + 1024 };

/// A mapping; `base` is 0 where there is none, 1 while one is being written down.
typedef struct {
  _Atomic uintptr_t base;
  size_t bytes;
  _Atomic int cut;
} mapping;
static mapping mappings[SLOTS];
/// Slots from here on were never used; where a free one may be looked for first; how often a
/// mapping was cut.
static _Atomic int used, free_hint, cuts;

/// Who handled SIGBUS before us at first, and before the last call of as_mapping_watch.
static struct sigaction first, before;
static int is_watching;
/// A fault that was none of ours was handed on already.
static volatile sig_atomic_t handed_on;

int32_t as_mapping_add(const void *base, size_t bytes) {
  const int first = atomic_load(&free_hint);
  for (int n = 0; n < SLOTS; n++) {
    const int i = (first + n) % SLOTS;
    uintptr_t none = 0;
    if (!atomic_compare_exchange_strong(&mappings[i].base, &none, 1)) continue;
    atomic_store(&free_hint, (i + 1) % SLOTS);
    mappings[i].bytes = bytes;
    atomic_store(&mappings[i].cut, 0);
    atomic_store(&mappings[i].base, (uintptr_t)base);
    int most = atomic_load(&used);
    while (most <= i && !atomic_compare_exchange_weak(&used, &most, i + 1)) {}
    return i;
  }
  return -1;
}

void as_mapping_remove(int32_t number) {
  if (number < 0) return;
  atomic_store(&mappings[number].base, 0);
  atomic_store(&free_hint, number);
}

int32_t as_mapping_is_cut(int32_t number) {
  return number >= 0 && atomic_load(&mappings[number].cut);
}

int32_t as_mapping_cuts(void) { return atomic_load(&cuts); }

/// Puts zeros in the place of everything from the page of `address` to the end of its mapping; 0
/// when it lies in none. Whatever the file has before that page stays.
static int mend(uintptr_t address) {
  const uintptr_t page = address & ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
  for (int i = 0; i < atomic_load(&used); i++) {
    const uintptr_t base = atomic_load(&mappings[i].base);
    if (base <= 1 || address < base || address - base >= mappings[i].bytes) continue;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
    if (mmap((void *)page, base + mappings[i].bytes - page, PROT_READ, flags, -1, 0) == MAP_FAILED)
      return 0;
    atomic_store(&mappings[i].cut, 1);
    atomic_fetch_add(&cuts, 1);
    return 1;
  }
  return 0;
}

/// A fault in a mapping is mended, and the read goes on. Any other goes to whoever was before us:
/// first the last one, and when that one hands it on in turn, the one who was there at first.
static void handle(int number, siginfo_t *info, void *context) {
  (void)context;
  const int is_fault = info->si_code > 0 && info->si_code != SI_KERNEL;
  if (is_fault && mend((uintptr_t)info->si_addr)) return;
  sigaction(number, handed_on ? &first : &before, NULL);
  handed_on = 1;
  // A fault comes again by itself when the instruction is tried again; what was sent does not.
  if (!is_fault) raise(number);
}

void as_mapping_watch(void) {
  struct sigaction action, now;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGBUS, NULL, &now) != 0) return;
  if (now.sa_flags & SA_SIGINFO && now.sa_sigaction == handle) return;
  before = now;
  if (!is_watching) first = now;
  is_watching = 1;
  sigaction(SIGBUS, &action, NULL);
}
