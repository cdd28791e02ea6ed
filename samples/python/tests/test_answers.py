"""What a viewer asks for and is told, against truth in double precision; and what it may tell the model."""
import json
import math
import threading

import attnscope
import numpy as np
import pytest
import torch
import transformers
import truth
from attnscope.rules import Tile
from conftest import LONG
from models import make, prompt
from test_attach import generated, recorded

FAMILIES = ["llama", "mistral", "gemma2", "gpt_oss", "gpt2"]
FACTS = {"mistral": ([24] * 3, [None] * 3), "gemma2": ([16, None] * 2, [5.0] * 4),
         "gpt_oss": ([16, None] * 2, [None] * 4)}
CHOICES = [("16x8", "head", "ascending", 1), ("8x16", "group", "ascending", 1), ("16x16", "head", "descending", 1),
           ("8x8", "group", "descending", 3), ("16x8", "head", "ascending", 2)]


def asked_of(run, family, layer):
    """Scores [heads, n, n] of a layer in double precision, and its sinks."""
    one = run.layers[layer]
    windows, softcaps = FACTS.get(family, ([None] * 4, [None] * 4))
    there = truth.scores(one.all_queries(run.place), one.all_keys(run.place, run.tokens, run.low), one.rules.scale, softcaps[layer],
                         windows[layer])
    return there, torch.linspace(-1, 2, 4) if family == "gpt_oss" else None


def tile_of(text, vote, order, splits):
    rows, keys = text.split("x")
    return {"rows": int(rows), "keys": int(keys), "vote": vote, "order": order, "criterion": "max", "splits": splits}


@pytest.mark.parametrize("family", FAMILIES)
def test_answers(family, path, viewers):
    model = make(family, "eager")
    own = generated(model, prompt(30), max_new_tokens=4, output_attentions=True).attentions[0]
    with attnscope.attach(model, path) as run:
        generated(model, prompt(30), max_new_tokens=4)
        viewer, number, n = viewers(path), iter(range(1, 10000)), 33
        viewer.kind("hello")
        for layer, head in ((0, 1), (1, 2)):
            there, sinks = asked_of(run, family, layer)
            weight = truth.weights(there, sinks)
            place = {"layer": layer, "head": head, "frame": [0, n]}
            np.testing.assert_allclose(weight[head, :30, :30], own[layer][0, head], atol=2e-6)
            for row in (0, 17, n - 1):
                metadata, arrays = viewer.ask(next(number), "row", row=row, **place)
                assert metadata["what"] == "row", metadata
                np.testing.assert_allclose(arrays["row"], weight[head, row], atol=2e-6)
            for queries, keys, rows, columns in (([0, n], [0, n], 70, 100), ([0, n], [0, n], 5, 7),
                                                 ([9, 31], [3, 20], 4, 4)):
                metadata, arrays = viewer.ask(next(number), "picture", queries=queries, keys=keys, rows=rows,
                                              columns=columns, **place)
                for name, wanted in zip(("max", "mean", "row_edges", "key_edges"),
                                        truth.picture(weight[head], there[head], queries, keys, rows, columns)):
                    np.testing.assert_allclose(arrays[name], wanted, atol=2e-6)
            for choice in CHOICES:
                tile = tile_of(*choice)
                metadata, arrays = viewer.ask(next(number), "table", tile=tile, **place)
                wanted = truth.margins(there, tile["rows"], tile["keys"], *choice[1:], 2 if family != "gpt2" else 4)
                unit = head if len(wanted) == 4 else head // 2
                np.testing.assert_allclose(arrays["margins"], wanted[unit], atol=2e-4)
                assert (metadata["tile"], metadata["vote"], metadata["order"], metadata["splits"]) == (
                    choice[0], choice[1], choice[2], str(choice[3]))
                metadata, arrays = viewer.ask(next(number), "table", tile=tile | {"rows": 1}, row=20, **place)
                wanted = truth.margins(there[:, 20:21], 1, tile["keys"], *choice[1:], 2 if family != "gpt2" else 4)
                np.testing.assert_allclose(arrays["margins"], wanted[unit], atol=2e-4)
                assert metadata["queries"] == "1"


