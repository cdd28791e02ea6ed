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

/// One accumulator, from the first element to the last: means of a few blocks, where order matters
/// more than speed.
void as_row_dots(const double *a, const double *b, int dim, int count, double *out) {
  for (int j = 0; j < count; j++) {
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

/// The median of three, which keeps quickselect from its worst case on sorted input.
static float middle_of(float a, float b, float c) {
  const float low = a < b ? a : b, high = a < b ? b : a;
  return c < low ? low : (c > high ? high : c);
}

/// Quickselect until the `wanted` largest stand in front, in no order, then their sum in
/// double.
double as_largest_sum(float *values, int n, int wanted) {
  if (wanted <= 0) return 0;
  for (int i = 0; i < n; i++)
    if (values[i] != values[i]) values[i] = -INFINITY;
  int low = 0, high = n - 1;
  while (wanted < n && low < high) {
    const float pivot = middle_of(values[low], values[(low + high) / 2], values[high]);
    int i = low, j = high;
    while (i <= j) {
      while (values[i] > pivot) i++;
      while (values[j] < pivot) j--;
      if (i > j) break;
      const float other = values[i];
      values[i++] = values[j];
      values[j--] = other;
    }
    if (wanted - 1 <= j)
      high = j;
    else if (wanted - 1 >= i)
      low = i;
    else
      break;
  }
  double total = 0;
  for (int i = 0; i < (wanted < n ? wanted : n); i++) total += values[i];
  return total;
}
