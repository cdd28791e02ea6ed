// The template for AVX2 and FMA: eight 256-bit accumulators.
#include "ops.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define MR 4
#define NG 1
#define FN(name) avx2_f32_##name
#define REAL float
#include "template.inc"
#undef FN
#undef REAL
#undef MR
#define MR 2
#define FN(name) avx2_f64_##name
#define REAL double
#include "template.inc"
#pragma clang attribute pop
#endif
