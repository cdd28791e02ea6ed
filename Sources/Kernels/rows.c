// Loops over finished rows: masses, kept sets. Memory-bound, so one version serves every machine.
#include <math.h>
#include <string.h>

#include "include/kernels.h"

/// Sums in double: a tile has thousands of rows, and its mass is compared with thresholds.
void as_fold_masses(const float *masses, int rows, int tiles, int first, int count,
                    const int32_t *order, float *sum, float *max, float *worst, float *scratch) {
  memset(scratch, 0, sizeof(float) * (size_t)count);
  for (int i = 0; i < tiles; i++) {
    const int j = order[i];
    const float *mass = masses + (size_t)j * rows + first;
    double total = 0;
    float most = 0, dropped = 0;
    for (int r = 0; r < count; r++) {
      total += mass[r];
      most = mass[r] > most ? mass[r] : most;
      scratch[r] += mass[r];
      dropped = scratch[r] > dropped ? scratch[r] : dropped;
    }
    sum[j] = (float)total;
    max[j] = most;
    worst[j] = dropped;
  }
}

/// Three passes that compilers turn into vectors.
void as_kept_row(uint8_t *kept, int count, const uint8_t *columns, const uint8_t *offsets,
                 const uint8_t *blocks) {
  memset(kept, 0, (size_t)count);
  if (columns)
    for (int j = 0; j < count; j++) kept[j] |= columns[j];
  if (offsets)
    for (int j = 0; j < count; j++) kept[j] |= offsets[j];
  if (blocks)
    for (int j = 0; j < count; j++) kept[j] |= blocks[j];
}

/// One accumulator a product, from the first element to the last, eight products side by side: one
/// alone waits for its own last addition.
void as_row_dots(const double *a, const double *b, int dim, int count, double *out) {
  int j = 0;
  for (; j + 8 <= count; j += 8) {
    const double *rows = b + (size_t)j * dim;
    double sum[8] = {0};
    for (int i = 0; i < dim; i++)
      for (int r = 0; r < 8; r++) sum[r] += a[i] * rows[(size_t)r * dim + i];
    memcpy(out + j, sum, sizeof sum);
  }
  for (; j < count; j++) {
    double sum = 0;
    for (int i = 0; i < dim; i++) sum += a[i] * b[(size_t)j * dim + i];
    out[j] = sum;
  }
}

/// How many of eight bytes are not 0.
static int64_t bytes_set(uint64_t word) {
  const uint64_t low = 0x7f7f7f7f7f7f7f7f;
  const uint64_t high = (((word & low) + low) | word) & ~low;
  return (int64_t)(((high >> 7) * 0x0101010101010101) >> 56);
}

/// Sixteen float lanes over at most 1024 entries, then double: as exact as the pattern itself, and
/// vector code. Sixteen flags of 0 are passed over, since most of a sparse mask is that and adding
/// 0 changes no lane. `*number` is added to, not set.
double as_kept_mass(const float *p, const uint8_t *kept, int count, int64_t *number) {
  double total = 0;
  int64_t held = 0;
  for (int j0 = 0; j0 < count; j0 += 1024) {
    const int end = j0 + 1024 < count ? j0 + 1024 : count;
    float lane[16] = {0};
    int j = j0;
    for (; j + 16 <= end; j += 16) {
      uint64_t flags[2];
      memcpy(flags, kept + j, sizeof flags);
      if (!(flags[0] | flags[1])) continue;
      for (int i = 0; i < 16; i++) lane[i] += kept[j + i] ? p[j + i] : 0;
      held += bytes_set(flags[0]) + bytes_set(flags[1]);
    }
    for (; j < end; j++) {
      lane[0] += kept[j] ? p[j] : 0;
      held += kept[j] != 0;
    }
    for (int i = 0; i < 16; i++) total += lane[i];
  }
  *number += held;
  return total;
}

/// memchr finds a first 1 faster than any loop here would.
void as_kept_tiles(const uint8_t *kept, int count, int tile, uint8_t *tiles) {
  for (int start = 0, t = 0; start < count; start += tile, t++) {
    if (tiles[t]) continue;
    const int end = start + tile < count ? start + tile : count;
    if (memchr(kept + start, 1, (size_t)(end - start))) tiles[t] = 1;
  }
}

/// A float's bits in the order of its value: what is larger comes first, NaN last.
static uint32_t descending(float value) {
  if (value != value) return UINT32_MAX;
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits & 0x80000000u ? bits : 0x7fffffffu - bits;
}

/// The value of `descending`'s bits.
static float ascended(uint32_t order) {
  if (order == UINT32_MAX) return -INFINITY;
  const uint32_t bits = order & 0x80000000u ? order : 0x7fffffffu - order;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/// A radix sort of three digits of 11 bits, then running sums.
void as_descending_sums(const float *values, int n, uint32_t *scratch, double *sums) {
  enum { digits = 3, wide = 1 << 11 };
  uint32_t *from = scratch, *to = scratch + n, count[digits][wide];
  memset(count, 0, sizeof count);
  for (int i = 0; i < n; i++) {
    const uint32_t order = from[i] = descending(values[i]);
    for (int d = 0; d < digits; d++) count[d][order >> 11 * d & (wide - 1)]++;
  }
  for (int d = 0; d < digits; d++) {
    uint32_t at = 0;
    for (int i = 0; i < wide; i++) {
      const uint32_t here = count[d][i];
      count[d][i] = at;
      at += here;
    }
    for (int i = 0; i < n; i++) to[count[d][from[i] >> 11 * d & (wide - 1)]++] = from[i];
    uint32_t *other = from;
    from = to;
    to = other;
  }
  double total = 0;
  for (int i = 0; i < n; i++) sums[i] = total += ascended(from[i]);
}
