"""The probe finds what a kernel skips, by its outputs alone; the kernel of the package says the same."""
import itertools

import numpy as np
import pytest
import torch
from attnscope import Probe, Rules, Tile, probe, wire
from attnscope import rules as definitions

F16, F32, BF16 = torch.float16, torch.float32, torch.bfloat16
PREFILL = [
    (Tile(16, 16), 0.5, F32, 4, 2, {}), (Tile(32, 16), 0.3, F16, 4, 2, {}), (Tile(16, 32), 0.3, BF16, 4, 4, {}),
    (Tile(64, 32), 0.5, F32, 4, 2, {}), (Tile(32, 64), 0.5, F16, 4, 1, {}), (Tile(64, 64), 0.7, F32, 2, 1, {}),
    (Tile(32, 32, "group"), 0.5, F32, 4, 2, {}), (Tile(16, 32, "head", "descending"), 0.3, F32, 4, 2, {}),
    (Tile(32, 32, "group", "descending"), 0.9, F16, 4, 2, {}), (Tile(32, 16), 0.7, F32, 4, 2, {"window": 100}),
    (Tile(16, 32), 0.3, F32, 4, 2, {"softcap": 8.0}), (Tile(32, 32), 0.5, BF16, 4, 2, {"sinks": True}),
    (Tile(16, 16, "head", "descending"), 0.05, F32, 4, 2, {"window": 70}),
]
DECODE = [
    (Tile(1, 16), 0.3, F32, 4, 2, {}), (Tile(1, 32, "group"), 0.5, F32, 4, 2, {}), (Tile(1, 64), 0.5, F16, 4, 2, {}),
    (Tile(1, 32, "head", "descending"), 0.3, BF16, 4, 2, {}), (Tile(1, 16, "head", "ascending", 2), 0.3, F32, 8, 4, {}),
    (Tile(1, 32, "group", "ascending", 4), 0.5, F32, 8, 4, {}), (Tile(1, 16), 0.3, F32, 4, 2, {"sinks": True}),
]


def numbers(heads, kv, n, m, d, kind, seed=0):
    """Q and K whose scores rise and fall slowly over blocks, so that something is skipped and something is not."""
    generator = torch.Generator().manual_seed(seed)

    def walks(count, length, factor):
        drift = torch.randn(count, length, d, generator=generator).cumsum(1)
        return factor * (drift / drift.std() + 0.2 * torch.randn(count, length, d, generator=generator))
    return walks(heads, n, 1.5)[None].to(kind), walks(kv, m, 1.5)[None].to(kind)


def kernel(rules, tile, lambda_):
    """The kernel of the package, whose P meets V in its own type, and what it skipped."""
    def run(q, k, v):
        at = torch.arange(k.shape[2] - q.shape[2], k.shape[2])
        out, _, run.skipped = definitions.attend(q[0], k[0], v[0], rules, at, lambda_, tile)
        return out.to(q.dtype)[None]
    return run


@pytest.mark.parametrize("number,setting,n", [(at, one, 320) for at, one in enumerate(PREFILL)]
                         + [(at + len(PREFILL), one, 1) for at, one in enumerate(DECODE)])
def test_settings(number, setting, n):
    tile, lambda_, kind, heads, kv, more = setting
    d = (16, 32, 64)[number % 3]
    q, k = numbers(heads, kv, n, 640 if n == 1 else 320, d, kind)
    more = more | ({"sinks": torch.linspace(-1, 1, heads)} if "sinks" in more else {})
    rules = Rules(d ** -0.5, more.get("window"), more.get("softcap"), more.get("sinks"))
    run = kernel(rules, tile, lambda_)
    found = probe(run, q, k, threshold=lambda_, **more)
    own = [one for one in found.agreement if one.tile == tile]
    assert len(own) == 1 and (own[0].wrong, own[0].missed) == (0, 0), own
    assert (run.skipped.sum(), (~run.skipped).sum()) > (0, 0), "nothing is skipped"
    mask = found.at(tile)
    sure = mask < 2
    assert torch.equal((mask == 1)[sure], run.skipped[sure]) and int(sure.sum()) > 10
    assert found.fingerprint == tile, str(found)
    assert f"{tile.text}, {tile.vote} votes, {tile.order}" in str(found)