WRONG = [{"layer": 9}, {"head": 4}, {"head": -1}, {"frame": [1, 30]}, {"frame": [0, 1000]}, {"frame": 5},
         {"frame": None}, {"queries": [0, 31]}, {"queries": [5, 5]}, {"keys": [-1, 3]},
         {"rows": "many"}, {"rows": None},
         {"what": "soup"}, {"what": None}, {"what": []}, {"what": "table"}, {"what": "table", "tile": {"rows": 0}},
         {"what": "table", "tile": 5},
         {"what": "row", "row": 30}, {"what": "row", "row": -1}, {"layer": []}, {"rows": math.inf}, {"frame": [0, 2.5]},
         {"what": "table", "tile": {"criterion": "lse"}}, {"what": "table", "tile": {"rows": 16}, "row": 99},
         {"sampled": -3}, {"sampled": "x"}, {"muted": -1}, {"muted": "x"}]


def test_questions_that_make_no_sense_are_refused(path, viewers):
    model = make()
    with attnscope.attach(model, path) as run:
        generated(model, prompt(30), max_new_tokens=1)
        viewer = viewers(path)
        viewer.kind("hello")
        good = {"what": "picture", "layer": 0, "head": 0, "frame": [0, 30], "queries": [0, 30], "keys": [0, 30],
                "rows": 4, "columns": 4}
        for number, wrong in enumerate(WRONG, 1):
            line = good | wrong
            metadata, _ = viewer.ask(number, line.pop("what"), **line)
            assert metadata["what"] == "refused" and metadata["why"], wrong
        assert viewer.ask(100, good.pop("what"), **good)[0]["what"] == "picture"
        assert run.sender.is_watched


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("choice", [("1x8", "group", "ascending", 1), ("1x8", "head", "descending", 1),
                                    ("1x4", "group", "ascending", 3)])
