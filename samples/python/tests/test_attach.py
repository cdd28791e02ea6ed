"""A model that is watched computes what it computes without, and says what it did."""
import json
import math

import attnscope
import numpy as np
import pytest
import torch
import truth
from attnscope import wire
from conftest import wait_for
from models import make, prompt

FAMILIES = ["llama", "qwen3", "mistral", "gemma2", "gemma3", "gpt_oss", "gpt2"]
WINDOWS = {"mistral": [24] * 3, "gemma2": [16, None, 16, None], "gemma3": [16] * 4, "gpt_oss": [16, None, 16, None]}


def generated(model, ids, **options):
    more = {"max_new_tokens": 6, "do_sample": False, "output_logits": True, "return_dict_in_generate": True} | options
    more.setdefault("attention_mask", torch.ones_like(ids))
    with torch.no_grad():
        return model.generate(ids, **more)


def same(one, other):
    assert torch.equal(one.sequences, other.sequences)
    for step, (a, b) in enumerate(zip(one.logits, other.logits)):
        assert torch.equal(a, b), f"the logits of step {step} differ by {float((a - b).abs().max())}"


def recorded(path):
    frames = wire.Frames().feed(path.read_bytes())
    return {kind: [one for one in frames if one[0]["kind"] == kind] for kind in {one[0]["kind"] for one in frames}}


def loaded(family, implementation, **more):
    try:
        return make(family, implementation, **more)
    except (ValueError, ImportError) as error:
        pytest.skip(f"transformers: {error}")


def tried(*arguments, **options):
    try:
        return generated(*arguments, **options)
    except (ValueError, RuntimeError, NotImplementedError, TypeError) as error:
        pytest.skip(f"the model alone cannot: {str(error).splitlines()[0][:80]}")


