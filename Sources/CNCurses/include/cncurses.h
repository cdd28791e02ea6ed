// About twenty plain functions over ncursesw, because Swift cannot see its macros and variadic functions, and because
// signal handlers must be C. All of them but cn_probe, cn_wake and the handlers run on one thread.
#ifndef ATTNSCOPE_CNCURSES_H
#define ATTNSCOPE_CNCURSES_H
#include <stdint.h>

/// A cell: a scalar (0 after a wide one), palette colours (-1 the terminal's own) and CN_* attributes.
typedef struct {
  uint32_t glyph;
  int16_t foreground;
  int16_t background;
  uint16_t attributes;
  uint16_t padding;
} cn_cell;

enum { CN_BOLD = 1, CN_DIM = 2, CN_REVERSE = 4, CN_UNDERLINE = 8 };

/// What a wait ended with, bits.
enum { CN_INPUT = 1, CN_WOKEN = 2, CN_RESIZED = 4, CN_SUSPEND = 8, CN_INTERRUPTED = 16 };

enum {
  CN_KEY_UP = 1 << 24, CN_KEY_DOWN, CN_KEY_LEFT, CN_KEY_RIGHT, CN_KEY_PAGE_UP, CN_KEY_PAGE_DOWN, CN_KEY_HOME,
  CN_KEY_END, CN_KEY_ENTER, CN_KEY_BACKSPACE, CN_KEY_DELETE, CN_KEY_BACK_TAB, CN_KEY_MOUSE, CN_KEY_OTHER, CN_KEY_GONE
};

typedef struct {
  int32_t button;   // as SGR mouse reports it: 0 left, 32 drag, 64/65 wheel
  int32_t x, y;     // from 0
  int32_t released;
} cn_mouse;

typedef struct {
  int32_t known;    // terminfo has an entry
  int32_t colors;
  int32_t pairs;
  int32_t can_position;
  int32_t has_alternate_screen;
} cn_terminfo;

/// Looks a terminal up without touching the screen.
cn_terminfo cn_probe(const char *term);
/// The codeset after setlocale: 1 when it is UTF-8. `try_utf8` also tries C.UTF-8.
int cn_locale_is_utf8(int try_utf8);

/// Takes the screen. 0 when it worked; then the terminal comes back on every way out.
int cn_start(const char *term, int mouse);
void cn_stop(void);
int cn_colors(void);
void cn_size(int *width, int *height);
/// Reads the size anew from the terminal and tells ncurses.
void cn_resize(void);
/// Leaves the screen, stops the process group, and takes the screen again when it continues.
void cn_suspend(void);

/// Writes one row of cells. Nothing is shown before cn_show.
void cn_row(int y, const cn_cell *cells, int count);
void cn_show(void);
/// Makes the next cn_show repaint everything.
void cn_touch(void);

/// Waits for input, a wake-up or a signal, at most `milliseconds` (negative: for ever).
int cn_wait(int milliseconds);
/// Ends a cn_wait; from any thread.
void cn_wake(void);
/// The next key: a scalar, a CN_KEY, or -1 when there is none.
int32_t cn_key(cn_mouse *mouse);

/// Dies as asked, for the tests of the ways out: "segv", "trap", "abort", "exit".
void cn_die(const char *how);
#endif
