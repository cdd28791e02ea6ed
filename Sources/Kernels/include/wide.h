// Rows in lanes: the fast float32 path. A strip is 32 query rows, one in each lane, so that row
// maxima, row sums and running maxima are plain vertical operations and nothing is ever folded
// across a vector.
//
// Layouts, all float32, the last axis contiguous
//     query     [dim][32]          one strip, transposed; lanes past the last row are zero
//     panels    [groups][dim][16]  keys, as as_pack_keys makes them and as a key cache holds them
//     S         [keys][32]         scaled scores of one key tile; P takes its place
//     gmax      [groups][32]       row maxima of every 16 keys
//     V         [keys][dv]         dv a multiple of 16
//     O         [dv][32]           running output, not yet divided by l
//
// Lanes that are no row have limit 0: they see nothing, never vote, and their results are not read.
// One product serves both halves: C[i][lane] = sum over c of A[c][i] B[c][lane], with keys or
// columns of V as i.
//
// S has room for whole groups of 16 keys, and those past the tile's end are -infinity. Alignment: 4
// bytes are enough. Order of sums: over dim, and over keys within a lane, from the first to the
// last; P V in parts of 64 keys. So a lane's result does not depend on its neighbours, nor on
// threads.
#ifndef ATTNSCOPE_WIDE_H
#define ATTNSCOPE_WIDE_H
#include "kernels.h"

/// Rows of a strip: two vectors of 16 floats.
#define AS_LANES 32

/// Transposes `count` rows of `dim` floats, `stride` apart, into a strip [dim][32].
void as_wide_query(as_isa isa, const float *rows, int64_t stride, int count, int dim, float *query);
/// S, gmax and t [32] of a key tile. limits[lane] says how many of its leading keys the
/// lane's row sees.
void as_wide_scores(as_isa isa, const float *panels, const float *query, int dim, int keys,
                    const int32_t *limits, float scale, float *S, float *gmax, float *t);
/// max over lanes of t - m; a lane with t = -inf votes -inf, a first finite t +inf. Both are
/// [32]; a tile whose margin is below ln(lambda) is one to skip.
float as_wide_margin(as_isa isa, const float *t, const float *m);
/// One step of the online softmax: m, l [32] and O take in the tile. S becomes exp(S - m) on
/// the way.
void as_wide_attend(as_isa isa, float *S, int keys, const float *t, float *m, float *l,
                    const float *V, int dv, float *O);
/// out[row][dv] <- O / l for `count` lanes; a row that saw nothing gives 0. Back from lanes
/// to rows.
void as_wide_output(as_isa isa, const float *O, const float *l, int count, int dv, float *out);

// --- pooled maps ---------------------------------------------------------------------------------
/// S of key number `key` is made -infinity and t taken anew: a muted key.
void as_wide_mute(as_isa isa, float *S, int keys, int key, float *t);
/// The online softmax without values, folded to cells: cell c covers keys [bounds[c],
/// bounds[c + 1]) of this tile and may have begun in an earlier one. top, sum and level
/// [cells][32] are each cell's maximum, its sum of exp(S - level), and that level; m and l
/// [32] take in the whole tile.
void as_wide_cells(as_isa isa, const float *S, int keys, const float *t, float *m, float *l,
                   int cells, const int32_t *bounds, float *top, float *sum, float *level);
/// top <- exp(top - lse), sum <- sum exp(level - lse), folded over lanes [from, to): most =
/// max, mass += sum. A value that is NaN counts as infinity.
void as_wide_cells_fold(as_isa isa, int cells, const float *top, const float *sum,
                        const float *level, const float *lse, int from, int to, float *most,
                        float *mass);

// --- statistics ----------------------------------------------------------------------------------
/// gsum[group][lane] = sum of exp(S - t), weighted[lane] = sum of exp(S - t) (S - t), over
/// one key tile.
void as_wide_sums(as_isa isa, const float *S, int keys, const float *t, float *gsum,
                  float *weighted);
/// Turns gsum into masses in place, given t and weighted [tiles][32]; every tile has `per`
/// groups, the last may have fewer. Also log-sum-exp and entropy in nats, [32].
void as_wide_finish(as_isa isa, int groups, int per, const float *t, float *gsum,
                    const float *weighted, double *lse, float *entropy);
/// out[tile * ld + i] over `lanes` lanes (16 or 32) from the first on: maxima, or sums, of
/// `per` groups.
void as_wide_fold(as_isa isa, const float *groups_of_lanes, int groups, int per, int lanes,
                  int take_max, float *out, int64_t ld);
/// margins[tile] from t [tiles][rows], rows a multiple of 16, visited upwards or downwards;
/// running maxima start anew every `run` tiles of the visit (0: never). m [rows] is scratch.
void as_wide_margins(as_isa isa, const float *t, int rows, int tiles, int descending, int run,
                     float *m, float *margins);
/// Per tile of masses [tiles][rows]: sum and maximum over rows, and in the order given the
/// worst row's accumulated mass. scratch [rows].
void as_wide_masses(as_isa isa, const float *masses, int rows, int tiles, const int32_t *order,
                    float *sum, float *max, float *worst, float *scratch);
/// order <- tiles by ascending margin, equal ones by number; scratch holds 4 * count words.
void as_order(const float *margins, int count, int32_t *order, uint32_t *scratch);
/// Multiply-adds in registers and nothing else; returns how many operations (two each) it
/// did. For measuring the ceiling.
double as_peak(as_isa isa, int64_t rounds, float *sink);
/// Gives memory that was freed back to the system, where the C library can. For measuring, too.
void as_trim_memory(void);
#endif
