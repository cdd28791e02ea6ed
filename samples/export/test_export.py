"""Checks attnscope_export.py against transformers itself, with tiny random models; nothing is downloaded.

    python3 samples/export/test_export.py attnscope

For each family the program's own map of every head, read from the dump, must be what the model gives as its eager
attentions, within 1e-3. Where torch or transformers is missing it says that it skipped, and exits with 0.
"""
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
try:
    import numpy as np
    import torch
    import transformers
    from safetensors import safe_open
    import attnscope_export as export
except (ImportError, SystemExit) as error:
    print(f"skipped: {error}")
    sys.exit(0)

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)
TOLERANCE = 1e-3
TOKENS, WINDOW = 40, 12
TEXTS = [f"w{index} " for index in range(TOKENS)]
folder, program, checks = None, None, 0


class Failure(Exception):
    """Something is not as it should be."""


class Missing(Exception):
    """This transformers does not have the family."""


def check(holds, sentence):
    global checks
    checks += 1
    if not holds:
        raise Failure(sentence)


# ---- what the program says ----


def run(*words):
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=60)
    check(done.returncode == 0, f"attnscope {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def info(path):
    return json.loads(run("info", path, "--json"))


def maps(path, layer, heads):
    """[heads, queries, keys] as the program draws them, one cell a token; 0 where nothing is visible."""
    def one(head):
        out = os.path.join(folder, f"map{head}")
        run("render", path, "--layer", str(layer), "--head", str(head), "-o", out + ".txt", "--data", out + ".npy",
            "--force")
        return np.nan_to_num(np.load(out + ".npy"), nan=0)
    with ThreadPoolExecutor(2) as pool:
        return np.stack(list(pool.map(one, heads)))


def held(path):
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def compare(path, attentions, rows=slice(None), keys=slice(None), every=False, within=TOLERANCE):
    """Layers of a dump against {layer: [heads, queries, keys]}; returns the largest difference.

    Every head, or the first and the last: the other heads of the same kind of file were looked at elsewhere.

    A row of Q and K and what a learned sink takes of it sum to 1, at the model and here; rows of a stored pattern, of
    which nobody says what is missing, are shares of what they hold.
    """
    worst = 0
    about = info(path)
    check(sorted(about["layers"]) == sorted(attentions), f"{path} has layers {about['layers']}")
    for layer, wanted in attentions.items():
        wanted = np.asarray(wanted, np.float64)
        heads = range(len(wanted)) if every else (0, len(wanted) - 1)
        got, wanted = maps(path, layer, heads), wanted[list(heads)]
        check(about["heads"] == len(attentions[layer]), f"it has {about['heads']} heads")
        check(got.shape == wanted.shape, f"layer {layer}: the map is {got.shape}, the model's {wanted.shape}")
        got, wanted = got[:, rows, keys], wanted[:, rows, keys]
        wanted = wanted / wanted.sum(-1, keepdims=True) if about["kind"] == "pattern" else wanted
        worst = max(worst, np.abs(got - wanted).max())
        check(worst <= within, f"layer {layer} of the dump is off by {worst:.2g}")
    return worst


def refuses(sentence, call, *words, **named):
    try:
        call(*words, **named)
    except (export.Refusal, SystemExit) as refusal:
        return check(sentence in str(refusal), f"it was refused with '{refusal}', without '{sentence}'")
    raise Failure(f"nothing was refused where '{sentence}' was expected")


# ---- models ----

SMALL = dict(vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, head_dim=16, max_position_embeddings=128, initializer_range=0.25,
             pad_token_id=0, bos_token_id=1, eos_token_id=2)
GPT = dict(vocab_size=96, n_embd=64, n_layer=2, n_head=4, n_positions=128, n_inner=96, initializer_range=0.25)
FALCON = {name: value for name, value in SMALL.items() if name not in ("head_dim", "num_key_value_heads")}
T5 = dict(vocab_size=96, d_model=64, d_kv=16, d_ff=96, num_layers=2, num_decoder_layers=2, num_heads=4,
          initializer_factor=1.5, pad_token_id=0, eos_token_id=2, decoder_start_token_id=0)
BART = dict(vocab_size=96, d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=96, decoder_ffn_dim=96, max_position_embeddings=128,
            init_std=0.25, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=2,
            forced_eos_token_id=None)
WHISPER = BART | dict(num_mel_bins=8, max_source_positions=20, max_target_positions=64)
CAUSAL = {
    "llama": SMALL,
    "llama4_text": SMALL | dict(attention_chunk_size=WINDOW, num_local_experts=2, intermediate_size_mlp=96,
                                layer_types=["chunked_attention", "full_attention", "chunked_attention"]),
    "deepseek_v3": {name: value for name, value in SMALL.items() if name != "head_dim"} | dict(
        num_key_value_heads=4, q_lora_rank=16, kv_lora_rank=16, qk_nope_head_dim=16, qk_rope_head_dim=8,
        v_head_dim=16, n_routed_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, n_group=1, topk_group=1,
        first_k_dense_replace=1),
    "mistral": SMALL | dict(sliding_window=WINDOW),
    "qwen2": SMALL,
    "qwen3": SMALL,
    "gemma2": SMALL | dict(sliding_window=WINDOW, attn_logit_softcapping=3.0, query_pre_attn_scalar=8,
                           layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
    "gemma3_text": SMALL | dict(sliding_window=WINDOW, query_pre_attn_scalar=8,
                                layer_types=["sliding_attention", "sliding_attention", "full_attention"]),
    "gpt_oss": SMALL | dict(sliding_window=WINDOW, num_local_experts=2, num_experts_per_tok=1,
                            layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
    "phi3": SMALL,
    "olmo2": SMALL,
    "granite": SMALL | dict(attention_multiplier=0.4),
    "cohere": SMALL,
    "gpt2": GPT | dict(scale_attn_by_inverse_layer_idx=False),
    "gpt_neox": SMALL,
    "gptj": GPT | dict(rotary_dim=8),
    "gpt_neo": dict(vocab_size=96, hidden_size=64, num_layers=2, num_heads=4, intermediate_size=96,
                    attention_types=[[["global", "local"], 1]], window_size=WINDOW, max_position_embeddings=128,
                    initializer_range=0.15),
    "opt": SMALL | dict(ffn_dim=96, word_embed_proj_dim=64, init_std=0.25),
    "falcon": FALCON | dict(multi_query=True, new_decoder_architecture=False),
    "falcon alibi": FALCON | dict(alibi=True, multi_query=False, new_decoder_architecture=False),
    "bloom": dict(vocab_size=96, hidden_size=64, n_layer=2, n_head=4, initializer_range=0.25),
    "mpt": dict(vocab_size=96, d_model=64, n_layers=2, n_heads=4, max_seq_len=128, initializer_range=0.25),
}

ENCODERS, BOTH = ("bert", "modernbert", "albert", "deberta-v2", "vit"), ("t5", "bart", "whisper")


OTHERS = {
    "bert": SMALL,
    "modernbert": SMALL | dict(local_attention=WINDOW, global_attn_every_n_layers=3),
    "albert": SMALL | dict(embedding_size=32),
    "deberta-v2": SMALL | dict(relative_attention=True, pos_att_type=["c2p", "p2c"]),
    "vit": SMALL | dict(image_size=24, patch_size=4, num_channels=3),
    "t5": T5, "bart": BART, "whisper": WHISPER,
    "xlnet": dict(vocab_size=96, d_model=64, n_layer=2, n_head=4, d_inner=96, initializer_range=0.25),
}


def tiny(kind):
    """A small random model with eager attention, the same each time; patterns that are not flat."""
    if kind.split()[0] not in transformers.CONFIG_MAPPING:
        raise Missing(f"transformers {transformers.__version__} has no {kind}")
    config = transformers.AutoConfig.for_model(kind.split()[0], **(CAUSAL | OTHERS)[kind])
    group = (transformers.AutoModelForCausalLM if kind in CAUSAL
             else transformers.AutoModelForSpeechSeq2Seq if kind == "whisper"
             else transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModel)
    torch.manual_seed(1)
    model = group.from_config(config, attn_implementation="eager").eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:  # biases, norms and sinks, which begin as 0 and 1
            parameter.data += 0.3 * torch.randn_like(parameter)
        elif "relative_attention_bias" in name:
            parameter.data = torch.randn_like(parameter)
    return model


def ids(count=TOKENS, batch=1, seed=3):
    return torch.randint(3, 96, (batch, count), generator=torch.Generator().manual_seed(seed))


def attentions(given, sequence=0):
    return {layer: one[sequence].float().numpy() for layer, one in enumerate(given)}


def is_telling(found):
    """Whether patterns are uneven enough that another one would be noticed."""
    check(all(one[:, -1].max() > 3 / one.shape[-1] for one in found.values()), "the patterns are too flat to tell")


def path(name):
    return os.path.join(folder, name.replace(" ", "-") + ".safetensors")


# ---- the families ----


def causal(kind):
    """Q, K and V of a prompt, as many files as there are kinds of layers; then the patterns."""
    model, given = tiny(kind), ids()
    with torch.no_grad():
        truth = attentions(model(given, output_attentions=True).attentions)
        is_telling(truth)
        before = model.config._attn_implementation
        with export.capture(model) as seen:
            logits = model(given).logits
        check(model.config._attn_implementation == before, "the model was left with another attention")
        check(torch.allclose(logits, model(given).logits, atol=1e-4), "it computed something else while it was seen")
        with export.capture(model, layers=[1]):
            some = model(given).logits
        check(torch.allclose(logits, some, atol=1e-4), "it computed something else while one layer was seen")
    files, worst = seen.save(path(kind), TEXTS, dtype="f32", split=True), 0
    whole = {}
    for file in files:
        about = info(file)
        # That a bias is added is said, and no guess.
        guesses = [one for one in about["guesses"] if not one.endswith("attention_bias is added to the scores")]
        check(about["tokens"] == TOKENS and guesses == [], f"{about['tokens']} tokens, {guesses}")
        worst = max(worst, compare(file, {layer: truth[layer] for layer in about["layers"]}, every=True))
        whole |= {layer: held(file) for layer in about["layers"]}
    check(sorted(whole) == sorted(truth), f"layers {sorted(whole)} were written")
    special(kind, model, whole, truth, seen)
    worst = max(worst, compare(export.save(model(given, output_attentions=True), path(kind), TEXTS)[0], truth))
    return worst


def special(kind, model, whole, truth, seen):
    """What the files of some families must say."""
    arrays, facts = whole[0]
    if kind in ("llama", "qwen3"):
        check(arrays["layers.0.k"].shape == (2, TOKENS, 16), f"K is {arrays['layers.0.k'].shape}, of 2 shared heads")
    if kind == "mistral":
        check(facts["sliding_window"] == str(WINDOW), f"the window is {facts.get('sliding_window')}")
    if kind in ("gemma2", "gpt_oss", "gemma3_text"):
        full = next(layer for layer, name in enumerate(model.config.layer_types) if name == "full_attention")
        check(facts["sliding_window"] == str(WINDOW) and "sliding_window" not in whole[full][1], "windows of layers")
        refuses("--layers", seen.save, path("windows"))
        refuses("exists", seen.save, path(kind), split=True, overwrite=False)
    if kind == "gemma2":
        check(facts["softcap"] == "3.0" and float(facts["scale"]) == 8 ** -0.5, f"{facts}")
    if kind == "gpt_oss":  # what the sinks of the file take is what is missing in the model's rows
        for layer, (arrays, facts) in whole.items():
            q, k = (torch.from_numpy(arrays[f"layers.{layer}.{name}"]).float() for name in "qk")
            rules, _ = export.explain(torch.from_numpy(truth[layer][0] > 0))
            call = export.Call(q, k, None, rules.visible(TOKENS, TOKENS), None, float(facts["scale"]),
                               sinks=torch.from_numpy(arrays[f"layers.{layer}.sinks"]))
            off = np.abs(export.weights(call, torch.arange(TOKENS)).numpy() - truth[layer]).max()
            check(off <= TOLERANCE, f"with the sinks layer {layer} is off by {off:.2g}")
            check(truth[layer].sum(-1).min() < 0.99, "the sinks take nothing")
    if kind in ("bloom", "falcon alibi", "mpt"):
        check("layers.0.attention_bias" in arrays, f"no bias among {sorted(arrays)}")
    check(all(f"layers.{layer}.v" in arrays for layer, (arrays, _) in whole.items()), "V is missing")


def bidirectional(kind):
    """An encoder alone, of texts or of an image."""
    model = tiny(kind)
    given = dict(input_ids=ids()) if kind != "vit" else dict(
        pixel_values=torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(3)))
    with torch.no_grad():
        truth = attentions(model(**given, output_attentions=True).attentions)
        is_telling(truth)
        with export.capture(model) as seen:
            model(**given)
    worst = 0
    for file in seen.save(path(kind), dtype="f32", split=True):
        worst = max(worst, compare(file, {layer: truth[layer] for layer in info(file)["layers"]}, every=True))
        check(held(file)[1]["causal"] == "false", "it was written as causal")
    with torch.no_grad():
        return max(worst, compare(export.save(model(**given, output_attentions=True), path(kind))[0], truth))


def both(kind):
    """Encoder, decoder and cross attention of a padded batch: one pass, then generate."""
    model, target = tiny(kind), ids(17, 2, 5)
    if kind == "whisper":
        sound = torch.randn(2, 8, 40, generator=torch.Generator().manual_seed(3))
        given, mask, keys = dict(input_features=sound), None, 20
    else:
        given, mask, keys = dict(input_ids=ids(TOKENS, 2)), torch.ones(2, TOKENS, dtype=torch.long), 30
        mask[1, 30:] = 0
        given |= dict(attention_mask=mask)
    worst, tokens = 0, slice(0, keys)
    with torch.no_grad():
        out = model(**given, decoder_input_ids=target, output_attentions=True)
        with export.capture(model, sequence=1) as seen:
            model(**given, decoder_input_ids=target)
        loose = model(**given, decoder_input_ids=target, output_attentions=True, return_dict=False)
        other = tiny(kind)
        other.set_attn_implementation("sdpa")
        with export.record(other, sequence=1) as hook:
            other(**given, decoder_input_ids=target)
    for part, truth in (("encoder", out.encoder_attentions), ("decoder", out.decoder_attentions),
                        ("cross", out.cross_attentions)):
        truth, own = attentions(truth, 1), mask if part != "decoder" else None
        is_telling(truth)
        if part == "cross":
            truth = {layer: one[:, :, tokens] for layer, one in truth.items()}
        elif part == "encoder":
            truth = {layer: one[:, tokens, tokens] for layer, one in truth.items()}
        files = seen.save(path(kind), part=part, dtype="f32") + export.save(
            out, path(kind + " map"), part=part, sequence=1, attention_mask=own)
        files += hook.save(path(kind + " hook"), part=part, dtype="f32")
        files += export.save(loose, path(kind + " tuple"), part=part, sequence=1, attention_mask=own)
        worst = max([worst] + [compare(file, truth) for file in files])
    return max(worst, answered(kind, model, other, given))


def answered(kind, model, other, given):
    """generate of an encoder-decoder model: its decoder's rows grow, those of cross attention do not."""
    words = dict(max_new_tokens=6, min_new_tokens=6, do_sample=False, num_beams=1)
    with torch.no_grad():
        out = model.generate(**given, **words, output_attentions=True, return_dict_in_generate=True)
        with export.capture(model, sequence=1) as seen:
            model.generate(**given, **words)
        with export.record(other, sequence=1) as hook:
            other.generate(**given, **words)
        again = model(**given, decoder_input_ids=out.sequences[:, :-1], output_attentions=True)
    worst = 0
    for part, truth in (("decoder", again.decoder_attentions), ("cross", again.cross_attentions)):
        truth = attentions(truth, 1)
        if part == "cross" and "attention_mask" in given:
            truth = {layer: one[:, :, :int(given["attention_mask"][1].sum())] for layer, one in truth.items()}
        mask = given.get("attention_mask") if part == "cross" else None
        for file in (seen.save(path(kind), part=part, dtype="f32") + hook.save(path(kind + " hook"), part=part)
                     + export.save(out, path(kind), part=part, sequence=1, attention_mask=mask)):
            worst = max(worst, compare(file, truth))
    return worst


# ---- padding, decoding, hooks, files ----


def padded(side):
    """A batch of two, one padded at a side: by capture, as patterns, and by the hook. Rows of padding hold anything."""
    worst, pad = 0, 9
    for kind in ("llama", "mistral", "bert", "bloom", "falcon alibi"):
        model, given, mask = tiny(kind), ids(TOKENS, 2), torch.ones(2, TOKENS, dtype=torch.long)
        real = slice(pad, None) if side == "left" else slice(0, TOKENS - pad)
        mask[1] = 0
        mask[1, real] = 1
        with torch.no_grad():
            out = model(given, attention_mask=mask, output_attentions=True)
            with export.capture(model, sequence=1) as seen:
                model(given, attention_mask=mask)
        truth = attentions(out.attentions, 1)
        files = seen.save(path("padded"), TEXTS, dtype="f32")
        files += export.save(out, path("padded map"), TEXTS, attention_mask=mask, sequence=1)
        if kind in ("llama", "mistral", "bert"):
            other = tiny(kind)
            other.set_attn_implementation("sdpa")
            with torch.no_grad(), export.record(other, sequence=1) as hook:
                other(given, attention_mask=mask)
            files += hook.save(path("padded hook"), TEXTS, dtype="f32")
        for file in files:
            # Beside a bias what is padding at the end is not written at all.
            about = held(file)[0].get("attention_mask", np.ones(TOKENS - pad))
            cut = "layers.0.attention_bias" in held(file)[0] and side == "right"
            check(len(about) == TOKENS - pad * cut and (about == mask[1, :len(about)].numpy()).all(),
                  f"{kind}: the padding is written as {about}")
            # The program cuts padding off at the end, and leaves it out at the start.
            left = {layer: one if side == "left" else one[:, real, real] for layer, one in truth.items()}
            worst = max(worst, compare(file, left, *((real, slice(None)) if side == "left" else ())))
    return worst


def decoded(kind, **more):
    """generate with a cache, a prompt padded on the left beside it: what is read back is one pass over the whole."""
    model, given = tiny(kind), ids(TOKENS - 8, 2)
    mask = torch.ones_like(given)
    mask[1, :5] = 0
    words = dict(attention_mask=mask, max_new_tokens=9, min_new_tokens=9, do_sample=False, pad_token_id=0) | more
    with torch.no_grad():
        out = model.generate(given, **words, output_attentions=True, return_dict_in_generate=True)
        with export.capture(model, sequence=1) as seen:
            made = model.generate(given, **words)
        check(torch.equal(out.sequences, made), "it answered something else while it was seen")
        whole = torch.cat([mask, torch.ones(2, 8, dtype=torch.long)], 1)
        positions = (whole.cumsum(1) - 1).clamp(min=0)
        named = {} if kind in ("bloom",) else {"position_ids": positions}
        truth = attentions(model(made[:, :-1], attention_mask=whole, **named, output_attentions=True).attentions, 1)
    worst, real = 0, slice(5, None)
    for file in (seen.save(path("decoded"), TEXTS, dtype="f32", split=True)
                 + export.save(out, path("decoded map"), TEXTS + ["last"], attention_mask=mask, sequence=1)):
        worst = max(worst, compare(file, {layer: truth[layer] for layer in info(file)["layers"]}, real))
    return worst


def decoding():
    worst = max(decoded(kind) for kind in ("llama", "mistral", "gemma2", "gpt_oss", "bloom"))
    worst = max(worst, decoded("qwen3", use_cache=False), decoded("qwen3", cache_implementation="static"))
    # What the hook sees of shared heads: copies of the keys, then, while decoding, queries as rows of one head.
    model, given, mask = tiny("llama"), ids(TOKENS - 8, 2), torch.ones(2, TOKENS - 8, dtype=torch.long)
    mask[1, :5] = 0
    model.set_attn_implementation("sdpa")
    words = dict(attention_mask=mask, max_new_tokens=9, min_new_tokens=9, do_sample=False)
    with torch.no_grad(), export.record(model, sequence=1) as hook:
        made = model.generate(given, **words)
    with torch.no_grad():
        model.set_attn_implementation("eager")
        whole = torch.cat([mask, torch.ones(2, 8, dtype=torch.long)], 1)
        positions = (whole.cumsum(1) - 1).clamp(min=0)
        out = model(made[:, :-1], attention_mask=whole, position_ids=positions, output_attentions=True)
    file = hook.save(path("hook"), TEXTS, dtype="f32")[0]
    check(held(file)[0]["layers.0.k"].shape[0] == 2, "shared heads were written twice")
    return max(worst, compare(file, attentions(out.attentions, 1), slice(5, None)))


def beams():
    """A search with beams: the returned patterns follow the winner; Q and K of what was reordered are refused."""
    model, given = tiny("llama"), ids(12)
    words = dict(max_new_tokens=9, min_new_tokens=9, num_beams=4, do_sample=False)
    with torch.no_grad():
        out = model.generate(given, **words, output_attentions=True, return_dict_in_generate=True)
        truth = attentions(model(out.sequences[:, :-1], output_attentions=True).attentions)

        def search():
            with export.capture(model) as seen:
                model.generate(given, **words)
            seen.save(path("beams"))
        refuses("num_beams=1", search)
        refuses("record one run at a time", twice, model)
        refuses("more than once", differences)
    return compare(export.save(out, path("beams"))[0], truth)


def twice(model):
    with torch.no_grad(), export.capture(model) as seen:
        model(ids())
        model(ids(seed=4))
    seen.save(path("twice"))


class Difference(torch.nn.Module):
    """A layer whose output is of two softmaxes, as differential attention's."""

    def forward(self, x):
        attend = torch.nn.functional.scaled_dot_product_attention
        return attend(x, x, x) - 0.5 * attend(-x, x, x)


def differences():
    with export.record(torch.nn.Sequential(Difference())) as seen:
        seen.model(torch.randn(1, 2, 10, 8))
    seen.save(path("differences"))


def hooked():
    """Models of PyTorch alone: a transformer's encoder and decoder, causal and padded."""
    torch.manual_seed(1)
    model = torch.nn.Transformer(32, 4, 2, 2, 64, batch_first=True).eval()
    source, target = torch.randn(2, 20, 32), torch.randn(2, 11, 32)
    hidden = torch.zeros(2, 20, dtype=torch.bool)
    hidden[1, 15:] = True
    found = {}

    def watched(name, module):
        forward = module.forward

        def with_weights(*words, **named):
            found[name] = forward(*words, **named | dict(need_weights=True, average_attn_weights=False))[1]
            return forward(*words, **named)
        module.forward = with_weights
    words = dict(src_key_padding_mask=hidden, memory_key_padding_mask=hidden,
                 tgt_mask=torch.nn.Transformer.generate_square_subsequent_mask(11))
    with torch.no_grad(), export.record(model, sequence=1) as seen:
        model(source, target, **words)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.MultiheadAttention):
            watched(name, module)
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad():
        model(source, target, **words)
    torch.backends.mha.set_fastpath_enabled(True)
    worst = 0
    for part, ending, cut in (("encoder", "self_attn", (slice(0, 15), slice(0, 15))), ("decoder", "self_attn", ()),
                              ("cross", "multihead_attn", (slice(None), slice(0, 15)))):
        stack = "encoder" if part == "encoder" else "decoder"
        truth = {layer: found[f"{stack}.layers.{layer}.{ending}"][1].numpy() for layer in range(2)}
        truth = {layer: one[(slice(None), *cut)] for layer, one in truth.items()}
        worst = max(worst, compare(seen.save(path("torch"), part=part, dtype="f32")[0], truth))
    with export.record(layers=[1]) as seen:  # calls by their order
        for _ in range(2):
            q, k, v = torch.randn(3, 1, 4, 10, 8)
            torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.7)
    check(seen.count == 2, f"the hook saw {seen.count} calls of 2")
    wanted = (q @ k.transpose(2, 3) * 0.7).masked_fill(~torch.ones(10, 10).tril().bool(), -torch.inf).softmax(-1)
    return max(worst, compare(seen.save(path("calls"), dtype="f32")[0], {1: wanted[0].numpy()}))


