// The public screening functions. Without VNNI the product is as right and no faster than the
// float scores.
#include "screen.h"

/// Byte products in one instruction.
static int has_vnni(void) {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512vnni") != 0;
#else
  return 0;
#endif
}

/// Where screening saves time and not only arithmetic.
static int is_fast(as_isa isa) { return isa == AS_ISA_AVX512 && has_vnni(); }

/// Every version gives bounds that hold; they may differ in the last bit, which decides
/// nothing that the exact path would not.
static const screen_ops *ops(as_isa isa) {
#if defined(__x86_64__)
  if (is_fast(isa)) return &avx512_f32_screen_ops;
  if (isa >= AS_ISA_AVX2) return &avx2_f32_screen_ops;
#endif
  return &baseline_f32_screen_ops;
}

// Beyond this the stack would be written: a caller that gets here is wrong.
static void check(const as_screen *keys) {
  if (keys->dim < 0 || keys->dim > AS_MOST_DIM) __builtin_trap();
}

void as_screen_keys(as_isa isa, const float *panels, int first, int count, as_screen *out) {
  check(out);
  ops(isa)->keys(panels, first, count, out);
}

void as_screen_strip(as_isa isa, const float *query, const as_screen *keys, as_screen_query *out) {
  check(keys);
  ops(isa)->strip(query, keys, out);
}

int as_screen_strip_below(as_isa isa, const as_screen *keys, int first_group, int count,
                          const as_screen_query *q, const int32_t *limits, float scale,
                          const float *m, float threshold) {
  return ops(isa)->strip_below(keys, first_group, count, q, limits, scale, m, threshold);
}

int as_screen_rows_below(as_isa isa, const as_screen *keys, int first_group, int count,
                         const as_screen_query *q, int rows, float scale, const float *m,
                         float threshold) {
  return ops(isa)->rows_below(keys, first_group, count, q, rows, scale, m, threshold);
}
