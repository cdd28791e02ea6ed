// The loops of the engine: quantised weights, matrix products with them, and what stands between.
//
// Weights are rows of GGUF blocks, exactly as the file holds them. Whatever the type, 32 neighbours
// of a row have one canonical form, with q unsigned bytes:
//
//     w[i] = d[i / 16] * q[i] + m[i / 16]
//
// and products with quantised activations x[i] = s * a[i] (a signed bytes, one s for 32) are then,
// with exact integer sums over each 16:
//
//     Σ w x = Σ_groups d s Σ q a + m s Σ a
//
// Instruction sets: AVX-512 with VNNI has byte products of its own; AVX-512 without it runs AVX2's
// loops, and SSE2 and NEON multiply bytes in scalar C. Integers agree to the bit everywhere; the
// float sums over groups run in another order on each, so results differ in the last digits between
// sets, never between calls.
//
// Alignment: weights may lie anywhere, as files align nothing; rows of q8 begin on 64 bytes, all
// else on 4. Nothing here allocates, and nothing fails: sizes are the caller's promise.
#ifndef ATTNSCOPE_ENGINE_H
#define ATTNSCOPE_ENGINE_H
#include <stddef.h>
#include <stdint.h>

/// Types of weights, by their number in GGUF.
typedef enum {
  AS_W_F32 = 0, AS_W_F16 = 1, AS_W_Q4_0 = 2, AS_W_Q4_1 = 3, AS_W_Q5_0 = 6, AS_W_Q5_1 = 7,
  AS_W_Q8_0 = 8, AS_W_Q4_K = 12, AS_W_Q5_K = 13, AS_W_Q6_K = 14, AS_W_BF16 = 30,
} as_weight;

/// Elements of a block, which share a scale: 1 for plain types, 32 or 256 for quantised ones;
/// 0 for a type that is not known.
int as_weight_block(as_weight type);
/// Bytes of a block; 0 for a type that is not known.
int as_weight_bytes(as_weight type);

/// Dequantises elements [first, first + count) of a row into `out` [count]; first and count
/// are multiples of 32 for a quantised type.
void as_dequantise(as_weight type, const void *row, size_t first, size_t count, float *out);

// --- activations ---------------------------------------------------------------------------------
/// Bytes of one row of `n` quantised activations (n a multiple of 32), 64-byte aligned parts.
size_t as_q8_bytes(int n);
/// s = max|x| / 127 over each 32, a = round(x / s), to nearest and even. `q8` holds
/// `as_q8_bytes(n)` bytes on a 64-byte boundary; a block of zeros has s = 0.
void as_quantise(int isa, const float *x, int n, void *q8);

// --- one row of activations ----------------------------------------------------------------------
/// out[r] = weights[r] . x for r in [0, rows); integer products when `q8` is given and the
/// type is quantised, else the weights are dequantised and multiplied in float. Reads
/// `rows * row_bytes` bytes of weights once, which is all that its time depends on.
void as_gemv(int isa, as_weight type, const void *weights, size_t row_bytes, int cols, int rows,
             const float *x, const void *q8, float *out);

// --- many rows of activations --------------------------------------------------------------------
/// Whether as_gemm_q8 is faster than float panels on this instruction set and type: only
/// where four byte products are one instruction.
int as_gemm_uses_q8(int isa, as_weight type);
/// Bytes of a packed panel of 16 rows of `cols` elements.
size_t as_panel_bytes(as_weight type, int cols);
/// Packs 16 weight rows (those past `rows` are zero) as bytes transposed by fours, with their
/// d and m.
void as_pack_panel(int isa, as_weight type, const void *weights, size_t row_bytes, int cols,
                   int rows, void *panel);
/// out[r][0..15] = x_r . panel, rows of q8 `as_q8_bytes(cols)` apart; out rows are `ld`
/// floats apart.
void as_gemm_q8(int isa, as_weight type, const void *panel, int cols, const void *q8, int rows,
                float *out, int64_t ld);
/// Packs 16 weight rows as floats [cols][16], for as_scores; rows past `rows` are zero.
/// `scratch` is [cols].
void as_pack_float_panel(as_weight type, const void *weights, size_t row_bytes, int cols, int rows,
                         float *panel, float *scratch);

// --- between the products ------------------------------------------------------------------------
/// out = x / sqrt(mean(x^2) + epsilon) * weight, all [n]; `out` may be `x`. The mean is taken
/// in double.
void as_rms_norm(int isa, const float *x, const float *weight, int n, float epsilon, float *out);
/// gate = silu(gate) * up, in place, [n].
void as_swiglu(int isa, float *gate, const float *up, int n);
/// x = x + y, [n].
void as_add(int isa, float *x, const float *y, int n);
/// Rotates `heads` vectors of `dim`, in place: pairs (2i, 2i+1) when interleaved, (i, i +
/// half) otherwise, over 2 * half leading dimensions; cos and sin are [half]. Further
/// dimensions stay as they are.
void as_rope(float *x, int heads, int dim, int half, int interleaved, const float *cos,
             const float *sin);
/// log Σ exp(x) over [n], in nats, without overflow.
double as_log_sum_exp(int isa, const float *x, int n);
/// Indices of the `k` largest of [n], descending, into `out` [k]; ties go to the smaller
/// index. Meant for a handful: the list is kept by insertion.
void as_top(int isa, const float *x, int n, int k, int32_t *out);
/// Σ softmax(p) (log softmax(p) - log softmax(q)), in nats, >= 0: the Kullback-Leibler
/// divergence of two rows of logits [n].
double as_divergence(int isa, const float *p, const float *q, int n);

/// Reads memory as fast as it comes, for measuring how fast that is; the result only keeps
/// the loop alive.
uint64_t as_read_through(int isa, const void *bytes, size_t count);

/// Tells the processor that this thread waits in a loop, so that the other thread of the core
/// gets its share; costs some tens of cycles.
static inline void as_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}
#endif
