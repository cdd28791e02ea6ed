// The template as every machine of the architecture runs it: SSE2 on x86-64, NEON on arm64.
#include "ops.h"

#if defined(__aarch64__)
#define MR 4
#define NG 1
#else
#define MR 2
#define NG 1
#endif
#define FN(name) baseline_f32_##name
#define REAL float
#include "template.inc"
#undef FN
#undef REAL
#define FN(name) baseline_f64_##name
#define REAL double
#include "template.inc"