@pytest.mark.parametrize("implementation", ["sdpa", "eager", "flex_attention"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_computes_what_it_did(family, implementation, tmp_path, monkeypatch):
    if implementation == "flex_attention":  # compiling takes half a minute, and is not what is tested
        monkeypatch.setattr(torch, "compile", lambda function=None, **_: function or (lambda one: one))
    model, ids = loaded(family, implementation), prompt()
    before = tried(model, ids)
    with attnscope.attach(model, str(tmp_path / "run")):
        same(generated(model, ids), before)
    made = recorded(tmp_path / "run")
    said = made["hello"][0][0]
    count, tokens = len(model.model.layers) if family != "gpt2" else 3, before.sequences[0].tolist()
    assert (int(said["layers"]), int(said["prompt_tokens"])) == (count, 40)
    assert json.loads(said.get("sliding_window", "null")) == WINDOWS.get(family)
    if family == "gemma2":
        assert json.loads(said["softcap"]) == [5.0] * 4
    if family == "gpt_oss":
        assert torch.equal(made["hello"][0][1]["sinks"][0], torch.linspace(-1, 2, 4))
    assert made["prefill"][0][1]["token_ids"].tolist() == tokens[:40]
    assert [(int(one[0]["position"]), int(one[0]["token"])) for one in made["step"]] == list(enumerate(tokens))[40:45]
    assert made["bye"][0][0]["why"] == "the run is over"
    same(generated(model, ids), before)  # and without it again


def weights_of(made, layer, said, **more):
    """Weights of every query by the frames alone: Q, K, scale, window, softcap, sinks."""
    parts = {name: torch.cat([one[1][f"layers.{layer}.{name}"] for one in made["prefill"] + made.get("step", [])], 1)
             for name in "qk"}
    each = {name: json.loads(said.get(name, "null")) for name in ("sliding_window", "softcap")}
    there = truth.scores(parts["q"], parts["k"], float(said["scale"]),
                         *(each[name] and each[name][layer] for name in ("softcap", "sliding_window")))
    sinks = made["hello"][0][1].get("sinks")
    return truth.weights(there, None if sinks is None else sinks[layer]), there


@pytest.mark.parametrize("family", FAMILIES)
def test_what_travels_is_what_the_model_attended(family, tmp_path):
    """The frames give the model's own output_attentions, in prompt and steps."""
    model, ids = make(family, "eager"), prompt(30)
    before = generated(model, ids, output_attentions=True, max_new_tokens=4)
    with attnscope.attach(model, str(tmp_path / "run")):
        generated(model, ids, max_new_tokens=4)
    made = recorded(tmp_path / "run")
    said = made["hello"][0][0]
    for layer in range(int(said["layers"])):
        weight = weights_of(made, layer, said)[0]
        np.testing.assert_allclose(weight[:, :30, :30], before.attentions[0][layer][0], atol=2e-6)
        for step in range(1, 4):
            own = before.attentions[step][layer][0, :, 0]
            row = weight[:, 29 + step, :30 + step][:, -own.shape[1]:]  # a window's cache has the last keys alone
            np.testing.assert_allclose(row, own, atol=2e-6)


def padded(side, count=40, short=29):
    ids, mask = prompt(count, batch=2), torch.ones(2, count, dtype=torch.int64)
    hidden = slice(0, count - short) if side == "left" else slice(short, count)
    ids[1, hidden], mask[1, hidden] = 0, 0
    return ids, mask


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("family", ["llama", "mistral", "gpt_oss"])
@pytest.mark.parametrize("sequence", [0, 1])
def test_a_padded_batch(family, implementation, sequence, tmp_path):
    model, (ids, mask) = loaded(family, implementation), padded("left")
    before = generated(model, ids, attention_mask=mask)
    with attnscope.attach(model, str(tmp_path / "run"), sequence=sequence):
        same(generated(model, ids, attention_mask=mask), before)
    made = recorded(tmp_path / "run")
    tokens = before.sequences[sequence].tolist()[(0, 11)[sequence]:]
    count = (40, 29)[sequence]
    assert made["prefill"][0][1]["token_ids"].tolist() == tokens[:count]
    assert [(int(one[0]["position"]), int(one[0]["token"])) for one in made["step"]] == list(
        enumerate(tokens))[count:count + 5]
    said = made["hello"][0][0]
    weight = weights_of(made, 1, said)[0]
    other = make(family, "eager")
    alone = torch.tensor([tokens[:count + 5]])
    with torch.no_grad():
        own = other(alone, output_attentions=True).attentions[1][0]
    np.testing.assert_allclose(weight, own, atol=5e-5)  # padding has no influence


def test_padding_on_the_right(tmp_path):
    model, (ids, mask) = make("llama", "sdpa"), padded("right")
    with torch.no_grad():
        before = model(ids, attention_mask=mask).logits
        with attnscope.attach(model, str(tmp_path / "run"), sequence=1):
            assert torch.equal(model(ids, attention_mask=mask).logits, before)
    made = recorded(tmp_path / "run")
    assert made["prefill"][0][1]["token_ids"].tolist() == ids[1, :29].tolist()
    assert made["prefill"][0][1]["layers.0.k"].shape == (2, 29, 16)


@pytest.mark.parametrize("options", [{"use_cache": False}, {"cache_implementation": "static"}])
@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt_oss"])
def test_other_caches(family, options, tmp_path):
    model, ids = make(family, "sdpa" if family == "llama" else "eager"), prompt()
    before = tried(model, ids, **options)
    with attnscope.attach(model, str(tmp_path / "run")):
        same(generated(model, ids, **options), before)
    made = recorded(tmp_path / "run")
    tokens = before.sequences[0].tolist()
    assert [(int(one[0]["position"]), int(one[0]["token"])) for one in made["step"]] == list(enumerate(tokens))[40:45]
    said = made["hello"][0][0]
    weight = weights_of(made, 1, said)[0]
    with torch.no_grad():
        own = make(family, "eager")(torch.tensor([tokens[:45]]), output_attentions=True).attentions[1][0]
    np.testing.assert_allclose(weight, own, atol=5e-5)


def test_a_prompt_in_parts(tmp_path):
    model, ids = make(), prompt()
    with torch.no_grad(), attnscope.attach(model, str(tmp_path / "run")):
        cache = model(ids[:, :25], use_cache=True).past_key_values
        model(ids[:, 25:], past_key_values=cache, use_cache=True)
    made = recorded(tmp_path / "run")
    assert [int(one[0]["position"]) for one in made["prefill"]] == [0, 25]
    with torch.no_grad():
        own = make("llama", "eager")(ids, output_attentions=True).attentions[1][0]
    np.testing.assert_allclose(weights_of(made, 1, made["hello"][0][0])[0], own, atol=2e-6)


def test_another_text_is_computed_and_said(tmp_path, capfd):
    model, ids = make(), prompt()
    before = generated(model, ids)
    with attnscope.attach(model, str(tmp_path / "run")):
        same(generated(model, ids), before)
        same(generated(model, prompt(seed=9)), generated(make(), prompt(seed=9)))
        same(generated(model, ids), before)
    assert len(recorded(tmp_path / "run")["step"]) == 5
    assert "another text began" in capfd.readouterr().err


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_detach_restores(implementation, fails, path, tmp_path):
    model = make("llama", implementation)

    def state():
        return (model.config._attn_implementation,
                [one.self_attn.config._attn_implementation for one in model.model.layers],
                len(model._forward_hooks), len(model._forward_pre_hooks), "forward" in vars(model))
    before, logits = state(), generated(model, prompt())
    try:
        with attnscope.attach(model, path):
            assert state() != before
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert state() == before
    same(generated(model, prompt()), logits)
    attachment = attnscope.attach(model, str(tmp_path / "run"))  # and again
    with pytest.raises(ValueError, match="already"):
        attnscope.attach(model, path)
    attnscope.detach(model)
    assert state() == before and not attachment.layers
    with pytest.raises(ValueError, match="not attached"):
        attnscope.detach(model)


def test_an_exception_within_a_pass(tmp_path):
    model = make()
    expected = generated(model, prompt())

    def fails(*_):
        raise KeyError
    with attnscope.attach(model, str(tmp_path / "run")):
        hook = model.model.layers[1].mlp.register_forward_pre_hook(fails)
        with pytest.raises(KeyError):
            generated(model, prompt())
        hook.remove()
        same(generated(model, prompt()), expected)
    assert len(recorded(tmp_path / "run")["step"]) == 5


def test_an_address_that_cannot_be_leaves_the_model(tmp_path):
    model = make()
    with pytest.raises(OSError):
        attnscope.attach(model, f"unix:{tmp_path}/none/run.sock")
    assert model.config._attn_implementation == "sdpa"
    with pytest.raises(ValueError, match="lambda_"):
        attnscope.attach(model, str(tmp_path / "run"), lambda_=2)


def test_two_models_at_once(tmp_path):
    one, other = make(), make("qwen3")
    expected = generated(one, prompt()), generated(other, prompt())
    with attnscope.attach(one, str(tmp_path / "one")), attnscope.attach(other, str(tmp_path / "other")):
        same(generated(one, prompt()), expected[0])
        same(generated(other, prompt()), expected[1])
    assert all(len(recorded(tmp_path / name)["step"]) == 5 for name in ("one", "other"))


@pytest.mark.parametrize("first", ["compiled", "attached"])
def test_a_compiled_model_works_and_is_seen_or_says_so(first, tmp_path, capfd):
    model, ids = make(), prompt()
    with torch.no_grad():
        expected = model(ids).logits
        compiled = torch.compile(model, backend="eager")
        if first == "compiled":
            np.testing.assert_allclose(compiled(ids).logits, expected, atol=1e-5)
        with attnscope.attach(model, str(tmp_path / "run")):
            np.testing.assert_allclose(compiled(ids).logits, expected, atol=1e-5)
        np.testing.assert_allclose(compiled(ids).logits, expected, atol=1e-5)
    assert "prefill" in recorded(tmp_path / "run") or "nothing is shown" in capfd.readouterr().err


def test_layers_that_are_chosen(tmp_path):
    model = make("gemma2", "eager")
    with attnscope.attach(model, str(tmp_path / "run"), layers=[1, 3]):
        generated(model, prompt())
    made = recorded(tmp_path / "run")
    assert json.loads(made["hello"][0][0]["layer_numbers"]) == [1, 3]
    carried = {name for name in made["step"][0][1] if "." in name}
    assert carried == {f"layers.{one}.{name}" for one in (1, 3) for name in "qkv"}


def test_nobody_watches(path):
    """Nothing is counted, and nobody waits."""
    model = make()
    with attnscope.attach(model, path) as run:
        generated(model, prompt())
        wait_for(lambda: run.sender.is_ready)
        assert all(layer.scores is None for layer in run.layers.values())
        assert math.isclose(run.sender.ring.next, 1 + 1 + 5)
