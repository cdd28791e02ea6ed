// The oracle of the rows-in-lanes kernels: the same functions, one value at a time, exp and
// log from libm.
#include <math.h>
#include <string.h>

#include "wide.h"

/// Rows of a strip, under a name as short as the formulas.
enum { L = AS_LANES };

/// Lanes past the last row are zero.
static void query(const float *rows, int64_t stride, int count, int dim, float *out) {
  for (int c = 0; c < dim; c++)
    for (int r = 0; r < L; r++) out[c * L + r] = r < count ? rows[r * stride + c] : 0;
}

/// Keys past the tile's end and past a row's limit are -infinity, in S and so in both maxima.
static void scores(const float *panels, const float *q, int dim, int keys, const int32_t *limits,
                   float scale, float *S, float *gmax, float *t) {
  const int groups = (keys + 15) / 16;
  for (int i = 0; i < groups * L; i++) gmax[i] = -INFINITY;
  for (int r = 0; r < L; r++) {
    t[r] = -INFINITY;
    for (int k = 0; k < groups * 16; k++) {
      float dot = 0, *top = &gmax[k / 16 * L + r];
      for (int c = 0; c < dim; c++)
        dot += q[c * L + r] * panels[((size_t)(k / 16) * dim + c) * 16 + k % 16];
      const float s = k < keys && k < limits[r] ? dot * scale : -INFINITY;
      S[(size_t)k * L + r] = s;
      if (s > *top) *top = s;
      if (s > t[r]) t[r] = s;
    }
  }
}

/// Lanes that see nothing here do not vote.
static float margin(const float *t, const float *m) {
  float best = -INFINITY;
  for (int r = 0; r < L; r++)
    if (t[r] != -INFINITY && t[r] - m[r] > best) best = t[r] - m[r];
  return best;
}

/// A row that has seen nothing is measured from 0, so that its exponentials are 0 and not
/// NaN.
static void attend(float *S, int keys, const float *t, float *m, float *l, const float *V, int dv,
                   float *O) {
  for (int r = 0; r < L; r++) {
    const float top = t[r] > m[r] ? t[r] : m[r], zero = top == -INFINITY ? 0 : top;
    const double fade = top == m[r] ? 1 : exp((double)(m[r] - zero));
    double sum = l[r] * fade;
    for (int k = 0; k < keys; k++) sum += exp((double)(S[(size_t)k * L + r] - zero));
    for (int x = 0; x < dv; x++) {
      double o = O[(size_t)x * L + r] * fade;
      for (int k = 0; k < keys; k++)
        o += exp((double)(S[(size_t)k * L + r] - zero)) * V[(size_t)k * dv + x];
      O[(size_t)x * L + r] = (float)o;
    }
    l[r] = (float)sum;
    m[r] = top;
  }
}

/// 0 / 0 is 0 here.
static void output(const float *O, const float *l, int count, int dv, float *out) {
  for (int r = 0; r < count; r++)
    for (int x = 0; x < dv; x++)
      out[(size_t)r * dv + x] = l[r] != 0 ? O[(size_t)x * L + r] / l[r] : 0;
}

/// Groups are padded with -infinity, so the last one sums sixteen like the others.
static void sums(const float *S, int keys, const float *t, float *gsum, float *weighted) {
  for (int r = 0; r < L; r++) {
    double product = 0;
    for (int g = 0; g * 16 < keys; g++) {
      double sum = 0;
      for (int k = g * 16; k < g * 16 + 16; k++) {
        const double x = S[(size_t)k * L + r] - (t[r] == -INFINITY ? 0 : t[r]), e = exp(x);
        sum += e;
        product += e == 0 ? 0 : e * x;
      }
      gsum[g * L + r] = (float)sum;
    }
    weighted[r] = (float)product;
  }
}

/// As finish_rows in plain.inc, with sums by 16 keys instead of by tile.
static void finish(int groups, int per, const float *t, float *gsum, const float *weighted,
                   double *lse, float *entropy) {
  const int tiles = (groups + per - 1) / per;
  for (int r = 0; r < L; r++) {
    double top = -INFINITY, total = 0, product = 0;
    for (int j = 0; j < tiles; j++) top = t[j * L + r] > top ? t[j * L + r] : top;
    for (int j = 0; j < tiles && top != -INFINITY; j++) {
      const double x = t[j * L + r] - top, e = exp(x);
      double sum = 0;
      for (int g = j * per; g < groups && g < (j + 1) * per; g++) sum += gsum[(size_t)g * L + r];
      total += e * sum;
      product += e > 0 ? e * (weighted[j * L + r] + x * sum) : 0;
    }
    for (int g = 0; g < groups; g++)
      gsum[(size_t)g * L + r] =
          total > 0 ? (float)(gsum[(size_t)g * L + r] * exp(t[g / per * L + r] - top) / total) : 0;
    const double h = total > 0 ? log(total) - product / total : 0;
    lse[r] = top == -INFINITY ? -INFINITY : top + log(total);
    entropy[r] = h < 0 ? 0 : (float)h;
  }
}