def masks():
    """Masks that a file says with cu_seqlens, and any other one, as a bias."""
    model, given, worst = tiny("llama"), ids(), 0
    at = torch.arange(TOKENS)
    of = (at >= 7).int() + (at >= 25).int()
    packed = (at[:, None] >= at) & (of[:, None] == of)
    prefix = (at[:, None] >= at) | (at < 11) & (at[:, None] < 11)
    holes = (at[:, None] >= at) & (at % 5 != 3) | torch.eye(TOKENS).bool()
    for name, seen_by in (("packed", packed), ("prefix", prefix), ("holes", holes)):
        mask = torch.zeros(1, 1, TOKENS, TOKENS).masked_fill(~seen_by, torch.finfo(torch.float32).min)
        with torch.no_grad():
            truth = attentions(model(given, attention_mask=mask, output_attentions=True).attentions)
            with export.capture(model) as seen:
                model(given, attention_mask=mask)
        file = seen.save(path(name), dtype="f32")[0]
        check((name == "packed") == ("cu_seqlens" in held(file)[1]), f"{name}: {held(file)[1]}")
        worst = max(worst, compare(file, truth))
    return worst


def files():
    """convert of what torch.save writes, and what it refuses."""
    model, given, source = tiny("llama"), ids(), os.path.join(folder, "saved.pt")
    with torch.no_grad():
        out = model(given, output_attentions=True)
        answer = model.generate(given[:, :20], max_new_tokens=5, min_new_tokens=5, do_sample=False,
                                output_attentions=True, return_dict_in_generate=True)
        grown = attentions(model(answer.sequences[:, :-1], output_attentions=True).attentions)
        with export.capture(model) as seen:
            model(given)
    truth, worst = attentions(out.attentions), 0
    arrays, facts = held(seen.save(path("q"), dtype="f32")[0])
    names = {name: torch.from_numpy(array) for name, array in arrays.items()}
    for saved, wanted in ((out.attentions, truth), (answer.attentions, grown), (list(out.attentions), truth),
                          ({"attentions": out.attentions, "tokens": TEXTS}, truth),
                          (torch.stack(out.attentions), truth), (names | facts, truth),
                          ({f"blocks.{n}.attn.hook_pattern": one for n, one in enumerate(out.attentions)}, truth)):
        torch.save(saved, source)
        target = path("converted")
        with contextlib.redirect_stdout(io.StringIO()):
            export.main(["convert", source, target, "--overwrite"])
        worst = max(worst, compare(target, wanted))
    refuses("--overwrite", export.main, ["convert", source, target])
    torch.save(torch.nn.Linear(2, 2), source)
    refuses("save the tensors alone", export.main, ["convert", source, target, "--overwrite"])
    with open(source, "w") as file:
        file.write("nothing of torch")
    refuses("saved.pt", export.main, ["convert", source, target, "--overwrite"])
    refuses("output_attentions=True", export.save, model(given), target)
    refuses("scores", export.save, tuple(one - 1 for one in out.attentions), target)
    refuses("39 texts", export.save, out, target, TEXTS[1:])
    check(not [name for name in os.listdir(folder) if name.endswith(".part")], "a part of a file was left behind")
    return worst


