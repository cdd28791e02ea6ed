// The template for AVX2 and FMA: eight 256-bit accumulators.
#include "ops.h"
#include "quant.h"
#include "screen.h"
#include "wide.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
/// Four rows of sixteen floats: eight of the sixteen registers, the rest for keys and queries.
#define MR 4
#define NG 1
#define FN(name) avx2_f32_##name
#define REAL float
#include "template.inc"
#define MK 4
#define NL 1
#include "wide.inc"
/// What DOT4 promises, in plain vector arithmetic: AVX2's own byte product saturates.
#define DOT4(acc, u, s)                                                                      \
  ((acc) + ((u) & 255) * ((s) << 24 >> 24) + ((u) >> 8 & 255) * ((s) << 16 >> 24) +           \
   ((u) >> 16 & 255) * ((s) << 8 >> 24) + ((u) >> 24 & 255) * ((s) >> 24))
#include "screen.inc"
#undef DOT4
/// u8 x s8 by way of 16 bits, where no sum of two can saturate: lanes 0, 1, 4, 5 hold the
/// first 16 products. Hence the order of DOT32_SCALES.
#define DOT32(q, x) FN(dot32)(q, x)
#define DOT32_SCALES(a, b) _mm256_set_ps(b, b, a, a, b, b, a, a)
static inline __attribute__((always_inline)) __m256i FN(dot32)(__m256i q, __m256i x) {
  const __m256i low = _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm256_castsi256_si128(q)),
                                        _mm256_cvtepi8_epi16(_mm256_castsi256_si128(x)));
  const __m256i high = _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm256_extracti128_si256(q, 1)),
                                         _mm256_cvtepi8_epi16(_mm256_extracti128_si256(x, 1)));
  return _mm256_hadd_epi32(low, high);
}
#include "quant_x86.inc"
#define ROW_DOTS FN(generic_dots)
#include "engine.inc"

/// Many rows go through float panels on AVX2 (as_gemm_uses_q8 says so); this keeps the table
/// whole.
static void FN(gemm_q8)(as_weight type, const void *panel, int cols, const void *q8, int rows,
                        float *out, int64_t ld) {
  plain_engine_ops.gemm_q8(type, panel, cols, q8, rows, out, ld);
}

/// AVX2 for everything but the product of many rows.
const engine_ops avx2_engine_ops = {
    FN(quantise), FN(gemv),   FN(pack_panel), FN(gemm_q8),    FN(rms_norm),
    FN(swiglu),   FN(add),    FN(top), FN(log_sum_exp), FN(divergence), FN(read_through),
};
#undef ROW_DOTS
#undef DOT32
#undef DOT32_SCALES
#undef FN
#undef REAL
#undef MR
/// A double takes twice the room of a float, so half the rows.
#define MR 2
#define FN(name) avx2_f64_##name
#define REAL double
#include "template.inc"
#pragma clang attribute pop
#endif
