// ncursesw behind plain functions: start, stop, rows of cells, keys.
#define _GNU_SOURCE  // wcwidth
#ifndef _XOPEN_SOURCE_EXTENDED
#define _XOPEN_SOURCE_EXTENDED 1
#endif
#define NCURSES_WIDECHAR 1
#include <curses.h>
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <term.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "direct.h"
#include "guard.h"
#include "include/cncurses.h"

/// Nil while there is none; ncurses has one a process as we use it.
static SCREEN *screen;
/// Pairs by their two colours: an open hash table, found by probing from the hash on.
static struct {
  int foreground, background, number;
} *pairs;
enum { PAIR_SLOTS = 1 << 16 };
/// The next colour pair that is free; pair 0 is the terminal's own.
static int next_pair = 1;
enum { MOUSE_PREFIX = 1000, PASTE_BEGINS, PASTE_ENDS };
/// A key that came in one packet with Esc, to be given after it, as get_wch gave it; ERR when there
/// is none.
static struct {
  int status;
  wint_t key;
} kept = {ERR, 0};

cn_terminfo cn_probe(const char *term) {
  cn_terminfo info = {0};
  int status = 0;
  if (setupterm(term, 1, &status) != OK || status != 1) return info;
  info.known = 1;
  info.colors = tigetnum("colors");
  info.pairs = tigetnum("pairs");
  const char *cup = tigetstr("cup"), *smcup = tigetstr("smcup");
  info.can_position = cup && cup != (char *)-1;
  info.has_alternate_screen = smcup && smcup != (char *)-1;
  TERMINAL *mine = cur_term;
  set_curterm(NULL);
  del_curterm(mine);
  return info;
}

int cn_locale_is_utf8(int try_utf8) {
  setlocale(LC_ALL, "");
  if (strcmp(nl_langinfo(CODESET), "UTF-8") && try_utf8) setlocale(LC_CTYPE, "C.UTF-8");
  return !strcmp(nl_langinfo(CODESET), "UTF-8");
}

/// A screen on a description made of the terminal's own: the same but for its colours, which are
/// direct. NULL when ncurses does not take it.
static SCREEN *direct_screen(const char *term) {
  const char *base = direct_base();
  return base && !strcmp(base, term) ? newterm(DIRECT_NAME, stdout, stdin) : NULL;
}

/// How long the answer about the page may take, in milliseconds, and until when it is waited for; 0
/// when none is owed.
enum { ANSWER_TAKES = 300 };
static long long owed_until;

/// Milliseconds of a clock that only runs forward.
static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

void cn_ask_background(void) {
  static const char question[] = "\033]11;?\033\\";
  (void)!write(1, question, sizeof question - 1);
  owed_until = now() + ANSWER_TAKES;
}

/// Before the shell has the terminal: an answer that is still on its way would be typed there.
static void await_answer(void) {
  cn_mouse mouse;
  while (owed_until) {
    const long long left = owed_until - now();
    struct pollfd fd = {0, POLLIN, 0};
    if (left <= 0 || poll(&fd, 1, (int)left) <= 0 || cn_key(&mouse) < 0) owed_until = 0;
  }
}

int cn_start(const char *term, int mouse, int direct) {
  guard_prepare(mouse);
  // Ours first: ncurses installs its own handlers only where there are none.
  guard_arm();
  screen = direct ? direct_screen(term) : NULL;
  if (!screen) screen = newterm(term, stdout, stdin);
  if (!screen) {
    guard_disarm();
    return -1;
  }
  guard_taken();
  set_term(screen);
  raw();
  noecho();
  nonl();
  keypad(stdscr, TRUE);
  nodelay(stdscr, TRUE);
  set_escdelay(25);
  typeahead(-1);
  curs_set(0);
  leaveok(stdscr, TRUE);
  if (has_colors()) {
    start_color();
    use_default_colors();
    pairs = calloc(PAIR_SLOTS, sizeof *pairs);
    next_pair = 1;
  }
  define_key("\033[<", MOUSE_PREFIX);
  define_key("\033[200~", PASTE_BEGINS);
  define_key("\033[201~", PASTE_ENDS);
  // Home and End as terminals send them that are not what TERM says.
  for (const char *const *home = (const char *const[]){"\033[1~", "\033[7~", "\033[H", "\033OH", 0};
       *home; home++)
    define_key(*home, KEY_HOME);
  for (const char *const *end = (const char *const[]){"\033[4~", "\033[8~", "\033[F", "\033OF", 0};
       *end; end++)
    define_key(*end, KEY_END);
  guard_reports(1);
  return 0;
}

