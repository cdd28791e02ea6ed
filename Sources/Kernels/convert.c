// Element types to float and back. F16C where the machine has it; the rest is plain and
// memory-bound.
#include <math.h>
#include <string.h>

#include "include/kernels.h"

/// Through memcpy, which is how C lets bits change their type; it costs nothing.
static float bits_to_float(uint32_t bits) {
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

/// IEEE half precision with its subnormals, infinities and the payload of NaNs. The exponent
/// is moved by adding 112 to it, except where there is none.
static float half_to_float(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = h & 0x7fff;
  if (magnitude >= 0x7c00) return bits_to_float(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  if (magnitude >= 0x400) return bits_to_float(sign | ((magnitude << 13) + (112u << 23)));
  const float small = (float)magnitude * 5.9604644775390625e-8f;  // subnormal: units of 2^-24
  return sign ? -small : small;
}

/// E4M3 "fn": no infinities, NaN is 0x7f; E5M2 is the top byte of a half. (FP8 Formats for
/// Deep Learning, 2022, arXiv 2209.05433.)
static float e4m3_to_float(uint8_t b) {
  const int exponent = (b >> 3) & 15, mantissa = b & 7;
  if ((b & 0x7f) == 0x7f) return NAN;
  const float value =
      exponent ? ldexpf((float)(8 + mantissa), exponent - 10) : ldexpf((float)mantissa, -9);
  return b & 0x80 ? -value : value;
}

/// The bytes may lie anywhere; files align nothing.
static void halves_plain(const uint8_t *src, size_t count, float *out) {
  for (size_t i = 0; i < count; i++) {
    uint16_t h;
    memcpy(&h, src + 2 * i, 2);
    out[i] = half_to_float(h);
  }
}

#if defined(__x86_64__)
#include <immintrin.h>
/// Eight at a time; what is left over goes the plain way.
__attribute__((target("avx,f16c"))) static void halves_f16c(const uint8_t *src, size_t count,
                                                            float *out) {
  size_t i = 0;
  for (; i + 8 <= count; i += 8)
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(src + 2 * i))));
  halves_plain(src + 2 * i, count - i, out + i);
}
#endif

/// Asks the processor at every call, which costs one load.
static void halves(const uint8_t *src, size_t count, float *out) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("f16c")) {
    halves_f16c(src, count, out);
    return;
  }
#endif
  halves_plain(src, count, out);
}

/// One element type at any stride and any alignment.
#define CONVERT(type)                                   \
  for (size_t i = 0; i < count; i++) {                  \
    type x;                                             \
    memcpy(&x, at + (int64_t)i * step * (int64_t)sizeof x, sizeof x); \
    out[i] = (float)x;                                  \
  }                                                     \
  break

/// Contiguous floats and halves have a fast way, because caches and weights are made of them;
/// the rest is converted once and waits for the disk anyway.
void as_to_float(as_dtype type, const void *src, int64_t step, size_t count, float *out) {
  const uint8_t *at = src;
  switch (type) {
    case AS_DTYPE_F32:
      if (step == 1) {
        memcpy(out, at, count * 4);
        break;
      }
      CONVERT(float);
    case AS_DTYPE_F64: CONVERT(double);
    case AS_DTYPE_F16:
      if (step == 1) {
        halves(at, count, out);
        break;
      }
      for (size_t i = 0; i < count; i++) halves_plain(at + (int64_t)i * step * 2, 1, out + i);
      break;
    case AS_DTYPE_BF16:
      for (size_t i = 0; i < count; i++) {
        uint16_t h;
        memcpy(&h, at + (int64_t)i * step * 2, 2);
        out[i] = bits_to_float((uint32_t)h << 16);
      }
      break;
    case AS_DTYPE_F8_E4M3:
      for (size_t i = 0; i < count; i++) out[i] = e4m3_to_float(at[(int64_t)i * step]);
      break;
    case AS_DTYPE_F8_E5M2:
      for (size_t i = 0; i < count; i++)
        out[i] = half_to_float((uint16_t)(at[(int64_t)i * step] << 8));
      break;
    case AS_DTYPE_BOOL:
      for (size_t i = 0; i < count; i++) out[i] = at[(int64_t)i * step] != 0;
      break;
    case AS_DTYPE_U8: CONVERT(uint8_t);
    case AS_DTYPE_I8: CONVERT(int8_t);
    case AS_DTYPE_U16: CONVERT(uint16_t);
    case AS_DTYPE_I16: CONVERT(int16_t);
    case AS_DTYPE_U32: CONVERT(uint32_t);
    case AS_DTYPE_I32: CONVERT(int32_t);
    case AS_DTYPE_U64: CONVERT(uint64_t);
    case AS_DTYPE_I64: CONVERT(int64_t);
  }
}

#if defined(__x86_64__)
/// Returns how many were done, a multiple of eight.
__attribute__((target("avx,f16c"))) static size_t to_halves_f16c(const float *src, size_t count,
                                                                 uint16_t *out) {
  size_t i = 0;
  for (; i + 8 <= count; i += 8)
    _mm_storeu_si128((__m128i *)(out + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
  return i;
}
#endif

/// Round to nearest even; overflow becomes infinity, NaN stays NaN. Subnormals by way of a
/// float multiplication: their unit is 2^-24, and rintf rounds as the rest does.
void as_float_to_half(const float *src, size_t count, uint16_t *out) {
  size_t done = 0;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("f16c")) done = to_halves_f16c(src, count, out);
#endif
  src += done, out += done, count -= done;
  for (size_t i = 0; i < count; i++) {
    uint32_t x;
    memcpy(&x, src + i, 4);
    const uint16_t sign = (uint16_t)(x >> 16 & 0x8000);
    const uint32_t magnitude = x & 0x7fffffff;
    uint32_t h;
    if (magnitude > 0x7f800000) h = 0x7e00;
    else if (magnitude >= 0x477ff000) h = 0x7c00;
    else if (magnitude >= 0x38800000)
      h = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
    else h = (uint32_t)rintf(bits_to_float(magnitude) * 16777216.0f);
    out[i] = (uint16_t)(sign | h);
  }
}

/// By the exponent's bits, so that no compiler flag can decide that infinities do not exist.
size_t as_count_nonfinite(const float *src, size_t count, size_t *first) {
  size_t bad = 0;
  *first = count;
  for (size_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, src + i, 4);
    if ((bits & 0x7f800000) != 0x7f800000) continue;
    if (bad++ == 0) *first = i;
  }
  return bad;
}

/// In double, since squares of large floats overflow; once a sum is NaN nothing replaces it.
double as_max_norm(const float *rows, int count, int dim, int64_t stride) {
  double best = 0;
  for (int r = 0; r < count; r++) {
    double sum = 0;
    for (int c = 0; c < dim; c++) sum += (double)rows[r * stride + c] * rows[r * stride + c];
    best = sum > best || sum != sum ? sum : best;
  }
  return sqrt(best);
}
