// The oracle of the engine's loops: one value at a time, exp and log from libm.
#include <math.h>

#include "quant.h"

#define FN(name) plain_##name
#include "quant_plain.inc"

/// One block after the other; the swizzled copy and the sums follow from the bytes.
static void plain_quantise(const float *x, int n, void *q8) {
  const q8_layout at = q8_parts(n);
  memset(q8, 0, at.bytes);
  int8_t *a = q8, *swizzled = a + at.swizzled;
  float *pairs = (float *)(a + at.pairs), *sums = (float *)(a + at.sums);
  for (int b = 0; b < n / 32; b++) {
    float top = 0;
    for (int i = 0; i < 32; i++) top = fmaxf(top, fabsf(x[b * 32 + i]));
    const float s = top / 127, inverse = s > 0 ? 1 / s : 0;
    int total = 0;
    for (int i = 0; i < 32; i++) {
      const int8_t whole = (int8_t)rintf(x[b * 32 + i] * inverse);
      a[b * 32 + i] = swizzled[b / 4 * 128 + i / 16 * 64 + b % 4 * 16 + i % 16] = whole;
      sums[b * 2 + i / 16] += s * (float)whole;
      total += whole;
    }
    pairs[b * 2] = s;
    pairs[b * 2 + 1] = s * (float)total;
  }
}

/// Sums in double over dequantised weights; with q8 the same integers as everywhere.
static void plain_gemv(as_weight type, const void *weights, size_t row_bytes, int cols, int rows,
                       const float *x, const void *q8, float *out) {
  if (q8 && as_weight_block(type) > 1) {
    plain_row_dots(type, weights, row_bytes, cols, rows, q8, out);
    return;
  }
  for (int r = 0; r < rows; r++) {
    const int unit = as_weight_block(type) > 1 ? 32 : 1;
    double sum = 0;
    for (int c = 0; c < cols; c += unit) {
      float w[32];
      as_dequantise(type, (const char *)weights + (size_t)r * row_bytes, (size_t)c, (size_t)unit,
                    w);
      for (int i = 0; i < unit; i++) sum += (double)w[i] * x[c + i];
    }
    out[r] = (float)sum;
  }
}

/// The formula as it stands in the paper.
static void plain_rms_norm(const float *x, const float *weight, int n, float epsilon, float *out) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += (double)x[i] * x[i];
  for (int i = 0; i < n; i++) out[i] = (float)(x[i] / sqrt(sum / n + (double)epsilon) * weight[i]);
}

/// In double, through libm.
static void plain_swiglu(float *gate, const float *up, int n) {
  for (int i = 0; i < n; i++) gate[i] = (float)(gate[i] / (1 + exp(-(double)gate[i])) * up[i]);
}

/// The residual connection.
static void plain_add(float *x, const float *y, int n) {
  for (int i = 0; i < n; i++) x[i] += y[i];
}

/// Every value is offered to the list.
static void plain_top(const float *x, int n, int k, int32_t *out) {
  int held = 0;
  for (int i = 0; i < n; i++) as_top_insert(x, i, k, &held, out);
}

/// Double from end to end.
static double plain_log_sum_exp(const float *x, int n) {
  double top = -INFINITY, sum = 0;
  for (int i = 0; i < n; i++) top = fmax(top, x[i]);
  for (int i = 0; i < n; i++) sum += exp(x[i] - top);
  return top + log(sum);
}

/// Σ p (log p - log q), term by term.
static double plain_divergence(const float *p, const float *q, int n) {
  const double zp = plain_log_sum_exp(p, n), zq = plain_log_sum_exp(q, n);
  double sum = 0;
  for (int i = 0; i < n; i++) sum += exp(p[i] - zp) * ((p[i] - zp) - (q[i] - zq));
  return sum > 0 ? sum : 0;
}

/// The XOR of all eight-byte words: order does not matter, and no read can be left out.
static uint64_t plain_read_through(const void *bytes, size_t count) {
  uint64_t sum = 0, x;
  for (size_t i = 0; i + 8 <= count; i += 8) {
    memcpy(&x, (const char *)bytes + i, 8);
    sum ^= x;
  }
  return sum;
}

/// The engine's oracle.
const engine_ops plain_engine_ops = {
    plain_quantise, plain_gemv, plain_pack_panel,  plain_gemm_q8,    plain_rms_norm,
    plain_swiglu,   plain_add,  plain_top, plain_log_sum_exp, plain_divergence, plain_read_through,
};
