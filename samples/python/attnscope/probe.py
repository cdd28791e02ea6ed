"""Which tiles does a deployed kernel really skip? Nobody has to tell: the same kernel does, with another V.

A skipped tile's P V is never added. So the kernel is called with the same Q and K, and a V whose column c is 2^15 in the
rows of key group c and 0 elsewhere: column c of a query's output is exactly 0 where the tile of that group was skipped,
or where its weight is too small for the number formats on the way; margins name these groups, and they are "unsure". One
call tells d groups of 16 keys. A coarse tile is skipped if and only if all of its fine tiles are, so every multiple of
the true tile agrees; the fingerprint of a kernel is the tile, vote and order that agrees everywhere and leaves no
skipped block unexplained.
"""
import dataclasses
import math

import torch

from . import rules as definitions
from . import wire
from .rules import Rules, Tile

COMPUTED, SKIPPED, UNSURE, UNSEEN = 0, 1, 2, 255
FACTOR = 32768.0
# log2 of what is lost: a weight in the output, and P before it is multiplied with V.
LEAST = {torch.float16: (-38, -24), torch.bfloat16: (-120, -120), torch.float32: (-120, -120),
         torch.float64: (-900, -900)}
PRESETS = {"modelopt": (128, 128), "hopper fmha_v2": (64, 128), "blackwell trtllm-gen": (32, 128), "fine": (16, 16)}
SIDES = (16, 32, 64, 128, 256)


@dataclasses.dataclass
class Agreement:
    """One tile, vote and order, held against what was found."""
    tile: Tile
    blocks: int  # visible ones, of all heads
    wrong: int
    unsure: int
    missed: int = 0  # skipped blocks of the grain that no skipped tile explains

    def json(self):
        return dataclasses.asdict(self.tile) | {"blocks": self.blocks, "wrong": self.wrong, "unsure": self.unsure,
                                                "missed": self.missed}


@dataclasses.dataclass
class Probe:
    """What was found. `mask` U8 [heads, R, C] by `grain`: 0 computed, 1 skipped, 2 unsure, 255 no row sees it."""
    mask: torch.Tensor
    grain: Tile
    kernel: str
    threshold: float | None
    phase: str
    agreement: list
    fingerprint: Tile | None
    sparsity: float
    counted: dict | None
    device: str
    q: torch.Tensor
    k: torch.Tensor
    rules: Rules
    past: int

    @property
    def unsure(self):
        return int((self.mask == UNSURE).sum())

    def at(self, tile):
        """The mask by coarser tiles [units, R, C]: skipped where all of the fine ones are that somebody sees."""
        return coarse(self.mask, self.grain, tile, self.k.shape[0])

    def json(self):
        """What the dump says of it."""
        print_ = None if self.fingerprint is None else dataclasses.asdict(self.fingerprint)
        return {"version": 1, "kernel": self.kernel, "device": self.device, "phase": self.phase,
                "threshold": self.threshold, "fingerprint": print_, "sparsity": self.sparsity, "unsure": self.unsure,
                "counted": self.counted, "agreement": [one.json() for one in self.agreement[:40]]}

    def save(self, path, layer=0, v=None, tokens=None, **metadata):
        """Writes a dump that `attnscope open` shows: deployed against expected."""
        rules = self.rules
        tile = self.fingerprint or Tile(128, 128)
        facts = {"probe": self.json(), "probe_tile": self.grain.text, "causal": str(rules.causal).lower(),
                 "scale": repr(rules.scale), "rope_applied": "true", "sliding_window": rules.window,
                 "softcap": rules.softcap, "query_offset": self.past if rules.causal else None, "tile": tile.text,
                 "vote": tile.vote, "order": tile.order, "splits": tile.splits, "lambda": self.threshold,
                 "tokens": tokens}
        half = torch.float16 if self.q.dtype == torch.bfloat16 and fits(self.q) and fits(self.k) else self.q.dtype
        arrays = {f"layers.{layer}.q": self.q.to(half), f"layers.{layer}.k": self.k.to(half),
                  f"layers.{layer}.v": None if v is None else v.reshape(self.k.shape[0], self.k.shape[1], -1).to(half),
                  f"layers.{layer}.sinks": rules.sinks, f"layers.{layer}.probed": self.mask}
        with open(path, "wb") as file:
            file.write(wire.blob(arrays, facts | metadata))
        return path

    def __str__(self):
        tile = self.fingerprint
        found = "no tile that was tried agrees everywhere" if tile is None else (
            f"tiles of {tile.text}, {tile.vote} votes, {tile.order}" + (f", {tile.splits} splits" * (tile.splits > 1)))
        counter = f"; its counter says {self.counted['sparsity']:.1%} at {self.counted['tile']}" if self.counted else ""
        return f"{self.kernel} skips {self.sparsity:.1%} ({found}; {self.unsure} blocks unsure{counter})"


