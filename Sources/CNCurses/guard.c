// Signal handlers only write(2) to a pipe, or write the restore string, reset the modes and let the
// signal do its work.
#define _GNU_SOURCE
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "include/cncurses.h"

/// What the terminal was like before us, whether that could be read, whether the mouse was asked
/// for, and the pipe that handlers write to.
static struct termios saved;
static int have_saved, wants_mouse, pipes[2] = {-1, -1};
/// A screen is there to be given back. A handler may read it at any moment.
static volatile sig_atomic_t armed;
/// Stopped by ourselves: that we go on is told by nobody else.
static volatile sig_atomic_t stopping;
/// The thread that the screen belongs to; a signal that was passed on to it.
static pthread_t owner;
static volatile sig_atomic_t has_owner, passed_on;
/// Wakes the owner when it waits too long for the terminal; whether it is on the way out, and
/// whether something was thrown away.
static timer_t timer;
static int has_timer;
static volatile sig_atomic_t hurries, lost;

// Mouse and marked pastes off, synchronised update off, attributes off, cursor on, keypad off, main
// screen.
static const char restore[] =
    "\033[?1002l\033[?1000l\033[?1006l\033[?2004l\033[?2026l\033[0m\033[?25h"
    "\033[?1l\033>\033[?1049l";

/// Signals that end the program and have a name; those without, from SIGRTMIN on, end it as well.
/// SIGKILL cannot be caught and leaves the terminal as it is.
static const int deadly[] = {SIGSEGV, SIGBUS,  SIGILL,  SIGTRAP, SIGABRT,   SIGFPE,  SIGHUP,
                             SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM,   SIGXCPU, SIGXFSZ,
                             SIGSYS,  SIGPWR,  SIGIO,   SIGPROF, SIGVTALRM, SIGSTKFLT};
enum { DEADLY = sizeof deadly / sizeof *deadly, SIGNALS = 65 };
/// Who handled them before us, by number.
static struct sigaction before[SIGNALS];

/// All of it, unless the terminal is gone. Safe in a handler: write(2) and nothing else.
static void write_all(const char *text, size_t length) {
  while (length > 0) {
    const ssize_t n = write(1, text, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    text += n;
    length -= (size_t)n;
  }
}

/// All of it, but never waiting for longer than half a second: what nobody has read until then is
/// thrown away, and it begins anew. Safe in a handler.
static void write_soon(const char *whole, size_t size) {
  const char *text = whole;
  size_t length = size;
  const struct timespec moment = {0, 10 * 1000 * 1000};
  const int flags = fcntl(1, F_GETFL);
  fcntl(1, F_SETFL, flags | O_NONBLOCK);
  for (int tries = 0; length > 0 && tries < 60;) {
    const ssize_t n = write(1, text, length);
    if (n > 0) {
      text += n;
      length -= (size_t)n;
    } else if (n < 0 && errno == EAGAIN) {
      if (++tries == 40) {
        tcflush(1, TCOFLUSH);
        tcflow(1, TCOON);
        text = whole;
        length = size;
      }
      nanosleep(&moment, NULL);
    } else if (n == 0 || errno != EINTR) {
      break;
    }
  }
  fcntl(1, F_SETFL, flags);
}

/// Restores the screen and the modes, once: later calls find nothing armed. Safe in a handler.
static void give_back(void) {
  if (!armed) return;
  armed = 0;
  write_soon(restore, sizeof restore - 1);
  if (have_saved) tcsetattr(0, TCSANOW, &saved);
}

/// The timer of `guard_watch`: nobody reads what the owner writes. Safe in a handler. Once the
/// screen is given back, what is on its way is what gives it back: a tick that waited until then
/// comes before a signal of a higher number.
static void stuck(void) {
  if (!armed) return;
  struct pollfd input = {0, POLLIN, 0};
  if (!hurries && poll(&input, 1, 0) <= 0) return;
  lost = 1;
  tcflush(1, TCOFLUSH);
}

/// The processor has met a fault and meets it again when the handler returns.
static int comes_again(int number, const siginfo_t *info) {
  return info->si_code > 0 &&
      (number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE);
}

/// The program has done it to itself: a fault, or abort. All else was sent to it.
static int is_own(int number, const siginfo_t *info) {
  if (info->si_code > 0 && (number == SIGTRAP || number == SIGSYS)) return 1;
  if (info->si_code == SI_TKILL && info->si_pid == getpid()) return !passed_on;
  return comes_again(number, info);
}

/// First the terminal, then whatever was to happen: of a fault the previous handler (Swift's crash
/// report), of what was sent death. A crash report of what was sent would ask whoever sent it, and
/// go on when nobody answers.
///
/// The owner of the screen does it: while another thread does, the owner could draw.
static void die(int number, siginfo_t *info, void *context) {
  (void)context;
  if (number == SIGALRM && info->si_code == SI_TIMER) {
    stuck();
    return;
  }
  const int own = is_own(number, info);
  if (!own && has_owner && !pthread_equal(pthread_self(), owner)) {
    passed_on = 1;
    pthread_kill(owner, number);
    return;
  }
  give_back();
  if (own) {
    sigaction(number, &before[number], NULL);
    if (comes_again(number, info)) return;
  } else {
    signal(number, SIG_DFL);
  }
  raise(number);
}

/// One letter into the pipe; the screen's thread does the rest when poll wakes it.
static void tell(int number) {
  if (number == SIGCONT && stopping) return;
  const char what = number == SIGWINCH ? 'w'
      : number == SIGCONT              ? 'c'
      : number == SIGTSTP              ? 'z'
                                       : 'i';
  const int reason = errno;
  (void)!write(pipes[1], &what, 1);
  errno = reason;
}

/// Installs a handler during which all other signals wait.
static void handle(int number, void (*handler)(int), int flags) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigfillset(&action.sa_mask);
  sigaction(number, &action, NULL);
}

