"""Attention with skip softmax on a GPU, in Triton, that writes what it skips while it runs.

Prefill in four modes: dense, skip, margins only (no exp, no V; serves every lambda), and replay of a known mask. Decode
skips for the query heads of a KV head together: in one pass (`splits=1`), with the running maximum of each split seeded by
block 0, or exactly (block maxima first, then decisions, then V of the blocks that are left).

Decisions are U8 (0 computed, 1 skipped, 255 no row sees the block), margins F32 in nats, per tile of the kernel itself.
"""
import math

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from .rules import Tile

DENSE, SKIP, MARGINS, REPLAY = 0, 1, 2, 3
NOTHING, DECISIONS, BOTH = 0, 1, 2  # what is written
LOG2E = 1.4426950408889634


@triton.jit
def _products(q, k, softcap: tl.constexpr, scale_log2):
    """q k^T as the loops keep it: what `scale_log2` makes log2 of weights; with a softcap that is done already."""
    s = tl.dot(q, k.T)
    if softcap > 0:
        # scale_log2 is scale / softcap here; tanh by way of exp2.
        x = s * scale_log2
        e = tl.exp2(2.8853900817779268 * tl.abs(x))
        t = 1 - 2 / (e + 1)
        s = tl.where(x < 0, -t, t) * (softcap * 1.4426950408889634)
    return s


@triton.jit
def _hidden(s, j, at, keys, window, BN: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr):
    key = j * BN + tl.arange(0, BN)
    seen = key[None, :] < keys
    if CAUSAL:
        seen = seen & (key[None, :] <= at[:, None])
    if WINDOW:
        seen = seen & (key[None, :] > at[:, None] - window)
    return tl.where(seen, s, float("-inf"))


@triton.jit
def _visit(acc, l, m, q, k_desc, v_desc, mask_row, margin_row, batch, kv, begin, end, at, rows_there, keys,
           scale_log2, threshold, window, softcap: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr,
           DV: tl.constexpr, MODE: tl.constexpr, WRITE: tl.constexpr, MASKED: tl.constexpr, CAUSAL: tl.constexpr,
           EVEN: tl.constexpr, WINDOW: tl.constexpr, DESCENDING: tl.constexpr,
           LAZY: tl.constexpr):
    """Blocks begin to end of one row of tiles: acc [BM, DV], l and m [BM], m in log2.

    One multiply-add makes log2 of a weight from a product: products * unit - m. LAZY leaves acc as it is where no maximum has risen.
    """
    unit = 1.0 if softcap > 0 else scale_log2
    for step in tl.range(begin, end):
        j = end - 1 - (step - begin) if DESCENDING else step
        skipped = False
        if MODE == 3:
            skipped = tl.load(mask_row + j) == 1
        if not skipped:
            s = _products(q, k_desc.load([batch, kv, j * BN, 0]).reshape(BN, D), softcap, scale_log2)
            if MASKED:
                s = _hidden(s, j, at, keys, window, BN, CAUSAL, WINDOW)
            t = tl.max(s, 1) * unit
            computes = True
            if MODE == 1 or MODE == 2:
                # Rows that see nothing of the block, and rows of padding, have no vote.
                if MASKED:
                    apart = tl.where(t == float("-inf"), float("-inf"), t - m)
                else:
                    apart = t - m
                if not EVEN:
                    apart = tl.where(rows_there, apart, float("-inf"))
                margin = tl.max(apart, 0)
                if WRITE == 2:
                    tl.store(margin_row + j, margin * 0.6931471805599453)
                if MODE == 1:
                    computes = margin >= threshold
                    if WRITE >= 1:
                        tl.store(mask_row + j, tl.where(computes, 0, 1).to(tl.uint8))
            if MODE == 2:
                m = tl.maximum(m, t)
            elif computes:
                m_new = tl.maximum(m, t)
                if MASKED:  # rows that have seen nothing yet
                    m_safe = tl.where(m_new == float("-inf"), 0.0, m_new)
                else:
                    m_safe = m_new
                p = tl.exp2(s * unit - m_safe[:, None])
                alpha = tl.exp2(m - m_safe)
                l = l * alpha + tl.sum(p, 1)
                v = v_desc.load([batch, kv, j * BN, 0]).reshape(BN, DV)
                if LAZY:
                    if tl.min(alpha, 0) < 1.0:
                        acc = acc * alpha[:, None]
                else:
                    acc = acc * alpha[:, None]
                acc = tl.dot(p.to(v.dtype), v, acc)
                m = m_new
    return acc, l, m


