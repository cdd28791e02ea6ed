// The table of screening kernels that each instruction set fills.
// The public functions are in include/screen.h, the loops in screen.inc.
#pragma once
#include <math.h>
#include <string.h>

#include "include/screen.h"
#include "include/wide.h"

/// Kernels of one instruction set, whose arguments are those of include/screen.h without the
/// first.
typedef struct {
  void (*keys)(const float *, int, int, as_screen *);
  void (*strip)(const float *, const as_screen *, as_screen_query *);
  int (*strip_below)(const as_screen *, int, int, const as_screen_query *, const int32_t *, float,
                     const float *, float);
  int (*rows_below)(const as_screen *, int, int, const as_screen_query *, int, float, const float *,
                    float);
} screen_ops;

extern const screen_ops baseline_f32_screen_ops;
#if defined(__x86_64__)
extern const screen_ops avx2_f32_screen_ops, avx512_f32_screen_ops;
#endif
