// Keys out of what ncurses reads: what it does not know itself is put together here.
#ifndef _XOPEN_SOURCE_EXTENDED
#define _XOPEN_SOURCE_EXTENDED 1
#endif
#define NCURSES_WIDECHAR 1
#include "keys.h"

#include <curses.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "include/cncurses.h"

/// Our own names of sequences; ncurses gives them back as it gives its keys.
enum { MOUSE_PREFIX = 1000, PASTE_BEGINS, PASTE_ENDS };

/// What was read too far, oldest first, as get_wch gave it.
static struct {
  int status;
  wint_t key;
} kept[8];
static int kept_count;

/// Milliseconds: how long the way out waits for the answer about the page; how long one that is
/// late is still known for what it is; how long an answer that broke off is waited for; how long
/// after Esc the rest of one may come.
enum { ANSWER_TAKES = 300, ANSWER_IS_LATE = 10000, REST_TAKES = 1000, ESCAPE_TAKES = 150 };
/// When the answer was asked for, and whether it is still to come.
static long long asked_at;
static int is_owed;
/// When Esc last stood alone.
static long long escape_at;
/// An answer that has begun and not ended, until when the rest is waited for; 0 when there is none.
static struct {
  char text[64];
  int length, escaped, bytes;
  long long until;
} reply;

/// Milliseconds of a clock that only runs forward.
static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

void keys_define(void) {
  kept_count = is_owed = 0;
  reply.until = escape_at = 0;
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
}

void cn_ask_background(void) {
  static const char question[] = "\033]11;?\033\\";
  (void)!write(1, question, sizeof question - 1);
  asked_at = now();
  is_owed = 1;
}

void keys_await_answer(void) {
  cn_mouse mouse;
  while ((is_owed && now() < asked_at + ANSWER_TAKES) || now() < reply.until) {
    const long long end = is_owed ? asked_at + ANSWER_TAKES : reply.until;
    struct pollfd fd = {0, POLLIN, 0};
    if (poll(&fd, 1, end > now() ? (int)(end - now()) : 0) <= 0 || cn_key(&mouse) < 0) break;
  }
}

/// What comes next, waiting so many milliseconds for it: as get_wch says, ERR when nothing came.
static int next(wint_t *c, int milliseconds) {
  if (kept_count) {
    const int status = kept[0].status;
    *c = kept[0].key;
    memmove(kept, kept + 1, (size_t)--kept_count * sizeof *kept);
    return status;
  }
  const int status = get_wch(c);
  struct pollfd fd = {0, POLLIN, 0};
  if (status != ERR || milliseconds <= 0 || poll(&fd, 1, milliseconds) <= 0) return status;
  return get_wch(c);
}

/// Puts back what was read too far, behind what was put back before.
static void keep(int status, wint_t key) {
  if (kept_count == sizeof kept / sizeof *kept) return;
  kept[kept_count].status = status;
  kept[kept_count++].key = key;
}