@triton.jit
def _prefill(q_desc, k_desc, v_desc, out, masks, margins, sinks, scale_log2, threshold, heads, n, keys, past, window,
             out_b, out_h, out_n, table_h, table_n, group: tl.constexpr, softcap: tl.constexpr, BM: tl.constexpr,
             BN: tl.constexpr, D: tl.constexpr, DV: tl.constexpr, MODE: tl.constexpr, WRITE: tl.constexpr,
             CAUSAL: tl.constexpr, EVEN: tl.constexpr, WINDOW: tl.constexpr, DESCENDING: tl.constexpr,
             SINKS: tl.constexpr, LAZY: tl.constexpr):
    tile = tl.num_programs(0) - 1 - tl.program_id(0)  # long rows of tiles first
    head = tl.program_id(1)
    batch, head = head // heads, head % heads
    kv = head // group
    q = q_desc.load([batch, head, tile * BM, 0]).reshape(BM, D)
    row = tile * BM + tl.arange(0, BM)
    at = past + row
    there = row < n
    m = tl.full([BM], float("-inf"), tl.float32)
    l = tl.zeros([BM], tl.float32)
    acc = tl.zeros([BM, DV], tl.float32)
    table = (batch * heads + head).to(tl.int64) * table_h + tile * table_n
    mask_row, margin_row = masks + table, margins + table
    end = tl.cdiv(keys, BN)
    whole = keys // BN  # blocks that every row sees whole
    begin = 0
    if CAUSAL:
        last = past + tl.minimum(tile * BM + BM, n)
        end = tl.minimum(end, tl.cdiv(last, BN))
        whole = tl.minimum(whole, (past + tile * BM + 1) // BN)
    if WINDOW:
        begin = tl.maximum(0, past + tile * BM - window + 1) // BN
        whole = begin  # all with a mask: windows are short
    if DESCENDING:
        acc, l, m = _visit(acc, l, m, q, k_desc, v_desc, mask_row, margin_row, batch, kv, whole, end, at, there, keys,
                           scale_log2, threshold, window, softcap, BM, BN, D, DV, MODE, WRITE, True, CAUSAL, EVEN,
                           WINDOW, DESCENDING, LAZY)
    if not WINDOW:
        acc, l, m = _visit(acc, l, m, q, k_desc, v_desc, mask_row, margin_row, batch, kv, begin, whole, at, there, keys,
                           scale_log2, threshold, window, softcap, BM, BN, D, DV, MODE, WRITE, False, CAUSAL, EVEN,
                           WINDOW, DESCENDING, LAZY)
    if not DESCENDING:
        acc, l, m = _visit(acc, l, m, q, k_desc, v_desc, mask_row, margin_row, batch, kv, whole, end, at, there, keys,
                           scale_log2, threshold, window, softcap, BM, BN, D, DV, MODE, WRITE, True, CAUSAL, EVEN,
                           WINDOW, DESCENDING, LAZY)
    if MODE != 2:
        if SINKS:
            sink = tl.load(sinks + head).to(tl.float32) * 1.4426950408889634
            top = tl.maximum(m, sink)
            l = l * tl.exp2(m - top) + tl.exp2(sink - top)
            acc = acc * tl.exp2(m - top)[:, None]
        acc = acc / tl.where(l == 0, 1.0, l)[:, None]
        place = out + batch.to(tl.int64) * out_b + head * out_h + row.to(tl.int64)[:, None] * out_n
        tl.store(place + tl.arange(0, DV)[None, :], acc.to(out.dtype.element_ty), mask=there[:, None])


def described(tensor, rows):
    """[B, H, n, d] as the tensor memory accelerator reads it, `rows` positions at once."""
    if tensor.stride(-1) != 1 or any(stride % 8 for stride in tensor.stride()[:-1]) or tensor.data_ptr() % 16:
        tensor = tensor.contiguous()
    return TensorDescriptor(tensor, tensor.shape, tensor.stride(), [1, 1, rows, tensor.shape[-1]])


# What was fastest on an H200, by the width of a head: (warps, stages, registers, lazy) of dense and of all others.
LAUNCH = {64: ((4, 2, None, False), (4, 2, None, True)), 128: ((4, 2, None, False), (8, 2, 128, False))}
OTHER = ((4, 2, None, False), (4, 2, None, False))


def prefill(q, k, v, *, scale=None, lambda_=0.0, tile=None, mode=None, write=NOTHING, mask=None, past=0, causal=True,
            window=None, softcap=None, sinks=None, order="ascending", out=None, warps=None, stages=None, maxnreg=None,
            lazy=None, masks=None, margins=None):
    """Attention of q [B, Hq, n, d] over k [B, Hkv, m, d] and v [B, Hkv, m, dv] (fp16 or bf16).

    `mode` is DENSE, SKIP, MARGINS or REPLAY (of `mask` [B, Hq, R, C], 1 is skipped); without one lambda says it. Returns
    (out [B, Hq, n, dv] or None, masks U8 or None, margins F32 or None), the tables [B, Hq, R, C] by the kernel's own tile.
    `masks` and `margins` may be given, in pinned memory of the host, too: tiles arrive there while the kernel runs.
    """
    batch, heads, n, d = q.shape
    kv, keys, dv = k.shape[1], k.shape[2], v.shape[3]
    rows, columns = (tile.rows, tile.keys) if tile else (128, 64) if d > 64 else (64, 128)
    mode = (SKIP if lambda_ > 0 else DENSE) if mode is None else mode
    write = BOTH if mode == MARGINS else write
    if mode in (DENSE, REPLAY):
        write = NOTHING
    shape = (batch, heads, triton.cdiv(n, rows), triton.cdiv(keys, columns))
    device = q.device
    if mode == REPLAY:
        masks = mask.contiguous()
    elif write and masks is None:
        masks = torch.full(shape, 255, dtype=torch.uint8, device=device)
    if write == BOTH and margins is None:
        margins = torch.full(shape, math.nan, dtype=torch.float32, device=device)
    nothing = q.new_empty(1, dtype=torch.float32)
    if mode != MARGINS and out is None:
        out = torch.empty(batch, heads, n, dv, dtype=q.dtype, device=device)
    scale = d ** -0.5 if scale is None else scale
    best = LAUNCH.get(d, OTHER)[mode != DENSE]
    if warps is None and maxnreg is None:
        maxnreg = best[2]
    options = {"maxnreg": maxnreg} if maxnreg else {}
    _prefill[(shape[2], batch * heads)](
        described(q, rows), described(k, columns), described(v, columns), nothing if out is None else out,
        nothing if masks is None else masks, nothing if margins is None else margins,
        nothing if sinks is None else sinks, scale / softcap if softcap else scale * LOG2E,
        math.log2(lambda_) if lambda_ > 0 else -math.inf, heads, n, keys, past, window or 0,
        *((0, 0, 0) if out is None else out.stride()[:3]), shape[2] * shape[3], shape[3], group=heads // kv,
        softcap=float(softcap or 0), BM=rows, BN=columns, D=d, DV=dv, MODE=mode, WRITE=write, CAUSAL=causal,
        EVEN=n % rows == 0, WINDOW=bool(window), DESCENDING=order == "descending", SINKS=sinks is not None,
        LAZY=best[3] if lazy is None else lazy, num_warps=warps or best[0],
        num_stages=stages or best[1], **options)
    return out, masks if write else None, margins


# ---- decode ----


@triton.jit
def _decode(q, k, v, part, tops, sums, masks, margins, block_tops, scale_log2, threshold, keys, blocks, run,
            q_b, q_h, k_b, k_h, k_n, v_b, v_h, v_n, window, softcap: tl.constexpr, group: tl.constexpr,
            G: tl.constexpr, BN: tl.constexpr, D: tl.constexpr, DV: tl.constexpr, MODE: tl.constexpr,
            WRITE: tl.constexpr, SEED: tl.constexpr, GIVEN: tl.constexpr):
    """One split of one KV head: all its query heads together. Parts [B, Hkv, splits, G, DV], tops and sums [.., G]."""
    split, kv, batch = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    one = tl.arange(0, G)
    there = one < group
    to_log2 = 1.0 if softcap > 0 else scale_log2
    dims, dims_v = tl.arange(0, D), tl.arange(0, DV)
    q_here = q + batch * q_b + (kv * group + one)[:, None] * q_h + dims[None, :]
    query = tl.load(q_here, mask=there[:, None], other=0.0)
    k_here = k + batch.to(tl.int64) * k_b + kv.to(tl.int64) * k_h
    v_here = v + batch.to(tl.int64) * v_b + kv.to(tl.int64) * v_h
    unit = batch * tl.num_programs(1) + kv
    table = unit.to(tl.int64) * blocks
    m = tl.full([G], float("-inf"), tl.float32)
    l = tl.zeros([G], tl.float32)
    acc = tl.zeros([G, DV], tl.float32)
    first = tl.maximum(0, keys - window) // BN if window > 0 else 0
    begin = first + split * run
    end = tl.minimum(blocks, begin + run)
    seed = tl.full([G], float("-inf"), tl.float32)
    if SEED:
        if split > 0:
            key = first * BN + tl.arange(0, BN)
            some = tl.load(k_here + key[:, None].to(tl.int64) * k_n + dims[None, :], mask=key[:, None] < keys, other=0.0)
            s = _products(query, some, softcap, scale_log2) * to_log2
            seen = key[None, :] < keys
            if window > 0:
                seen = seen & (key[None, :] >= keys - window)
            seed = tl.max(tl.where(seen, s, float("-inf")), 1)
    for j in tl.range(begin, end):
        skipped = False
        if GIVEN:
            skipped = tl.load(masks + table + j) == 1
        if not skipped:
            key = j * BN + tl.arange(0, BN)
            inside = key < keys
            kk = tl.load(k_here + key[:, None].to(tl.int64) * k_n + dims[None, :], mask=inside[:, None], other=0.0)
            s = _products(query, kk, softcap, scale_log2) * to_log2
            seen = inside[None, :]
            if window > 0:
                seen = seen & (key[None, :] >= keys - window)
            s = tl.where(seen, s, float("-inf"))
            t = tl.max(s, 1)
            computes = True
            if MODE == 2:
                tl.store(block_tops + (table + j) * G + one, t)
                m = tl.maximum(m, t)
            else:
                if MODE == 1:
                    before = tl.maximum(m, seed)
                    margin = tl.max(tl.where(there, t - before, float("-inf")), 0)
                    computes = margin >= threshold
                    if WRITE >= 1:
                        tl.store(masks + table + j, tl.where(computes, 0, 1).to(tl.uint8))
                    if WRITE == 2:
                        tl.store(margins + table + j, margin * 0.6931471805599453)
                if computes:
                    m_new = tl.maximum(m, t)
                    p = tl.exp2(s - m_new[:, None])
                    alpha = tl.exp2(m - m_new)
                    l = l * alpha + tl.sum(p, 1)
                    vv = tl.load(v_here + key[:, None].to(tl.int64) * v_n + dims_v[None, :], mask=inside[:, None],
                                 other=0.0)
                    acc = acc * alpha[:, None]
                    acc = tl.dot(p.to(vv.dtype), vv, acc)
                    m = m_new
    if MODE != 2:
        place = (unit * tl.num_programs(0) + split).to(tl.int64) * G + one
        tl.store(part + place[:, None] * DV + dims_v[None, :], acc)
        tl.store(tops + place, m)
        tl.store(sums + place, l)


@triton.jit
def _larger(a, b):
    return tl.maximum(a, b)


@triton.jit
def _decide(block_tops, masks, margins, threshold, blocks, group: tl.constexpr, G: tl.constexpr, SOME: tl.constexpr):
    """Decisions of one KV head from its block maxima [blocks, G], as if no split were there."""
    table = tl.program_id(0).to(tl.int64) * blocks
    one = tl.arange(0, G)
    inside = (one < group)[None, :]
    top = tl.full([G], float("-inf"), tl.float32)
    for begin in range(0, blocks, SOME):
        j = begin + tl.arange(0, SOME)
        there = (j < blocks)[:, None] & inside
        place = block_tops + (table + j)[:, None] * G + one[None, :]
        t = tl.load(place, mask=there, other=float("-inf"))
        earlier = tl.load(place - G, mask=there & (j > begin)[:, None], other=float("-inf"))
        before = tl.maximum(tl.associative_scan(earlier, 0, _larger), top[None, :])
        margin = tl.max(tl.where(t == float("-inf"), float("-inf"), t - before), 1)
        seen = tl.max(t, 1) > float("-inf")
        tl.store(masks + table + j, tl.where(seen, tl.where(margin < threshold, 1, 0), 255).to(tl.uint8), mask=j < blocks)
        tl.store(margins + table + j, tl.where(seen, margin * 0.6931471805599453, float("nan")), mask=j < blocks)
        top = tl.maximum(top, tl.max(t, 0))


@triton.jit
def _combine(part, tops, sums, sinks, out, splits, kv_heads, out_b, out_h, group: tl.constexpr, G: tl.constexpr,
             DV: tl.constexpr, SINKS: tl.constexpr):
    """The whole from its splits: each weighs what its share of the mass is."""
    head, batch = tl.program_id(0), tl.program_id(1)
    kv, one = head // group, head % group
    dims = tl.arange(0, DV)
    m = tl.full([], float("-inf"), tl.float32)
    l = tl.zeros([], tl.float32)
    acc = tl.zeros([DV], tl.float32)
    if SINKS:
        m = tl.load(sinks + head).to(tl.float32) * 1.4426950408889634
        l += 1.0
    for split in range(splits):
        place = ((batch * kv_heads + kv) * splits + split).to(tl.int64) * G + one
        top = tl.load(tops + place)
        m_new = tl.maximum(m, top)
        old, new = tl.exp2(m - m_new), tl.exp2(top - m_new)
        some = tl.load(part + place * DV + dims)
        # A split that skipped all of its blocks has no maximum and no mass.
        there = top > float("-inf")
        l = tl.where(there, l * old + tl.load(sums + place) * new, l)
        acc = tl.where(there, acc * old + some * new, acc)
        m = tl.where(there, m_new, m)
    tl.store(out + batch * out_b + head * out_h + dims, (acc / l).to(out.dtype.element_ty))


def decode(q, k, v, *, scale=None, lambda_=0.0, tile=None, splits=1, exact=False, write=NOTHING, window=None,
           softcap=None, sinks=None, mode=None, warps=2, stages=2):
    """One query a sequence: q [B, Hq, 1, d] over k [B, Hkv, m, d], v [B, Hkv, m, dv]; query heads of a KV head vote together.

    With `splits` above 1 the running maximum of each split begins at that of block 0; with `exact` block maxima come first,
    and the mask is that of one logical order whatever the splits. Returns (out, masks U8 [B, Hkv, C], margins F32).
    """
    batch, heads, _, d = q.shape
    kv, keys, dv = k.shape[1], k.shape[2], v.shape[3]
    size, group = tile.keys if tile else 64, heads // kv
    rows = max(16, triton.next_power_of_2(group))
    blocks = triton.cdiv(keys, size)
    first = max(0, keys - window) // size if window else 0
    splits = max(1, min(splits, blocks - first))
    run = triton.cdiv(blocks - first, splits)
    splits = triton.cdiv(blocks - first, run)
    mode = (SKIP if lambda_ > 0 else DENSE) if mode is None else mode
    device = q.device
    part = torch.empty(batch, kv, splits, rows, dv, dtype=torch.float32, device=device)
    tops, sums = (torch.empty(batch, kv, splits, rows, dtype=torch.float32, device=device) for _ in range(2))
    nothing = q.new_empty(1, dtype=torch.float32)
    masks = torch.full((batch, kv, blocks), 255, dtype=torch.uint8, device=device) if write or exact else None
    margins = torch.full((batch, kv, blocks), math.nan, dtype=torch.float32, device=device) if write == BOTH else None
    scale = d ** -0.5 if scale is None else scale
    threshold = math.log2(lambda_) if lambda_ > 0 else -math.inf
    k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (k, v))

    def launch(mode, write, given, block_tops):
        _decode[(splits, kv, batch)](
            q, k, v, part, tops, sums, nothing if masks is None else masks, nothing if margins is None else margins,
            block_tops, scale / softcap if softcap else scale * LOG2E, threshold, keys, blocks, run,
            q.stride(0), q.stride(1), *k.stride()[:3], *v.stride()[:3], window or 0, softcap=float(softcap or 0),
            group=group, G=rows, BN=size, D=d, DV=dv, MODE=mode, WRITE=write, SEED=splits > 1 and mode == SKIP,
            GIVEN=given, num_warps=warps, num_stages=stages)

    if exact and mode == SKIP and splits > 1:
        most = torch.empty(batch, kv, blocks, rows, dtype=torch.float32, device=device)
        if first:
            most[:, :, :first] = -math.inf
        launch(MARGINS, NOTHING, False, most)
        if margins is None:
            margins = torch.empty(batch, kv, blocks, dtype=torch.float32, device=device)
        _decide[(batch * kv,)](most, masks, margins, threshold, blocks, group=group, G=rows, SOME=128)
        launch(REPLAY, NOTHING, True, nothing)
    else:
        launch(mode, write, False, nothing)
    out = torch.empty(batch, heads, 1, dv, dtype=q.dtype, device=device)
    _combine[(heads, batch)](part, tops, sums, nothing if sinks is None else sinks, out, splits, kv, out.stride(0),
                             out.stride(1), group=group, G=rows, DV=dv, SINKS=sinks is not None)
    return out, masks, margins