def test_a_kernel_that_does_not_skip():
    q, k = numbers(4, 2, 160, 160, 32, F32)
    dense = kernel(Rules(32 ** -0.5), Tile(16, 16), 0.0)
    found = probe(dense, q, k, threshold=0.3)
    assert found.fingerprint is None and found.sparsity == 0 and not (found.mask == 1).any()
    found = probe(torch.nn.functional.scaled_dot_product_attention, q[:, :2], k, threshold=None, causal=False)
    assert set(found.mask.unique().tolist()) <= {0, 2} and not found.agreement


def test_a_wrong_threshold_is_not_confirmed():
    q, k = numbers(4, 2, 160, 160, 32, F32)
    run = kernel(Rules(32 ** -0.5), Tile(32, 16), 0.1)
    assert probe(run, q, k, threshold=0.1).fingerprint == Tile(32, 16)
    assert probe(run, q, k, threshold=0.9).fingerprint is None


def test_flex_attention_with_a_block_mask(monkeypatch):
    flex = pytest.importorskip("torch.nn.attention.flex_attention")
    monkeypatch.setattr(torch, "compile", lambda function=None, **_: function or (lambda one: one))
    heads, n, size = 2, 256, 32
    generator = torch.Generator().manual_seed(0)
    keep = torch.rand(heads, n // size, n // size, generator=generator) > 0.5
    keep[:, :, 0] = True
    mask = flex.create_block_mask(lambda b, h, i, j: (i >= j) & keep[h, i // size, j // size], 1, heads, n, n, "cpu",
                                  BLOCK_SIZE=size)
    q, k = numbers(heads, heads, n, n, 32, F32)
    there = ~keep

    def sparse(q, k, v):
        return flex.flex_attention(q, k, v, block_mask=mask)
    found = probe(sparse, q, k, expected=(Tile(size, size), there))
    assert found.fingerprint == Tile(size, size) and found.agreement[0].wrong == 0
    assert found.agreement[0].blocks == heads * 8 * 9 // 2
    there[1, 7, 3] ^= True
    found = probe(sparse, q, k, expected=(Tile(size, size), there))
    assert found.fingerprint is None and found.agreement[0].wrong == 1


LIES = {"turned": lambda q, k, v: q.transpose(1, 2), "short": lambda q, k, v: q[:, :, :-1],
        "nothing": lambda q, k, v: None, "a pair": lambda q, k, v: (q, None),
        "a head less": lambda q, k, v: q[:, 1:], "no batch": lambda q, k, v: q[0],
        "wider": lambda q, k, v: torch.cat([q, q], -1), "two": lambda q, k, v: torch.cat([q, q]),
        "no numbers": lambda q, k, v: torch.full_like(q, torch.nan)}


@pytest.mark.parametrize("lie", LIES)
def test_a_kernel_that_lies(lie):
    q, k = numbers(4, 2, 64, 64, 16, F32)
    with pytest.raises(ValueError, match="the kernel returned"):
        probe(LIES[lie], q, k, threshold=0.1)


@pytest.mark.parametrize("q,k", [((4, 64, 16), (2, 64, 16)), ((1, 4, 64, 16), (1, 3, 64, 16)),
                                 ((2, 4, 64, 16), (2, 2, 64, 16)),
                                 ((1, 4, 64, 16), (1, 2, 32, 16)), ((1, 4, 64, 16), (1, 2, 64, 8))])
def test_shapes_that_do_not_fit(q, k):
    with pytest.raises(ValueError, match="wanted"):
        probe(lambda q, k, v: q, torch.zeros(q), torch.zeros(k), threshold=0.1)


def test_a_dump_of_it(tmp_path):
    q, k = numbers(4, 2, 160, 160, 32, BF16)
    found = probe(kernel(Rules(32 ** -0.5), Tile(32, 16), 0.3), q, k, threshold=0.3, kernel="mine")
    assert isinstance(found, Probe)
    metadata, arrays = wire.load(found.save(tmp_path / "dump", layer=3, model="a model"))
    assert (metadata["tile"], metadata["lambda"], metadata["probe_tile"], metadata["model"]) == (
        "32x16", "0.3", "16x16", "a model")
    assert torch.equal(arrays["layers.3.probed"], found.mask)
    np.testing.assert_array_equal(arrays["layers.3.q"].float(), q[0].float())
    assert '"kernel": "mine"' in metadata["probe"]


def test_twenty_settings():
    assert len(PREFILL) + len(DECODE) == 20
    assert len({str(one) for one in itertools.chain(PREFILL, DECODE)}) == 20
