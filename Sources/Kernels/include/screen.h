// Screened Q K^T: an int8 product and a bound on its error decide that a block is skipped,
// before any float score.
//
// Any fixed vector c and any rotation R leave a score what it is: q.k = q.c + (R q).(R (k - c)).
// With c the mean of the keys and R random signs and a Hadamard transform, no channel stands
// out, and int8 with one scale a row loses little. Writing R q = sq q8 + eq and
// R (k - c) = sk k8 + ek,
//   q.k <= q.c + sq sk (q8.k8) + |q| |ek| + |eq| |sk k8|
// by Cauchy and Schwarz. The error terms are taken once for 16 keys, with their largest |ek|
// and |sk k8|; and a slack of (dim + 64) 2^-23 |q| (|sk k8| + |ek| + |c|) covers the rounding
// of the float scores, of the rotation and of the bound itself, in any order of summation. So
// U >= the row maximum t that the exact path would compute, hence fl(U - m) >= fl(t - m): a
// block whose U is below m + ln(lambda) in every row that sees it is one that the exact path
// would skip, and a skipped block changes nothing. Masks and outputs are those of the exact
// path, bit for bit. Rows or keys that are not finite have infinite residuals and are never
// decided here.
//
// Saves time where four byte products are one instruction (AVX-512 with VNNI); elsewhere it is as
// right and no faster than the scores. Alignment: 4 bytes for words and floats, none for bytes.
#ifndef ATTNSCOPE_SCREEN_H
#define ATTNSCOPE_SCREEN_H
#include "kernels.h"

/// Quantised keys. Bytes are in panels [groups][dim4][16][4], dim4 = (dim + 3) / 4; the rest
/// is per key, or per 16 keys. The caller owns all memory; about a quarter of the float
/// panels'.
typedef struct {
  /// Bytes of the rotated keys, k8.
  int8_t *panels;
  int32_t *correction;  // [groups * 16] -128 times the sum of the key's bytes: query bytes are
                        // stored plus 128
  float *scale;         // [groups * 16]
  float *residual;      // [groups] largest |ek|, rounded up
  float *norm;          // [groups] largest |sk k8|, rounded up
  float *centre;        // [dim] c; may be anything, must not change
  float centre_norm;    // |c|, rounded up
  /// Elements of a key, as it came: the rotation keeps their number.
  int32_t dim;          // at most AS_MOST_DIM
} as_screen;

/// A strip of 32 quantised query rows, or a few single rows (lanes of the first strip that
/// are used).
typedef struct {
  /// Memory is the caller's, for all 32 rows even where few are used.
  uint8_t *bytes;   // [dim4][32][4], plus 128
  float *scale;     // [32]
  float *residual;  // [32] |eq|, rounded up
  float *norm;      // [32] |q|, rounded up
  float *offset;    // [32] q.c
} as_screen_query;

/// Quantises groups [first, first + count) of key panels [groups][dim][16]; the others of
/// `out` stay, so a growing cache is done piece by piece.
void as_screen_keys(as_isa isa, const float *panels, int first, int count, as_screen *out);
/// Quantises a strip [dim][32] for the keys, whose centre and dim it needs.
void as_screen_strip(as_isa isa, const float *query, const as_screen *keys, as_screen_query *out);
/// 1 when every lane with limits > 0 has its bound below m + threshold (in nats, negative)
/// for `count` keys from group `first_group` on. `scale` > 0 is that of the scores.
int as_screen_strip_below(as_isa isa, const as_screen *keys, int first_group, int count,
                          const as_screen_query *q, const int32_t *limits, float scale,
                          const float *m, float threshold);
/// The same for lanes [0, rows) that all see all `count` keys; keys in the vector's lanes.
int as_screen_rows_below(as_isa isa, const as_screen *keys, int first_group, int count,
                         const as_screen_query *q, int rows, float scale, const float *m,
                         float threshold);
#endif