void cn_stop(void) {
  if (!screen) return;
  guard_reports(0);
  await_answer();
  endwin();
  guard_disarm();
  delscreen(screen);
  screen = NULL;
  free(pairs);
  pairs = NULL;
}

int cn_colors(void) { return has_colors() ? COLORS : 0; }

void cn_size(int *width, int *height) { getmaxyx(stdscr, *height, *width); }

void cn_resize(void) {
  struct winsize size;
  if (ioctl(1, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
    resizeterm(size.ws_row, size.ws_col);
  clearok(curscr, TRUE);
}

void cn_suspend(void) {
  guard_reports(0);
  await_answer();
  endwin();
  guard_stop_group();
  cn_resize();
  guard_reports(1);
  clearok(curscr, TRUE);
  refresh();
}

/// A colour as ncurses takes it. Where colours are direct it reads those below 8 as the eight of
/// the palette: what is nearly black gets a little blue.
static int colour(int32_t wanted) {
  if (!(wanted > 0 && wanted & CN_RGB)) return wanted;
  const int rgb = wanted & (CN_RGB - 1);
  return rgb < 8 ? 8 : rgb;
}

/// The colour pair of two colours (-1 the terminal's own), made when it is first wanted.
static int pair(int foreground, int background) {
  if (!pairs || (foreground < 0 && background < 0)) return 0;
  if (foreground >= COLORS || background >= COLORS) return 0;
  uint32_t at = ((uint32_t)foreground * 2654435761u ^ (uint32_t)background * 2246822519u) >> 16;
  while (pairs[at].number &&
         (pairs[at].foreground != foreground || pairs[at].background != background))
    at = (at + 1) % PAIR_SLOTS;
  if (!pairs[at].number) {
    // Pairs are never redefined (that repaints the screen); past the last one, cells lose their
    // colour.
    if (next_pair >= COLOR_PAIRS || next_pair > 32000) return 0;
    if (init_extended_pair(next_pair, foreground, background) != OK) return 0;
    pairs[at].foreground = foreground;
    pairs[at].background = background;
    pairs[at].number = next_pair++;
  }
  return pairs[at].number;
}

/// Our attribute bits as those of ncurses.
static attr_t attributes(uint16_t bits) {
  return (bits & CN_BOLD ? A_BOLD : 0) | (bits & CN_DIM ? A_DIM : 0) |
      (bits & CN_REVERSE ? A_REVERSE : 0) | (bits & CN_UNDERLINE ? A_UNDERLINE : 0);
}

void cn_row(int y, const cn_cell *cells, int count) {
  cchar_t row[1024];
  int length = 0, covered = 0;
  for (int i = 0; i < count && length < 1024; i++) {
    // A row keeps its columns whatever the C library thinks of a glyph: one of another width than
    // the grid gave it is replaced, and half a wide glyph is a blank.
    uint32_t glyph = cells[i].glyph;
    const int wanted = i + 1 < count && cells[i + 1].glyph == 0 ? 2 : 1;
    if (glyph == 0) {
      if (covered) {
        covered = 0;
        continue;
      }
      glyph = ' ';
    } else if (glyph >= 0x80 || wanted == 2) {
      covered = wanted == 2 && wcwidth((wchar_t)glyph) == 2;
      if (!covered && (wanted == 2 || wcwidth((wchar_t)glyph) != 1))
        glyph = wanted == 2 ? ' ' : '?';
    } else {
      covered = 0;
    }
    const int number = pair(colour(cells[i].foreground), colour(cells[i].background));
    const wchar_t text[2] = {(wchar_t)glyph, 0};
    int extended = number;
    setcchar(
        &row[length++], text, attributes(cells[i].attributes),
        (short)(number > 255 ? 255 : number), &extended);
  }
  mvadd_wchnstr(y, 0, row, length);
}

void cn_show(void) { refresh(); }

void cn_touch(void) { clearok(curscr, TRUE); }

int cn_wait(int milliseconds) {
  struct pollfd fds[2] = {{0, POLLIN, 0}, {guard_pipe(), POLLIN, 0}};
  const int ready = poll(fds, 2, milliseconds);
  int result = guard_drain();
  if (ready > 0 && fds[0].revents) result |= CN_INPUT;
  return result;
}

/// The rest of ESC [ < button ; x ; y M, waiting up to 50 ms for each byte.
static int read_mouse(cn_mouse *mouse) {
  int values[3] = {0}, field = 0;
  for (int n = 0; n < 24; n++) {
    struct pollfd fd = {0, POLLIN, 0};
    wint_t c;
    if (get_wch(&c) == ERR) {
      if (poll(&fd, 1, 50) <= 0 || get_wch(&c) == ERR) return 0;
    }
    if (c >= '0' && c <= '9') {
      if (values[field] < 100000) values[field] = values[field] * 10 + (int)(c - '0');
    }
    else if (c == ';' && field < 2) field++;
    else if (c == 'M' || c == 'm') {
      *mouse = (cn_mouse){values[0], values[1] - 1, values[2] - 1, c == 'm'};
      return 1;
    } else return 0;
  }
  return 0;
}

/// The rest of a reply ESC ] ... BEL or ESC \\, waiting up to 50 ms for each byte: whether the page
/// is light, where it is the colour that was asked for.
static int32_t read_reply(wint_t first) {
  char text[64] = {(char)first};
  int length = 1, escaped = 0;
  for (int n = 0; n < 256; n++) {
    struct pollfd fd = {0, POLLIN, 0};
    wint_t c;
    if (get_wch(&c) == ERR && (poll(&fd, 1, 50) <= 0 || get_wch(&c) == ERR)) break;
    if (c == 7 || (escaped && c == '\\')) break;
    escaped = c == 27;
    if (!escaped && c < 128 && length < 63) text[length++] = (char)c;
  }
  text[length] = 0;
  if (!strncmp(text, "11;", 3)) owed_until = 0;
  unsigned r, g, b;
  // Of four digits a channel the first two are enough; some terminals send two.
  if (sscanf(text, "11;rgb:%2x%*[^/]/%2x%*[^/]/%2x", &r, &g, &b) != 3 &&
      sscanf(text, "11;rgb:%2x/%2x/%2x", &r, &g, &b) != 3)
    return CN_KEY_OTHER;
  return 299 * r + 587 * g + 114 * b > 128 * 1000 ? CN_KEY_LIGHT : CN_KEY_DARK;
}

/// A sequence that nobody knows is swallowed whole, so that its letters never act as keys. Esc
/// alone stays Esc; with a digit behind it, it is Alt; any other key behind it comes next.
static int32_t after_escape(void) {
  wint_t c, next;
  const int status = get_wch(&c);
  if (status == ERR) return 27;
  if (status == OK && c >= '0' && c <= '9') return CN_KEY_ALT + (int32_t)c;
  if (status == OK && (c == 'O' || c == '[' || c == ']')) {
    if (get_wch(&next) == OK) {
      // What follows ESC ] ends in BEL or ESC \\, whatever it is.
      if (c == ']') return read_reply(next);
      if (c == '[')
        while ((next < 0x40 || next > 0x7e) && get_wch(&next) == OK) {}
      return CN_KEY_OTHER;
    }
  }
  kept.status = status;
  kept.key = c;
  return 27;
}

int32_t cn_key(cn_mouse *mouse) {
  wint_t c = kept.key;
  int status = kept.status;
  kept.status = ERR;
  if (status == ERR) status = get_wch(&c);
  if (status == ERR) return -1;
  if (status != KEY_CODE_YES) return c == 27 ? after_escape() : (int32_t)c;
  switch (c) {
    case KEY_UP: return CN_KEY_UP;
    case KEY_DOWN: return CN_KEY_DOWN;
    case KEY_LEFT: return CN_KEY_LEFT;
    case KEY_RIGHT: return CN_KEY_RIGHT;
    case KEY_PPAGE: return CN_KEY_PAGE_UP;
    case KEY_NPAGE: return CN_KEY_PAGE_DOWN;
    case KEY_HOME: return CN_KEY_HOME;
    case KEY_END: return CN_KEY_END;
    case KEY_ENTER: return CN_KEY_ENTER;
    case KEY_BACKSPACE: return CN_KEY_BACKSPACE;
    case KEY_DC: return CN_KEY_DELETE;
    case KEY_BTAB: return CN_KEY_BACK_TAB;
    case PASTE_BEGINS: return CN_KEY_PASTE;
    case PASTE_ENDS: return CN_KEY_PASTED;
    case MOUSE_PREFIX: return read_mouse(mouse) ? CN_KEY_MOUSE : CN_KEY_OTHER;
    default:
      return c >= (wint_t)KEY_F(1) && c <= (wint_t)KEY_F(12)
          ? CN_KEY_F0 + (int32_t)(c - (wint_t)KEY_F0)
          : CN_KEY_OTHER;
  }
}
