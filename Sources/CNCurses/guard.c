// Signal handlers only write(2) to a pipe, or write the restore string, reset the modes and let the
// signal do its work.
#define _GNU_SOURCE
#include "guard.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "include/cncurses.h"

/// What the terminal was like before us, whether that could be read, whether the mouse was asked
/// for, and the pipe that handlers write to.
static struct termios saved;
static int have_saved, wants_mouse, pipes[2] = {-1, -1};
/// A screen is there to be given back. A handler may read it at any moment.
static volatile sig_atomic_t armed;

// Mouse and marked pastes off, synchronised update off, attributes off, cursor on, keypad off, main
// screen.
static const char restore[] =
    "\033[?1002l\033[?1000l\033[?1006l\033[?2004l\033[?2026l\033[0m\033[?25h"
    "\033[?1l\033>\033[?1049l";

/// Signals that end the program; SIGKILL cannot be caught and leaves the terminal as it is.
static const int deadly[] = {SIGSEGV, SIGBUS, SIGILL,  SIGTRAP, SIGABRT,
                             SIGFPE,  SIGHUP, SIGTERM, SIGQUIT};
enum { DEADLY = sizeof deadly / sizeof *deadly };
/// Who handled them before us, in the same order.
static struct sigaction before[DEADLY];

/// All of it, unless the terminal is gone. Safe in a handler: write(2) and nothing else.
static void write_all(const char *text, size_t length) {
  while (length > 0) {
    const ssize_t n = write(1, text, length);
    if (n <= 0) return;
    text += n;
    length -= (size_t)n;
  }
}

/// Restores the screen and the modes, once: later calls find nothing armed. Safe in a handler.
static void give_back(void) {
  if (!armed) return;
  armed = 0;
  write_all(restore, sizeof restore - 1);
  if (have_saved) tcsetattr(0, TCSANOW, &saved);
}

/// First the terminal, then whatever was to happen: the previous handler (Swift's crash report) or
/// death.
static void die(int signal_number) {
  give_back();
  for (int i = 0; i < DEADLY; i++)
    if (deadly[i] == signal_number) sigaction(signal_number, &before[i], NULL);
  raise(signal_number);
}

/// One letter into the pipe; the screen's thread does the rest when poll wakes it.
static void tell(int signal_number) {
  // Whoever is continued draws everything anew, as after a resize.
  const char what = signal_number == SIGWINCH || signal_number == SIGCONT
      ? 'w'
      : (signal_number == SIGTSTP ? 'z' : 'i');
  (void)!write(pipes[1], &what, 1);
}

/// Installs a handler during which all other signals wait.
static void handle(int signal_number, void (*handler)(int), int flags, struct sigaction *old) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigfillset(&action.sa_mask);
  sigaction(signal_number, &action, old);
}

void guard_prepare(int mouse) {
  wants_mouse = mouse;
  have_saved = tcgetattr(0, &saved) == 0;
  if (pipes[0] < 0) {
    if (pipe(pipes) != 0) abort();
    for (int i = 0; i < 2; i++) {
      fcntl(pipes[i], F_SETFL, O_NONBLOCK);
      fcntl(pipes[i], F_SETFD, FD_CLOEXEC);
    }
    atexit(give_back);
  }
}

void guard_arm(void) {
  static char stack[1 << 16];
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&alternate, NULL);
  for (int i = 0; i < DEADLY; i++) {
    handle(deadly[i], die, SA_ONSTACK, &before[i]);
    // What nohup and the like ignore stays ignored.
    if (before[i].sa_handler == SIG_IGN) sigaction(deadly[i], &before[i], NULL);
  }
  handle(SIGWINCH, tell, SA_RESTART, NULL);
  handle(SIGTSTP, tell, SA_RESTART, NULL);
  handle(SIGINT, tell, SA_RESTART, NULL);
  handle(SIGCONT, tell, SA_RESTART, NULL);
}

void guard_taken(void) { armed = 1; }

void guard_disarm(void) {
  armed = 0;
  for (int i = 0; i < DEADLY; i++) sigaction(deadly[i], &before[i], NULL);
  signal(SIGWINCH, SIG_DFL);
  signal(SIGTSTP, SIG_DFL);
  signal(SIGINT, SIG_DFL);
  signal(SIGCONT, SIG_DFL);
}

void guard_reports(int on) {
  const char *paste = on ? "\033[?2004h" : "\033[?2004l";
  write_all(paste, strlen(paste));
  if (!wants_mouse) return;
  const char *text = on ? "\033[?1000h\033[?1002h\033[?1006h" : "\033[?1002l\033[?1000l\033[?1006l";
  write_all(text, strlen(text));
}

int guard_pipe(void) { return pipes[0]; }

int guard_drain(void) {
  char bytes[64];
  int result = 0;
  for (ssize_t n; (n = read(pipes[0], bytes, sizeof bytes)) > 0;)
    for (ssize_t i = 0; i < n; i++) switch (bytes[i]) {
        case 'w': result |= CN_RESIZED; break;
        case 'z': result |= CN_SUSPEND; break;
        case 'i':
          result |= result & CN_INTERRUPTED ? CN_INTERRUPTED_AGAIN : CN_INTERRUPTED;
          break;
        default: result |= CN_WOKEN;
      }
  return result;
}

void cn_wake(void) { (void)!write(pipes[1], "x", 1); }

void guard_stop_group(void) {
  armed = 0;
  signal(SIGTSTP, SIG_DFL);
  kill(0, SIGTSTP);
  // The signal may reach another thread: give it the moment it needs, then go on when SIGCONT has
  // come.
  struct timespec moment = {0, 20 * 1000 * 1000};
  nanosleep(&moment, NULL);
  handle(SIGTSTP, tell, SA_RESTART, NULL);
  armed = 1;
}

void cn_die(const char *how) {
  if (!strcmp(how, "segv")) *(volatile int *)16 = 1;
  if (!strcmp(how, "trap")) __builtin_trap();
  if (!strcmp(how, "abort")) abort();
  if (!strcmp(how, "exit")) exit(3);
}
