// The oracle in both precisions.
#include "ops.h"

#define FN(name) plain_f32_##name
#define REAL float
#include "plain.inc"
#undef FN
#undef REAL
#define FN(name) plain_f64_##name
#define REAL double
#include "plain.inc"
