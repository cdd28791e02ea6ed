"""Kernels that compute attention with skip softmax and report what they skipped.

A kernel is called with q [heads, n, d], k and v [kv heads, m, d], `Rules`, lambda and `Tile`; `past` keys come before
query 0. It returns the output [heads, n, dv] and margins [units, R, C] in nats (NaN where no row sees a block).
"""
import math

import torch

from . import rules as definitions


class Torch:
    """By the definition, in torch, on any device: as plain as it is slow."""

    name = "attnscope torch"

    def __call__(self, q, k, v, rules, lambda_, tile, past=0, mask=None):
        n, m = q.shape[1], k.shape[1]
        used = min(m, past + n)
        base = past + n - used  # a window's cache holds the last keys alone
        begin = base
        at = torch.arange(past - begin, past - begin + n, device=q.device)
        bias = None
        if mask is not None:
            mask = mask[..., :used]
            bias = torch.where(mask, 0.0, -math.inf) if mask.dtype == torch.bool else mask.float()
            bias = bias.masked_fill(bias <= torch.finfo(torch.float16).min / 2, -math.inf)
        lead = begin % tile.keys
        if lead:  # blocks keep their places in the text
            k, v = (torch.nn.functional.pad(x[:, :used], (0, 0, lead, 0)) for x in (k, v))
            hidden = torch.zeros(1, 1, used, device=q.device) if bias is None else bias
            bias, at, used = torch.nn.functional.pad(hidden, (lead, 0), value=-math.inf), at + lead, used + lead
        out, margin, _ = definitions.attend(q, k[:, :used], v[:, :used], rules, at, lambda_, tile, bias)
        return out.to(q.dtype), margin


def named(kernel):
    """"torch" or "triton", or a kernel of one's own."""
    if kernel == "torch":
        return Torch()
    if kernel == "triton":
        from .triton import Triton
        return Triton()
    if callable(kernel):
        return kernel
    raise ValueError(f"kernel={kernel!r}: torch and triton are known, or something that is called like them")
