// The table of rows-in-lanes kernels that each instruction set fills.
#pragma once
#include "include/wide.h"

/// Kernels of one instruction set, whose arguments are those of include/wide.h without the
/// first.
typedef struct {
  void (*query)(const float *, int64_t, int, int, float *);
  void (*scores)(const float *, const float *, int, int, const int32_t *, float, float *, float *,
                 float *);
  float (*margin)(const float *, const float *);
  void (*attend)(float *, int, const float *, float *, float *, const float *, int, float *);
  void (*output)(const float *, const float *, int, int, float *);
  void (*sums)(const float *, int, const float *, float *, float *);
  void (*finish)(int, int, const float *, float *, const float *, double *, float *);
  void (*fold)(const float *, int, int, int, int, float *, int64_t);
  void (*margins)(const float *, int, int, int, int, float *, float *);
  void (*masses)(const float *, int, int, const int32_t *, float *, float *, float *, float *);
  void (*mute)(float *, int, int, float *);
  void (*cells)(const float *, int, const float *, float *, float *, int, const int32_t *, float *,
                float *, float *);
  void (*cells_fold)(int, const float *, const float *, const float *, const float *, int, int,
                     float *, float *);
  double (*peak)(int64_t, float *);
} wide_ops;

/// Filled by plain_wide.c and the isa_*.c files.
extern const wide_ops plain_wide_ops, baseline_f32_wide_ops;
#if defined(__x86_64__)
extern const wide_ops avx2_f32_wide_ops, avx512_f32_wide_ops;
#endif