@pytest.mark.parametrize("cache", ["dynamic", "static", "whole"])
def test_counts_of_steps(family, choice, cache, tmp_path):
    model, tile = make(family, "eager"), Tile(1, int(choice[0][2:]), *choice[1:])
    options = {"dynamic": {}, "static": {"cache_implementation": "static"},
               "whole": {"past_key_values": transformers.DynamicCache()}}[cache]  # this one keeps what left a window
    with attnscope.attach(model, str(tmp_path / "run"), decode_tile=tile, lambda_=None) as run:
        run.lambda_ = 0.3
        generated(model, prompt(30), max_new_tokens=5, **options)
        there = [asked_of(run, family, layer) for layer in sorted(run.layers)]
    steps, kv = recorded(tmp_path / "run")["step"], 2 if family != "gpt2" else 4
    assert len(steps) == 4
    for metadata, arrays in steps:
        facts, at = json.loads(metadata["step"]), int(metadata["position"])
        assert (facts["rows"], facts["keys"], facts["vote"], facts["lambda"]) == (1, tile.keys, tile.vote, 0.3)
        for layer, (score, sinks) in enumerate(there):
            row = score[:, at:at + 1, :at + 1]
            margin = truth.margins(row, 1, tile.keys, *choice[1:], kv)[:, 0]
            margin = margin.repeat(4 // len(margin), 0)
            skipped = (np.nan_to_num(margin, nan=np.inf) < math.log(0.3)).sum(-1)
            assert arrays["visible"][layer].tolist() == (~np.isnan(margin)).sum(-1).tolist(), (at, layer)
            assert arrays["skipped"][layer].tolist() == skipped.tolist(), (at, layer)
            np.testing.assert_allclose(arrays["sinks"][layer], truth.weights(row, sinks)[:, 0, 0], atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gpt_oss"])
def test_computing(family, tmp_path):
    """`lambda_=`: each layer's output is skip softmax of its own Q, K and V, in the prompt and in steps."""
    model, outputs = make(family, "eager"), {}

    def keeps(module, arguments, layer):
        outputs.setdefault(layer, []).append(arguments[0][0].clone())
    hooks = [layer.self_attn.o_proj.register_forward_pre_hook(
        lambda module, given, number=number: keeps(module, given, number))
             for number, layer in enumerate(model.model.layers)]
    tile, decode = Tile(4, 4), Tile(1, 4, "group")
    with attnscope.attach(model, str(tmp_path / "run"), lambda_=0.9, tile=tile, decode_tile=decode) as run:
        generated(model, prompt(30), max_new_tokens=5)
        there = [asked_of(run, family, layer) for layer in sorted(run.layers)]
    for hook in hooks:
        hook.remove()
    made, gone = recorded(tmp_path / "run"), 0
    for layer, (score, sinks) in enumerate(there):
        v = torch.cat([one[1][f"layers.{layer}.v"] for one in made["prefill"] + made["step"]], 1)
        out, skipped = truth.attend(score[:, :30, :30], v[:, :30], 0.9, 4, 4, kv_heads=2, sinks=sinks)
        gone += skipped.sum()
        np.testing.assert_allclose(outputs[layer][0].reshape(30, 4, 16).transpose(0, 1), out, atol=2e-5)
        for step, (_, arrays) in enumerate(made["step"]):
            at = 30 + step
            out, skipped = truth.attend(score[:, at:at + 1, :at + 1], v[:, :at + 1], 0.9, 1, 4, "group", kv_heads=2,
                                        sinks=sinks)
            np.testing.assert_allclose(outputs[layer][1 + step].reshape(1, 4, 16).transpose(0, 1), out, atol=2e-5)
            assert arrays["skipped"][layer].tolist() == skipped.sum((1, 2)).repeat(2).tolist()
    assert gone > 0, "a test of nothing"


def test_computing_densely_is_the_model(tmp_path):
    for family in ("llama", "mistral", "gemma2", "gpt_oss"):
        model = make(family, "eager")
        expected = generated(model, prompt())
        with attnscope.attach(model, str(tmp_path / "run"), lambda_=0.0):
            made = generated(model, prompt())
        assert torch.equal(made.sequences, expected.sequences)
        for one, other in zip(made.logits, expected.logits):
            np.testing.assert_allclose(one, other, atol=1e-4)


def started(model, ids, **options):
    """The run on a thread; what it raised or returned."""
    result = {}

    def goes():
        try:
            result["made"] = generated(model, ids, **options)
        except Exception as error:
            result["error"] = error
    thread = threading.Thread(target=goes, daemon=True)
    thread.start()
    return thread, result


def test_pause_step_run_and_stop(path, viewers):
    model = make()
    with attnscope.attach(model, path) as run:
        viewer = viewers(path)
        viewer.say({"do": "pause"})
        viewer.say({"do": "step", "count": 3})
        thread, result = started(model, prompt(), max_new_tokens=300)
        viewer.until(lambda one: one[0].get("position") == "41", "the second step")
        paused = viewer.until(lambda one: one[0]["kind"] == "moment" and one[0].get("phase") == "paused")
        assert paused[0]["lambda"] == "0.0" and len(viewer.of("step")) == 2 and thread.is_alive()
        viewer.say({"do": "step"})
        viewer.until(lambda one: one[0].get("position") == "42", "one more step")
        assert len(viewer.of("step")) == 3
        viewer.say({"do": "lambda", "value": 0.25})
        for wrong in ("x", 5, -1, True, None, [1]):
            viewer.say({"do": "lambda", "value": wrong})
        viewer.say({"do": "tile", "decode": {"rows": 1, "keys": 16, "vote": "head"}})
        viewer.say({"do": "tile", "decode": {"rows": 0}})
        viewer.say({"do": "tile", "decode": 7})
        viewer.say({"do": ["soup"]})
        viewer.say({"do": "run"})
        viewer.until(lambda one: one[0].get("position") == "45", "a run that goes on")
        facts = json.loads(viewer.until(lambda one: one[0].get("position") == "44")[0]["step"])
        assert (facts["lambda"], facts["keys"], facts["vote"]) == (0.25, 16, "head")
        viewer.say({"do": "stop"})
        thread.join(LONG)
        assert isinstance(result.get("error"), attnscope.Stopped), result
    viewer.ended()
    assert viewer.frames[-1][0]["kind"] == "bye"
    assert run.model.config._attn_implementation == "sdpa"


def test_a_paused_run_goes_on_when_its_last_viewer_leaves(path, viewers):
    model = make()
    with attnscope.attach(model, path):
        viewer = viewers(path)
        viewer.say({"do": "pause"})
        viewer.say({"do": "step"})
        thread, result = started(model, prompt(), max_new_tokens=4)
        viewer.kind("prefill")
        viewer.close()
        thread.join(LONG)
        assert "made" in result, result


def test_a_question_that_is_cancelled_and_strange_lines(path, viewers):
    model = make()
    with attnscope.attach(model, path):
        generated(model, prompt(), max_new_tokens=2)
        viewer = viewers(path)
        viewer.kind("hello")
        viewer.say({"do": "cancel", "to": 7})
        viewer.say({"do": "cancel", "to": [7]})
        viewer.say({"ask": [1], "what": "row"})
        place = {"layer": 0, "head": 0, "frame": [0, 40], "row": 3}
        viewer.say({"ask": 7, "what": "row"} | place)
        assert viewer.ask(8, "row", **place)[0]["what"] == "row"
        assert not [one for one in viewer.frames if one[0].get("to") == "7"]
