// Blocks of the quantised types as GGUF stores them, and the canonical form of 32 weights.
#pragma once
#include <string.h>

#include "include/engine.h"

/// Byte offsets inside one row of q8 activations; every part starts on 64 bytes.
typedef struct {
  /// All parts together; then where each begins, the bytes in order being at 0.
  size_t bytes, swizzled, pairs, sums;
} q8_layout;

/// The next multiple of a cache line.
static inline size_t round64(size_t n) { return (n + 63) & ~(size_t)63; }

/// Where the parts of a row of n activations lie, in this order: a [n]; the same in the order
/// of nibbles, four blocks at a time; (s, s Σ a) of each 32; s Σ a of each 16.
static inline q8_layout q8_parts(int n) {
  q8_layout l;
  const size_t quads = ((size_t)n / 32 + 3) / 4;
  l.swizzled = round64((size_t)n);
  l.pairs = l.swizzled + quads * 128;
  l.sums = l.pairs + round64(quads * 8 * sizeof(float));
  l.bytes = l.sums + round64((size_t)n / 16 * sizeof(float));
  return l;
}

/// (s, s Σ a) of each 32 elements: [n / 32][2].
static inline const float *q8_pairs(const void *q8, int n) {
  return (const float *)((const char *)q8 + q8_parts(n).pairs);
}

/// s Σ a of each 16 elements: [n / 16].
static inline const float *q8_sums(const void *q8, int n) {
  return (const float *)((const char *)q8 + q8_parts(n).sums);
}

/// as_weight_bytes where the type is a constant: the compiler folds it.
static inline size_t weight_bytes(as_weight type) {
  switch (type) {
    case AS_W_Q4_0: return 18;
    case AS_W_Q4_1: return 20;
    case AS_W_Q5_0: return 22;
    case AS_W_Q5_1: return 24;
    case AS_W_Q8_0: return 34;
    case AS_W_Q4_K: return 144;
    case AS_W_Q5_K: return 176;
    case AS_W_Q6_K: return 210;
    case AS_W_F32: return 4;
    default: return 2;
  }
}

/// Six-bit scale and minimum of sub-block j in the twelve bytes that Q4_K and Q5_K share. The
/// last four sub-blocks have their upper two bits in the spare bits of the first four.
static inline void k_scale(const uint8_t *packed, int j, int *scale, int *min) {
  if (j < 4) {
    *scale = packed[j] & 63;
    *min = packed[j + 4] & 63;
  } else {
    *scale = (packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4;
    *min = (packed[j + 4] >> 4) | (packed[j] >> 6) << 4;
  }
}

/// 32 weights in the one form that every type can take: w[i] = d[i / 16] * q[i] + m[i / 16].
typedef struct {
  uint8_t q[32];
  float d[2], m[2];
} canonical;

/// Unpacks weights [32 group, 32 group + 32) of a row of a quantised type.
void as_unpack(as_weight type, const uint8_t *row, int group, canonical *out);

/// Puts x[i] into the list of the k largest, if it belongs there. `out` is descending; an
/// equal value goes behind those it equals, so the smaller index stands first.
static inline void as_top_insert(const float *x, int i, int k, int *held, int32_t *out) {
  if (*held == k && !(x[i] > x[out[k - 1]])) return;
  int at = *held < k ? (*held)++ : k - 1;
  for (; at > 0 && x[i] > x[out[at - 1]]; at--) out[at] = out[at - 1];
  out[at] = i;
}

/// The engine's loops for one instruction set, as include/engine.h describes them.
typedef struct {
  void (*quantise)(const float *, int, void *);
  void (*gemv)(as_weight, const void *, size_t, int, int, const float *, const void *, float *);
  void (*pack_panel)(as_weight, const void *, size_t, int, int, void *);
  void (*gemm_q8)(as_weight, const void *, int, const void *, int, float *, int64_t);
  void (*rms_norm)(const float *, const float *, int, float, float *);
  void (*swiglu)(float *, const float *, int);
  void (*add)(float *, const float *, int);
  void (*top)(const float *, int, int, int32_t *);
  double (*log_sum_exp)(const float *, int);
  double (*divergence)(const float *, const float *, int);
  uint64_t (*read_through)(const void *, size_t);
} engine_ops;

/// Filled by plain_engine.c and the isa_*.c files.
extern const engine_ops plain_engine_ops, baseline_engine_ops;
#if defined(__x86_64__)
extern const engine_ops avx2_engine_ops, avx512_engine_ops;
#endif

/// Distinct scales of a group: 2 for Q6_K, whose 16 neighbours share one, else 1.
static inline int panel_halves(as_weight type) { return type == AS_W_Q6_K ? 2 : 1; }
/// Bytes of a group in a panel: 512 of q, then d and m of 16 rows for each distinct scale.
static inline size_t panel_group(as_weight type) { return 512 + (size_t)panel_halves(type) * 128; }
