// The hot loops of attnscope. Every function takes a plan: which instruction set and which
// precision. (What happens when a mapped file is cut short is in mapped.h.)
//
// Layouts
//     rows      [rows][dim] of REAL, row-major (REAL is float or double, by the plan)
//     panels    [tile][group][dim][16] of REAL: keys transposed in groups of 16; a tile starts a
//               new group, so any tile width works; lanes past the tile's end are zero
//     S         [rows][ld] of REAL, ld >= 16 * groups: scaled scores of one key tile, or of a strip
//     limits    [rows]: how many leading columns of S each row may see; at most 0 means none
//     t, m      [rows] of REAL: maxima of one tile, and running maxima, in the unit of the scores
//     l, lse    [rows]: sums of exponentials, and their logarithm with the maximum, in nats
//
// Alignment: that of the element type is enough everywhere; where a file's bytes are read, none is
// needed. S, P and O are written in whole groups of 16 columns, so they need room for those.
//
// Order of sums: a score adds its products over dim from the first to the last, whatever tile it
// falls into; sums over keys run in 16 lanes, which are folded by halves, and the product with V is
// added up 32 keys at a time. So one instruction set gives the same bits for the same row however
// rows are grouped, on any number of threads. Two sets differ in the last bits: AVX2, AVX-512 and
// NEON fuse a product with its sum, SSE2 does not.
//
// Nothing here allocates, and nothing fails: sizes are the caller's promise.
#ifndef ATTNSCOPE_KERNELS_H
#define ATTNSCOPE_KERNELS_H
#include <stddef.h>
#include <stdint.h>

/// The widest head: kernels keep a few vectors a channel on their stack. Readers of files
/// refuse wider ones.
#define AS_MOST_DIM 1024

/// Sets of vector instructions, from slowest to fastest; a larger number includes the smaller
/// ones.
typedef enum {
  /// Scalar C, written to be read: the oracle of all others.
  AS_ISA_PLAIN = 0,
  /// Four floats at a time: what every machine of the architecture has (SSE2 or NEON).
  AS_ISA_BASELINE = 1,
  /// Eight floats at a time, with fused multiply-adds; needs FMA and F16C as well.
  AS_ISA_AVX2 = 2,
  /// Sixteen floats at a time; needs the F, BW, VL and DQ parts. VNNI, for byte products, is asked
  /// for apart.
  AS_ISA_AVX512 = 3,
} as_isa;

/// What REAL is: float, or double for measuring how much float loses. Results are float
/// either way.
typedef enum { AS_F32 = 0, AS_F64 = 1 } as_precision;

/// Which version of a kernel runs. A value that callers pass along; nothing global changes.
typedef struct {
  /// An `as_isa` that is available on this machine.
  int32_t isa;
  /// An `as_precision`.
  int32_t precision;
} as_plan;

/// The best instruction set of this machine, or the one ATTNSCOPE_ISA names (plain, baseline,
/// avx2, avx512). A name that is unknown or not available is ignored.
as_isa as_best_isa(void);
/// What ATTNSCOPE_ISA says, whether it names an instruction set or not; NULL when it says nothing.
const char *as_wanted_isa(void);
/// 1 when this machine can run it.
int as_isa_available(as_isa isa);
/// Its name as ATTNSCOPE_ISA takes it; static storage.
const char *as_isa_name(as_isa isa);

// --- packing -------------------------------------------------------------------------------------
/// `count` floats as REAL.
void as_pack_rows(as_plan p, const float *src, size_t count, void *out);
/// Transposes `count` keys of `dim` elements, `stride` floats apart, into panels of
/// `tile_keys` a tile. `panels` has room for ceil(count / tile_keys) * ceil(tile_keys / 16) *
/// dim * 16 REAL.
void as_pack_keys(as_plan p, const float *keys, int64_t stride, int dim, int count, int tile_keys,
                  void *panels);
/// S <- stored scores, or log of a stored pattern when `take_log`.
void as_load_scores(as_plan p, const float *src, int64_t stride, int rows, int cols, int take_log,
                    void *S, int64_t ld);

// --- one tile of scores --------------------------------------------------------------------------
/// S[r][k] = scale * q[r] . k for `rows` rows of `q` [rows][dim] and 16 * groups keys.
void as_scores(as_plan p, const void *q, const void *panels, int rows, int dim, int groups,
               double scale, void *S, int64_t ld);
/// Masks S past each row's limit with -inf (up to `cols` rounded up to 16) and writes each
/// row's maximum to `t` [rows]; -inf for a row that sees nothing.
void as_tile_max(as_plan p, void *S, int64_t ld, int rows, int cols, const int32_t *limits,
                 void *t);
