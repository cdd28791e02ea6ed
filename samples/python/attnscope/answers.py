"""What a viewer asks for, made from the Q and K that a run has kept; and the counts of a step."""
import math

import torch

from . import rules, wire
from .rules import Tile


def answer(run, line):
    """The frame for an asking line; a refusal says why."""
    number, what = line.get("ask"), line.get("what")
    try:
        with torch.no_grad(), side_stream(run):
            made = {"picture": picture, "table": table, "row": row}[what](run, line)
    except Refused as why:
        return wire.frame("answer", to=number, what="refused", why=str(why))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        return wire.frame("answer", to=number, what="refused", why=f"the question makes no sense here ({error!r})")
    except Exception as error:  # no memory on a device, most likely; the next question is heard
        why = (str(error) or repr(error)).splitlines()[0][:200]
        return wire.frame("answer", to=number, what="refused", why=f"the sender could not: {why}")
    arrays, metadata = made
    return wire.frame("answer", arrays, to=number, what=what, **metadata)


class Refused(Exception):
    """A clause that says why there is no answer."""


def side_stream(run):
    """Beside the model's own work, where the device can."""
    if not torch.cuda.is_available():
        return torch.no_grad()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.default_stream())
    return torch.cuda.stream(stream)


def subject(run, line):
    """(layer, head, q [1, n, d], k [1, n, d], mask or None, tokens) of a question."""
    branch, tokens = line["frame"]
    with run.lock:
        layer = run.layers.get(line["layer"])
        if layer is None:
            raise Refused(f"layer {line['layer']} is not shown")
        head = line["head"] - (run.first_head or 0)
        if not 0 <= head < layer.heads:
            raise Refused(f"head {line['head']} is not here")
        if branch != 0 or not 0 < tokens <= run.tokens:
            raise Refused("the run is not there yet")
        if not layer.queries or layer.all_queries(run.place).shape[1] < tokens:
            raise Refused("queries of so many tokens were not kept (keep=...)")
        q, k = layer.all_queries(run.place)[:, :tokens], layer.all_keys(run.place, tokens, run.low)
        masks = layer.masks
        if k.shape[1] < tokens:
            raise Refused("the cache holds the keys of its last tokens alone")
    mask = None
    if masks is not None:
        mask = torch.cat([torch.nn.functional.pad(one, (0, max(0, tokens - one.shape[2])))[..., :tokens]
                          for one in masks], 1)[:, :tokens].to(q.device)
        mask = mask[head:head + 1] if mask.shape[0] > 1 else mask
    group = layer.heads // layer.kv_heads
    return layer, head, q, k[head // group:head // group + 1], mask, tokens


def of_head(layer, head):
    """The rules with the head's own sink."""
    sinks = layer.rules.sinks
    return rules.Rules(layer.rules.scale, layer.rules.window, layer.rules.softcap,
                       None if sinks is None else sinks[head:head + 1], layer.rules.causal)


def place(line, tokens):
    return {"layer": line["layer"], "head": line["head"], "tokens": tokens}


def positions(count, device):
    return torch.arange(count, device=device)


def picture(run, line):
    layer, head, q, k, mask, tokens = subject(run, line)
    queries, keys = line["queries"], line["keys"]
    for begin, end in (queries, keys):
        if not 0 <= begin < end <= tokens:
            raise Refused("the window lies outside")
    for name, least in (("muted", 0), ("sampled", 1)):
        if line.get(name) is not None and (type(line[name]) is not int or line[name] < least):
            raise Refused(f"{name} is no number from {least} on")
    rows, columns = (min(max(1, int(line[side])), 4096) for side in ("rows", "columns"))
    most, mean, row_edges, key_edges = rules.picture(
        q[head:head + 1], k, of_head(layer, head), positions(tokens, q.device), queries, keys, rows, columns,
        line.get("muted"), line.get("sampled"), mask)
    return ({"max": most.float(), "mean": mean.float(), "row_edges": row_edges, "key_edges": key_edges},
            {"muted": line.get("muted"), "sampled": line.get("sampled")} | place(line, tokens))


def row(run, line):
    layer, head, q, k, mask, tokens = subject(run, line)
    at = int(line["row"])
    if not 0 <= at < tokens:
        raise Refused("there is no such query")
    mask = None if mask is None else mask[:, at:at + 1]
    mine = of_head(layer, head)
    scores = mine.scores(q[head:head + 1, at:at + 1], k, torch.tensor([at], device=q.device), mask)
    return {"row": mine.weights(scores)[0, 0].float()}, {"row": at} | place(line, tokens)


def table(run, line):
    layer, head, q, k, mask, tokens = subject(run, line)
    tile = Tile.of(line["tile"], run.prefill_tile)
    if line["tile"].get("criterion", "max") != "max":
        raise Refused("the sender knows the criterion max alone")
    group = layer.heads // layer.kv_heads
    unit = head // group * group
    some = slice(unit, unit + group) if tile.vote == "group" else slice(head, head + 1)
    mine, at, facts = layer.rules, positions(tokens, q.device), {}
    q, sinks = q[some], mine.sinks
    mine = rules.Rules(mine.scale, mine.window, mine.softcap, None if sinks is None else sinks[some], mine.causal)
    if "row" in line:
        one = int(line["row"])
        q, at, facts = q[:, one:one + 1], at[one:one + 1], {"queries": 1, "keys": tokens}
        mask = None if mask is None else mask[:, one:one + 1]
    margins = rules.table(q, k, mine, at, tile, mask, masses=False)[0]
    return ({"margins": margins[0].float()},
            {"tile": tile.text, "vote": tile.vote, "order": tile.order, "criterion": "max", "splits": tile.splits}
            | facts | place(line, tokens))


# ---- counts of a step ----


def newest(layers, tile, lambda_, tokens):
    """visible and skipped [layers, heads] of the newest row, and what it gives key 0; all layers at once."""
    if all(layer.margin is not None for layer in layers):
        return of_margins(layers, lambda_)
    shapes = {layer.scores.shape for layer in layers}
    if len(shapes) > 1 or any(one.rules.window or one.rules.softcap or one.rules.sinks is not None for one in layers):
        parts = [one_layer(layer, tile, lambda_, tokens) for layer in layers]
        return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
    scales = torch.tensor([layer.rules.scale for layer in layers])
    scores = torch.stack([layer.scores for layer in layers]).float()  # [layers, kv, group, keys]
    scores *= scales.to(scores.device)[:, None, None, None]
    return counts(scores, tile, lambda_, scores[..., 0], scores.logsumexp(-1))


def counts(scores, tile, lambda_, first, total, lead=0):
    """Of scores [layers, kv heads, group, keys], all visible; `lead` positions of the first block are not among them."""
    layers, kv, group, keys = scores.shape
    lead, more = lead % tile.keys, -(keys + lead % tile.keys) % tile.keys
    if more or lead:
        scores = torch.nn.functional.pad(scores, (lead, more), value=-math.inf)
    most = scores.reshape(layers, kv, group, -1, tile.keys).amax(-1)
    blocks = most.shape[-1]
    most = most.reshape(layers * kv * group, 1, 1, blocks)
    run = -(-blocks // tile.splits)
    margin = torch.cat([rules.run_margins(most[..., begin:begin + run], tile) for begin in range(0, blocks, run)], -1)
    margin = margin.reshape(layers, kv, group, blocks)
    if tile.vote == "group":
        margin = margin.amax(2, keepdim=True).expand(-1, -1, group, -1)
    skipped = rules.skips(margin, lambda_).sum(-1, dtype=torch.int32).reshape(layers, kv * group)
    return {"visible": torch.full_like(skipped, blocks), "skipped": skipped,
            "sinks": (first - total).exp().reshape(layers, kv * group)}


def one_layer(layer, tile, lambda_, tokens):
    """The same of a layer with a window, a softcap or sinks: [heads]."""
    mine, scores = layer.rules, layer.scores.float() * layer.rules.scale
    if mine.softcap:
        scores = mine.softcap * torch.tanh(scores / mine.softcap)
    base = tokens - scores.shape[-1]
    begin = max(base, tokens - mine.window) if mine.window else base
    scores = scores[..., begin - base:]
    total = scores.logsumexp(-1)
    if mine.sinks is not None:
        total = torch.logaddexp(total, mine.sinks.float().reshape(total.shape))
    first = scores[..., 0] if begin == 0 else torch.full_like(total, -math.inf)
    made = counts(scores[None], tile, lambda_, first[None], total[None], begin)
    return {name: value[0] for name, value in made.items()}


def of_margins(layers, lambda_):
    """From what a kernel has reported: margins [units, 1, C]."""
    parts = {"visible": [], "skipped": []}
    for layer in layers:
        margin = layer.margin[:, -1]
        share = layer.heads // margin.shape[0]
        parts["visible"].append((~margin.isnan()).sum(-1).repeat_interleave(share).int())
        parts["skipped"].append(rules.skips(margin, lambda_).sum(-1).repeat_interleave(share).int())
    return {name: torch.stack(values) for name, values in parts.items()}
