// A compiled terminfo entry, written capability by capability: see term(5), "extended number
// format". What ncurses needs to use direct colours is the flag RGB, 2^24 colours, and two strings.
#define _GNU_SOURCE
#ifndef _XOPEN_SOURCE_EXTENDED
#define _XOPEN_SOURCE_EXTENDED 1
#endif
#define NCURSES_WIDECHAR 1
#include "direct.h"

#include <curses.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <unistd.h>

/// Bytes as they are written, as long as they fit.
typedef struct {
  uint8_t bytes[16384];
  int length;
} Buffer;

/// Little-endian, `size` bytes.
static void put(Buffer *out, long value, int size) {
  for (int i = 0; i < size && out->length < (int)sizeof out->bytes; i++)
    out->bytes[out->length++] = (uint8_t)((unsigned long)value >> (8 * i));
}

/// Numbers begin at an even place.
static void align(Buffer *out) {
  if (out->length % 2) put(out, 0, 1);
}

/// A text with its end.
static void put_text(Buffer *out, const char *text) {
  for (const char *c = text; *c; c++) put(out, *c, 1);
  put(out, 0, 1);
}

/// Sets foreground ('3') or background ('4'): the eight of the palette below 8, channels above.
static const char *colour_string(char layer) {
  static char texts[2][160];
  char *text = texts[layer == '4'];
  strcpy(text, "\033[%?%p1%{8}%<%tL%p1%d%eL8;2;%p1%{65536}%/%d;%p1%{256}%/%{255}%&%d;"
               "%p1%{255}%&%d%;m");
  for (char *c = text; *c; c++)
    if (*c == 'L') *c = layer;
  return text;
}

/// The string of a capability in the new description; NULL where it has none.
static const char *string_of(const char *name) {
  if (!strcmp(name, "setaf")) return colour_string('3');
  if (!strcmp(name, "setab")) return colour_string('4');
  // Nothing of the palette can be changed, and no other way of setting colours is to be found.
  static const char *const dropped[] = {"initc", "initp", "setf", "setb", "scp", "oc"};
  for (unsigned i = 0; i < sizeof dropped / sizeof *dropped; i++)
    if (!strcmp(name, dropped[i])) return NULL;
  const char *text = tigetstr(name);
  return text == (char *)-1 ? NULL : text;
}

/// The number of a capability in the new description; -1 where it has none.
static int number_of(const char *name) {
  if (!strcmp(name, "colors")) return 1 << 24;
  if (!strcmp(name, "pairs")) return 1 << 16;
  const int number = tigetnum(name);
  return number < 0 ? -1 : number;
}

/// How many names a list has that ends in NULL.
static int count(NCURSES_CONST char *const *names) {
  int n = 0;
  while (names[n]) n++;
  return n;
}

/// The entry of the terminal that is set up now.
static void write_entry(Buffer *out, Buffer *texts) {
  const int flags = count(boolnames), numbers = count(numnames), strings = count(strnames);
  const int names = (int)strlen(DIRECT_NAME) + 1;
  Buffer places = {.length = 0};
  for (int i = 0; i < strings; i++) {
    const char *text = string_of(strnames[i]);
    put(&places, text ? texts->length : -1, 2);
    if (text) put_text(texts, text);
  }
  const long header[] = {01036, names, flags, numbers, strings, texts->length};
  for (int i = 0; i < 6; i++) put(out, header[i], 2);
  put_text(out, DIRECT_NAME);
  for (int i = 0; i < flags; i++) {
    const int isSet = tigetflag(boolnames[i]) > 0 && strcmp(boolnames[i], "ccc");
    put(out, isSet, 1);
  }
  align(out);
  for (int i = 0; i < numbers; i++) put(out, number_of(numnames[i]), 4);
  for (int i = 0; i < places.length; i++) put(out, places.bytes[i], 1);
  for (int i = 0; i < texts->length; i++) put(out, texts->bytes[i], 1);
  align(out);
  // One extended capability: the flag RGB, whose name is all there is in the table of texts.
  const long extended[] = {1, 0, 0, 1, 4};
  for (int i = 0; i < 5; i++) put(out, extended[i], 2);
  put(out, 1, 1);
  align(out);
  put(out, 0, 2);
  put_text(out, "RGB");
}

/// The entry as text for TERMINFO; the caller frees it. NULL when `term` is not known.
static char *direct_entry(const char *term) {
  int status = 0;
  if (setupterm(term, 1, &status) != OK || status != 1) return NULL;
  Buffer *out = calloc(1, sizeof *out), *texts = calloc(1, sizeof *texts);
  char *text = NULL;
  if (out && texts) {
    write_entry(out, texts);
    text = malloc(8 + 2 * (size_t)out->length);
  }
  if (text) {
    strcpy(text, "hex:");
    char *at = text + 4;
    for (int i = 0; i < out->length; i++) {
      static const char digits[] = "0123456789ABCDEF";
      *at++ = digits[out->bytes[i] >> 4];
      *at++ = digits[out->bytes[i] & 15];
    }
    *at = 0;
  }
  free(out);
  free(texts);
  TERMINAL *mine = cur_term;
  set_curterm(NULL);
  del_curterm(mine);
  return text;
}

static const char *base;

const char *direct_base(void) { return base; }

/// What stands behind TERMINFO= in the environment, where the user's own is a description: room for
/// either, and both of them.
static char *slot, *ours, *theirs;

void direct_show(int shows_ours) {
  if (slot) strcpy(slot, shows_ours ? ours : theirs);
}

/// Makes the room, with the user's own in it. Before main, since the environment changes.
static void share(const char *own, char *entry) {
  static const char name[] = "TERMINFO=";
  const size_t longest = strlen(own) > strlen(entry) ? strlen(own) : strlen(entry);
  char *text = malloc(sizeof name + longest);
  theirs = strdup(own);
  if (!text || !theirs) {
    base = NULL;
    return;
  }
  ours = entry;
  slot = text + sizeof name - 1;
  strcpy(text, name);
  direct_show(0);
  putenv(text);
}

/// A description, as ncurses writes it itself, and no folder.
static int is_description(const char *own) {
  return !strncmp(own, "hex:", 4) || !strncmp(own, "b64:", 4);
}

/// Before main, on a terminal: puts the description where ncurses looks first. A folder that the
/// user has named is looked through next; a description of the user's own stays where it is. What
/// is on standard input does not matter: keys may come from the terminal beside a stream.
__attribute__((constructor)) static void prepare(void) {
  const char *term = getenv("TERM"), *own = getenv("TERMINFO"), *more = getenv("TERMINFO_DIRS");
  if (!term || !*term || !isatty(1)) return;
  base = term;
  char *entry = direct_entry(base);
  if (!entry) {
    base = "xterm-256color";
    entry = direct_entry(base);
  }
  if (!entry) {
    base = NULL;
    return;
  }
  if (own && is_description(own)) {
    share(own, entry);
    return;
  }
  if (own && *own) {
    char *folders = NULL;
    if (asprintf(&folders, "%s:%s", own, more ? more : "") > 0)
      setenv("TERMINFO_DIRS", folders, 1);
    free(folders);
  }
  setenv("TERMINFO", entry, 1);
  free(entry);
}