def fits(tensor):
    """In half precision without a change."""
    return bool((tensor.half().to(tensor.dtype) == tensor).all())


def probe(fn, q, k, *, threshold=None, scale=None, causal=True, window=None, softcap=None, sinks=None, rows=None,
          expected=None, kernel=None, counted=None, tie=1e-3, probability=None, sides=SIDES, splits=(1, 2, 4, 8)):
    """Finds the mask of `fn(q, k, v)` [1, Hq, n, d] over [1, Hkv, m, d], which gives [1, Hq, n, d].

    `threshold` is the lambda it was given; without one only the mask is found, and held against `expected` (`Tile`, mask
    [units, R, C]) if there is one. Queries are the last n of m positions. `probability` is the type in which P meets V
    (q's own by default). `tie`: nats within which either decision is right. Raises ValueError for shapes that do not fit.
    """
    if q.ndim != 4 or k.ndim != 4 or q.shape[0] != 1 or k.shape[0] != 1 or q.shape[1] % k.shape[1] \
            or q.shape[3] != k.shape[3] or (causal and q.shape[2] > k.shape[2]):
        raise ValueError(f"q is {tuple(q.shape)} and k {tuple(k.shape)}: [1, heads, n, d] and [1, kv heads, m, d] are wanted")
    q, k = q[0], k[0]
    n, keys, past = q.shape[1], k.shape[1], k.shape[1] - q.shape[1] if causal else 0
    grain = Tile(rows or (16 if n > 1 else 1), 16)
    rules = Rules(q.shape[-1] ** -0.5 if scale is None else scale, window, softcap, sinks, causal)
    zero = called(fn, q, k, grain.keys)  # [heads, n, groups]: nothing of the group arrived
    most, weight, share = facts(q, k, rules, past, grain.keys)
    seen = most > -math.inf
    by_weight, by_share = LEAST[q.dtype]
    by_share = LEAST[probability or q.dtype][1]
    faint = (weight < by_weight * math.log(2)) | (share < by_share * math.log(2))
    mask = folded(zero, seen, faint, grain)
    device = torch.cuda.get_device_name(q.device) if q.is_cuda else "CPU"
    made = Probe(mask, grain, kernel or getattr(fn, "__name__", "a kernel"), threshold, "decode" if n == 1 else "prefill",
                 [], None, 0.0, counted, device, q.cpu(), k.cpu(), dataclasses.replace(rules), past)
    if threshold is not None:
        fingerprint(made, most, math.log(threshold) if threshold > 0 else -math.inf, tie, sides, splits)
    elif expected is not None:
        tile, there = expected
        found = made.at(tile)
        known = (found != UNSEEN) & (found != UNSURE)
        wrong = int(((found == SKIPPED) != there.to(found.device).bool())[known].sum())
        made.agreement = [Agreement(tile, int((found != UNSEEN).sum()), wrong, int((found == UNSURE).sum()))]
        made.fingerprint = None if wrong else tile
    found = made.at(made.fingerprint or grain)
    made.sparsity = float((found == SKIPPED).sum() / (found != UNSEEN).sum().clamp(min=1))
    return made


