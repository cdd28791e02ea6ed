// The quantised types in scalar C: the oracle of every faster version, and what dequantises
// for the float path.
#include <math.h>

#include "quant.h"
#include "include/kernels.h"

/// A switch without default, so that a new type is a warning here.
int as_weight_block(as_weight type) {
  switch (type) {
    case AS_W_F32:
    case AS_W_F16:
    case AS_W_BF16: return 1;
    case AS_W_Q4_0:
    case AS_W_Q4_1:
    case AS_W_Q5_0:
    case AS_W_Q5_1:
    case AS_W_Q8_0: return 32;
    case AS_W_Q4_K:
    case AS_W_Q5_K:
    case AS_W_Q6_K: return 256;
  }
  return 0;
}

/// Unknown types have no bytes either.
int as_weight_bytes(as_weight type) { return as_weight_block(type) ? (int)weight_bytes(type) : 0; }

/// The float of a block's half-precision scale, wherever it lies.
static float half_at(const uint8_t *p) {
  float out;
  as_to_float(AS_DTYPE_F16, p, 1, 1, &out);
  return out;
}

/// Types with one scale for all 32.
static void same(canonical *out, float d, float m) {
  out->d[0] = out->d[1] = d;
  out->m[0] = out->m[1] = m;
}

/// Sixteen bytes of nibbles: the low ones are weights 0 to 15, the high ones 16 to 31.
static void nibbles(const uint8_t *p, uint8_t *q) {
  for (int i = 0; i < 16; i++) {
    q[i] = p[i] & 15;
    q[i + 16] = p[i] >> 4;
  }
}

/// Bit i of four bytes is the fifth bit of weight i.
static void fifth_bits(const uint8_t *p, uint8_t *q) {
  uint32_t bits;
  memcpy(&bits, p, 4);
  for (int i = 0; i < 32; i++) q[i] |= (bits >> i & 1) << 4;
}

/// Sub-block `sub` of the 256 weights of a Q4_K or Q5_K block. Two sub-blocks share 32 bytes,
/// one in the low nibbles and one in the high ones; the fifth bits of all eight lie together.
static void unpack_k45(int five, const uint8_t *block, int sub, canonical *out) {
  int scale, min;
  k_scale(block + 4, sub, &scale, &min);
  const float d = half_at(block), least = half_at(block + 2);
  const uint8_t *low = block + (five ? 48 : 16) + sub / 2 * 32, *high = block + 16;
  for (int i = 0; i < 32; i++) {
    out->q[i] = sub & 1 ? low[i] >> 4 : low[i] & 15;
    if (five) out->q[i] |= (high[i] >> sub & 1) << 4;
  }
  same(out, d * (float)scale, -least * (float)min);
}

/// 128 weights share 64 bytes of low nibbles and 32 bytes of high pairs; a scale for every
/// 16.
static void unpack_k6(const uint8_t *block, int sub, canonical *out) {
  const int half = sub / 4, quarter = sub % 4;
  const uint8_t *low = block + half * 64 + (quarter & 1) * 32, *high = block + 128 + half * 32;
  const int8_t *scales = (const int8_t *)(block + 192) + half * 8 + quarter * 2;
  const float d = half_at(block + 208);
  for (int i = 0; i < 32; i++) {
    const int nibble = quarter & 2 ? low[i] >> 4 : low[i] & 15;
    out->q[i] = (uint8_t)(nibble | (high[i] >> (2 * quarter) & 3) << 4);
  }
  for (int i = 0; i < 2; i++) {
    out->d[i] = d * (float)scales[i];
    out->m[i] = -32 * out->d[i];
  }
}

/// Group `group` (32 weights) of a row in canonical form. Signed types become unsigned by an
/// offset that moves into m. The layouts are ggml's.
void as_unpack(as_weight type, const uint8_t *row, int group, canonical *out) {
  const int per = as_weight_block(type) / 32;
  const uint8_t *block = row + (size_t)(group / per) * as_weight_bytes(type);
  const int sub = group % per;
  switch (type) {
    case AS_W_Q4_0:
      nibbles(block + 2, out->q);
      same(out, half_at(block), -8 * half_at(block));
      break;
    case AS_W_Q4_1:
      nibbles(block + 4, out->q);
      same(out, half_at(block), half_at(block + 2));
      break;
    case AS_W_Q5_0:
      nibbles(block + 6, out->q);
      fifth_bits(block + 2, out->q);
      same(out, half_at(block), -16 * half_at(block));
      break;
    case AS_W_Q5_1:
      nibbles(block + 8, out->q);
      fifth_bits(block + 4, out->q);
      same(out, half_at(block), half_at(block + 2));
      break;
    case AS_W_Q8_0:
      for (int i = 0; i < 32; i++) out->q[i] = block[2 + i] ^ 0x80;
      same(out, half_at(block), -128 * half_at(block));
      break;
    case AS_W_Q4_K: unpack_k45(0, block, sub, out); break;
    case AS_W_Q5_K: unpack_k45(1, block, sub, out); break;
    case AS_W_Q6_K: unpack_k6(block, sub, out); break;
    default: memset(out, 0, sizeof *out);
  }
}

