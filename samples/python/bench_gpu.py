"""What the Triton kernels do on this GPU, and what deployed kernels really skip: `python3 bench_gpu.py [--json FILE]`.

Every figure is a median of runs that take turns with those it is compared with. Q and K are planted (a sink, blocks of
different strength, noise), so that a threshold with the wanted sparsity exists; the mask is checked against double
precision on the same GPU, and outside ties (margins within 1e-3 nats of ln lambda) not a block may differ.
"""
import argparse
import json
import math
import statistics
import sys
import time

import torch
import triton as compiler
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention as sdpa

from attnscope import rules as definitions
from attnscope import triton as ours
from attnscope.rules import Rules, Tile

FIGURES = {}


def say(name, value, text=None):
    FIGURES[name] = value
    print(f"{name}: {text or value}", flush=True)


def planted(batch, heads, kv, n, m, d, dtype=torch.bfloat16, seed=0):
    """q [B, Hq, n, d], k and v [B, Hkv, m, d]: key 0 is a sink, blocks of 64 keys differ in strength."""
    make = torch.Generator("cuda").manual_seed(seed)
    base = torch.randn(d, device="cuda", generator=make)
    base /= base.norm()
    width = d ** 0.5

    def noise(*shape):
        return torch.randn(*shape, d, device="cuda", generator=make)
    q, k, v = noise(batch, heads, n) * 0.6 + base * width, noise(batch, kv, m), noise(batch, kv, m)
    k -= (k @ base)[..., None] * base
    strength = torch.rand(batch, kv, -(-m // 64), device="cuda", generator=make) * 6 - 3
    k += base * strength.repeat_interleave(64, 2)[..., :m, None]
    k[:, :, 0] += base * 8
    return q.to(dtype), k.to(dtype), v.to(dtype)


def times(runs, count=15, warm=3):
    """Medians in ms of functions that take turns; a dictionary by their names."""
    for run in runs.values():
        for _ in range(warm):
            run()
    torch.cuda.synchronize()
    found = {name: [] for name in runs}
    for _ in range(count):
        for name, run in runs.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            run()
            end.record()
            end.synchronize()
            found[name].append(begin.elapsed_time(end))
    return {name: statistics.median(values) for name, values in found.items()}


def lambda_for(margins, sparsity):
    """The threshold at which so much of the visible blocks is skipped."""
    seen = margins[~margins.isnan()].flatten()
    seen = seen[torch.randperm(len(seen), device=seen.device)[:1 << 22]]
    return min(1.0, math.exp(float(seen.sort().values[int(sparsity * (len(seen) - 1))])))


def share(mask):
    return float((mask == 1).sum() / (mask != 255).sum())


# ---- right ----


def against_oracle(name, q, k, v, rules, lambda_, tile, past=0, **options):
    """Blocks that differ outside ties, blocks, and the largest difference of the output from double precision."""
    out, masks, margins = ours.prefill(q, k, v, scale=rules.scale, lambda_=lambda_, tile=tile, past=past,
                                       causal=rules.causal, window=rules.window, softcap=rules.softcap,
                                       sinks=rules.sinks, order=tile.order, write=ours.BOTH, **options)
    replay, _, _ = ours.prefill(q, k, v, scale=rules.scale, tile=tile, past=past, causal=rules.causal, mask=masks,
                                window=rules.window, softcap=rules.softcap, sinks=rules.sinks, order=tile.order,
                                mode=ours.REPLAY, **options)
    wrong, blocks, off, most = 0, 0, 0.0, 0.0
    at = torch.arange(q.shape[2], device="cuda") + past
    for b in range(q.shape[0]):
        true, margin, skipped = definitions.attend(q[b], k[b], v[b], rules, at, lambda_, tile, exact=torch.float64)
        tie = (margin - math.log(lambda_)).abs() < 1e-3
        seen = ~margin.isnan()
        wrong += int((((masks[b] == 1) != skipped) & seen & ~tie).sum()) + int(((masks[b] != 255) != seen).sum())
        blocks += int(seen.sum())
        if not tie.any():
            off = max(off, float((out[b].double() - true).abs().max()))
        finite = seen & margin.isfinite()
        most = max(most, float((margins[b].double() - margin)[finite].abs().max()))
    same = torch.equal(out, replay)
    say(f"oracle.{name}", [wrong, blocks, share(masks), off, most, same],
        f"{wrong} of {blocks} blocks differ, {share(masks):.1%} skipped, output within {off:.1e}, margins within "
        f"{most:.1e}, replay {'bit-identical' if same else 'DIFFERS'}")
    return wrong


def correctness():
    wrong = 0
    for d, tile, lambda_ in ((128, Tile(128, 64), 0.05), (128, Tile(64, 64), 0.3), (64, Tile(128, 128), 0.01),
                             (64, Tile(64, 32), 0.1), (128, Tile(128, 64, order="descending"), 0.1)):
        q, k, v = planted(1, 8, 2, 2048, 2048, d)
        wrong += against_oracle(f"d{d} {tile.text} {tile.order} lambda {lambda_}", q, k, v, Rules(d ** -0.5), lambda_, tile)
    q, k, v = planted(2, 4, 4, 1000, 1500, 64)
    rules = Rules(0.11, softcap=20.0, sinks=torch.linspace(-2, 6, 4, device="cuda"))
    wrong += against_oracle("sinks, softcap, past", q, k, v, rules, 0.1, Tile(64, 64), past=500)
    wrong += against_oracle("window", q, k, v, Rules(0.125, window=300), 0.1, Tile(64, 64), past=500)
    wrong += against_oracle("not causal", q, k, v, Rules(0.125, causal=False), 0.1, Tile(64, 64))
    for splits, exact in ((1, False), (7, True), (8, False)):
        q, k, v = planted(3, 16, 2, 1, 5000, 128)
        tile = Tile(1, 64, "group")
        out, masks, margins = ours.decode(q, k, v, lambda_=0.05, splits=splits, exact=exact, write=ours.BOTH)
        bad = blocks = 0
        off = 0.0
        for b in range(3):
            true, margin, skipped = definitions.attend(q[b], k[b], v[b], Rules(128 ** -0.5),
                                                       torch.tensor([4999], device="cuda"), 0.05, tile, exact=torch.float64)
            tie = (margin[:, 0] - math.log(0.05)).abs() < 1e-3
            bad += int((((masks[b] == 1) != skipped[:, 0]) & ~tie).sum())
            blocks += margin.numel()
            off = max(off, float((out[b].double() - true).abs().max()))
        say(f"oracle.decode {splits} splits{' exact' * exact}", [bad, blocks, share(masks), off],
            f"{bad} of {blocks} blocks differ, {share(masks):.1%} skipped, output within {off:.1e}")
        wrong += bad if exact or splits == 1 else 0
    say("oracle.wrong", wrong)


# ---- fast ----


def torch_runs(q, k, v):
    runs = {}
    for name, backend in (("cudnn", SDPBackend.CUDNN_ATTENTION), ("flash", SDPBackend.FLASH_ATTENTION)):
        def run(backend=backend):
            with sdpa_kernel(backend):
                return sdpa(q, k, v, is_causal=True, enable_gqa=True)
        try:
            run()
            runs[name] = run
        except RuntimeError as error:
            say(f"missing.{name}", str(error).splitlines()[0][:120])
    return runs


def prefill(d, n, heads=32, kv=8, sparsity=0.72, tile=None, **options):
    q, k, v = planted(1, heads, kv, n, n, d)
    tile = tile or (Tile(128, 64) if d == 128 else Tile(64, 128))
    out = torch.empty_like(q)
    margins = ours.prefill(q, k, v, tile=tile, mode=ours.MARGINS, **options)[2]
    lambda_ = lambda_for(margins, sparsity)
    masks = ours.prefill(q, k, v, tile=tile, lambda_=lambda_, write=ours.BOTH, **options)[1]
    kept = masks.clone()
    def run(**more):
        return lambda: ours.prefill(q, k, v, tile=tile, out=out, **more)
    runs = torch_runs(q, k, v) | {
        "dense": run(mode=ours.DENSE, **options), "skip": run(lambda_=lambda_, **options),
        "skip and decisions": run(lambda_=lambda_, write=ours.DECISIONS, masks=masks, **options),
        "skip and margins": run(lambda_=lambda_, write=ours.BOTH, masks=masks, margins=margins, **options),
        "margins only": run(mode=ours.MARGINS, margins=margins, masks=masks, **options),
        "replay": run(mode=ours.REPLAY, mask=kept, **options)}
    found = times(runs)
    flops = 4 * d * heads * n * n / 2
    key = f"prefill d {d}, n {n}, {heads}:{kv} heads, tile {tile.text}"
    say(key, found, f"lambda {lambda_:.3g} skips {share(kept):.1%}")
    for name, ms in found.items():
        print(f"    {name:28} {ms:8.3f} ms {flops / ms / 1e9:7.0f} TFLOP/s of dense work, {found['dense'] / ms:5.2f}x own dense"
              + (f", {found['cudnn'] / ms:5.2f}x cuDNN" if "cudnn" in found else ""), flush=True)
    return found


def decode(batch=32, heads=64, kv=8, m=32768, d=128, sparsity=0.73, splits=1, exact=False, **options):
    q, k, v = planted(batch, heads, kv, 1, m, d)
    margins = ours.decode(q, k, v, lambda_=1e-30, write=ours.BOTH, tile=options.get("tile"))[2]
    lambda_ = lambda_for(margins, sparsity)
    options |= {"splits": splits}
    mask = ours.decode(q, k, v, lambda_=lambda_, exact=exact, write=ours.BOTH, **options)[1]

    def run(**more):
        return lambda: ours.decode(q, k, v, **options, **more)
    found = times({"dense": run(), "skip": run(lambda_=lambda_, exact=exact),
                   "skip and decisions": run(lambda_=lambda_, exact=exact, write=ours.DECISIONS),
                   "skip and margins": run(lambda_=lambda_, exact=exact, write=ours.BOTH)})
    size = k.nbytes + v.nbytes
    limit = 2 / (2 - share(mask))
    key = f"decode d {d}, m {m}, batch {batch}, {heads}:{kv} heads, {splits} splits{' exact' * exact}"
    say(key, found, f"lambda {lambda_:.3g} skips {share(mask):.1%}; {limit:.2f}x is the limit of bytes")
    for name, ms in found.items():
        print(f"    {name:28} {ms:8.3f} ms, dense bytes at {size / ms / 1e9:5.2f} TB/s, {found['dense'] / ms:5.2f}x own dense",
              flush=True)
    return found


VARIANTS = [((128, 64), 4, 2, None), ((128, 64), 4, 1, None), ((64, 64), 4, 1, None), ((64, 64), 4, 1, 168), ((64, 128), 4, 1, None),
            ((64, 128), 4, 2, None), ((64, 128), 4, 3, None), ((128, 64), 8, 1, 128), ((128, 64), 8, 2, 128), ((128, 128), 8, 1, None),
            ((128, 32), 4, 2, None), ((128, 32), 4, 3, None), ((64, 32), 4, 2, None), ((64, 32), 4, 3, 128), ((128, 128), 4, 2, None)]
VARIANTS = [one + (lazy,) for one in VARIANTS for lazy in (False, True)]


def tune(n=16384):
    """Which tile, warps and stages are fastest for each width: dense and skip."""
    for d in (128, 64):
        q, k, v = planted(1, 32, 8, n, n, d)
        out, base = torch.empty_like(q), times(torch_runs(q, k, v), 5)
        print(d, {name: round(ms, 3) for name, ms in base.items()}, flush=True)
        lambdas = {}
        for (rows, keys), warps, stages, cap, lazy in VARIANTS:
            tile = Tile(rows, keys)
            more = {"tile": tile, "warps": warps, "stages": stages, "maxnreg": cap, "lazy": lazy}
            try:
                if tile not in lambdas:
                    lambdas[tile] = lambda_for(ours.prefill(q, k, v, tile=tile, mode=ours.MARGINS)[2], 0.72)
                found = times({"dense": lambda: ours.prefill(q, k, v, mode=ours.DENSE, out=out, **more),
                               "skip": lambda: ours.prefill(q, k, v, lambda_=lambdas[tile], out=out, **more)}, 5, 1)
                print(d, tile.text, warps, stages, cap, "lazy" * lazy,
                      {name: round(ms, 3) for name, ms in found.items()},
                      f"dense {base['cudnn'] / found['dense']:.2f}x cudnn, skip {found['dense'] / found['skip']:.2f}x dense",
                      flush=True)
            except Exception as error:  # a variant that does not compile is none
                print(d, tile.text, warps, stages, cap, lazy, "fails:", str(error)[-150:], flush=True)


def tune_decode():
    """Which warps and stages decode fastest."""
    for batch, m in ((64, 16384), (128, 8192)):
        for warps, stages in ((1, 2), (2, 2), (2, 3), (4, 2), (4, 3), (8, 2)):
            print("warps", warps, "stages", stages)
            decode(batch=batch, m=m, warps=warps, stages=stages)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", help="where the figures go, too")
    arguments.add_argument("--tune", action="store_true", help="try warps and stages instead")
    arguments.add_argument("--only", help="one part: correctness, prefill, decode")
    chosen = arguments.parse_args()
    if not torch.cuda.is_available():
        sys.exit("bench_gpu.py measures a GPU, and torch sees none here")
    say("device", torch.cuda.get_device_name())
    say("versions", {"torch": torch.__version__, "triton": compiler.__version__, "cuda": torch.version.cuda,
                     "cudnn": torch.backends.cudnn.version()})
    begin = time.monotonic()
    parts = {"correctness": correctness, "prefill": lambda: [prefill(128, 16384), prefill(64, 16384), prefill(128, 131072, 1, 1)],
             "decode": lambda: [decode(batch=128, m=8192), decode(batch=32, m=32768), decode(batch=4, splits=16, exact=True, m=65536)]}
    for name, part in {"tune": tune, "tune decode": tune_decode}.items() if chosen.tune else parts.items():
        if chosen.only in (None, name):
            part()
            print(f"({name} took {time.monotonic() - begin:.0f} s in all)", flush=True)
    if chosen.json:
        with open(chosen.json, "w") as file:
            json.dump(FIGURES, file, indent=1)


if __name__ == "__main__":
    main()