class Triton:
    """The kernel of `attach(..., kernel="triton")`."""

    name = "attnscope triton"

    def __init__(self, splits=None):
        self.splits = splits

    def __call__(self, q, k, v, rules, lambda_, tile, past=0, mask=None):
        """As `kernels` says; masks are those of the rules alone, and a prompt's padding has no place here."""
        n, used = q.shape[1], min(k.shape[1], past + q.shape[1])
        options = {"scale": rules.scale, "lambda_": lambda_, "window": rules.window, "softcap": rules.softcap,
                   "sinks": rules.sinks, "write": BOTH}
        if n == 1 and past and tile.vote == "group" and rules.causal:
            base = past + 1 - used
            if base % tile.keys:  # blocks keep their places in the text
                raise ValueError("a window's cache is cut within a block: use cache_implementation='static'")
            size = Tile(1, max(16, tile.keys), "group")
            splits = self.splits or max(1, 132 // k.shape[0])
            out, _, margins = decode(q[None], k[None, :, :used], v[None, :, :used], tile=size, splits=splits, exact=True,
                                     mode=SKIP, **options)
            return out[0], margins[0][:, None]
        out, _, margins = prefill(q[None], k[None, :, :used], v[None, :, :used], past=past + n - used if past else 0,
                                  causal=rules.causal, tile=tile, order=tile.order, mode=SKIP, **options)
        return out[0], margins[0]