def halves():
    """Half precision where it moves no weight, and float32 where it would; models in bfloat16."""
    model, given, worst = tiny("llama"), ids(), 0
    with torch.no_grad():
        truth = attentions(model(given, output_attentions=True).attentions)
        for factor, wanted in ((1, None), (30, np.float32)):
            model.model.layers[0].self_attn.q_proj.weight.data *= factor
            truth = attentions(model(given, output_attentions=True).attentions)
            with export.capture(model, layers=[0]) as seen:
                model(given)
            file = seen.save(path("half"))[0]
            stored = held(file)[0]["layers.0.q"].dtype
            check(wanted is None or stored == wanted, f"Q is stored as {stored}")
            worst = max(worst, compare(file, {0: truth[0]}))
        model = tiny("gpt_oss").to(torch.bfloat16)
        with export.capture(model, layers=[1]) as seen:
            model(given)
        seen.save(path("bfloat16"))
        model = tiny("bloom").to(torch.bfloat16)
        truth = attentions(model(given, output_attentions=True).attentions)
        with export.capture(model) as seen:
            model(given)
    compare(seen.save(path("bfloat16"))[0], truth, within=1e-2)  # the model's own weights are rounded
    return worst


def command():
    """The command as a user runs it, on models in folders."""
    import tokenizers
    words = {f"w{index}": index for index in range(96)}
    own = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    own.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=own, unk_token="w0", pad_token="w0")
    given, worst = ids(), 0
    prompt = " ".join(f"w{index}" for index in given[0].tolist())
    out = path("command")

    def told(kind, *more):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            export.main(["--model", os.path.join(folder, kind), "--prompt", prompt, "-o", out, "--overwrite", *more])
        return said.getvalue()
    for kind in ("qwen3", "gemma2", "t5", "bert", "xlnet"):
        model = tiny(kind)
        model.save_pretrained(os.path.join(folder, kind))
        tokenizer.save_pretrained(os.path.join(folder, kind))
        with torch.no_grad():
            if kind == "t5":
                made = model.generate(given, max_new_tokens=4, do_sample=False, num_beams=1)
                whole = model(given, decoder_input_ids=made[:, :-1], output_attentions=True)
                truth = attentions(whole.encoder_attentions)
                told(kind, "--part", "encoder", "--max-new-tokens", "4", "--dtype", "f32")
            elif kind == "gemma2":
                truth = attentions(model(given, output_attentions=True).attentions)
                refuses("--layers 0,2 and --layers 1", told, kind)
                told(kind, "--attentions")
            elif kind == "xlnet":  # its products are no calls that could be seen
                truth = attentions(model(given, output_attentions=True).attentions)
                refuses("save what it returns", told, kind)
                told(kind, "--attentions")
            else:
                truth = attentions(model(given, output_attentions=True).attentions)
                told(kind, "--dtype", "f32")
        worst = max(worst, compare(out, truth))
        texts = json.loads(held(out)[1]["tokens"])
        check("".join(texts) == prompt, f"the texts are {texts}")
    model = tiny("qwen3")
    with torch.no_grad():
        made = model.generate(given, max_new_tokens=5, do_sample=False)
        truth = attentions(model(made[:, :-1], output_attentions=True).attentions)
    told("qwen3", "--layers", "0,2", "--max-new-tokens", "5", "--dtype", "f32")
    worst = max(worst, compare(out, {layer: truth[layer] for layer in (0, 2)}))
    refuses("0 to 2", told, "qwen3", "--layers", "7")
    refuses("exists", export.main, ["--model", os.path.join(folder, "qwen3"), "--prompt", prompt, "-o", out])
    refuses("cannot be read", told, "none")
    return worst