def called(fn, q, k, size):
    """[heads, n, groups]: the kernel's output for a group of `size` keys is exactly zero."""
    kv, keys, d = k.shape[0], k.shape[1], k.shape[2]
    groups = -(-keys // size)
    parts = []
    for first in range(0, groups, d):
        v = torch.zeros(kv, groups * size, d, dtype=q.dtype, device=q.device)
        for column in range(min(d, groups - first)):
            v[:, (first + column) * size:(first + column + 1) * size, column] = FACTOR
        out = fn(q[None], k[None], v[None, :, :keys].contiguous())
        if not isinstance(out, torch.Tensor) or out.shape != (1, q.shape[0], q.shape[1], d):
            made = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
            raise ValueError(f"the kernel returned {made} for q {tuple(q[None].shape)}; a tensor of that shape is wanted")
        if bool(out.isnan().any()):
            raise ValueError("the kernel returned what is not a number, which is neither zero nor a weight")
        parts.append((out[0] == 0)[..., :min(d, groups - first)])
    return torch.cat(parts, -1)


def facts(q, k, rules, past, size):
    """Of each row and group, in double precision: the largest score, ln of the largest weight, and score - maximum."""
    heads, n = q.shape[:2]
    parts = ([], [], [])
    step = definitions.rows_at_once(heads, k.shape[1])
    for begin in range(0, n, step):
        at = torch.arange(begin, min(n, begin + step), device=q.device) + past
        scores = rules.scores(q[:, begin:begin + step], k, at, exact=torch.float64)
        most = definitions.blocks(scores, Tile(1, size))[:, :, 0]
        total = scores.logsumexp(-1, keepdim=True)
        if rules.sinks is not None:
            total = torch.logaddexp(total, rules.sinks.double()[:, None, None].expand_as(total))
        top = scores.amax(-1, keepdim=True)
        for part, value in zip(parts, (most, most - total, most - top)):
            part.append(value)
    return tuple(torch.cat(part, 1) for part in parts)


def grouped(tensor, rows, fill):
    """[heads, n, C] as [heads, R, rows, C]."""
    tensor = torch.nn.functional.pad(tensor, (0, 0, 0, -tensor.shape[1] % rows), value=fill)
    return tensor.unflatten(1, (-1, rows))


def folded(zero, seen, faint, grain):
    """Rows to blocks: computed where any row got something, unsure where every row that sees it is faint."""
    got = grouped(~zero & seen, grain.rows, False).any(2)
    there = grouped(seen, grain.rows, False).any(2)
    clear = grouped(seen & ~faint, grain.rows, False).any(2)
    mask = torch.full(there.shape, UNSEEN, dtype=torch.uint8, device=zero.device)
    mask[there] = UNSURE
    mask[there & clear] = SKIPPED
    mask[there & got] = COMPUTED
    return mask.cpu()


def coarse(mask, grain, tile, kv_heads):
    """[units, R, C] by a tile whose sides are multiples of the grain's."""
    down, across = max(1, tile.rows // grain.rows), max(1, tile.keys // grain.keys)
    if grain.rows == 1 and mask.shape[1] == 1:
        down = 1
    mask = torch.nn.functional.pad(mask, (0, -mask.shape[2] % across, 0, -mask.shape[1] % down), value=UNSEEN)
    mask = mask.unflatten(1, (-1, down)).unflatten(3, (-1, across)).transpose(2, 3)  # [heads, R, C, down, across]
    if tile.vote == "group":
        mask = mask.unflatten(0, (kv_heads, -1)).movedim(1, 4).flatten(4)
    mask = mask.flatten(3)
    out = torch.full(mask.shape[:3], SKIPPED, dtype=torch.uint8)
    out[(mask == UNSURE).any(-1)] = UNSURE
    out[(mask == COMPUTED).any(-1)] = COMPUTED
    out[(mask == UNSEEN).all(-1)] = UNSEEN
    return out


def fingerprint(made, most, limit, tie, sides, splits):
    """Holds every tile, vote and order against the mask, the best first."""
    grain, kv = made.grain, made.k.shape[0]
    heads = most.shape[0]
    decodes = most.shape[1] == 1
    for rows in (1,) if decodes else [one for one in sides if one >= grain.rows]:
        folded_rows = grouped(most, rows, -math.inf)
        for size in [one for one in sides if one >= grain.keys]:
            across = size // grain.keys
            maxima = torch.nn.functional.pad(folded_rows, (0, -folded_rows.shape[3] % across), value=-math.inf)
            maxima = maxima.unflatten(3, (-1, across)).amax(-1)
            for vote in ("head", "group") if heads > kv else ("head",):
                for order in ("ascending", "descending"):
                    for split in splits if decodes else (1,):
                        tile = Tile(rows, size, vote, order, split)
                        made.agreement.append(held(made, maxima, tile, limit, tie))
    # Finest first; of those that agree alike the plainest.
    made.agreement.sort(key=lambda one: (one.wrong > 0, one.missed, one.wrong, one.tile.rows * one.tile.keys,
                                         one.tile.vote != "head", one.tile.order != "ascending", one.tile.splits))
    best = made.agreement[0] if made.agreement else None
    nothing = not (made.mask == SKIPPED).any()
    made.fingerprint = None if best is None or best.wrong or best.missed or nothing else best.tile


def held(made, maxima, tile, limit, tie):
    margin = definitions.margins_of(maxima, tile, made.k.shape[0]).cpu()
    found = made.at(tile)
    seen = found != UNSEEN
    unsure = seen & ((found == UNSURE) | ((margin - limit).abs() < tie))
    wrong = seen & ~unsure & ((found == SKIPPED) != (margin < limit))
    # Back to the grain: what is skipped there and lies in a tile that is not.
    said = ((margin < limit) | unsure).repeat_interleave(made.mask.shape[0] // margin.shape[0], 0)
    down, across = max(1, tile.rows // made.grain.rows), max(1, tile.keys // made.grain.keys)
    said = said.repeat_interleave(down, 1).repeat_interleave(across, 2)[:, :made.mask.shape[1], :made.mask.shape[2]]
    missed = (made.mask == SKIPPED) & ~said
    return Agreement(tile, int(seen.sum()), int(wrong.sum()), int(unsure.sum()), int(missed.sum()))
