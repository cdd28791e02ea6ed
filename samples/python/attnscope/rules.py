"""Attention by its definition: scores of rows with all that is done to them, and what skip softmax makes of them.

softmax(softcap(scale Q K^T) + bias) over the keys that a query sees, and a learned sink where there is one. Scores are
computed in the type of `exact` (float32 by default; float64 is the oracle of the tests).
"""
import dataclasses
import math

import torch


@dataclasses.dataclass(frozen=True)
class Tile:
    """Query rows that vote x keys of a block, who decides, and in which order blocks are visited."""
    rows: int
    keys: int
    vote: str = "head"  # or "group": all query heads of a KV head
    order: str = "ascending"
    splits: int = 1

    @property
    def text(self):
        return f"{self.rows}x{self.keys}"

    @classmethod
    def of(cls, said, default):
        """From a viewer's line or a text like 128x64; what is not said is the default's."""
        if isinstance(said, cls):
            return said
        if isinstance(said, str):
            rows, keys = said.lower().split("x")
            said = {"rows": int(rows), "keys": int(keys)}
        if not isinstance(said, dict):
            raise ValueError(f"no tile: {said}")
        known = {field.name for field in dataclasses.fields(cls)}
        made = dataclasses.replace(default, **{name: value for name, value in said.items() if name in known})
        sizes = (made.rows, made.keys, made.splits)
        if not all(type(size) is int and 1 <= size <= 65536 for size in sizes) or made.vote not in ("head", "group") \
                or made.order not in ("ascending", "descending"):
            raise ValueError(f"no tile: {said}")
        return made


PREFILL, DECODE = Tile(128, 128), Tile(1, 128, "group")


