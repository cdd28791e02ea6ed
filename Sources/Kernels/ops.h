// The table of kernels that each instruction set and precision fills.
#pragma once
#include <math.h>
#include <string.h>

#include "include/kernels.h"

/// Kernels of one instruction set and precision, in the order of their public functions
/// (include/kernels.h), whose arguments they take without the plan. `void *` is REAL.
typedef struct {
  void (*pack_rows)(const float *, size_t, void *);
  void (*pack_keys)(const float *, int64_t, int, int, int, void *);
  void (*load_scores)(const float *, int64_t, int, int, int, void *, int64_t);
  void (*scores)(const void *, const void *, int, int, int, double, void *, int64_t);
  void (*tile_max)(void *, int64_t, int, int, const int32_t *, void *);
  void (*tile_sums)(const void *, int64_t, int, int, const void *, float *, float *);
  double (*margin)(int, const void *, const void *);
  void (*raise)(int, const void *, void *);
  void (*accumulate)(const void *, int64_t, int, int, const void *, void *, float *, float *,
                     const float *, int, float *);
  void (*mask_unkept)(void *, int64_t, int, int, const uint8_t *, int64_t);
  void (*softmax_rows)(const void *, int64_t, int, int, const int32_t *, float *, int64_t,
                       double *);
  void (*finish_rows)(int, int, const void *, float *, const float *, double *, float *);
} as_ops;

/// One table for each file that includes template.inc or plain.inc, each twice.
extern const as_ops plain_f32_ops, plain_f64_ops, baseline_f32_ops, baseline_f64_ops;
#if defined(__x86_64__)
extern const as_ops avx2_f32_ops, avx2_f64_ops, avx512_f32_ops, avx512_f64_ops;
#endif
