"""Two ranks say together what one process says; one that is killed leaves the other's stream whole."""
import os
import subprocess
import sys

import pytest
import torch
from conftest import LONG, wait_for
from test_attach import recorded

EXAMPLE = os.path.join(os.path.dirname(__file__), "..", "examples", "ranks.py")


@pytest.fixture
def ranks(tmp_path):
    """Starts the ranks of a run; what still runs at the end is ended."""
    started = []

    def start(world, to, tokens):
        for rank in range(world):
            started.append(subprocess.Popen([
                sys.executable, EXAMPLE, "--rank", str(rank), "--world", str(world), "--rendezvous",
                str(tmp_path / f"ranks{world}"), "--to", to, "--tokens", str(tokens)],
                stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}))
        return started[-world:]
    yield start
    for one in started:
        one.kill()
        one.wait()


def test_merged_by_heads(ranks, tmp_path):
    for one in ranks(2, str(tmp_path / "two.{rank}"), 6) + ranks(1, str(tmp_path / "one"), 6):
        _, errors = one.communicate(timeout=4 * LONG)
        assert one.returncode == 0, errors
    one, *two = (recorded(tmp_path / name) for name in ("one", "two.0", "two.1"))
    heads = [{name: one["hello"][0][0].get(name) for name in ("rank", "world", "first_head", "heads", "kv_heads")}
             for one in two]
    assert heads == [{"rank": "0", "world": "2", "first_head": None, "heads": "4", "kv_heads": "2"},
                     {"rank": "1", "world": "2", "first_head": "4", "heads": "4", "kv_heads": "2"}]
    assert one["hello"][0][0]["heads"] == "8" and "rank" not in one["hello"][0][0]
    for kind, count in (("prefill", 1), ("step", 5)):
        assert [len(run[kind]) for run in (one, *two)] == [count] * 3
        for (said, whole), *parts in zip(one[kind], two[0][kind], two[1][kind]):
            for metadata, arrays in parts:
                assert all(metadata.get(name) == said.get(name) for name in ("seq", "position", "token"))
                assert set(arrays) == set(whole)
            for name in whole:
                if name.startswith("layers."):
                    torch.testing.assert_close(torch.cat([arrays[name] for _, arrays in parts]), whole[name],
                                               atol=1e-4, rtol=1e-4)
                elif name in ("visible", "skipped", "sinks"):
                    torch.testing.assert_close(torch.cat([arrays[name] for _, arrays in parts], 1), whole[name])


def test_a_rank_that_is_killed(ranks, viewers, tmp_path):
    first, second = ranks(2, f"unix:{tmp_path}/run.{{rank}}.sock", 3000)
    for rank in (0, 1):
        wait_for(lambda rank=rank: os.path.exists(tmp_path / f"run.{rank}.sock"), f"the socket of rank {rank}")
    viewer, other = (viewers(f"unix:{tmp_path}/run.{rank}.sock") for rank in (0, 1))
    for one in (viewer, other):
        one.until(lambda frame: frame[0]["kind"] == "step" and int(frame[0]["position"]) >= 45, "the sixth step")
    second.kill()
    other.ended()
    viewer.ended()
    assert viewer.failure is None and viewer.frames[-1][0]["kind"] == "bye"
    assert viewer.frames[-1][0]["why"].startswith("the run ended with ")
    numbers = [int(one[0]["seq"]) for one in viewer.frames if "seq" in one[0]]
    assert numbers == list(range(len(numbers))) and len(numbers) > 7
    assert "bye" not in other.kinds
    first.wait(LONG)
    assert not os.path.exists(tmp_path / "run.0.sock")