/// Installs `die`, and remembers who was there. What nohup and the like ignore stays ignored.
static void handle_deadly(int number) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = die;
  action.sa_flags = SA_ONSTACK | SA_SIGINFO | SA_RESTART;
  sigfillset(&action.sa_mask);
  sigaction(number, &action, &before[number]);
  if (before[number].sa_handler == SIG_IGN) sigaction(number, &before[number], NULL);
}

void guard_prepare(int mouse) {
  wants_mouse = mouse;
  hurries = lost = 0;
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
  for (int i = 0; i < DEADLY; i++) handle_deadly(deadly[i]);
  for (int number = SIGRTMIN; number <= SIGRTMAX; number++) handle_deadly(number);
  handle(SIGWINCH, tell, SA_RESTART);
  handle(SIGTSTP, tell, SA_RESTART);
  handle(SIGINT, tell, SA_RESTART);
  handle(SIGCONT, tell, SA_RESTART);
}

void guard_own(void) {
  sigset_t none;
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, NULL);
  owner = pthread_self();
  has_owner = 1;
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGALRM;
  event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
  has_timer = timer_create(CLOCK_MONOTONIC, &event, &timer) == 0;
}

/// So many milliseconds until the first call of `stuck`, then four a second; 0 is never.
static void set_timer(int milliseconds) {
  if (!has_timer) return;
  struct itimerspec time = {{0, 0}, {0, 0}};
  if (milliseconds > 0) {
    time.it_value.tv_sec = milliseconds / 1000;
    time.it_value.tv_nsec = milliseconds % 1000 * 1000000L;
    time.it_interval.tv_nsec = 250 * 1000000L;
  }
  timer_settime(timer, 0, &time, NULL);
}

void guard_watch(int on) { set_timer(on ? 1000 : 0); }

int guard_lost(void) {
  const int was = lost;
  lost = 0;
  return was;
}

void guard_hurry(int on) {
  hurries = on;
  set_timer(on ? 500 : 0);
  // Of what was thrown away nobody knows what it was.
  if (!on && guard_lost()) write_soon(restore, sizeof restore - 1);
}

void guard_taken(void) { armed = 1; }

int guard_holds(void) { return armed; }

void guard_disarm(void) {
  armed = has_owner = 0;
  if (has_timer) timer_delete(timer);
  has_timer = 0;
  for (int i = 0; i < DEADLY; i++) sigaction(deadly[i], &before[deadly[i]], NULL);
  for (int number = SIGRTMIN; number <= SIGRTMAX; number++)
    sigaction(number, &before[number], NULL);
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

void cn_leave(void) { hurries = 1; }

int guard_pipe(void) { return pipes[0]; }

int guard_drain(void) {
  char bytes[64];
  int result = 0;
  for (ssize_t n; (n = read(pipes[0], bytes, sizeof bytes)) > 0;)
    for (ssize_t i = 0; i < n; i++) switch (bytes[i]) {
        case 'w': result |= CN_RESIZED; break;
        case 'c': result |= CN_CONTINUED; break;
        case 'z': result |= CN_SUSPEND; break;
        case 'i':
          result |= result & CN_INTERRUPTED ? CN_INTERRUPTED_AGAIN : CN_INTERRUPTED;
          break;
        default: result |= CN_WOKEN;
      }
  return result;
}

void cn_wake(void) { (void)!write(pipes[1], "x", 1); }

/// Stops the whole group by a signal of the kind that the terminal sends, and returns when it goes
/// on: the others by the group's number, this process last and from within the call, so that
/// nothing is drawn after the shell has said that it stopped. What was started without such signals
/// goes on.
static void stop_by(int number) {
  struct sigaction was;
  sigset_t set, mask;
  sigaction(number, NULL, &was);
  if (was.sa_handler == SIG_IGN) return;
  sigemptyset(&set);
  sigaddset(&set, number);
  stopping = 1;
  signal(number, SIG_IGN);
  kill(0, number);
  signal(number, SIG_DFL);
  pthread_sigmask(SIG_UNBLOCK, &set, &mask);
  raise(number);
  pthread_sigmask(SIG_SETMASK, &mask, NULL);
  sigaction(number, &was, NULL);
  stopping = 0;
}

void guard_stop_group(void) {
  armed = 0;
  stop_by(SIGTSTP);
}

int guard_front(void) {
  const struct timespec moment = {0, 20 * 1000 * 1000};
  for (int tries = 0; tries < 100; tries++) {
    const pid_t front = tcgetpgrp(0);
    if (front < 0 || front == getpgrp()) return 0;
    armed = 0;
    stop_by(SIGTTOU);
    nanosleep(&moment, NULL);
  }
  return -1;
}

void cn_die(const char *how) {
  if (!strcmp(how, "segv")) *(volatile int *)16 = 1;
  if (!strcmp(how, "trap")) __builtin_trap();
  if (!strcmp(how, "abort")) abort();
  if (!strcmp(how, "exit")) exit(3);
}