/// How far below the stored number a symmetric type's canonical byte lies: d * (q - offset)
/// loses nothing to rounding.
static int offset_of(as_weight type) {
  switch (type) {
    case AS_W_Q4_0: return 8;
    case AS_W_Q5_0: return 16;
    case AS_W_Q8_0: return 128;
    case AS_W_Q6_K: return 32;
    default: return 0;
  }
}

/// Group after group through the canonical form.
void as_dequantise(as_weight type, const void *row, size_t first, size_t count, float *out) {
  switch (type) {
    case AS_W_F32: memcpy(out, (const char *)row + first * 4, count * 4); return;
    case AS_W_F16: as_to_float(AS_DTYPE_F16, (const char *)row + first * 2, 1, count, out); return;
    case AS_W_BF16:
      as_to_float(AS_DTYPE_BF16, (const char *)row + first * 2, 1, count, out);
      return;
    default: break;
  }
  const int offset = offset_of(type);
  for (size_t g = 0; g < count / 32; g++, out += 32) {
    canonical c;
    as_unpack(type, row, (int)(first / 32 + g), &c);
    for (int h = 0; h < 2; h++)
      for (int i = h * 16; i < h * 16 + 16; i++)
        out[i] = offset ? c.d[h] * (float)((int)c.q[i] - offset) : c.d[h] * (float)c.q[i] + c.m[h];
  }
}

/// One row at a time through `scratch`, then transposed.
void as_pack_float_panel(as_weight type, const void *weights, size_t row_bytes, int cols, int rows,
                         float *panel, float *scratch) {
  if (rows < 16) memset(panel, 0, sizeof(float) * 16 * (size_t)cols);
  for (int r = 0; r < rows && r < 16; r++) {
    as_dequantise(type, (const char *)weights + (size_t)r * row_bytes, 0, (size_t)cols, scratch);
    for (int c = 0; c < cols; c++) panel[(size_t)c * 16 + r] = scratch[c];
  }
}

/// Plain C: a head's rotation is a few hundred operations beside a matrix product of a
/// million.
void as_rope(float *x, int heads, int dim, int half, int interleaved, const float *cos,
             const float *sin) {
  for (int h = 0; h < heads; h++, x += dim)
    for (int i = 0; i < half; i++) {
      float *a = interleaved ? x + 2 * i : x + i, *b = interleaved ? a + 1 : a + half;
      const float p = *a, q = *b;
      *a = p * cos[i] - q * sin[i];
      *b = p * sin[i] + q * cos[i];
    }
}

// --- the dispatch --------------------------------------------------------------------------------
/// AVX-512 without VNNI has no integer loops of its own here; AVX2's serve.
static const engine_ops *ops(int isa) {
  switch (isa) {
#if defined(__x86_64__)
    case AS_ISA_AVX512:
      if (__builtin_cpu_supports("avx512vnni")) return &avx512_engine_ops;
      return &avx2_engine_ops;
    case AS_ISA_AVX2: return &avx2_engine_ops;
#endif
    case AS_ISA_BASELINE: return &baseline_engine_ops;
    default: return &plain_engine_ops;
  }
}

size_t as_q8_bytes(int n) { return q8_parts(n).bytes; }

/// Groups of 32 columns, each with its bytes and scales.
size_t as_panel_bytes(as_weight type, int cols) { return (size_t)cols / 32 * panel_group(type); }

/// Four byte products in one instruction beat unpacking to floats; anything less does not.
int as_gemm_uses_q8(int isa, as_weight type) {
#if defined(__x86_64__)
  return as_weight_block(type) > 1 && ops(isa) == &avx512_engine_ops;
#else
  (void)isa, (void)type;
  return 0;
#endif
}

void as_quantise(int isa, const float *x, int n, void *q8) { ops(isa)->quantise(x, n, q8); }

void as_gemv(int isa, as_weight type, const void *weights, size_t row_bytes, int cols, int rows,
             const float *x, const void *q8, float *out) {
  ops(isa)->gemv(type, weights, row_bytes, cols, rows, x, q8, out);
}

void as_pack_panel(int isa, as_weight type, const void *weights, size_t row_bytes, int cols,
                   int rows, void *panel) {
  ops(isa)->pack_panel(type, weights, row_bytes, cols, rows, panel);
}

void as_gemm_q8(int isa, as_weight type, const void *panel, int cols, const void *q8, int rows,
                float *out, int64_t ld) {
  ops(isa)->gemm_q8(type, panel, cols, q8, rows, out, ld);
}

void as_rms_norm(int isa, const float *x, const float *weight, int n, float epsilon, float *out) {
  ops(isa)->rms_norm(x, weight, n, epsilon, out);
}

void as_swiglu(int isa, float *gate, const float *up, int n) { ops(isa)->swiglu(gate, up, n); }

uint64_t as_read_through(int isa, const void *bytes, size_t count) {
  return ops(isa)->read_through(bytes, count);
}

void as_add(int isa, float *x, const float *y, int n) { ops(isa)->add(x, y, n); }

void as_top(int isa, const float *x, int n, int k, int32_t *out) { ops(isa)->top(x, n, k, out); }

double as_log_sum_exp(int isa, const float *x, int n) { return ops(isa)->log_sum_exp(x, n); }

double as_divergence(int isa, const float *p, const float *q, int n) {
  return ops(isa)->divergence(p, q, n);
}
