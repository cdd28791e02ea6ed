// The template as every machine of the architecture runs it: SSE2 on x86-64, NEON on arm64.
#include "ops.h"
#include "quant.h"
#include "screen.h"
#include "wide.h"

#if defined(__aarch64__)
/// NEON has thirty-two registers of four floats: sixteen of them accumulate.
#define MR 4
#define NG 1
#else
/// SSE2 has sixteen: two rows of sixteen floats take eight.
#define MR 2
#define NG 1
#endif
#define FN(name) baseline_f32_##name
#define REAL float
#include "template.inc"
#define MK MR
#define NL 1
#include "wide.inc"
/// Four byte products in plain arithmetic, by shifting each byte to the top and back.
#define DOT4(acc, u, s)                                                                      \
  ((acc) + ((u) & 255) * ((s) << 24 >> 24) + ((u) >> 8 & 255) * ((s) << 16 >> 24) +           \
   ((u) >> 16 & 255) * ((s) << 8 >> 24) + ((u) >> 24 & 255) * ((s) >> 24))
#include "screen.inc"
#undef DOT4
#include "quant_plain.inc"
#define ROW_DOTS FN(row_dots)
#include "engine.inc"

/// Float loops in vectors, integer products in scalar C.
const engine_ops baseline_engine_ops = {
    FN(quantise), FN(gemv),   FN(pack_panel), FN(gemm_q8),    FN(rms_norm),
    FN(swiglu),   FN(add),    FN(top), FN(log_sum_exp), FN(divergence), FN(read_through),
};
#undef ROW_DOTS
#undef FN
#undef REAL
#define FN(name) baseline_f64_##name
#define REAL double
#include "template.inc"
