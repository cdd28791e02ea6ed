// The public rows-in-lanes functions: each hands over to its instruction set.
#include <string.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "wide.h"

/// The oracle where a number means nothing.
static const wide_ops *ops(as_isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case AS_ISA_AVX512: return &avx512_f32_wide_ops;
    case AS_ISA_AVX2: return &avx2_f32_wide_ops;
#endif
    case AS_ISA_BASELINE: return &baseline_f32_wide_ops;
    default: return &plain_wide_ops;
  }
}

void as_wide_query(as_isa isa, const float *rows, int64_t stride, int count, int dim,
                   float *query) {
  ops(isa)->query(rows, stride, count, dim, query);
}

void as_wide_scores(as_isa isa, const float *panels, const float *query, int dim, int keys,
                    const int32_t *limits, float scale, float *S, float *gmax, float *t) {
  ops(isa)->scores(panels, query, dim, keys, limits, scale, S, gmax, t);
}

float as_wide_margin(as_isa isa, const float *t, const float *m) { return ops(isa)->margin(t, m); }

void as_wide_attend(as_isa isa, float *S, int keys, const float *t, float *m, float *l,
                    const float *V, int dv, float *O) {
  ops(isa)->attend(S, keys, t, m, l, V, dv, O);
}

void as_wide_output(as_isa isa, const float *O, const float *l, int count, int dv, float *out) {
  ops(isa)->output(O, l, count, dv, out);
}

void as_wide_mute(as_isa isa, float *S, int keys, int key, float *t) {
  ops(isa)->mute(S, keys, key, t);
}

void as_wide_cells(as_isa isa, const float *S, int keys, const float *t, float *m, float *l,
                   int cells, const int32_t *bounds, float *top, float *sum, float *level) {
  ops(isa)->cells(S, keys, t, m, l, cells, bounds, top, sum, level);
}

void as_wide_cells_fold(as_isa isa, int cells, const float *top, const float *sum,
                        const float *level, const float *lse, int from, int to, float *most,
                        float *mass) {
  ops(isa)->cells_fold(cells, top, sum, level, lse, from, to, most, mass);
}

void as_wide_sums(as_isa isa, const float *S, int keys, const float *t, float *gsum,
                  float *weighted) {
  ops(isa)->sums(S, keys, t, gsum, weighted);
}

void as_wide_finish(as_isa isa, int groups, int per, const float *t, float *gsum,
                    const float *weighted, double *lse, float *entropy) {
  ops(isa)->finish(groups, per, t, gsum, weighted, lse, entropy);
}

void as_wide_fold(as_isa isa, const float *groups_of_lanes, int groups, int per, int lanes,
                  int take_max, float *out, int64_t ld) {
  ops(isa)->fold(groups_of_lanes, groups, per, lanes, take_max, out, ld);
}

void as_wide_margins(as_isa isa, const float *t, int rows, int tiles, int descending, int run,
                     float *m, float *margins) {
  ops(isa)->margins(t, rows, tiles, descending, run, m, margins);
}

void as_wide_masses(as_isa isa, const float *masses, int rows, int tiles, const int32_t *order,
                    float *sum, float *max, float *worst, float *scratch) {
  ops(isa)->masses(masses, rows, tiles, order, sum, max, worst, scratch);
}

double as_peak(as_isa isa, int64_t rounds, float *sink) { return ops(isa)->peak(rounds, sink); }

void as_trim_memory(void) {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

/// Floats as integers in the same order: negative ones reversed, the others above them.
static uint32_t rank_of(float x) {
  uint32_t bits;
  x += 0.0f;  // -0 and 0 are equal
  memcpy(&bits, &x, 4);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// Radix sort by four bytes, stable, so equal margins stay in the order of their numbers;
/// insertion sort for up to 48, where counting would cost more. -0 equals 0; NaN goes to an
/// end.
void as_order(const float *margins, int count, int32_t *order, uint32_t *scratch) {
  uint32_t *keys = scratch, *from = scratch + count, *other_keys = from + count,
           *to = other_keys + count;
  for (int i = 0; i < count; i++) {
    keys[i] = rank_of(margins[i]);
    from[i] = (uint32_t)i;
  }
  if (count <= 48) {
    for (int i = 1; i < count; i++) {
      const uint32_t key = keys[i], item = from[i];
      int j = i;
      for (; j > 0 && keys[j - 1] > key; j--) {
        keys[j] = keys[j - 1];
        from[j] = from[j - 1];
      }
      keys[j] = key;
      from[j] = item;
    }
    memcpy(order, from, sizeof(int32_t) * (size_t)count);
    return;
  }
  for (int shift = 0; shift < 32; shift += 8) {
    uint32_t starts[257] = {0};
    for (int i = 0; i < count; i++) starts[(keys[i] >> shift & 255) + 1]++;
    for (int b = 0; b < 256; b++) starts[b + 1] += starts[b];
    for (int i = 0; i < count; i++) {
      const uint32_t place = starts[keys[i] >> shift & 255]++;
      other_keys[place] = keys[i];
      to[place] = from[i];
    }
    uint32_t *swap = keys;
    keys = other_keys, other_keys = swap;
    swap = from, from = to, to = swap;
  }
  memcpy(order, from, sizeof(int32_t) * (size_t)count);
}