/// A tile is `per` groups; the last may have fewer.
static void fold(const float *src, int groups, int per, int lanes, int take_max, float *out,
                 int64_t ld) {
  for (int j = 0; j * per < groups; j++)
    for (int r = 0; r < lanes; r++) {
      float x = take_max ? -INFINITY : 0;
      for (int g = j * per; g < groups && g < (j + 1) * per; g++) {
        const float here = src[(size_t)g * L + r];
        x = take_max ? (here > x ? here : x) : x + here;
      }
      out[j * ld + r] = x;
    }
}

/// A tile that begins a run has nothing to compare with and gets +infinity: it is never
/// skipped.
static void margins(const float *t, int rows, int tiles, int descending, int run, float *m,
                    float *out) {
  for (int step = 0; step < tiles; step++) {
    const int j = descending ? tiles - 1 - step : step,
              first = run > 0 ? step % run == 0 : step == 0;
    float best = -INFINITY;
    for (int r = 0; r < rows; r++) {
      const float here = t[(size_t)j * rows + r];
      if (first) m[r] = -INFINITY;
      if (here != -INFINITY && here - m[r] > best) best = here - m[r];
      if (here > m[r]) m[r] = here;
    }
    out[j] = first ? INFINITY : best;
  }
}

/// Tiles are dropped in `order`; `scratch` is what each row has lost so far.
static void masses(const float *mass, int rows, int tiles, const int32_t *order, float *sum,
                   float *max, float *worst, float *scratch) {
  memset(scratch, 0, sizeof(float) * (size_t)rows);
  for (int i = 0; i < tiles; i++) {
    const int j = order[i];
    double total = 0;
    max[j] = worst[j] = 0;
    for (int r = 0; r < rows; r++) {
      const float x = mass[(size_t)j * rows + r];
      total += x;
      scratch[r] += x;
      max[j] = x > max[j] ? x : max[j];
      worst[j] = scratch[r] > worst[j] ? scratch[r] : worst[j];
    }
    sum[j] = (float)total;
  }
}

/// All lanes lose the key, and their maxima with it if it was theirs.
static void mute(float *S, int keys, int key, float *t) {
  for (int r = 0; r < L; r++) {
    S[(size_t)key * L + r] = -INFINITY;
    t[r] = -INFINITY;
    for (int k = 0; k < keys; k++)
      if (S[(size_t)k * L + r] > t[r]) t[r] = S[(size_t)k * L + r];
  }
}

/// Sums are kept relative to `level`, the maximum when they were last touched, and brought up
/// to date at each tile.
static void cells(const float *S, int keys, const float *t, float *m, float *l, int count,
                  const int32_t *bounds, float *top, float *sum, float *level) {
  for (int r = 0; r < L; r++) {
    const float now = t[r] > m[r] ? t[r] : m[r], zero = now == -INFINITY ? 0 : now;
    double total = l[r] * exp((double)(m[r] - zero));
    for (int k = 0; k < keys; k++) total += exp((double)(S[(size_t)k * L + r] - zero));
    for (int c = 0; c < count; c++) {
      const size_t at = (size_t)c * L + r;
      double mine = sum[at] * exp((double)(level[at] - zero));
      for (int k = bounds[c]; k < bounds[c + 1]; k++) {
        const float s = S[(size_t)k * L + r];
        if (s > top[at]) top[at] = s;
        mine += exp((double)(s - zero));
      }
      sum[at] = (float)mine;
      level[at] = zero;
    }
    m[r] = now;
    l[r] = (float)total;
  }
}

/// exp(S - lse) is the pattern itself, so cells hold its maximum and its mass.
static void cells_fold(int count, const float *top, const float *sum, const float *level,
                       const float *lse, int from, int to, float *most, float *mass) {
  for (int c = 0; c < count; c++)
    for (int r = from; r < to; r++) {
      const size_t at = (size_t)c * L + r;
      const double base = lse[r] == -INFINITY ? 0 : lse[r];
      const double p = exp(top[at] - base), x = sum[at] * exp(level[at] - base);
      if (p != p || p > most[c]) most[c] = p != p ? INFINITY : (float)p;
      mass[c] += x != x ? INFINITY : (float)x;
    }
}

/// Eight chains of multiply-adds.
static double peak(int64_t rounds, float *sink) {
  float a = sink[0], b = sink[1], acc[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  for (int64_t n = 0; n < rounds; n++)
    for (int i = 0; i < 8; i++) acc[i] = acc[i] * a + b;
  for (int i = 0; i < 8; i++) sink[2] += acc[i];
  return 16.0 * (double)rounds;
}

/// The rows-in-lanes oracle.
const wide_ops plain_wide_ops = {query,   scores,  margin, attend, output, sums,      finish, fold,
                                 margins, masses, mute,   cells,  cells_fold, peak};
