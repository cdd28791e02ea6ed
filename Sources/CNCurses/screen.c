// ncursesw behind plain functions: start, stop, rows of cells, keys.
#define _GNU_SOURCE  // wcwidth
#ifndef _XOPEN_SOURCE_EXTENDED
#define _XOPEN_SOURCE_EXTENDED 1
#endif
#define NCURSES_WIDECHAR 1
#include <curses.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <term.h>
#include <unistd.h>
#include <wchar.h>

#include "direct.h"
#include "guard.h"
#include "include/cncurses.h"
#include "keys.h"

/// Nil while there is none; ncurses has one a process as we use it.
static SCREEN *screen;
/// Pairs by their two colours: an open hash table, found by probing from the hash on.
static struct {
  int foreground, background, number;
} *pairs;
enum { PAIR_SLOTS = 1 << 16 };
/// The next colour pair that is free; pair 0 is the terminal's own.
static int next_pair = 1;

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
  if (!base || strcmp(base, term)) return NULL;
  direct_show(1);
  SCREEN *made = newterm(DIRECT_NAME, stdout, stdin);
  direct_show(0);
  return made;
}

int cn_start(const char *term, int mouse, int direct) {
  // In the background the modes are somebody else's, and so is what is on the screen.
  if (guard_front() != 0) return CN_IN_BACKGROUND;
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
  keys_define();
  guard_reports(1);
  return 0;
}

void cn_own_thread(void) { guard_own(); }

void cn_stop(void) {
  if (!screen) return;
  if (guard_holds()) {
    guard_hurry(1);
    guard_reports(0);
    guard_hurry(0);
    keys_await_answer();
    guard_hurry(1);
    endwin();
    guard_hurry(0);
  }
  guard_disarm();
  delscreen(screen);
  screen = NULL;
  free(pairs);
  pairs = NULL;
}

int cn_colors(void) { return has_colors() ? COLORS : 0; }

void cn_size(int *width, int *height) { getmaxyx(stdscr, *height, *width); }

/// More cells than any screen has; ncurses would make room for all of them.
enum { MOST_CELLS = 1 << 22 };

void cn_resize(void) {
  struct winsize size;
  if (ioctl(1, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0 &&
      size.ws_row * size.ws_col <= MOST_CELLS)
    resizeterm(size.ws_row, size.ws_col);
  clearok(curscr, TRUE);
}

int cn_suspend(void) {
  guard_reports(0);
  keys_await_answer();
  endwin();
  guard_stop_group();
  return cn_continue();
}

int cn_continue(void) {
  if (guard_front() != 0) return CN_IN_BACKGROUND;
  guard_taken();
  // Whoever had the terminal meanwhile may have changed its modes.
  reset_prog_mode();
  cn_resize();
  guard_reports(1);
  clearok(curscr, TRUE);
  refresh();
  return 0;
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

int cn_show(void) {
  guard_watch(1);
  refresh();
  guard_watch(0);
  if (!guard_lost()) return 0;
  clearok(curscr, TRUE);
  return 1;
}

void cn_touch(void) { clearok(curscr, TRUE); }

int cn_wait(int milliseconds) {
  struct pollfd fds[2] = {{0, POLLIN, 0}, {guard_pipe(), POLLIN, 0}};
  const int ready = poll(fds, 2, milliseconds);
  int result = guard_drain();
  if (ready > 0 && fds[0].revents) result |= CN_INPUT;
  return result;
}
