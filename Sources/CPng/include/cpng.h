#ifndef CPNG_H
#define CPNG_H

#include <stddef.h>
#include <stdint.h>

/// What went wrong, or CPNG_OK.
enum {
  CPNG_OK = 0,
  CPNG_ARGUMENT = 1,  ///< A size that is not positive, or a missing pointer.
  CPNG_MEMORY = 2,    ///< No memory for the encoder or its output.
  CPNG_LIBRARY = 3,   ///< libpng refused the picture.
};

/// Encodes rows of RGBA bytes (alpha not multiplied in), `[height][width][4]` from the top,
/// as one PNG file in memory.
///
/// A picture without a transparent pixel is written as RGB. `dpi` above 0 (dots an inch)
/// becomes the pHYs chunk; `title`, UTF-8 or NULL, a text chunk. On CPNG_OK, `*out` holds
/// `*size` bytes and belongs to the caller, who gives them to `cpng_free`; otherwise `*out`
/// is NULL. libpng's longjmp never leaves here.
int cpng_encode(const uint8_t *rgba, int width, int height, double dpi, const char *title,
                uint8_t **out, size_t *size);

/// Frees what `cpng_encode` gave; NULL is allowed.
void cpng_free(uint8_t *bytes);

#endif