/// The rest of ESC [ < button ; x ; y M, waiting up to 50 ms for each byte.
static int read_mouse(cn_mouse *mouse) {
  int values[3] = {0}, field = 0;
  for (int n = 0; n < 24; n++) {
    wint_t c;
    if (next(&c, 50) == ERR) return 0;
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

/// What an answer says that has come to its end: whether the page is light, where it is the colour
/// that was asked for.
static int32_t end_reply(void) {
  reply.text[reply.length] = 0;
  reply.until = 0;
  if (!strncmp(reply.text, "11;", 3)) is_owed = 0;
  unsigned r, g, b;
  // Of four digits a channel the first two are enough; some terminals send two.
  if (sscanf(reply.text, "11;rgb:%2x%*[^/]/%2x%*[^/]/%2x", &r, &g, &b) != 3 &&
      sscanf(reply.text, "11;rgb:%2x/%2x/%2x", &r, &g, &b) != 3)
    return CN_KEY_OTHER;
  return 299 * r + 587 * g + 114 * b > 128 * 1000 ? CN_KEY_LIGHT : CN_KEY_DARK;
}

/// More of a reply ESC ] ... BEL or ESC \\, waiting up to 50 ms for each byte. One that breaks off
/// stays open for a while.
static int32_t go_on(void) {
  while (reply.bytes++ < 256) {
    wint_t c;
    if (next(&c, 50) == ERR) {
      reply.until = now() + REST_TAKES;
      return CN_KEY_OTHER;
    }
    if (c == 7 || (reply.escaped && c == '\\')) return end_reply();
    reply.escaped = c == 27;
    if (!reply.escaped && c < 128 && reply.length < 63) reply.text[reply.length++] = (char)c;
  }
  return end_reply();
}

/// A reply from its beginning, of which this much is known.
static int32_t begin_reply(const char *text) {
  memset(&reply, 0, sizeof reply);
  reply.length = (int)strlen(text);
  memcpy(reply.text, text, (size_t)reply.length);
  return go_on();
}

/// Whether a character belongs to an answer that broke off; if not it is a key, and the answer is
/// given up.
static int goes_on(int status, wint_t c) {
  if (now() >= reply.until) return reply.until = 0;
  int belongs = status == OK &&
      (c == 7 || (c < 128 && c && strchr("0123456789abcdefABCDEFrg:;/", (int)c)) ||
       (reply.escaped && c == '\\'));
  if (status == OK && c == 27) {
    // The end of the answer, or a key of its own.
    wint_t after;
    const int more = next(&after, 50);
    belongs = more == OK && after == '\\';
    if (more != ERR) keep(more, after);
  }
  if (!belongs) reply.until = 0;
  return belongs;
}

/// The answer about the page may be on its way.
static int is_awaited(void) { return is_owed && now() < asked_at + ANSWER_IS_LATE; }

/// A `]` behind an Esc that stood alone: the late half of an answer, when what follows is its
/// beginning.
static int begins_answer(void) {
  static const char start[] = "11;";
  if (!is_awaited() || now() > escape_at + REST_TAKES) return 0;
  for (int i = 0; i < 3; i++) {
    wint_t c;
    const int status = next(&c, 50);
    if (status == OK && c == (wint_t)start[i]) continue;
    for (int k = 0; k < i; k++) keep(OK, (wint_t)start[k]);
    if (status != ERR) keep(status, c);
    return 0;
  }
  return 1;
}

/// A sequence that nobody knows is swallowed whole, so that its letters never act as keys. Esc
/// alone stays Esc; with a digit behind it, it is Alt; any other key behind it comes next.
static int32_t after_escape(void) {
  wint_t c, second;
  const int status = next(&c, is_awaited() ? ESCAPE_TAKES : 0);
  if (status == ERR) {
    escape_at = now();
    return 27;
  }
  if (status == OK && c >= '0' && c <= '9') return CN_KEY_ALT + (int32_t)c;
  if (status == OK && (c == 'O' || c == '[' || c == ']')) {
    const int more = next(&second, c == ']' && is_awaited() ? ESCAPE_TAKES : 0);
    // Answers begin with their number; of titles, which nobody asks for, with a letter.
    static const char starts[] = "0123456789lLI";
    if (more == OK && (c != ']' || (second && second < 128 && strchr(starts, (int)second)))) {
      // What follows ESC ] ends in BEL or ESC \\, whatever it is.
      if (c == ']') return begin_reply((const char[]){(char)second, 0});
      if (c == '[')
        while ((second < 0x40 || second > 0x7e) && next(&second, 0) == OK) {}
      return CN_KEY_OTHER;
    }
    keep(status, c);
    if (more != ERR) keep(more, second);
    escape_at = now();
    return 27;
  }
  keep(status, c);
  return 27;
}

int32_t cn_key(cn_mouse *mouse) {
  wint_t c;
  const int status = next(&c, 0);
  if (status == ERR) return -1;
  if (reply.until && goes_on(status, c)) {
    // In front of what was kept: nothing was kept before it.
    memmove(kept + 1, kept, (size_t)kept_count * sizeof *kept);
    kept[0].status = status;
    kept[0].key = c;
    kept_count++;
    return go_on();
  }
  if (status == OK && c == ']' && begins_answer()) return begin_reply("11;");
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
