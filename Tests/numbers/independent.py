"""The numbers of `attnscope report` against an implementation of its own, in float64 and numpy alone.

    python3 Tests/numbers/independent.py attnscope [--settings 300] [--seed 1] [--only SEED]

Each setting is drawn from a seed: sides, widths, grouped heads, tiles, votes, orders, splits, the criterion, offsets,
element types, scales, NaN and infinite keys, ties. It writes a dump, runs `report --json --masks` on it, and compares
every number with the definitions of the method: blocks, margins, dropped mass, outputs, recall, entropy, sink, reach.
Blocks within 1e-4 of the threshold may go either way; what follows from the verdicts is compared under the program's
own. Prints the largest difference of each number; exits 1 with the seeds of what failed, and 0 without numpy.
"""
import argparse
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

sys.dont_write_bytecode = True
try:
    import numpy as np
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(0)

np.seterr(all="ignore")
THRESHOLD = 1e-4


# MARK: safetensors

def write(path, arrays, metadata):
    """Arrays are (type name, array whose bytes are written)."""
    header, at = {"__metadata__": metadata}, 0
    for name, (kind, array) in arrays.items():
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, array in arrays.values():
            file.write(np.ascontiguousarray(array).tobytes())


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    header, arrays = json.loads(data[8:8 + size]), {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, last = (8 + size + x for x in entry["data_offsets"])
        kind = {"F32": np.float32, "U8": np.uint8, "F64": np.float64}[entry["dtype"]]
        arrays[name] = np.frombuffer(data[first:last], kind).reshape(entry["shape"])
    return arrays


def stored(values, kind):
    """What a file of a type holds, and the numbers that it then has: float32, as every file is read."""
    single = values.astype(np.float32)
    if kind == "F16":
        half = values.astype(np.float16)
        return half, half.astype(np.float64)
    if kind == "BF16":
        words = (single.view(np.uint32) >> 16).astype(np.uint16)
        return words, (words.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return (values if kind == "F64" else single), single.astype(np.float64)


# MARK: Settings

class Setting:
    """Everything that one seed draws."""

    def __init__(self, seed):
        draw = self.draw = np.random.default_rng(seed)
        pick = lambda *options: options[draw.integers(len(options))]
        self.seed = seed
        self.kv, self.group = int(draw.integers(1, 3)), int(draw.integers(1, 4))
        self.heads = self.kv * self.group
        self.dim = int(pick(4, 8, 16, 20, 32, 64, 80, 96))
        self.value_dim = self.dim if draw.random() < 0.6 else int(pick(1, 5, 16, 24, 48))
        phase = pick("square", "square", "chunk", "decode", "full", "offset")
        self.queries = 1 if phase == "decode" else int(draw.integers(2, 170))
        self.keys = self.queries + (0 if phase in ("square", "offset") else int(draw.integers(0, 120)))
        self.causal = phase != "full"
        self.offset = self.keys - self.queries
        self.tells_offset = phase == "offset"
        if self.tells_offset:
            self.offset = int(draw.integers(-self.queries // 2, self.keys // 2 + 1))
        if draw.random() < 0.6:
            self.tile = (int(pick(16, 32, 64, 128)), int(pick(16, 32, 64, 128)))
        else:
            self.tile = (int(pick(1, 2, 4, 7, draw.integers(1, 50))), int(draw.integers(3, 70)))
        self.vote, self.order = pick("head", "group"), pick("ascending", "descending")
        self.splits = pick(1, 1, 1, 2, 3, 7)
        self.criterion = pick("max", "max", "max", "lse")
        self.threshold = pick(1, 0.5, 0.1, 0.1, 0.03, 0.01, 1e-3, 1e-6, 0)
        self.kind = pick("F16", "BF16", "F32", "F32", "F64")
        self.factor = pick(0.05, 1, 1, 1.5, 2, 3, 6, 20)
        self.scale = 1 / math.sqrt(self.dim) if draw.random() < 0.7 else float(pick(0.05, 0.5, 1.0))
        self.screen = draw.random() < 0.2
        self.odd = pick(*["none"] * 5, "ties", "ties", "nan", "infinite", "extreme")
        # What a model does beside scaling; such scores are sums of floats, whatever their size.
        self.window, self.softcap = None, None
        if self.odd == "none" and self.factor <= 3 and draw.random() < 0.3:
            self.window = int(draw.integers(1, self.keys + 1)) if draw.random() < 0.6 else None
            self.softcap = float(pick(2.0, 20.0, 50.0)) if draw.random() < 0.6 else None
        self.arrays()

    def arrays(self):
        draw, shape = self.draw, (self.kv, self.keys)
        q = draw.standard_normal((self.heads, self.queries, self.dim)) * self.factor
        k = draw.standard_normal((*shape, self.dim)) * self.factor
        v = draw.standard_normal((*shape, self.value_dim))
        # Something to look at: a sink that every query knows, and keys that are near to their neighbours.
        if draw.random() < 0.7:
            line = draw.standard_normal(self.dim)
            q += line * self.factor * float(draw.choice([0.3, 1, 2]))
            k[:, 0] += line * self.factor * float(draw.choice([0.5, 1, 2]))
        if draw.random() < 0.5:
            k = np.cumsum(k, 1) / np.sqrt(np.arange(1, self.keys + 1))[None, :, None]
        if self.odd == "ties":
            # Small whole numbers and a scale of a power of two: products are exact in every precision.
            q, k = np.round(q).clip(-2, 2), np.round(k).clip(-2, 2)
            self.scale = 0.25
        if self.odd == "extreme":
            q, k = q * 100, k * (100 if self.kind == "F16" else 1000)
        if self.odd in ("nan", "infinite"):
            self.bad = int(draw.integers(0, self.keys))
            channel = slice(None) if self.odd == "nan" else int(draw.integers(self.dim))
            k[:, self.bad, channel] = math.nan if self.odd == "nan" else math.inf
        if self.value_dim <= self.dim and self.odd == "none" and draw.random() < 0.3:
            # MLA: the values are the first columns of the keys.
            v = k[:, :, :self.value_dim].copy()
        (self.q_file, self.q), (self.k_file, self.k), (self.v_file, self.v) = (
            stored(x, self.kind) for x in (q, k, v))

    def __str__(self):
        return (f"{self.heads} heads over {self.kv}, {self.queries}x{self.keys}, d {self.dim}/{self.value_dim}, "
                f"{'causal' if self.causal else 'full'}, offset {self.offset}, tile {self.tile[0]}x{self.tile[1]} "
                f"{self.vote} {self.order} {self.criterion} {self.splits} splits, lambda {self.threshold}, "
                f"{self.kind}, factor {self.factor}, scale {self.scale:.3g}, window {self.window}, softcap {self.softcap}, "
                f"{self.odd}")

    def write(self, path):
        metadata = {"causal": str(self.causal).lower(), "scale": repr(self.scale)}
        if self.tells_offset:
            metadata["query_offset"] = str(self.offset)
        write(path, {"layers.0.q": (self.kind, self.q_file), "layers.0.k": (self.kind, self.k_file),
                     "layers.0.v": (self.kind, self.v_file)}, metadata)

    def flags(self):
        flags = ["--lambda", repr(float(self.threshold)), "--tile", f"{self.tile[0]}x{self.tile[1]}", "--vote",
                 self.vote, "--order", self.order, "--criterion", self.criterion, "--splits", str(self.splits)]
        flags += ["--window", str(self.window)] if self.window else []
        flags += ["--softcap", str(self.softcap)] if self.softcap else []
        return flags + (["--screen", "int8"] if self.screen else [])


# MARK: The definitions

class Straight:
    """The heads of a setting in float64. A row is broken where a score that counts is NaN or +infinity."""

    def __init__(self, setting):
        self.s = s = setting
        rows, keys = np.arange(s.queries)[:, None] + s.offset, np.arange(s.keys)[None, :]
        self.seen = keys <= rows if s.causal else np.ones((s.queries, s.keys), bool)
        if s.window:
            self.seen = self.seen & (keys > rows - s.window) & (s.causal | (keys < rows + s.window))
        k = np.repeat(s.k, s.group, 0)
        scores = np.einsum("hqd,hkd->hqk", s.q, k) * s.scale
        if s.softcap:
            scores = s.softcap * np.tanh(scores / s.softcap)
        self.scores = np.where(self.seen, scores, -np.inf)
        self.broken = np.isnan(self.scores) | (self.scores == np.inf)
        self.broken = self.broken.any(2)
        top = np.max(np.where(np.isnan(self.scores), -np.inf, self.scores), 2, keepdims=True)
        top = np.where(np.isfinite(top), top, 0)
        weights = np.exp(self.scores - top)
        total = weights.sum(2, keepdims=True)
        self.pattern = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        self.live = (total[:, :, 0] > 0) & ~self.broken
        self.value = np.repeat(s.v, s.group, 0)

    def blocks(self):
        """Margins [units, row tiles, key tiles], NaN where not visible; and where they are not to be compared."""
        s, (high, wide) = self.s, self.s.tile
        tall, broad = -(-s.queries // high), -(-s.keys // wide)
        units = [[h] for h in range(s.heads)]
        if s.vote == "group":
            units = [list(range(g * s.group, (g + 1) * s.group)) for g in range(s.kv)]
        margins = np.full((len(units), tall, broad), np.nan)
        unsure = np.zeros(margins.shape, bool)
        for u, unit in enumerate(units):
            for i in range(tall):
                rows = slice(i * high, min((i + 1) * high, s.queries))
                cut = [slice(j * wide, min((j + 1) * wide, s.keys)) for j in range(broad)]
                visit = [j for j in range(broad) if self.seen[rows, cut[j]].any()]
                if self.broken[unit, rows].any():
                    unsure[u, i] = True
                    margins[u, i, visit] = 0
                    continue
                if s.order == "descending":
                    visit.reverse()
                run = max(1, -(-len(visit) // s.splits))
                own = self.scores[unit][:, rows]
                for step, j in enumerate(visit):
                    if step % run == 0:
                        m, l = np.full(own.shape[:2], -np.inf), np.zeros(own.shape[:2])
                    part = own[:, :, cut[j]]
                    t = part.max(2)
                    level = m if s.criterion == "max" else m + np.log(l)
                    rise = np.where(t == -np.inf, -np.inf, t - level)
                    margins[u, i, j] = np.inf if step % run == 0 else rise.max()
                    if s.criterion == "lse":
                        limit = math.log(s.threshold) if s.threshold > 0 else -math.inf
                        if abs(margins[u, i, j] - limit) < THRESHOLD:
                            unsure[u, i] = True
                        if margins[u, i, j] < limit:
                            continue
                    fresh = np.maximum(m, t)
                    base = np.where(np.isfinite(fresh), fresh, 0)
                    l = l * np.exp(m - base) + np.exp(part - base[:, :, None]).sum(2)
                    m = fresh
        return margins, unsure, units

    def outputs(self, head, kept):
        """Softmax over kept entries times V; rows that keep no mass are 0."""
        weights = np.where(kept, self.pattern[head], 0)
        total = weights.sum(1, keepdims=True)
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        return weights @ self.value[head]

    def a_shape(self, head, budget=0.1):
        """First columns and a window, as large as a tenth of the visible entries allows: the best recall.

        In a map that is not causal the window lies on both sides.
        """
        s, seen = self.s, self.seen
        most = int(seen.sum() * budget + 1e-6)
        away = np.arange(s.queries)[:, None] + s.offset - np.arange(s.keys)[None, :]
        away = np.abs(away)
        keys, best = np.arange(s.keys)[None, :], 0.0

        def kept(first, near):
            return seen & ((keys < first) | (away < near))

        for first in (0, 1, 4, 16, 64, 256):
            if kept(first, 0).sum() > most:
                continue
            near = 0
            while near < away.max() + 1 and kept(first, near + 1).sum() <= most:
                near += 1
            while first < s.keys and kept(first + 1, near).sum() <= most:
                first += 1
            best = max(best, (self.pattern[head] * kept(first, near)).sum(1)[self.live[head]].mean())
        return best


# MARK: Comparing

class Tally:
    """The largest difference of each number over its tolerance, and what failed."""

    def __init__(self):
        self.lines, self.failed = {}, []

    def add(self, setting, name, found, wanted, tolerance, place=""):
        found, wanted = np.asarray(found, float), np.asarray(wanted, float)
        same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
        away = np.where(same, 0, np.abs(found - wanted))
        away = np.where(np.isnan(away), np.inf, away)
        share = np.where(away == 0, 0, away / np.maximum(tolerance, 1e-300))
        worst = float(share.max()) if share.size else 0.0
        count, most, most_share = self.lines.get(name, (0, 0.0, 0.0))
        self.lines[name] = (count + away.size, max(most, float(away.max()) if away.size else 0), max(most_share, worst))
        if worst > 1:
            at = np.unravel_index(int(share.argmax()), share.shape) if share.ndim else ()
            where = " at " + ",".join(map(str, at)) if at else ""
            self.failed.append(
                (setting.seed, f"{name}{where} {place}: {found[at]:.7g}, and by its definition {wanted[at]:.7g}"))


def compare(tally, setting, report, arrays):
    straight = Straight(setting)
    margins, unsure, units = straight.blocks()
    found = arrays["layers.0.margins"].astype(float)
    blocks = arrays["layers.0.blocks"]
    # Scores are float32 while their size allows it: 2e-4 up to 256, and products of halves of 1e4 in float64.
    away = 2e-4 + 2e-6 * np.abs(np.where(np.isfinite(margins), margins, 0))
    tally.add(setting, "blocks seen", blocks != 255, ~np.isnan(margins), 0)
    tally.add(setting, "margins", np.where(unsure, 0, found), np.where(unsure, 0, margins), away)
    limit = math.log(setting.threshold) if setting.threshold > 0 else -math.inf
    near = np.abs(margins - limit) < THRESHOLD + 2e-6 * np.abs(np.where(np.isfinite(margins), margins, 0))
    if setting.odd == "ties" and setting.criterion == "max":
        near[:] = False
    skip = (margins < limit) & ~np.isnan(margins)
    sure = ~near & ~unsure & ~np.isnan(margins)
    tally.add(setting, "skipped or not", (blocks == 1)[sure], skip[sure], 0)
    for head in report["heads"]:
        one_head(tally, setting, straight, head, units, margins, blocks, arrays, bool(unsure.any()))
    totals(tally, setting, straight, report, blocks)


def one_head(tally, s, straight, head, units, margins, blocks, arrays, is_unsure):
    h = head["head"]
    unit = next(u for u, members in enumerate(units) if h in members)
    own, numbers = blocks[unit], head["numbers"]
    add = lambda name, found, wanted, tolerance: tally.add(s, name, found, wanted, tolerance, f"head {h}")
    visible, skipped = int((own != 255).sum()), int((own == 1).sum())
    add("visible_blocks", head["visible_blocks"], visible, 0)
    add("skipped_blocks", head["skipped_blocks"], skipped, 0)
    add("sparsity", head["sparsity"], skipped / max(visible, 1), 1e-12)
    rows, keys = np.arange(s.queries) // s.tile[0], np.arange(s.keys) // s.tile[1]
    kept = (own[rows][:, keys] == 0) & straight.seen
    live, pattern = straight.live[h], straight.pattern[h]
    rows_before = ~straight.broken[h]
    output = arrays["layers.0.output"][h].astype(float)
    size = max(1e-30, float(np.abs(straight.value[h]).max()))
    wanted = straight.outputs(h, kept)
    add("output", output[rows_before], wanted[rows_before], 3e-4 * size)
    if straight.broken[h].any():
        add("badge of what is no number", len(head["badges"]) > 0, True, 0)
        return
    if not live.any():
        return
    p = pattern[live]
    lost = np.where(kept, 0, pattern)[live].sum(1)
    add("dropped mean", head["dropped_mass"]["mean"], lost.mean(), 1e-5 + 5e-5 * lost.mean())
    add("dropped max", head["dropped_mass"]["max"], lost.max(), 1e-5 + 5e-5 * lost.max())
    dense = straight.outputs(h, straight.seen)
    norm = np.sqrt((dense ** 2).sum())
    error = np.sqrt(((wanted - dense) ** 2).sum()) / norm
    off = 2e-4 * size * math.sqrt(dense.size) / norm
    add("error", head["output_error"]["relative_l2"], error, off + 1e-3 * error)
    add("error max", head["output_error"]["max_abs"], np.abs(wanted - dense).max(), 4e-4 * size)
    entropy = -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(1).mean()
    add("entropy", head["entropy"], entropy, 4e-4 * (1 + entropy))
    add("effective_tokens", head["effective_tokens"], math.exp(entropy), 5e-5 * (1 + entropy) * math.exp(entropy))
    columns = p.mean(0)
    add("sink mass", head["sink"]["mass"], columns.max(), 1e-5 + 5e-5 * columns.max())
    add("sink position", columns[head["sink"]["position"]], columns.max(), 1e-5 + 5e-5 * columns.max())
    kept_numbers(add, s, straight, numbers, h, kept, live, lost)
    reach(add, s, head["reach"], p, live)
    label(add, straight, head["pattern"], h, p)
    if s.criterion == "max":
        thresholds(add, numbers, margins[unit], is_unsure)


def kept_numbers(add, s, straight, numbers, h, kept, live, lost):
    """What every method that keeps entries reports."""
    pattern, seen = straight.pattern[h], straight.seen
    add("density", numbers["density"], kept.sum() / seen.sum(), 1e-9)
    tiles = [(a, b) for a in range(0, s.queries, 64) for b in range(0, s.keys, 64)
             if seen[a:a + 64, b:b + 64].any()]
    full = sum(bool(kept[a:a + 64, b:b + 64].any()) for a, b in tiles)
    add("tile_density", numbers["tile_density"], full / len(tiles), 1e-9)
    recall = 1 - lost
    add("recall mean", numbers["recall_mean"], recall.mean(), 5e-5)
    add("recall min", numbers["recall_min"], recall.min(), 5e-5)
    if recall.min() > 1e-3:
        add("kl", numbers["kl"], -np.log(recall).mean(), 1e-5 + 5e-5 / recall.min())
    best = np.sort(pattern, 1)[:, ::-1].cumsum(1)
    count = kept.sum(1)
    most = np.where(count > 0, best[np.arange(s.queries), np.maximum(count - 1, 0)], 0)
    gap = np.maximum(0, most[live] - recall).mean()
    add("oracle_gap", numbers["oracle_gap"], gap, 5e-5)
    dense, sparse = straight.outputs(h, seen), straight.outputs(h, kept)
    left, right = np.linalg.norm(dense, axis=1), np.linalg.norm(sparse, axis=1)
    both = (left > 1e-3) & (right > 1e-3)
    if both.all() or (both | ~live).all():
        cosine = ((dense * sparse).sum(1)[both] / (left * right)[both]).mean()
        add("error_cosine", numbers["error_cosine"], cosine, 1e-3)


def reach(add, s, found, p, live):
    """How far the head looks; only where queries and keys are one text."""
    if found is None:
        add("reach is missing", s.causal or s.queries == s.keys, False, 0)
        return
    positions = (np.arange(s.queries) + s.offset)[live]
    away = np.abs(positions[:, None] - np.arange(s.keys)[None, :])
    mean = (p * away).sum() / p.sum()
    add("mean_distance", found["mean_distance"], mean, 1e-4 + 5e-5 * mean)
    before = [(r, x - 1) for r, x in enumerate(positions) if 0 < x <= s.keys]
    if before:
        previous = np.mean([p[r, key] for r, key in before])
        add("previous_token", found["previous_token"], previous, 5e-5)
    for part in found["profile"]:
        last = part is found["profile"][-1]
        inside = (away >= part["from"]) & ((away <= part["to"]) | last)
        add("profile", part["share"], (p * inside).sum() / p.sum(), 5e-5)


def label(add, straight, found, h, p):
    """The A-shape by its definition; of every shape that it keeps no more than its share and recalls no more than the
    best entries would; and the name that follows from the recalls."""
    scores, densities = found["scores"], found["densities"]
    add("a-shape recall", scores["a-shape"], straight.a_shape(h), 5e-5)
    most = int(straight.seen.sum() * 0.1 + 1e-6)
    flat = np.sort(p.ravel())[::-1]
    for name, recall in scores.items():
        add("density of shapes", max(densities[name], 0.1 * (1 + 1e-9)), 0.1, 1e-8)
        add("recall of shapes", max(0, recall - flat[:most].sum() / len(p)), 0, 5e-5)
    single = ["a-shape", "vertical-slash", "block-sparse"]
    top = max(scores[name] for name in single)
    if min(abs(x - y) for x in scores.values() for y in (0.9, top - 0.005)) < 1e-6:
        return
    if top >= 0.9:
        name = next(n for n in single if scores[n] >= top - 0.005 and scores[n] >= 0.9)
    else:
        name = "hybrid" if scores.get("hybrid", 0) >= 0.9 else "diffuse"
    add("name of the shape", found["label"] == name, True, 0)


def thresholds(add, numbers, margins, is_unsure):
    """The least lambda of a sparsity, and the most that lambda 1 reaches."""
    if "most" not in numbers or numbers["most"] is None or is_unsure:
        return
    ordered = np.sort(margins[~np.isnan(margins)])
    near = int((np.abs(ordered) < 2e-4).sum())
    add("most", numbers["most"], (ordered < 0).mean(), (near + 1e-9) / len(ordered))
    for share in (30, 50, 70):
        place = math.ceil(share / 100 * len(ordered) - 1e-9)
        margin = ordered[place - 1]
        if abs(margin) < 2e-4 or margin == -math.inf:
            continue
        found = numbers.get(f"lambda_{share}")
        if margin > 0:
            add(f"lambda_{share} is none", found is None, True, 0)
        elif margin > -80:
            add(f"ln lambda_{share}", math.log(found) if found else math.nan, margin, 3e-4 + 2e-6 * -margin)


def totals(tally, s, straight, report, blocks):
    total = report["total"]
    per = blocks if s.vote == "head" else np.repeat(blocks, s.group, 0)
    tally.add(s, "total blocks", [total["visible_blocks"], total["skipped_blocks"]],
              [(per != 255).sum(), (per == 1).sum()], 0)
    if straight.broken.any() or not straight.live.all(1).any():
        return
    viewers = straight.seen[:, 0].sum()
    first = straight.pattern[:, :, 0].sum(1) / max(viewers, 1)
    if (np.abs(first - 0.3) > 1e-3).all() and viewers:
        tally.add(s, "sink rate", total["sink_rate"]["all_rows"], (first > 0.3).mean(), 1e-9)


# MARK: Running

def run(program, folder, seed):
    setting = Setting(seed)
    dump, masks = (os.path.join(folder, f"{seed}{end}.safetensors") for end in ("", "-masks"))
    setting.write(dump)
    result = subprocess.run([program, "report", dump, "--json", "--masks", masks, *setting.flags()],
                            capture_output=True, text=True)
    try:
        if result.returncode != 0:
            return setting, None, (result.stderr or result.stdout).strip()
        return setting, json.loads(result.stdout), read(masks)
    finally:
        for path in (dump, masks):
            if os.path.exists(path):
                os.unlink(path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--settings", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="one setting by its own seed, as a failure names it")
    options = parser.parse_args()
    seeds = [options.only] if options.only is not None else [options.seed * 100000 + x for x in range(options.settings)]
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        for setting, report, arrays in pool.map(lambda seed: run(options.program, folder, seed), seeds):
            if report is None:
                tally.failed.append((setting.seed, f"report failed: {arrays}"))
                continue
            try:
                compare(tally, setting, report, arrays)
            except (KeyError, TypeError, ValueError, IndexError) as error:
                tally.failed.append((setting.seed, f"{type(error).__name__}: {error}"))
    print(f"{'number':28} {'compared':>9} {'largest difference':>19} {'of its tolerance':>17}")
    for name, (count, most, share) in tally.lines.items():
        print(f"{name:28} {count:9} {most:19.3g} {100 * share:15.2f} %")
    for seed, what in tally.failed[:40]:
        print(f"FAILED seed {seed} ({Setting(seed)}): {what}")
    if tally.failed:
        print(f"{len({seed for seed, _ in tally.failed})} settings failed; --only SEED runs one again")
        sys.exit(1)
    print(f"{len(seeds)} settings, {sum(line[0] for line in tally.lines.values())} numbers agree")


if __name__ == "__main__":
    main()