def cases():
    """Name and what returns the largest difference, families first."""
    for kind in CAUSAL:
        yield kind, lambda kind=kind: causal(kind)
    for kind in ENCODERS:
        yield kind, lambda kind=kind: bidirectional(kind)
    for kind in BOTH:
        yield kind, lambda kind=kind: both(kind)
    yield "padding on the left", lambda: padded("left")
    yield "padding on the right", lambda: padded("right")
    yield "generate with a cache", decoding
    yield "search with beams", beams
    yield "any scaled_dot_product_attention", hooked
    yield "packed and other masks", masks
    yield "convert", files
    yield "half precision", halves
    yield "the command", command


def main():
    global folder, program
    if len(sys.argv) < 2:
        sys.exit("test_export.py PROGRAM [CASE ...]: give the attnscope that is to read the dumps")
    program, only, failed, families = os.path.abspath(sys.argv[1]), sys.argv[2:], 0, 0
    for name, case in cases():
        if only and name not in only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(f"{name}: within {case():.1g}", flush=True)
                families += name in [*CAUSAL, *ENCODERS, *BOTH]
            except Missing as missing:
                print(f"{name}: skipped, {missing}")
            except (Exception, SystemExit) as error:
                failed += 1
                print(f"{name}: FAILED: {type(error).__name__}: {error}", flush=True)
                if os.environ.get("TRACE"):
                    import traceback
                    traceback.print_exc()
    print(f"{checks} checks of {families} families; {failed} failed")
    sys.exit(1 if failed or families < 15 and not only else 0)


if __name__ == "__main__":
    main()
