#include "cpng.h"

#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

/// The file so far: `size` bytes written in memory for `room`. Grows by doubling.
struct sink {
  uint8_t *bytes;
  size_t size, room;
  int out_of_memory;
};

/// What libpng calls with each piece of the file; leaves by png_error when memory is short.
static void write_bytes(png_structp png, png_bytep data, png_size_t count) {
  struct sink *sink = png_get_io_ptr(png);
  if (count > sink->room - sink->size) {
    size_t room = sink->room * 2 > sink->size + count ? sink->room * 2 : sink->size + count + 4096;
    uint8_t *bytes = realloc(sink->bytes, room);
    if (bytes == NULL) {
      sink->out_of_memory = 1;
      png_error(png, "no memory");
    }
    sink->bytes = bytes;
    sink->room = room;
  }
  memcpy(sink->bytes + sink->size, data, count);
  sink->size += count;
}

/// Nothing to flush: the file is in memory.
static void flush_bytes(png_structp png) { (void)png; }

/// libpng's own would print to the terminal, which belongs to the screen.
static void fail(png_structp png, png_const_charp message) {
  (void)message;
  png_longjmp(png, 1);
}

/// Warnings would go to the terminal as well; none of them stops the file.
static void ignore(png_structp png, png_const_charp message) { (void)png, (void)message; }

/// 1 when every pixel has alpha 255; then the file needs no alpha channel and is a quarter
/// smaller before compression.
static int is_opaque(const uint8_t *rgba, size_t pixels) {
  for (size_t i = 0; i < pixels; i++) {
    if (rgba[4 * i + 3] != 255) return 0;
  }
  return 1;
}

/// Who made the file, and its title (NULL or empty: none). tEXt holds Latin-1, so a title
/// beyond ASCII goes into iTXt.
static void set_texts(png_structp png, png_infop info, const char *title) {
  png_text texts[2];
  memset(texts, 0, sizeof texts);
  texts[0].compression = PNG_TEXT_COMPRESSION_NONE;
  texts[0].key = "Software";
  texts[0].text = "attnscope";
  int count = 1;
  if (title != NULL && title[0] != 0) {
    int ascii = 1;
    for (const char *c = title; *c != 0; c++) ascii &= (unsigned char)*c < 128;
    texts[1].compression = ascii ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
    texts[1].key = "Title";
    texts[1].text = (char *)title;
    count = 2;
  }
  png_set_text(png, info, texts, count);
}

/// Everything that may jump. Nothing local changes between setjmp and the jump back, so no
/// local is lost by it.
static int encode(png_structp png, png_infop info, const uint8_t *rgba, int width, int height,
                  double dpi, const char *title, struct sink *sink) {
  if (setjmp(png_jmpbuf(png))) return sink->out_of_memory ? CPNG_MEMORY : CPNG_LIBRARY;
  const int opaque = is_opaque(rgba, (size_t)width * (size_t)height);
  png_set_write_fn(png, sink, write_bytes, flush_bytes);
  png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 8,
               opaque ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_RGBA, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_sRGB(png, info, PNG_sRGB_INTENT_PERCEPTUAL);
  if (dpi > 0 && dpi < 1e6) {
    const png_uint_32 per_metre = (png_uint_32)(dpi / 0.0254 + 0.5);
    png_set_pHYs(png, info, per_metre, per_metre, PNG_RESOLUTION_METER);
  }
  set_texts(png, info, title);
  png_write_info(png, info);
  if (opaque) png_set_filler(png, 0, PNG_FILLER_AFTER);
  for (int y = 0; y < height; y++) png_write_row(png, rgba + 4 * (size_t)width * (size_t)y);
  png_write_end(png, NULL);
  return CPNG_OK;
}

int cpng_encode(const uint8_t *rgba, int width, int height, double dpi, const char *title,
                uint8_t **out, size_t *size) {
  if (out == NULL || size == NULL) return CPNG_ARGUMENT;
  *out = NULL;
  *size = 0;
  if (rgba == NULL || width <= 0 || height <= 0) return CPNG_ARGUMENT;
  struct sink sink = {0};
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, fail, ignore);
  png_infop info = png == NULL ? NULL : png_create_info_struct(png);
  const int code =
      info == NULL ? CPNG_MEMORY : encode(png, info, rgba, width, height, dpi, title, &sink);
  png_destroy_write_struct(&png, &info);
  if (code != CPNG_OK) {
    free(sink.bytes);
    return code;
  }
  *out = sink.bytes;
  *size = sink.size;
  return CPNG_OK;
}

void cpng_free(uint8_t *bytes) { free(bytes); }