@dataclasses.dataclass
class Rules:
    """What a layer does to its scores."""
    scale: float
    window: int | None = None  # keys that a query sees at most, its own included
    softcap: float | None = None
    sinks: torch.Tensor | None = None  # [heads], logits
    causal: bool = True

    def visible(self, at, keys):
        """[rows, keys]: which of the keys a query at each position of `at` sees."""
        key = torch.arange(keys, device=at.device)[None]
        if not self.causal:
            seen = torch.ones(len(at), keys, dtype=torch.bool, device=at.device)
            return seen & ((key - at[:, None]).abs() < self.window) if self.window else seen
        seen = key <= at[:, None]
        return seen & (key > at[:, None] - self.window) if self.window else seen

    def scores(self, q, k, at, bias=None, exact=torch.float32):
        """[heads, rows, keys] of q [heads, rows, d] at positions `at` against k [kv heads, keys, d]; hidden ones -inf."""
        heads, kv = q.shape[0], k.shape[0]
        q, k = q.to(exact), k.to(exact)
        scores = torch.matmul(q.reshape(kv, heads // kv * q.shape[1], -1), k.transpose(1, 2))
        scores = scores.reshape(heads, q.shape[1], -1) * self.scale
        if self.softcap:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        if bias is not None:
            scores = scores + bias
        return scores.masked_fill(~self.visible(at, k.shape[1]), -math.inf)

    def weights(self, scores):
        """[heads, rows, keys]: rows sum to 1 together with the sink."""
        if self.sinks is None:
            return scores.softmax(-1).nan_to_num()
        sinks = self.sinks.to(scores)[:, None, None].expand(-1, scores.shape[1], 1)
        return torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]


def blocks(scores, tile):
    """[heads, R, rows, C]: the largest score of each row in each block; scores [heads, n, m]."""
    heads, n, m = scores.shape
    more_rows, more_keys = -n % tile.rows, -m % tile.keys
    if more_rows or more_keys:
        scores = torch.nn.functional.pad(scores, (0, more_keys, 0, more_rows), value=-math.inf)
    return scores.reshape(heads, -1, tile.rows, scores.shape[-1] // tile.keys, tile.keys).amax(-1)


def margins(scores, tile, kv_heads=None):
    """max over the voting rows of (block's maximum - running maximum before it), in nats: [units, R, C].

    +inf for the block that a row visits first, NaN where no row sees a block. A unit is a head, or a KV head where groups
    vote. A split begins anew. Margins do not depend on lambda (for lambda <= 1), so one comparison gives each mask.
    """
    return margins_of(blocks(scores, tile), tile, kv_heads)


def margins_of(most, tile, kv_heads=None):
    """The same of each row's maxima in the blocks [heads, R, rows, C]."""
    heads, rows, _, columns = most.shape
    seen = (most > -math.inf).any(2)
    if tile.splits == 1:
        margin = run_margins(most, tile)
    else:  # the blocks that a tile visits are shared out in runs of equal length
        margin = torch.full_like(most, -math.inf)
        for row in range(rows):
            visited = seen[:, row].any(0).nonzero().flatten().tolist()
            visited = visited[::-1] if tile.order == "descending" else visited
            run = max(1, -(-len(visited) // tile.splits))
            for begin in range(0, len(visited), run):
                some = sorted(visited[begin:begin + run])
                margin[:, row][:, :, some] = run_margins(most[:, row:row + 1][..., some], tile)[:, 0]
    margin = margin.amax(2)
    if tile.vote == "group":
        kv_heads = kv_heads or heads
        seen = seen.reshape(kv_heads, -1, rows, columns).any(1)
        margin = margin.reshape(kv_heads, -1, rows, columns).amax(1)
    return margin.masked_fill(~seen, math.nan)


def run_margins(most, tile):
    """Each row's own margins over blocks that are visited one after the other [heads, R, rows, C]."""
    part = most.flip(-1) if tile.order == "descending" else most
    before = torch.cat([torch.full_like(part[..., :1], -math.inf), part.cummax(-1).values[..., :-1]], -1)
    margin = torch.where(part == -math.inf, -math.inf, part - before)
    return margin.flip(-1) if tile.order == "descending" else margin


def skips(margin, lambda_):
    """[units, R, C]: margin < ln lambda, strictly; nothing at lambda <= 0."""
    if lambda_ <= 0:
        return torch.zeros_like(margin, dtype=torch.bool)
    return margin < math.log(lambda_)


def kept(skipped, tile, heads, queries, keys):
    """[heads, queries, keys]: entries that are not in a skipped block."""
    keep = ~skipped.repeat_interleave(heads // skipped.shape[0], 0)
    keep = keep.repeat_interleave(tile.rows, 1)[:, :queries]
    return keep.repeat_interleave(tile.keys, 2)[..., :keys]


LARGEST = 1 << 26  # scores that are held at once


def rows_at_once(heads, keys, multiple=1):
    """How many query rows make LARGEST scores, a multiple of a tile's rows."""
    rows = max(1, LARGEST // max(1, heads * keys))
    return max(multiple, rows // multiple * multiple)


def attend(q, k, v, rules, at, lambda_=0.0, tile=PREFILL, bias=None, exact=torch.float32):
    """Attention that skips: output [heads, rows, dv], margins [units, R, C], skipped [units, R, C].

    By the definition, some rows at a time: as slow as it is plain. A skipped block never raises a running maximum, so what
    is left is softmax over the entries that are kept.
    """
    heads, n = q.shape[:2]
    outputs, all_margins = [], []
    step = rows_at_once(heads, k.shape[1], tile.rows)
    for begin in range(0, n, step):
        end = min(n, begin + step)
        some = None if bias is None else bias[:, begin:end] if bias.shape[1] > 1 else bias
        scores = rules.scores(q[:, begin:end], k, at[begin:end], some, exact)
        margin = margins(scores, tile, k.shape[0])
        all_margins.append(margin)
        skipped = skips(margin, lambda_)
        if lambda_ > 0:
            scores = scores.masked_fill(~kept(skipped, tile, heads, end - begin, k.shape[1]), -math.inf)
        weights = rules.weights(scores)
        kv = k.shape[0]
        out = torch.matmul(weights.reshape(kv, -1, weights.shape[-1]), v.to(exact))
        outputs.append(out.reshape(heads, end - begin, -1))
    margin = torch.cat(all_margins, 1)
    return torch.cat(outputs, 1), margin, skips(margin, lambda_)


def table(q, k, rules, at, tile, bias=None, exact=torch.float32, masses=True):
    """Margins, and the mass of each block summed and at most over its rows: three [heads, R, C].

    Without `masses` the last two are None, and no softmax is made.
   """
    heads, n = q.shape[:2]
    found = ([], [], [])
    step = rows_at_once(heads, k.shape[1], tile.rows)
    for begin in range(0, n, step):
        end = min(n, begin + step)
        some = None if bias is None else bias[:, begin:end] if bias.shape[1] > 1 else bias
        scores = rules.scores(q[:, begin:end], k, at[begin:end], some, exact)
        found[0].append(margins(scores, tile, k.shape[0]))
        if not masses:
            continue
        weights = torch.nn.functional.pad(
            rules.weights(scores), (0, -k.shape[1] % tile.keys, 0, -(end - begin) % tile.rows))
        mass = weights.reshape(heads, -1, tile.rows, weights.shape[-1] // tile.keys, tile.keys).sum(-1)
        found[1].append(mass.sum(2))
        found[2].append(mass.amax(2))
    return tuple(torch.cat(parts, 1) if parts else None for parts in found)


def edges(begin, end, cells):
    """As the viewer draws: begin + i (end - begin) / cells, rounded down."""
    return torch.tensor([begin + i * (end - begin) // cells for i in range(cells + 1)], dtype=torch.int64)


def picture(q, k, rules, at, queries, keys, rows, columns, muted=None, sampled=None, bias=None, exact=torch.float32):
    """Weights of one head pooled into cells: (max, mean) [rows, columns] and their edges.

    q [1, n, d] are the queries from position at[0] on; `queries` and `keys` are ranges of positions. A mean is over visible
    entries, cells without any are NaN. `muted` leaves a key out, and what is left sums to 1; of a cell's rows at most
    `sampled` are looked at, evenly.
    """
    row_edges, key_edges = edges(*queries, min(rows, queries[1] - queries[0])), edges(
        *keys, min(columns, keys[1] - keys[0]))
    most = torch.full((len(row_edges) - 1, len(key_edges) - 1), math.nan)
    mean = most.clone()
    first = int(at[0])
    key_cell = (torch.bucketize(torch.arange(*keys), key_edges, right=True) - 1).to(k.device)
    cells = len(key_edges) - 1
    for cell in range(len(row_edges) - 1):
        begin, end = int(row_edges[cell]), int(row_edges[cell + 1])
        looked = torch.arange(begin, end)
        if sampled and len(looked) > sampled:
            looked = looked[torch.linspace(0, len(looked) - 1, sampled).round().long()]
        looked = looked.to(k.device)
        some = None if bias is None else bias[:, looked - first] if bias.shape[1] > 1 else bias
        scores = rules.scores(q[:, looked - first], k, looked, some, exact)
        if muted is not None and muted < scores.shape[-1]:
            scores[..., muted] = -math.inf
        seen = scores[0, :, keys[0]:keys[1]] > -math.inf
        weights = rules.weights(scores)[0, :, keys[0]:keys[1]]
        largest = torch.where(seen, weights, -math.inf).amax(0)
        counts = torch.zeros(cells, device=k.device, dtype=exact).index_add(0, key_cell, seen.sum(0).to(exact))
        sums = torch.zeros(cells, device=k.device, dtype=exact).index_add(0, key_cell, (weights * seen).sum(0))
        tops = torch.full((cells,), -math.inf, device=k.device, dtype=exact)
        tops = tops.scatter_reduce(0, key_cell, largest, "amax")
        there = counts > 0
        most[cell] = torch.where(there, tops, math.nan).cpu()
        mean[cell] = torch.where(there, sums / counts, math.nan).cpu()
    return most, mean, row_edges, key_edges
