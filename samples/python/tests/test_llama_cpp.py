"""llama.cpp on the wire: what its frames say gives the weights that it computed."""
import importlib.util
import os

import pytest
import torch
from attnscope import Rules, wire

MODEL = os.environ.get("ATTNSCOPE_TEST_MODEL",
                       os.path.expanduser("~/.cache/attnscope/SmolLM2-135M-Instruct.Q4_1.gguf"))
EXAMPLE = os.path.join(os.path.dirname(__file__), "..", "examples", "llama_cpp.py")


def test_smollm2(tmp_path):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    if not os.path.exists(MODEL):
        pytest.skip(f"no model at {MODEL}: set ATTNSCOPE_TEST_MODEL")
    spec = importlib.util.spec_from_file_location("attnscope_llama_cpp", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    run = example.Listener(MODEL, str(tmp_path / "run"), context=256)
    tokens = list(run.generate("The quick brown fox jumps over the lazy dog, and then", 4))
    newest, run_tokens = dict(run.rows), run.tokens
    run.close()
    frames = wire.Frames().feed((tmp_path / "run").read_bytes())
    assert [one[0]["kind"] for one in frames] == ["hello", "prefill"] + ["step"] * 4 + ["bye"]
    said, content = frames[0][0], frames[1:-1]
    assert (said["layers"], said["heads"], said["kv_heads"], said["head_dim"]) == ("30", "9", "3", "64")
    assert [int(one[0]["token"]) for one in content[1:]] == tokens
    prompt = len(content[0][1]["token_ids"])
    assert [int(one[0]["position"]) for one in content] == [0, *range(prompt, prompt + 4)] and run_tokens == prompt + 4
    for layer in (0, 7, 29):
        q, k = (torch.cat([one[1][f"layers.{layer}.{name}"] for one in content], 1) for name in "qk")
        rules = Rules(64 ** -0.5)
        weight = rules.weights(rules.scores(q, k, torch.arange(run_tokens)))
        own = newest[layer][:, -1, :run_tokens]
        assert float((weight[:, -1] - own).abs().max()) < 5e-3, layer  # its cache is in half precision
        torch.testing.assert_close(content[-1][1]["sinks"][layer], own[:, 0])
