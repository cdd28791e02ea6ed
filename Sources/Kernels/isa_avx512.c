// The template for AVX-512: sixteen 512-bit accumulators, two loads of keys and eight
// broadcasts a step.
#include "ops.h"
#include "quant.h"
#include "screen.h"
#include "wide.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,f16c"))), apply_to = function)
/// Eight rows by two groups: sixteen accumulators of thirty-two registers.
#define MR 8
#define NG 2
#define FN(name) avx512_f32_##name
#define REAL float
#include "template.inc"
#define MK 8
#define NL 2
#include "wide.inc"
#pragma clang attribute pop
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c"))), \
    apply_to = function)
/// One instruction with VNNI: lanes 0 to 3 hold the first 16 products, 4 to 7 the others.
#define DOT32(q, x) _mm256_dpbusd_epi32(_mm256_setzero_si256(), q, x)
#define DOT32_SCALES(a, b) _mm256_set_ps(b, b, b, b, a, a, a, a)
#include "quant_x86.inc"
#include "quant_vnni.inc"
/// Sixteen lanes of four byte products, exact: the sum of four is far from 32 bits.
#define DOT4(acc, u, s) ((FN(vi))_mm512_dpbusd_epi32((__m512i)(acc), (__m512i)(u), (__m512i)(s)))
#include "screen.inc"
#undef DOT4
#define ROW_DOTS FN(row_dots)
#include "engine.inc"

/// The engine's table needs VNNI beside AVX-512; quant.c asks for it and falls back to AVX2.
const engine_ops avx512_engine_ops = {
    FN(quantise), FN(gemv),   FN(pack_panel), FN(gemm_q8),    FN(rms_norm),
    FN(swiglu),   FN(add),    FN(top), FN(log_sum_exp), FN(divergence), FN(read_through),
};
#undef ROW_DOTS
#pragma clang attribute pop
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,f16c"))), apply_to = function)
#undef FN
#undef REAL
#undef MR
/// A double takes twice the room of a float, so half the rows.
#define MR 4
#define FN(name) avx512_f64_##name
#define REAL double
#include "template.inc"
#pragma clang attribute pop
#endif