/// The same where every row sees all `cols`.
void as_row_max(as_plan p, void *S, int64_t ld, int rows, int cols, void *t);
/// sum[r] = Σ exp(S - t), weighted[r] = Σ exp(S - t) (S - t); zero for a row that sees nothing.
void as_tile_sums(as_plan p, const void *S, int64_t ld, int rows, int cols, const void *t,
                  float *sum, float *weighted);
/// max over rows of t - m, where a row with t = -inf votes -inf and a first finite t votes +inf.
double as_margin(as_plan p, int rows, const void *t, const void *m);
/// m <- max(m, t), both [rows].
void as_raise(as_plan p, int rows, const void *t, void *m);
/// One step of the online softmax (Milakov and Gimelshein, 2018, arXiv 1805.02867): m, l, O
/// take in the tile. P [rows][cols rounded up to 16] is scratch; V is [cols][dv], O is
/// [rows][dv], dv a multiple of 16. At the end O / l is the attention output.
void as_accumulate(as_plan p, const void *S, int64_t ld, int rows, int cols, const void *t, void *m,
                   float *l, float *P, const float *V, int dv, float *O);
/// S <- -inf wherever `kept`, [rows] of `kept_ld` bytes apart, holds 0; see as_kept_row.
void as_mask_unkept(as_plan p, void *S, int64_t ld, int rows, int cols, const uint8_t *kept,
                    int64_t kept_ld);

// --- whole rows ----------------------------------------------------------------------------------
/// Softmax of each row of a strip into float P, rows `ldp` apart; also writes log-sum-exp in
/// nats, [rows]. Rows without keys give 0, and -inf.
void as_softmax_rows(as_plan p, const void *S, int64_t ld, int rows, int cols,
                     const int32_t *limits, float *P, int64_t ldp, double *lse);
/// Folds a query tile's per-tile maxima and sums ([tiles][rows]) into masses ([tiles][rows],
/// in place of sums), log-sum-exp [rows] and entropy in nats [rows].
void as_finish_rows(as_plan p, int rows, int tiles, const void *t, float *sums,
                    const float *weighted, double *lse, float *entropy);
/// For each tile, over rows [first, first + count) of masses [tiles][rows]: sum and maximum,
/// and the worst row's accumulated mass when tiles are dropped in the order given. `scratch`
/// is [count]; the others are [tiles].
void as_fold_masses(const float *masses, int rows, int tiles, int first, int count,
                    const int32_t *order, float *sum, float *max, float *worst, float *scratch);

// --- kept sets (float only) -----------------------------------------------------------------
/// kept[j] = columns[j] | offsets[j] | blocks[j], all [count]; any of the three may be NULL.
void as_kept_row(uint8_t *kept, int count, const uint8_t *columns, const uint8_t *offsets,
                 const uint8_t *blocks);
/// Returns Σ p[j] over kept j, and adds how many are kept to *number.
double as_kept_mass(const float *p, const uint8_t *kept, int count, int64_t *number);
/// Sets tiles[t] where any of kept[t * tile ..] up to count is set; leaves the others as they are.
void as_kept_tiles(const uint8_t *kept, int count, int tile, uint8_t *tiles);
/// sums[i] = the sum of the i + 1 largest of n values; linear, by a radix sort. scratch is [2 * n].
/// NaN counts as smallest.
void as_descending_sums(const float *values, int n, uint32_t *scratch, double *sums);
/// out[j] = Σ a[i] b[j * dim + i] in double precision, for `count` rows of b.
void as_row_dots(const double *a, const double *b, int dim, int count, double *out);

// --- conversion ----------------------------------------------------------------------------------
/// How an array's elements are stored, in the order of the Swift side's table.
typedef enum {
  AS_DTYPE_F64, AS_DTYPE_F32, AS_DTYPE_F16, AS_DTYPE_BF16, AS_DTYPE_F8_E4M3, AS_DTYPE_F8_E5M2,
  AS_DTYPE_BOOL, AS_DTYPE_U8, AS_DTYPE_I8, AS_DTYPE_U16, AS_DTYPE_I16, AS_DTYPE_U32, AS_DTYPE_I32,
  AS_DTYPE_U64, AS_DTYPE_I64,
} as_dtype;
/// Converts `count` elements, `stride` elements apart, to float; the source need not be aligned.
void as_to_float(as_dtype type, const void *src, int64_t stride, size_t count, float *out);
/// Converts to half floats, to nearest and even; beyond 65504 to infinity, NaN to NaN.
void as_float_to_half(const float *src, size_t count, uint16_t *out);
/// Counts values that are NaN or infinite; `*first` is the index of the first, or count.
size_t as_count_nonfinite(const float *src, size_t count, size_t *first);
/// The largest Euclidean norm of `count` rows of `dim` floats, `stride` apart; NaN when any
/// row has one.
double as_max_norm(const float *rows, int count, int dim, int64_t stride);
#endif
