// Which instruction set runs: asked once, or forced by ATTNSCOPE_ISA; and the public functions.
#include <stdlib.h>

#include "ops.h"

/// By as_isa, spelled as ATTNSCOPE_ISA spells them.
static const char *const names[] = {"plain", "baseline", "avx2", "avx512"};

/// The sets that the templates use, all of them: a processor with half of AVX-512 gets AVX2.
int as_isa_available(as_isa isa) {
  switch (isa) {
    case AS_ISA_PLAIN:
    case AS_ISA_BASELINE: return 1;
#if defined(__x86_64__)
    case AS_ISA_AVX2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("f16c");
    case AS_ISA_AVX512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
#endif
    default: return 0;
  }
}

const char *as_isa_name(as_isa isa) { return names[isa]; }

/// An empty variable says nothing.
const char *as_wanted_isa(void) {
  const char *wanted = getenv("ATTNSCOPE_ISA");
  return wanted && *wanted ? wanted : NULL;
}

/// The environment first, so that a test or a doubt can pin the version; then from the
/// fastest down.
as_isa as_best_isa(void) {
  const char *wanted = as_wanted_isa();
  for (int i = AS_ISA_PLAIN; wanted && i <= AS_ISA_AVX512; i++)
    if (!strcmp(wanted, names[i]) && as_isa_available((as_isa)i)) return (as_isa)i;
  for (int i = AS_ISA_AVX512; i > AS_ISA_BASELINE; i--)
    if (as_isa_available((as_isa)i)) return (as_isa)i;
  return AS_ISA_BASELINE;
}

/// A number that means nothing here gets the oracle: slow, and right.
static const as_ops *ops(as_plan p) {
  const int wide = p.precision == AS_F64;
  switch (p.isa) {
#if defined(__x86_64__)
    case AS_ISA_AVX512: return wide ? &avx512_f64_ops : &avx512_f32_ops;
    case AS_ISA_AVX2: return wide ? &avx2_f64_ops : &avx2_f32_ops;
#endif
    case AS_ISA_BASELINE: return wide ? &baseline_f64_ops : &baseline_f32_ops;
    default: return wide ? &plain_f64_ops : &plain_f32_ops;
  }
}

void as_pack_rows(as_plan p, const float *src, size_t count, void *out) {
  ops(p)->pack_rows(src, count, out);
}

void as_pack_keys(as_plan p, const float *keys, int64_t stride, int dim, int count, int tile_keys,
                  void *panels) {
  ops(p)->pack_keys(keys, stride, dim, count, tile_keys, panels);
}

void as_load_scores(as_plan p, const float *src, int64_t stride, int rows, int cols, int take_log,
                    void *S, int64_t ld) {
  ops(p)->load_scores(src, stride, rows, cols, take_log, S, ld);
}

void as_scores(as_plan p, const void *q, const void *panels, int rows, int dim, int groups,
               double scale, void *S, int64_t ld) {
  ops(p)->scores(q, panels, rows, dim, groups, scale, S, ld);
}

void as_tile_max(as_plan p, void *S, int64_t ld, int rows, int cols, const int32_t *limits,
                 void *t) {
  ops(p)->tile_max(S, ld, rows, cols, limits, t);
}

/// Limits are made for 64 rows at a time, on the stack: nothing here allocates.
void as_row_max(as_plan p, void *S, int64_t ld, int rows, int cols, void *t) {
  int32_t limits[64];
  for (int i = 0; i < 64; i++) limits[i] = cols;
  const int64_t size = p.precision == AS_F64 ? 8 : 4;
  for (int r = 0; r < rows; r += 64)
    ops(p)->tile_max((char *)S + r * ld * size, ld, rows - r < 64 ? rows - r : 64, cols, limits,
                     (char *)t + r * size);
}

void as_tile_sums(as_plan p, const void *S, int64_t ld, int rows, int cols, const void *t,
                  float *sum, float *weighted) {
  ops(p)->tile_sums(S, ld, rows, cols, t, sum, weighted);
}

double as_margin(as_plan p, int rows, const void *t, const void *m) {
  return ops(p)->margin(rows, t, m);
}

void as_raise(as_plan p, int rows, const void *t, void *m) { ops(p)->raise(rows, t, m); }

void as_accumulate(as_plan p, const void *S, int64_t ld, int rows, int cols, const void *t, void *m,
                   float *l, float *P, const float *V, int dv, float *O) {
  ops(p)->accumulate(S, ld, rows, cols, t, m, l, P, V, dv, O);
}

void as_mask_unkept(as_plan p, void *S, int64_t ld, int rows, int cols, const uint8_t *kept,
                    int64_t kept_ld) {
  ops(p)->mask_unkept(S, ld, rows, cols, kept, kept_ld);
}

void as_softmax_rows(as_plan p, const void *S, int64_t ld, int rows, int cols,
                     const int32_t *limits, float *P, int64_t ldp, double *lse) {
  ops(p)->softmax_rows(S, ld, rows, cols, limits, P, ldp, lse);
}

void as_finish_rows(as_plan p, int rows, int tiles, const void *t, float *sums,
                    const float *weighted, double *lse, float *entropy) {
  ops(p)->finish_rows(rows, tiles, t, sums, weighted, lse, entropy);
}
