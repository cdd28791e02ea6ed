// The template for AVX-512: sixteen 512-bit accumulators, two loads of keys and eight broadcasts a step.
#include "ops.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,f16c"))), \
                             apply_to = function)
#define MR 8
#define NG 2
#define FN(name) avx512_f32_##name
#define REAL float
#include "template.inc"
#undef FN
#undef REAL
#undef MR
#define MR 4
#define FN(name) avx512_f64_##name
#define REAL double
#include "template.inc"
#pragma clang attribute pop
#endif
