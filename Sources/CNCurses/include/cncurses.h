// About twenty plain functions over ncursesw, because Swift cannot see its macros and variadic
// functions, and because signal handlers must be C. All of them but cn_probe, cn_wake and the
// handlers run on one thread.
#ifndef ATTNSCOPE_CNCURSES_H
#define ATTNSCOPE_CNCURSES_H
#include <stdint.h>

/// Marks a colour of three channels of eight bits, red first, in the bits below it.
enum { CN_RGB = 1 << 24 };

/// A cell: a scalar (0 after a wide one), colours (-1 the terminal's own, a palette index, or
/// CN_RGB and channels) and CN_* attributes.
/// A row of these is what crosses from Swift to C: no pointers, sixteen bytes each.
typedef struct {
  uint32_t glyph;
  int32_t foreground;
  int32_t background;
  uint16_t attributes;
  uint16_t padding;
} cn_cell;

/// Attributes of a cell, bits.
enum { CN_BOLD = 1, CN_DIM = 2, CN_REVERSE = 4, CN_UNDERLINE = 8 };

/// What a wait ended with, bits. Interrupts count: of those that came together the second is told,
/// too.
enum {
  CN_INPUT = 1, CN_WOKEN = 2, CN_RESIZED = 4, CN_SUSPEND = 8,
  CN_INTERRUPTED = 16, CN_INTERRUPTED_AGAIN = 32, CN_CONTINUED = 64
};

/// Another program has the terminal, and nobody will give it to this one.
enum { CN_IN_BACKGROUND = -2 };

/// Keys that are no scalar; from 2^24 on, so that no scalar can be mistaken for one.
enum {
  CN_KEY_UP = 1 << 24, CN_KEY_DOWN, CN_KEY_LEFT, CN_KEY_RIGHT, CN_KEY_PAGE_UP, CN_KEY_PAGE_DOWN,
  CN_KEY_HOME, CN_KEY_END, CN_KEY_ENTER, CN_KEY_BACKSPACE, CN_KEY_DELETE, CN_KEY_BACK_TAB,
  CN_KEY_MOUSE, CN_KEY_OTHER, CN_KEY_GONE, CN_KEY_PASTE, CN_KEY_PASTED,
  CN_KEY_LIGHT, CN_KEY_DARK,
  CN_KEY_F0, CN_KEY_F12 = CN_KEY_F0 + 12,
  CN_KEY_ALT  // and the ASCII character that Alt was held with
};

/// A mouse report in columns and rows from 0; `released` is 1 when a button was let go.
typedef struct {
  int32_t button;   // as SGR mouse reports it: 0 left, 32 drag, 64/65 wheel
  int32_t x, y;     // from 0
  int32_t released;
} cn_mouse;

/// What terminfo says of a terminal: 1 or 0, and numbers of colours and colour pairs.
typedef struct {
  int32_t known;    // terminfo has an entry
  int32_t colors;
  int32_t pairs;
  int32_t can_position;
  int32_t has_alternate_screen;
} cn_terminfo;

/// Looks a terminal up without touching the screen.
/// From any thread, as long as no other call is looking one up.
cn_terminfo cn_probe(const char *term);
/// The codeset after setlocale: 1 when it is UTF-8. `try_utf8` also tries C.UTF-8.
int cn_locale_is_utf8(int try_utf8);

/// Takes the screen. 0 when it worked; then the terminal comes back on every way out.
/// `mouse` is 1 to have the mouse reported; `direct` 1 to take colours as CN_RGB, whatever the
/// description says of colours. -1 leaves the terminal as it was, and so does CN_IN_BACKGROUND.
/// Started in the background it stops there until it is brought to the front.
int cn_start(const char *term, int mouse, int direct);
/// Says that all calls from now on come from this thread: signals are handled there, and it is
/// woken when it waits too long for a terminal that nobody reads.
void cn_own_thread(void);
/// Asks the terminal for the colour of its page; CN_KEY_LIGHT or CN_KEY_DARK may come as a key.
void cn_ask_background(void);
/// Gives the screen back. Does nothing when there is none.
void cn_stop(void);
/// How many colours terminfo promises; 0 without any. Needs a screen.
int cn_colors(void);
/// Columns and rows as ncurses knows them, which is as of the last cn_resize.
void cn_size(int *width, int *height);
/// Reads the size anew from the terminal and tells ncurses.
void cn_resize(void);
/// Leaves the screen, stops the process group, and takes the screen again when it continues.
/// CN_IN_BACKGROUND when the terminal does not come back.
int cn_suspend(void);
/// Takes the screen again after a stop that nobody announced. In the background it stops until it
/// is brought to the front; CN_IN_BACKGROUND when the terminal does not come back.
int cn_continue(void);

/// Writes one row of cells. Nothing is shown before cn_show.
/// From column 0, at most 1024 cells. A glyph whose width the C library disputes becomes `?` or a
/// blank, so that the row keeps its columns.
void cn_row(int y, const cn_cell *cells, int count);
/// Sends what has changed since the last one. Nobody reads, and a key waits: then what was on its
/// way is thrown away, 1 comes back, and the next one repaints everything.
int cn_show(void);
/// Makes the next cn_show repaint everything.
void cn_touch(void);

/// Waits for input, a wake-up or a signal, at most `milliseconds` (negative: for ever).
/// Returns bits of CN_INPUT and its neighbours, 0 when the time was up.
int cn_wait(int milliseconds);
/// Ends a cn_wait; from any thread.
void cn_wake(void);
/// Says that cn_stop is next: what nobody reads holds it up no longer. From any thread.
void cn_leave(void);
/// The next key: a scalar, a CN_KEY, or -1 when there is none.
/// A mouse report fills `mouse` and gives CN_KEY_MOUSE; sequences that nobody knows give
/// CN_KEY_OTHER. What stands between CN_KEY_PASTE and CN_KEY_PASTED was pasted. Esc with a digit
/// behind it in one packet is Alt and the digit; with anything else it is Esc, then that key.
int32_t cn_key(cn_mouse *mouse);

/// Dies as asked, for the tests of the ways out: "segv", "trap", "abort", "exit".
void cn_die(const char *how);
#endif
