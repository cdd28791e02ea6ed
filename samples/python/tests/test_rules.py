"""The definitions against straight loops."""
import math

import numpy as np
import pytest
import torch
import truth
from attnscope import rules
from attnscope.kernels import Torch
from attnscope.rules import Rules, Tile

KINDS = {
    "plain": {},
    "window": {"window": 7},
    "softcap": {"softcap": 2.0},
    "sinks": {"sinks": torch.tensor([-1.0, 0.5, 2.0, 0.0], dtype=torch.float64)},
    "encoder": {"causal": False},
    "encoder with a window": {"causal": False, "window": 5},
    "all": {"window": 9, "softcap": 3.0, "sinks": torch.tensor([1.0, -0.5, 0.0, 0.3], dtype=torch.float64)},
}
TILES = [Tile(4, 4), Tile(8, 4, "group"), Tile(5, 3, "head", "descending"), Tile(4, 4, "group", "ascending", 3),
         Tile(16, 2, "head", "descending", 2), Tile(1, 8, "group", "ascending", 4), Tile(64, 64)]


def numbers(n=21, m=21, heads=4, kv=2, d=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(count, length, d, generator=generator, dtype=torch.float64) * factor
                 for count, length, factor in ((heads, n, 2.0), (kv, m, 2.0), (kv, m, 1.0)))


def same(made, expected):
    np.testing.assert_allclose(np.asarray(made, np.float64), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tile", TILES, ids=lambda tile: f"{tile.text}-{tile.vote}-{tile.order}-{tile.splits}")
@pytest.mark.parametrize("n", [21, 1])
def test_skip_softmax(kind, tile, n):
    q, k, v = numbers(n)
    rule = Rules(0.35, **KINDS[kind])
    past = 21 - n
    facts = {"softcap": rule.softcap, "window": rule.window, "causal": rule.causal, "past": past}
    there = truth.scores(q, k, 0.35, **facts)
    same(rule.scores(q, k, torch.arange(past, 21), exact=torch.float64), there)
    choice = (tile.rows, tile.keys, tile.vote, tile.order, tile.splits, 2)
    for lambda_ in (0.0, 0.05, 0.6, 1.0):
        out, margin, skipped = rules.attend(q, k, v, rule, torch.arange(past, 21), lambda_, tile, exact=torch.float64)
        expected, gone = truth.attend(there, v, lambda_, *choice, sinks=rule.sinks)
        same(margin, truth.margins(there, *choice))
        assert np.array_equal(skipped, gone), lambda_
        same(out, expected)


def test_tiles_skip_something():
    """The tests above would mean little if nothing were skipped."""
    q, k, v = numbers()
    skipped = rules.attend(q, k, v, Rules(0.35), torch.arange(21), 0.6, Tile(4, 4), exact=torch.float64)[2]
    assert 10 < int(skipped.sum()) < 60


def test_some_rows_at_a_time(monkeypatch):
    q, k, v = numbers()
    at = torch.arange(21)
    whole = rules.attend(q, k, v, Rules(0.35), at, 0.5, Tile(4, 4), exact=torch.float64)
    tables = rules.table(q, k, Rules(0.35), at, Tile(4, 4), exact=torch.float64)
    monkeypatch.setattr(rules, "LARGEST", 600)
    for made, expected in zip(rules.attend(q, k, v, Rules(0.35), at, 0.5, Tile(4, 4), exact=torch.float64), whole):
        same(made, expected)
    for made, expected in zip(rules.table(q, k, Rules(0.35), at, Tile(4, 4), exact=torch.float64), tables):
        same(made, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures(kind):
    q, k, _ = numbers()
    rule = Rules(0.35, **KINDS[kind])
    there = truth.scores(q, k, 0.35, rule.softcap, rule.window, rule.causal)
    weight = truth.weights(there, rule.sinks)
    one = Rules(0.35, rule.window, rule.softcap, None if rule.sinks is None else rule.sinks[3:], rule.causal)
    for queries, keys, rows, columns in (([0, 21], [0, 21], 70, 100), ([0, 21], [0, 21], 4, 5),
                                         ([3, 17], [2, 9], 3, 2)):
        made = rules.picture(q[3:], k[1:], one, torch.arange(21), queries, keys, rows, columns, exact=torch.float64)
        for part, expected in zip(made, truth.picture(weight[3], there[3], queries, keys, rows, columns)):
            np.testing.assert_allclose(part, expected, rtol=0, atol=1e-6)


def test_a_muted_key_leaves_the_rest_whole():
    q, k, _ = numbers()
    there = truth.scores(q, k, 0.35)[0]
    there[:, 0] = -math.inf
    made = rules.picture(q[:1], k[:1], Rules(0.35), torch.arange(21), [1, 21], [0, 21], 20, 21, muted=0,
                         exact=torch.float64)
    expected = truth.picture(truth.weights(there[None])[0], there, [1, 21], [0, 21], 20, 21)
    np.testing.assert_allclose(made[0], expected[0], rtol=0, atol=1e-6)


def test_masks_are_nested_and_strict():
    q, k, _ = numbers()
    margin = rules.margins(Rules(0.35).scores(q, k, torch.arange(21), exact=torch.float64), Tile(4, 4))
    counts = [int(rules.skips(margin, lambda_).sum()) for lambda_ in (0, 1e-9, .01, .1, .5, 1)]
    assert counts == sorted(counts) and counts[0] == 0 < counts[-1]
    assert not rules.skips(torch.tensor([[[math.log(0.5)]]], dtype=torch.float64), 0.5).any()


@pytest.mark.parametrize("said", [{"rows": 0}, {"rows": "4"}, {"keys": True}, {"keys": 1 << 20}, {"vote": "all"},
                                  {"order": 1}, {"splits": 1.5}])
def test_no_tile(said):
    with pytest.raises(ValueError):
        Tile.of(said, Tile(4, 4))


@pytest.mark.parametrize("said", ["4", "axb", "0x4", "-4x4", "4x4x4", ""])
def test_no_text_of_a_tile(said):
    with pytest.raises(ValueError):
        Tile.of(said, Tile(4, 4))


@pytest.mark.parametrize("kind", [one for one in KINDS if "encoder" not in one])
@pytest.mark.parametrize("kept", [21, 12])
def test_the_kernel_of_the_package_in_decode(kind, kept):
    """One query at the end; of a window's cache the last keys alone are there, and blocks keep their places."""
    q, k, v = numbers(1)
    rule = Rules(0.35, **KINDS[kind])
    if kept < 21 and not rule.window:
        pytest.skip("only a window lets keys go")
    tile = Tile(1, 4, "group")
    there = truth.scores(q, k, 0.35, rule.softcap, rule.window, past=20)
    expected = truth.attend(there, v, 0.6, 1, 4, "group", kv_heads=2, sinks=rule.sinks)[0]
    out, margin = Torch()(q.float(), k[:, 21 - kept:].float(), v[:, 21 - kept:].float(), rule, 0.6, tile, past=20)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-5)
    wanted = truth.margins(there, 1, 4, "group", kv_heads=2)
    np.testing.assert_allclose(margin[margin.isfinite()], wanted[np.isfinite(wanted)], rtol=0, atol=1e-4)
