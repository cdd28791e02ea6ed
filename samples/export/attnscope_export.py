"""Dumps for attnscope from PyTorch: what Hugging Face models return, or Q, K and V as they compute.

As a command (a model's name or folder; the prompt is read once, or answered):

    python3 attnscope_export.py --model Qwen/Qwen3-0.6B --prompt-file text.txt --layers 0,12 -o dump.safetensors
    python3 attnscope_export.py --model FOLDER --prompt "Hello" --max-new-tokens 20 --attentions -o map.safetensors
    python3 attnscope_export.py convert attentions.pt attentions.safetensors

As a module:

    from attnscope_export import capture, record, save
    save(model(**inputs, output_attentions=True), "map.safetensors", tokens=texts)      # patterns
    with capture(model, layers=[0, 12]) as seen:                                          # Q, K, V
        model.generate(**inputs, max_new_tokens=20)
    seen.save("dump.safetensors", tokens=texts)
    with record(layers=[0]) as seen:            # any PyTorch model with scaled_dot_product_attention
        model(inputs)

`capture` sees Q, K and V where a model hands them to its attention (after rotary positions and norms), with all that
is done to scores: scale, softcap, windows, packed sequences, padding, additive bias, sink logits. A dump says each of
them; what one file cannot say (windows that differ from layer to layer) is refused with a sentence. Before anything
is written, rows of every layer are computed from the dump as attnscope will, and compared with the model's own.
Needs `pip install torch safetensors`, and transformers 4.57 or later for models of Hugging Face.
"""
import argparse
import contextlib
import dataclasses
import json
import os
import re
import sys

try:
    import torch
    from safetensors.torch import save as safetensors_bytes
    from torch.nn import functional
    from torch.overrides import TorchFunctionMode
except ImportError as error:
    sys.exit(f"attnscope_export.py needs PyTorch: pip install torch safetensors transformers ({error})")

NAME = "attnscope_capture"  # of the attention implementation registered with transformers
ROWS_CHECKED = 16  # of every call
LARGEST = 1 << 26  # queries times keys of a map whose rules attnscope follows
HIDDEN = 9e3  # below the largest score of a row
EXACT, CLOSE = 1e-3, 5e-4  # most that a weight may be off: of a dump at all, and of one in half precision
PARTS = ("decoder", "self", "encoder", "vision", "cross")  # the likeliest to be meant first
sdpa = functional.scaled_dot_product_attention


class Refusal(ValueError):
    """What cannot be written, in a sentence that says what to do instead."""


# ---- what a mask says ----


@dataclasses.dataclass(frozen=True)
class Rules:
    """Who sees whom, as a file says it for all of its layers."""
    causal: bool
    offset: int = 0  # position of query 0 among the keys
    window: int | None = None
    starts: tuple | None = None  # of packed sequences, and where the last one ends
    low: int = 0  # positions before and from here on are padding
    high: int = 0

    def visible(self, queries, keys):
        """[queries, keys] as attnscope reads these rules."""
        at, key = torch.arange(queries)[:, None] + self.offset, torch.arange(keys)[None]
        out = ((key >= self.low) & (key < self.high)).expand(queries, keys)
        if self.causal:
            out = out & (key <= at)
        if self.window:
            out = out & (key > at - self.window) & (self.causal | (key < at + self.window))
        if self.starts:
            all_of_them = torch.arange(max(keys, queries + self.offset))
            of = torch.bucketize(all_of_them, torch.tensor(self.starts[1:-1]), right=True)
            out = out & (of[:keys][None] == of[at])
        return out

    def real(self, queries):
        """Which rows are of tokens."""
        at = torch.arange(queries) + self.offset
        return (at >= self.low) & (at < self.high)


def explain(seen):
    """The rules that give `seen` [queries, keys] on rows of tokens, and whether they say all of it."""
    queries, keys = seen.shape
    guesses = []
    for offset in dict.fromkeys((keys - queries, 0)):
        at = torch.arange(queries) + offset
        late = (seen & (torch.arange(keys)[None] > at[:, None])).any(1)
        # Rows of padding see nothing, or, so that no softmax is of nothing, everything; nobody else sees them.
        proper, pads = seen.any(1), int((late & seen.all(1)).int().cumprod(0).sum())
        if pads and offset == 0 and proper[pads:].any() and not seen[pads:, :pads].any():
            proper = proper & (torch.arange(queries) >= pads)
        if not proper.any():
            continue
        columns = seen[proper].any(0).nonzero()
        low, high = int(columns[0]), int(columns[-1]) + 1
        real = proper & (at >= low) & (at < high)
        if not real.any():
            continue
        causal = not bool(late[real].any())
        plain = Rules(causal, offset, None, None, low, high)
        first, at = seen.int().argmax(1)[real], at[real]
        reach = at - first
        if not causal:
            reach = torch.maximum(reach, keys - 1 - seen.flip(1).int().argmax(1)[real] - at)
        starts = tuple(sorted(set(first.tolist()) | {0}))
        for rules in (plain, dataclasses.replace(plain, window=max(int(reach.max()) + 1, 1)),
                      dataclasses.replace(plain, starts=starts + (max(keys, queries + offset),))):
            rows = rules.real(queries)
            if torch.equal(rules.visible(queries, keys)[rows], seen[rows]):
                return rules, True
        guesses.append(plain)
    if not guesses:
        raise Refusal("no query sees any key: is the attention mask all zeros?")
    return guesses[0], False


# ---- one call of attention, and the calls of a layer ----


@dataclasses.dataclass
class Call:
    """What one sequence gave to attention once. Weights are the model's own, of some rows or all."""
    q: torch.Tensor  # [heads, queries, d]
    k: torch.Tensor  # [kv heads, keys, d]
    v: torch.Tensor | None
    seen: torch.Tensor  # [queries, keys]
    bias: torch.Tensor | None  # [heads or 1, queries or 1, keys]
    scale: float
    softcap: float | None = None
    sinks: torch.Tensor | None = None  # [heads]
    rows: torch.Tensor | None = None
    weights: torch.Tensor | None = None  # [heads, rows, keys]

    def __post_init__(self):
        if self.rows is None:
            self.rows = rows_to_check(self.q.shape[1])
        if self.weights is None:
            self.weights = weights(self, self.rows)


def rows_to_check(queries):
    return torch.linspace(0, queries - 1, min(queries, ROWS_CHECKED)).round().long()


def weights(call, rows):
    """The rule itself: softmax(softcap(scale Q K^T) + bias) over what is seen and the sink [heads, rows, keys]."""
    k = call.k.float().repeat_interleave(call.q.shape[0] // call.k.shape[0], 0)
    scores = call.q[:, rows].float() @ k.transpose(1, 2) * call.scale
    if call.softcap:
        scores = call.softcap * torch.tanh(scores / call.softcap)
    if call.bias is not None:
        scores = scores + (call.bias[:, rows] if call.bias.shape[1] > 1 else call.bias)
    scores = scores.masked_fill(~call.seen[rows], -torch.inf)
    if call.sinks is not None:
        sinks = call.sinks.float()[:, None, None].expand(-1, scores.shape[1], 1)
        return torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]
    return scores.softmax(-1).nan_to_num()  # rows that see nothing


def is_hidden(scores):
    """What no softmax gives anything: the least number there is, or one far below the row's largest (-1e4, -1e9)."""
    return (scores <= torch.finfo(scores.dtype).min / 2) | (scores.amax(-1, keepdim=True) - scores >= HIDDEN)


def split_mask(mask, queries, keys):
    """What an additive mask [heads, queries, keys] hides, and what it adds where it does not (None: nothing)."""
    hidden = is_hidden(mask)
    mask, seen = mask.float(), ~hidden.all(0).expand(queries, keys)
    added = mask.masked_fill(hidden, 0)
    if not torch.equal(hidden.any(0), hidden.all(0)):  # heads that do not hide the same
        return seen, added.masked_fill(hidden, -torch.inf).masked_fill(~seen, 0)
    return seen, added if added.any() else None


class Track:
    """The calls of one layer, joined: a prompt, then the tokens that were decoded with a cache."""

    def __init__(self, name, cross):
        self.name, self.cross = name, cross
        self.start()

    def start(self):
        self.calls, self.at, self.k, self.v = [], [], None, None

    def add(self, call):
        call = self.unpacked(call)
        queries, keys = call.q.shape[1], call.k.shape[1]
        before = 0 if self.k is None else self.k.shape[1]
        if self.k is None:
            # A cache of fixed length has room behind the tokens.
            used = queries if not self.cross and keys > queries and not call.seen[:, queries:].any() else keys
            base, self.k, self.v = 0, call.k[:, :used], None if call.v is None else call.v[:, :used]
        elif self.cross:
            base, used = 0, before
            self.expect(call, 0, before)
        elif queries == keys and keys >= before:  # everything anew, as without a cache
            self.expect(call, 0, before, 1e-2)
            self.start()
            return self.add(call)
        elif keys >= before + queries:
            base, used = 0, before + queries
            self.expect(call, 0, before)
            self.k, self.v = call.k[:, :used], None if call.v is None else call.v[:, :used]
        else:  # a window's cache holds the last keys alone
            base, used = before + queries - keys, keys
            self.expect(call, base, before)
            self.k = torch.cat([self.k, call.k[:, -queries:]], 1)
            self.v = None if self.v is None or call.v is None else torch.cat([self.v, call.v[:, -queries:]], 1)
        if call.seen[:, used:].any():
            raise Refusal(f"{self.name} sees keys that are not of its tokens; record one run at a time")
        self.calls.append(dataclasses.replace(
            call, k=call.k[:, :0], v=None, seen=call.seen[:, :used], weights=call.weights[..., :used],
            bias=None if call.bias is None else call.bias[..., :used]))
        self.at.append(base)

    def expect(self, call, base, before, tolerance=1e-4):
        """The keys that were there before, from `base` on, are still the same, where they are seen at all."""
        used = call.seen.any(0)[:before - base]
        mine, theirs = self.k[:, base:before], call.k[:, :before - base]
        if mine.shape == theirs.shape:
            mine, theirs = mine[:, used], theirs[:, used]
            if not mine.numel() or (mine - theirs).abs().max() <= tolerance * max(float(mine.abs().max()), 1):
                return
        raise Refusal(f"{self.name} was run on another text, or its cache was put in another order (a search with "
                      "beams?): record one run at a time, with num_beams=1")

    def unpacked(self, call):
        """Query heads that share keys may come as rows of one head; shared keys as copies of them."""
        if self.k is None:
            return call
        heads, kept = self.calls[0].q.shape[0], self.k.shape[0]
        if call.q.shape[0] != heads and call.q.shape[0] * call.q.shape[1] == heads:
            call = dataclasses.replace(
                call, q=call.q.reshape(heads, 1, -1), seen=call.seen[:1], rows=torch.tensor([0]), weights=None,
                bias=None if call.bias is None else call.bias.reshape(-1, 1, call.bias.shape[-1])[-heads:])
        if call.k.shape[0] < kept:
            k, v = (None if x is None else x.repeat_interleave(kept // call.k.shape[0], 0) for x in (call.k, call.v))
            call = dataclasses.replace(call, k=k, v=v)
        elif call.k.shape[0] > kept:
            self.k, self.v = (None if x is None else x.repeat_interleave(call.k.shape[0] // kept, 0)
                              for x in (self.k, self.v))
        return call

    def joined(self):
        """All calls as one, with the rows whose weights are known."""
        first, keys = self.calls[0], self.k.shape[1]
        total = sum(call.q.shape[1] for call in self.calls)
        for call in self.calls:
            if (call.scale, call.softcap) != (first.scale, first.softcap):
                raise Refusal(f"{self.name} changes its scale from step to step, which a dump cannot say; --attentions "
                              "stores its patterns")
        seen = torch.zeros(total, keys, dtype=torch.bool)
        biased = [call.bias for call in self.calls if call.bias is not None]
        bias = torch.zeros(max(b.shape[0] for b in biased), total, keys) if biased else None
        known = torch.zeros(first.q.shape[0], sum(len(call.rows) for call in self.calls), keys)
        row, rows = 0, []
        for call, base in zip(self.calls, self.at):
            count, end = call.q.shape[1], base + call.seen.shape[1]
            seen[row:row + count, base:end] = call.seen
            if call.bias is not None:
                bias[:, row:row + count, base:end] = call.bias
            known[:, len(rows):len(rows) + len(call.rows), base:end] = call.weights
            rows += (call.rows + row).tolist()
            row += count
        k, v = unrepeated(self.k, self.v)
        return Call(torch.cat([call.q for call in self.calls], 1), k, v, seen, bias, first.scale, first.softcap,
                    first.sinks, torch.tensor(rows), known)


def unrepeated(k, v):
    """Keys and values without the copies that were made for the query heads of a group."""
    for size in range(k.shape[0], 1, -1):
        if k.shape[0] % size == 0:
            copies = [x is None or x.unflatten(0, (-1, size)) for x in (k, v)]
            if all(c is True or torch.equal(c, c[:, :1].expand_as(c)) for c in copies):
                return tuple(None if x is None else x[::size] for x in (k, v))
    return k, v


# ---- recording ----


class record(TorchFunctionMode):
    """Records what PyTorch models give to torch.nn.functional.scaled_dot_product_attention.

    Without `model` calls are layers in the order they come, of one pass (or `layers_per_pass` of them and then again,
    as in decoding). With it a layer has the number in its module's name, and softmax(Q K^T) V that a model computes
    by itself is seen, too. The catch: compiled graphs and other kernels pass by; look at `count` when nothing is kept.
    """

    def __init__(self, model=None, layers=None, sequence=0, patterns=False, layers_per_pass=None):
        super().__init__()
        if model is not None and not isinstance(model, torch.nn.Module):
            model, layers = None, model
        self.model, self.layers, self.sequence, self.patterns = model, layers, sequence, patterns
        self.period, self.count, self.inside, self.tracks, self.numbers = layers_per_pass, 0, False, {}, set()
        self.stack, self.products, self.pending = [], [], None
        self.entries, self.attended, self.doubles = {}, set(), set()

    def __enter__(self):
        self.closing = contextlib.ExitStack()
        try:
            self.prepare()
        except BaseException:
            self.closing.close()
            raise
        return super().__enter__()

    def __exit__(self, *failure):
        result = super().__exit__(*failure)
        self.closing.close()
        return result

    def prepare(self):
        fast = torch.backends.mha.get_fastpath_enabled()  # nn.MultiheadAttention's own way around the function
        self.closing.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        # A mode sees every call but those inside other functions of PyTorch; for these the name is replaced.
        self.closing.callback(setattr, functional, "scaled_dot_product_attention", sdpa)
        functional.scaled_dot_product_attention = self.attend
        for name, module in (self.model.named_modules() if self.model is not None else ()):
            for hook in (module.register_forward_pre_hook(lambda *_, name=name: self.enter(name)),
                         module.register_forward_hook(lambda *_: self.leave(), always_call=True)):
                self.closing.callback(hook.remove)

    def enter(self, name):
        if not self.stack:  # another pass
            self.entries, self.attended = {}, set()
        self.stack.append(name)
        self.entries[name] = self.entries.get(name, 0) + 1

    def turn(self, name):
        """The module's name; layers that share one run it again in a pass, and are layers after the first."""
        turn = max(self.entries.get(name, 1) - 1, 0)
        if (name, turn) in self.attended:
            self.doubles.add(name)
        self.attended.add((name, turn))
        return f"{name}@{turn}" if turn else name

    def leave(self):
        if self.stack:
            if self.pending and self.pending[0] == self.stack[-1]:
                self.flush()
            self.stack.pop()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.inside:
            return function(*args, **kwargs)
        if function is sdpa:
            return self.attend(*args, **kwargs)
        name = getattr(function, "__name__", "")
        if not self.stack or name not in ("matmul", "__matmul__", "bmm", "baddbmm", "softmax"):
            return function(*args, **kwargs)
        return self.follow(name, function, args, kwargs)

    def attend(self, *args, **kwargs):
        if self.inside:
            return sdpa(*args, **kwargs)
        self.inside = True
        try:
            at = self.count % self.period if self.period else self.count
            name = self.turn(self.stack[-1]) if self.stack else f"layers.{at}"
            self.count += 1
            if self.is_wanted(name):
                self.keep(name, self.of_sdpa(*args, **kwargs))
            return sdpa(*args, **kwargs)
        finally:
            self.inside = False

    def of_sdpa(self, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        q, k, v = (self.one(tensor) for tensor in (query, key, value))
        queries, keys = q.shape[1], k.shape[1]
        seen, bias = torch.ones(queries, keys, dtype=torch.bool), None
        if is_causal:
            seen = seen.tril()
        if attn_mask is not None:
            mask = attn_mask.detach()
            mask = mask if mask.dtype != torch.bool else torch.where(mask, 0.0, -torch.inf)
            mask = mask[(None,) * (4 - mask.ndim)] if mask.ndim < 4 else mask
            mask = mask[self.sequence if mask.shape[0] > 1 else 0].cpu().expand(-1, queries, keys)
            seen, bias = split_mask(mask, queries, keys)
        rows = torch.arange(queries) if self.patterns else None
        return Call(q, k, v, seen, bias, float(scale or q.shape[-1] ** -0.5), rows=rows)

    def one(self, tensor):
        """The chosen sequence [heads, positions, d] of [batch, heads, positions, d], kept."""
        if tensor.ndim == 4:
            tensor = tensor[self.sequence if tensor.shape[0] > 1 else 0]
        elif tensor.ndim == 2:
            tensor = tensor[None]
        return tensor.detach().to("cpu", torch.float32, copy=True).contiguous()

    # A product, a softmax of as many numbers, and a product again, within one module, are attention.

    def follow(self, name, function, args, kwargs):
        result = function(*args, **kwargs)
        module = self.stack[-1]
        if name != "softmax":
            tensors = list(args) + [kwargs[n] for n in ("batch1", "batch2") if n in kwargs]
            a, b = tensors[-2], tensors[-1]
            held = self.pending
            if held and held[0] == module and a.shape[-1] == held[2].shape[-1] and a.numel() == held[2].numel():
                self.flush(b)
            elif isinstance(b, torch.Tensor) and a.ndim >= 3 and b.ndim >= 3:
                self.products = [made for made in self.products if made[0] == module]
                self.products.append((module, a, b, float(kwargs.get("alpha", 1))))
            return result
        scores, made = args[0], self.products
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        if dim in (-1, scores.ndim - 1):
            # The first that fits is Q K^T; what came after it was added.
            made = [one for one in made if one[0] == module and scores.shape[-1] == one[2].shape[-1]
                    and one[1].shape[:-1].numel() * one[2].shape[-1] == scores.numel()]
            if made and self.is_wanted(turn := self.turn(module)):
                self.pending = (module, made[0], result.detach(), scores.detach(), turn)
            self.products = []
        return result

    def flush(self, value=None):
        """Keeps the softmax that was followed last; `value` is what its result was multiplied with."""
        if not self.pending:
            return
        (_, (_, a, b, alpha), result, scores, name), self.pending = self.pending, None
        self.inside = True
        try:
            self.count += 1
            self.keep(name, self.of_softmax(a, b, alpha, result, scores, value))
        finally:
            self.inside = False

    def of_softmax(self, a, b, alpha, result, scores, value):
        batch = scores.shape[0] if scores.ndim == 4 else 1

        def heads(tensor):
            return self.one(tensor if tensor.ndim == 4 else tensor.reshape(batch, -1, *tensor.shape[-2:]))
        q, k = heads(a), heads(b.transpose(-1, -2))
        own, given = heads(result), scores if scores.ndim == 4 else scores.reshape(batch, -1, *scores.shape[-2:])
        given, hidden = heads(given), is_hidden(given[self.sequence if batch > 1 else 0].detach()).cpu()
        v = None if value is None else heads(value)
        product = q @ k.transpose(1, 2)
        # The scale with which the least is left over to be a bias; any of them gives the same pattern.
        left = {scale: (given - scale * product).masked_fill(hidden, 0)
                for scale in dict.fromkeys((alpha, q.shape[-1] ** -0.5, 1.0))}
        scale = min(left, key=lambda scale: float(left[scale].abs().mean()))
        exact = scores.dtype in (torch.float32, torch.float64)
        own = own if exact else given.softmax(-1)  # as it was before it was rounded
        # Scores of less precision are kept as they were rounded.
        noise = exact * 64 * torch.finfo(torch.float32).eps * max(float(given.masked_fill(hidden, 0).abs().max()), 1)
        bias = left[scale] if float(left[scale].abs().max()) > noise else torch.zeros(1, 1, 1)
        seen, bias = split_mask(bias.masked_fill(hidden, -torch.inf), q.shape[1], k.shape[1])
        rows = torch.arange(q.shape[1]) if self.patterns else rows_to_check(q.shape[1])
        return Call(q, k, v, seen, bias, scale, rows=rows, weights=own[:, rows])

    # What was kept, by module.

    def is_wanted(self, name):
        number = number_of(name)
        self.numbers.add(number)
        return self.layers is None or number in self.layers

    def keep(self, name, call):
        if name not in self.tracks:
            self.tracks[name] = Track(name, part_of(name) == "cross")
        self.tracks[name].add(call)

    def found(self, part=None, layers=None):
        """{layer: its track} of a part of the model: decoder, encoder, cross, vision, or a piece of names."""
        if not self.tracks:
            say = ("it may use kernels of its own: load it with attn_implementation='eager', or save what it returns, "
                   "save(model(..., output_attentions=True), path)")
            if self.numbers and self.layers:
                say = f"of layers {spoken(self.numbers)} none is among {spoken(self.layers)}"
            raise Refusal(f"no attention was recorded: {say}")
        parts = {name: part_of(name) for name in self.tracks}
        if part is None:
            part = next(one for one in PARTS if one in parts.values())
        names = [name for name in self.tracks if parts[name] == part or (part not in PARTS and part in name)]
        if not names:
            raise Refusal(f"it has no attention in {part}; there is {', '.join(sorted(set(parts.values())))}")
        out = {}
        for name in names:
            number = number_of(name)
            if name.partition("@")[0] in self.doubles:
                raise Refusal(f"{name} attends more than once for one output (differential attention?), and a dump has "
                              "one pattern for a head; save(model(..., output_attentions=True), path) stores what the "
                              "model returns")
            if number in out:
                raise Refusal(f"several modules are layer {number} ({name} is one); part='{name.rsplit('.', 1)[0]}' "
                              "chooses by a piece of the name")
            out[number] = self.tracks[name]
        if layers is not None and set(layers) - set(out):
            raise Refusal(f"layers {spoken(set(layers) - set(out))} were not recorded; layers {spoken(out)} were")
        return {number: out[number] for number in sorted(out) if layers is None or number in layers}

    def save(self, path, tokens=None, part=None, layers=None, dtype="auto", split=False, overwrite=True,
             **metadata):
        """Writes a dump, or with `split` one for each kind of layer; returns the names of what was written.

        `tokens` are the texts of the keys. Patterns are written if the recording was made with patterns=True.
        """
        found = self.found(part, layers)
        metadata.setdefault("model", type(self.model).__name__ if self.model is not None else "PyTorch model")
        make = ready_pattern if self.patterns else ready_qkv
        ready = {number: make(f"layer {number}", track.joined(), track.cross) for number, track in found.items()}
        return write_groups(path, ready, tokens, split, dtype, overwrite, metadata)


class capture(record):
    """Records Q, K and V of chosen layers of a Hugging Face model while it runs, forward or generate.

        with capture(model, layers=[0, 12]) as seen:
            model(**inputs)
        seen.save("dump.safetensors", tokens=texts)

    `sequence` picks one of a batch, `patterns=True` keeps attention patterns instead. The model computes as its eager
    attention does; models that keep their attention to themselves are followed as `record` follows them.
    """

    def __init__(self, model, layers=None, sequence=0, patterns=False):
        super().__init__(model, layers, sequence, patterns)

    def prepare(self):
        super().prepare()
        try:
            from transformers import AttentionInterface, AttentionMaskInterface
            from transformers.integrations.sdpa_attention import sdpa_attention_forward
            from transformers.masking_utils import eager_mask
        except ImportError:
            return
        if not hasattr(self.model, "set_attn_implementation"):
            return
        if not getattr(self.model, "_can_set_attn_implementation", lambda: True)():
            return
        AttentionInterface.register(NAME, self.called)
        AttentionMaskInterface.register(NAME, eager_mask)
        self.names = {id(module): name for name, module in self.model.named_modules()}
        # Layers that nobody asks for, where there is nothing beside scale and mask.
        self.fast = sdpa_attention_forward if getattr(self.model, "_supports_sdpa", False) else None
        configs = {id(config): config for module in self.model.modules()
                   if (config := getattr(module, "config", None)) is not None}
        for config in list(configs.values()):
            for name in getattr(config, "sub_configs", None) or ():
                if getattr(config, name, None) is not None:
                    configs[id(getattr(config, name))] = getattr(config, name)
        for config in configs.values():
            if hasattr(config, "_attn_implementation_internal"):
                self.closing.callback(setattr, config, "_attn_implementation_internal",
                                      config._attn_implementation_internal)
        with contextlib.suppress(ValueError):  # then it is followed
            self.model.set_attn_implementation(NAME)

    def called(self, module, query, key, value, attention_mask=None, scaling=None, dropout=0.0, **options):
        """The family's own eager attention; what it is given and what it gives are kept."""
        eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        if eager is None:
            raise Refusal(f"{type(module).__name__} has no eager attention to compare with; try record(model)")
        name = self.turn(self.names.get(id(module), ""))
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        was, self.inside = self.inside, True
        try:
            if self.is_wanted(name):
                self.count += 1
                self.keep(name, self.of_eager(eager, module, query, key, value, attention_mask, scaling, options))
            elif self.fast and not hasattr(module, "sinks") and not any(
                    options.get(more) is not None for more in ("softcap", "s_aux", "position_bias")):
                return self.fast(module, query, key, value, attention_mask, scaling=scaling, is_causal=False)
            return in_rows(eager, module, query, key, value, attention_mask, scaling, options, False), None
        finally:
            self.inside = was

    def of_eager(self, eager, module, query, key, value, mask, scaling, options):
        q, k, v = (self.one(tensor) for tensor in (query, key, value))
        queries, keys = q.shape[1], k.shape[1]
        place = self.sequence if query.shape[0] > 1 else 0

        def own(tensor):
            return tensor[place:place + 1] if tensor.ndim == 4 and tensor.shape[0] > 1 else tensor
        seen, bias = torch.ones(queries, keys, dtype=torch.bool), None
        if mask is not None:
            mask = own(mask)[..., :keys]
            mask = torch.where(mask, 0.0, -torch.inf) if mask.dtype == torch.bool else mask
            seen, bias = split_mask(mask[0].detach().cpu().expand(-1, queries, keys), queries, keys)
        position = options.get("position_bias")
        if position is not None:
            position = own(position).detach().float()
            options = options | {"position_bias": position}
            if position.any():
                added = position[0].cpu().expand(-1, queries, keys)
                bias = added if bias is None else added + bias
        sinks = options.get("s_aux")
        sinks = getattr(module, "sinks", None) if sinks is None else sinks
        rows = torch.arange(queries) if self.patterns else rows_to_check(queries)
        given = (x[place:place + 1].detach().float() for x in (query, key, value))
        known = in_rows(eager, module, *given, mask if mask is None else mask.float(), scaling, options, True,
                        None if self.patterns else rows)
        softcap = options.get("softcap")
        return Call(q, k, v, seen, bias, float(scaling), None if softcap is None else float(softcap),
                    None if sinks is None else sinks.detach().flatten().float().cpu(), rows,
                    known[0].detach().float().cpu())


def in_rows(eager, module, query, key, value, mask, scaling, options, is_weights, rows=None):
    """The family's eager attention, some rows at a time: its outputs, or its weights (of `rows`, or all)."""
    total, whole = query.shape[2], mask is None or mask.shape[2] != query.shape[2]
    asked = torch.arange(total) if rows is None else rows
    parts = []
    for some in [torch.arange(total)] if whole else asked.split(512):
        some, more = some.to(query.device), dict(options)
        bias = more.get("position_bias")
        if bias is not None and bias.shape[2] == total:
            more["position_bias"] = bias[:, :, some]
        taken = mask if whole else mask[:, :, some]
        taken = taken.to(query.dtype) if taken is not None and taken.is_floating_point() else taken
        made = eager(module, query[:, :, some], key, value, taken, scaling=scaling, dropout=0.0, **more)
        parts.append(made[is_weights])
    if whole and is_weights:
        return parts[0][:, :, asked.to(query.device)]
    return torch.cat(parts, 2 if is_weights else 1)


def number_of(name):
    """The layer's number in a module's name: model.layers.12.self_attn; 0 where there is none."""
    name, _, turn = name.partition("@")
    return next((int(piece) for piece in name.split(".") if piece.isdecimal()), 0) + int(turn or 0)


def part_of(name):
    """Which of PARTS a module is of, by its name."""
    name = name.lower()
    if re.search(r"cross|encoder_attn|encdec|enc_dec|multihead_attn", name):
        return "cross"
    if re.search(r"vision|visual|image|audio|speech", name):
        return "vision"
    return "decoder" if "decoder" in name else "encoder" if "encoder" in name else "self"


def spoken(numbers):
    return ", ".join(map(str, sorted(numbers)))


# ---- what is written ----


@dataclasses.dataclass
class Ready:
    """One layer as a file holds it: arrays in float32, and what the file must say for all of its layers."""
    arrays: dict
    rules: Rules
    heads: int
    queries: int
    keys: int
    cut: tuple  # of the keys that there were, which are left; how many there were
    scale: float | None = None
    softcap: float | None = None
    off: float = 0  # by how much weights are off when Q and K are in half precision

    def facts(self):
        """All that a file has one of."""
        rules = self.rules if self.rules.causal else dataclasses.replace(self.rules, offset=0)
        return (self.heads, self.queries, self.keys, rules, self.scale, self.softcap)


def narrowed(call, cross):
    """The call without keys that are of no token, where `attention_mask` could not say it; and which keys are left."""
    queries, keys = call.seen.shape
    used = call.seen.any(0).nonzero()
    if not len(used):
        raise Refusal("no query sees any key: is the attention mask all zeros?")
    low, high = (int(used[0]), int(used[-1]) + 1) if cross else (0, keys if queries == keys else int(used[-1]) + 1)
    bias = call.bias if call.bias is None or call.bias.shape[2] == 1 else call.bias[..., low:high]
    return dataclasses.replace(
        call, k=call.k[:, low:high], v=None if call.v is None else call.v[:, low:high], seen=call.seen[:, low:high],
        bias=bias, weights=call.weights[..., low:high]), (low, high, keys)


def cropped(call, end):
    """The call of the first positions alone."""
    kept = call.rows < end
    bias = call.bias if call.bias is None else call.bias[:, :end if call.bias.shape[1] > 1 else 1, :end]
    return dataclasses.replace(
        call, q=call.q[:, :end], k=call.k[:, :end], v=None if call.v is None else call.v[:, :end],
        seen=call.seen[:end, :end], bias=bias, rows=call.rows[kept], weights=call.weights[:, kept, :end])


def ruled(call, cross):
    """Its rules, whether they say all, and which rows are of tokens."""
    queries, keys = call.seen.shape
    if cross:
        rules = Rules(False, 0, None, None, 0, keys)
        return rules, bool(call.seen.all()), call.seen.any(1)
    rules, complete = explain(call.seen)
    return rules, complete, rules.real(queries)


def ready_qkv(name, call, cross):
    """Q, K, V, sinks and bias, checked on the rows whose weights are known."""
    call, cut = narrowed(call, cross)
    rules, complete, real = ruled(call, cross)
    if rules.high < call.seen.shape[1] and (call.bias is not None or not complete):
        # attnscope cuts padding off at the end, and would leave out a bias that is longer.
        call, cut = cropped(call, rules.high), (0, rules.high, cut[2])
        rules, complete, real = ruled(call, cross)
    queries, keys = call.seen.shape
    expected, bias = rules.visible(queries, keys), call.bias
    if not complete:  # a mask that no rule gives is a bias of -infinity
        hidden = (expected & ~call.seen & real[:, None])[None]
        bias = (torch.zeros(1, queries, keys) if bias is None else bias).expand(-1, queries, keys)
        bias = bias.masked_fill(hidden, -torch.inf)
    elif bias is not None:
        bias = smaller(bias.expand(-1, queries, keys), call.seen & real[:, None])
    arrays = {"q": call.q, "k": call.k, "v": call.v, "sinks": call.sinks, "attention_bias": bias}
    known = real[call.rows]
    said = dataclasses.replace(call, seen=expected, bias=bias)

    def off(dtype):
        rounded = dataclasses.replace(said, q=call.q.to(dtype), k=call.k.to(dtype))
        if not (rounded.q.isfinite().all() and rounded.k.isfinite().all()):
            return float("inf")
        gap = (weights(rounded, call.rows[known]) - call.weights[:, known]).abs()
        return float(gap.nan_to_num(nan=float("inf")).max()) if gap.numel() else 0.0
    exact = off(torch.float32)
    if exact > EXACT:
        raise Refusal(f"{name}: the model's own weights are off by {exact:.2g} from what Q, K and all that is known of "
                      "its attention give, so their dump would be wrong; --attentions (patterns=True) stores patterns")
    return Ready(arrays, rules, call.q.shape[0], queries, keys, cut, call.scale, call.softcap, off(torch.float16))


def smaller(bias, seen):
    """The bias with one row, or one head, where all are the same."""
    noise = 1e-5 * max(float(bias.abs().max()), 1)
    shared = (bias * seen).sum(1, keepdim=True) / seen.sum(0).clamp(min=1)
    if float(((bias - shared).abs() * seen).max()) <= noise:
        bias = shared
    if float((bias - bias[:1]).abs().max()) <= noise:
        bias = bias[:1]
    return bias


def ready_pattern(name, call, cross):
    """Patterns, of a recording that has the weights of all rows."""
    call, cut = narrowed(call, cross)
    rules, _, real = ruled(call, cross)
    queries, keys = call.seen.shape
    pattern = torch.zeros(call.q.shape[0], queries, keys)
    pattern[:, call.rows] = call.weights
    return of_pattern(pattern, rules, real, cut)


def of_pattern(pattern, rules, real, cut):
    pattern = pattern.masked_fill(~real[None, :, None], 0)
    rules = dataclasses.replace(rules, window=None, starts=None)
    return Ready({"pattern": pattern[None]}, rules, *pattern.shape, cut, off=1)


def write_groups(path, ready, tokens, split, dtype, overwrite, metadata):
    """A file of all layers if it can say their facts, or one for each kind of them; returns the names."""
    groups = {}
    for number, layer in ready.items():
        groups.setdefault(layer.facts(), []).append(number)
    if len(groups) > 1 and not split:
        raise Refusal(differences(groups))
    stem, ending = os.path.splitext(os.fspath(path))
    files = {os.fspath(path): list(ready)} if len(groups) == 1 else {
        f"{stem}.layers-{'-'.join(map(str, numbers))}{ending}": numbers for numbers in groups.values()}
    there = next((name for name in files if os.path.exists(name)), None)
    if there and not overwrite:
        raise Refusal(f"{there} exists; --overwrite replaces it")
    return [write(name, {number: ready[number] for number in numbers}, tokens, dtype, metadata)
            for name, numbers in files.items()]


def differences(groups):
    """What no file of all these layers can say, in a sentence."""
    told = [words(facts) for facts in groups]
    differing = [index for index in range(len(told[0])) if len({one[index] for one in told}) > 1]
    kinds = "; ".join(f"layers {spoken(numbers)} {', '.join(one[index] for index in differing if one[index])}"
                      for one, numbers in zip(told, groups.values()))
    each = " and ".join(f"--layers {','.join(map(str, sorted(numbers)))}" for numbers in groups.values())
    return (f"these layers do not fit one file, which has one of each fact: {kinds}. Write a file for each ({each}, or "
            "--split), or their patterns (--attentions)")


def words(facts):
    """The facts of a file, each as words that may follow 'layers 0, 2'."""
    heads, queries, keys, rules, scale, softcap = facts
    sees = (f"see {rules.window} keys at most" if rules.window else "see one of several sequences" if rules.starts
            else "see all keys")
    return (sees, "" if rules.causal else "see later tokens too", f"have {heads} heads", f"are {queries} x {keys}",
            f"have positions {rules.low} to {rules.high - 1}", f"have the scale {scale}", f"have the softcap {softcap}")


def write(path, ready, tokens, dtype, metadata):
    """One file of layers that agree; it is whole, or not there."""
    first = next(iter(ready.values()))
    rules, facts = first.rules, {"rope_applied": "true", "causal": str(first.rules.causal).lower()}
    said = {"scale": first.scale, "softcap": first.softcap, "sliding_window": rules.window,
            "query_offset": rules.offset if rules.causal else None,
            "cu_seqlens": list(rules.starts) if rules.starts else None}
    facts |= {name: repr(value) for name, value in said.items() if value is not None}
    facts |= {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
    if tokens is not None:
        facts["tokens"] = json.dumps(fitting(list(tokens), first))
    half = dtype == "f16" or dtype == "auto" and all(layer.off <= CLOSE for layer in ready.values())
    arrays = {}
    for number, layer in ready.items():
        for name, array in layer.arrays.items():
            if array is None:
                continue
            is_half = half and name in ("q", "k", "v", "pattern")
            stored = array.to(torch.float16 if is_half else torch.float32).contiguous()
            if is_half and stored.isinf().any():
                if dtype == "f16":
                    raise Refusal(f"layer {number}: {name} has numbers too large for f16; use --dtype f32")
                stored = array.float().contiguous()
            arrays[f"layers.{number}.{name}"] = stored
    # Of patterns it is always said: sequences side by side (chunks) look like padding, too.
    if (rules.low, rules.high) != (0, first.keys) or "pattern" in first.arrays:
        mask = torch.zeros(first.keys, dtype=torch.int32)
        mask[rules.low:rules.high] = 1
        arrays["attention_mask"] = mask
    more = rules.window or rules.starts or rules.low or first.softcap or any("bias" in one for one in arrays)
    if more and "pattern" not in first.arrays and first.queries * first.keys > LARGEST:
        print(f"note: attnscope follows windows, softcaps, biases and padding up to 8192 x 8192 tokens, and says so of "
              f"these {first.queries} x {first.keys}; a shorter prompt shows them (--max-tokens)", file=sys.stderr)
    name = os.fspath(path)
    try:
        with open(name + ".part", "wb") as file:
            file.write(safetensors_bytes(arrays, facts))
        os.replace(file.name, name)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.remove(name + ".part")
        raise Refusal(f"{name} cannot be written: {error.strerror or error}") from None
    return name


def fitting(tokens, layer):
    """Texts of the keys that are left; the token that was generated last was never read."""
    low, high, before = layer.cut
    if len(tokens) == before + 1:
        tokens = tokens[:-1]
    if len(tokens) == before:
        return tokens[low:high]
    if len(tokens) != layer.keys:
        raise Refusal(f"tokens has {len(tokens)} texts, and there are {before} keys")
    return tokens


# ---- what models return ----


def save(outputs, path, tokens=None, attention_mask=None, part=None, sequence=0, layers=None, dtype="auto", split=False,
         overwrite=True, **metadata):
    """Writes the attentions that a Hugging Face model returned; returns the names of the files.

    `outputs` is what forward or generate gave (with output_attentions=True), as an object, a dict or a tuple, or its
    attentions alone. `part` is decoder, encoder or cross where there are several; `tokens` are texts of that part's
    keys, `attention_mask` says which of these are padding. Other words become metadata: model="my model".
    """
    parts = attentions_of(outputs)
    if part is None:
        part = next(one for one in PARTS if one in parts)
    if part not in parts:
        raise Refusal(f"the outputs have no {part} attentions; they have {', '.join(parts)}")
    given, steps = parts[part], is_steps(parts[part])
    beams = getattr(outputs, "beam_indices", None) if steps else None
    count = len(given[0]) if steps else len(given)
    missing = [n for n in layers or () if not 0 <= n < count]
    if missing:
        raise Refusal(f"layers {spoken(missing)} are not among the {count} that the outputs have")
    ready = {}
    for number in range(count) if layers is None else sorted(layers):
        blocks = [step[number] for step in given] if steps else [given[number]]
        if all(block is None for block in blocks):
            continue
        rows = [pick(block, sequence if beams is None else int(beams[sequence, index]), number)
                for index, block in enumerate(blocks)]
        ready[number] = returned(number, rows, part == "cross", mask_row(attention_mask, sequence, beams))
    if not ready:
        raise Refusal(NO_ATTENTIONS)
    dtype = "f32" if dtype == "auto" else dtype
    return write_groups(path, ready, tokens, split, dtype, overwrite, {"part": part} | metadata)


NO_ATTENTIONS = ("the model returned no attentions: load it with attn_implementation='eager', call it with "
                 "output_attentions=True (generate also with return_dict_in_generate=True), or use capture(model)")


def attentions_of(outputs):
    """{part: layers, or steps of layers}."""
    named = {"decoder_attentions": "decoder", "attentions": "self", "encoder_attentions": "encoder",
             "cross_attentions": "cross", "vision_attentions": "vision"}
    if isinstance(outputs, torch.Tensor):
        if outputs.ndim not in (3, 5):
            raise Refusal(f"a tensor of shape {tuple(outputs.shape)} does not say what its axes are: give a tuple of "
                          "layers, each [batch, heads, queries, keys]")
        outputs = list(outputs) if outputs.ndim == 5 else [outputs]
    if isinstance(outputs, (tuple, list)):
        if is_layers(outputs) or is_steps(outputs):
            return {"self": outputs}
        found = [one for one in outputs if is_steps(one) or is_layers(one) and looks_like_patterns(one)]
        names = {1: ("self",), 2: ("decoder", "cross"), 3: ("decoder", "cross", "encoder")}.get(len(found))
        if names is None:
            raise Refusal(NO_ATTENTIONS)
        return dict(zip(names, found))
    get = outputs.get if isinstance(outputs, dict) else lambda name: getattr(outputs, name, None)
    found = {part: get(name) for name, part in named.items() if get(name) is not None}
    found = {part: list(value) if isinstance(value, torch.Tensor) and value.ndim == 5 else value
             for part, value in found.items()}
    found = {part: value for part, value in found.items() if is_layers(value) or is_steps(value)}
    if not found:
        raise Refusal(NO_ATTENTIONS)
    return found


def is_layers(value):
    return (isinstance(value, (tuple, list)) and any(layer is not None for layer in value) and all(
        layer is None or hasattr(layer, "shape") and len(layer.shape) in (3, 4) for layer in value))


def is_steps(value):
    return isinstance(value, (tuple, list)) and len(value) > 0 and all(is_layers(step) for step in value)


def looks_like_patterns(value):
    """Hidden states and caches come in tuples, too; no row of a pattern has a sum above 1."""
    layer = torch.as_tensor(next(layer for layer in value if layer is not None)).float()
    return layer.ndim == 4 and bool((layer >= 0).all()) and bool((layer.sum(-1) < 1.02).all())


def pick(block, sequence, number):
    """[heads, queries, keys] of one sequence, checked to be a pattern."""
    if block is None:
        raise Refusal(f"layer {number} has attentions in some steps and none in others")
    block = torch.as_tensor(block).detach().float().cpu()
    if block.ndim == 4:
        if not -block.shape[0] <= sequence < block.shape[0]:
            raise Refusal(f"sequence {sequence} is not among the {block.shape[0]} of the batch")
        block = block[sequence]
    if not block.isfinite().all() or block.min() < -1e-4 or block.sum(-1).max() > 1.02:
        raise Refusal(f"layer {number} holds no patterns (rows of shares that sum to 1 at most): are these scores?")
    return block


def mask_row(mask, sequence, beams):
    if mask is None:
        return None
    mask = torch.as_tensor(mask).cpu()
    if mask.ndim == 1:
        return mask
    each = max(len(beams) // mask.shape[0], 1) if beams is not None else 1
    return mask[sequence // each]


def returned(number, blocks, cross, mask):
    """The steps of one layer as one pattern, with the rules that can be seen in it."""
    heads, total, placed = blocks[0].shape[0], 0, []
    for index, block in enumerate(blocks):
        queries, width = block.shape[1:]
        if cross:
            base, total = 0, width
        else:
            if not index and mask is not None:  # rows of padding hold anything
                block = block.masked_fill(~mask[:queries].bool()[None, :, None], 0) if len(mask) >= queries else block
            if index and queries == width >= total:  # everything anew, as without a cache
                placed, total = [], 0
            # A cache of fixed length has room behind the tokens; a window's cache holds the last ones alone.
            room = index == 0 and width > queries and not block[..., queries:].any()
            total = total + queries if total or room or width < queries else width
            base = max(total - width, 0)
        if block[..., max(total - base, 0):].any():
            raise Refusal(f"step {index} of layer {number} sees keys that no step has read")
        placed.append((base, block[..., :total - base]))
    keys = total if not cross else max(block.shape[2] for _, block in placed)
    pattern, row = torch.zeros(heads, sum(block.shape[1] for _, block in placed), keys), 0
    for base, block in placed:
        pattern[:, row:row + block.shape[1], base:base + block.shape[2]] = block
        row += block.shape[1]
    low, high = ends(mask, keys, len(blocks) > 1 and not cross)
    if cross:
        return of_pattern(pattern[..., low:high], Rules(False, 0, None, None, 0, high - low),
                          torch.ones(row, dtype=torch.bool), (low, high, keys))
    rules = Rules(False, keys - row, None, None, low, high)
    at = torch.arange(row)[:, None] + rules.offset
    late = pattern.masked_fill(~((torch.arange(keys)[None] > at) & rules.real(row)[:, None]), 0)
    return of_pattern(pattern, dataclasses.replace(rules, causal=not late.any()), rules.real(row), (0, keys, keys))


def ends(mask, keys, grows):
    """Where tokens begin and end; what was generated is no padding."""
    if mask is None:
        return 0, keys
    mask = mask.bool().tolist()
    if grows:
        mask = mask[:keys] + [True] * (keys - len(mask))
    if len(mask) != keys or not any(mask):
        raise Refusal(f"attention_mask has {len(mask)} numbers, {sum(mask)} of them of tokens; there are {keys} keys")
    return mask.index(True), keys - mask[::-1].index(True)


def convert(source, path, **metadata):
    """Writes what torch.save wrote as safetensors; nothing in the file is executed. Returns the names of the files."""
    try:
        held = torch.load(source, map_location="cpu", weights_only=True)
    except OSError as error:
        raise Refusal(f"{source} cannot be read: {error.strerror or error}") from None
    except Exception as error:
        raise Refusal(f"{source} {refused(source, error)}") from None
    texts = None
    if isinstance(held, dict):
        texts = next((held[name] for name in ("tokens", "tokens_list", "str_tokens", "input_tokens")
                      if is_texts(held.get(name))), None)
    try:
        mask = held.get("attention_mask") if isinstance(held, dict) else None
        return save(held, path, tokens=texts, attention_mask=mask, **metadata)
    except Refusal:
        arrays = dict(flat(held))
        if not any(array.ndim > 1 for array in arrays.values()) or isinstance(held, (tuple, list)):
            raise
    facts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in held.items()
             if isinstance(name, str) and isinstance(value, (str, bool, int, float))} if isinstance(held, dict) else {}
    facts |= {name: str(value) for name, value in metadata.items()}
    if texts is not None:
        facts["tokens"] = json.dumps(list(texts))
    try:
        with open(f"{path}.part", "wb") as file:
            file.write(safetensors_bytes({name: array.contiguous().clone() for name, array in arrays.items()}, facts))
        os.replace(file.name, path)
    except OSError as error:
        raise Refusal(f"{path} cannot be written: {error.strerror or error}") from None
    return [os.fspath(path)]


def is_texts(value):
    return isinstance(value, (tuple, list)) and len(value) > 0 and all(isinstance(text, str) for text in value)


def refused(source, error):
    """Why a file of torch.save was not read, and what to save instead."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(source)
    except Exception:
        return f"is no file of torch.save ({type(error).__name__})"
    if not names:
        return f"cannot be read: {str(error).splitlines()[0]}"
    return (f"holds more than tensors ({', '.join(names[:3])}), which would have to be run to be read: save the "
            "tensors alone, as in torch.save(outputs.attentions, 'attentions.pt')")


def flat(held, name=""):
    """Every tensor with a name, layers numbered."""
    if isinstance(held, torch.Tensor):
        yield name or "attention", held
    elif isinstance(held, dict):
        for key, value in held.items():
            own = f"layer_{key}" if isinstance(key, int) else str(key)
            yield from flat(value, f"{name}.{own}" if name else own)
    elif isinstance(held, (tuple, list)):
        for index, value in enumerate(held):
            yield from flat(value, f"{name}.{index}" if name else f"layer_{index}")


# ---- the command ----


def tokenize(tokenizer, prompt):
    """Ids, and texts that are slices of the prompt and fit together, where the tokenizer knows its offsets."""
    coded = tokenizer(prompt, return_offsets_mapping=tokenizer.is_fast)
    ids, texts, end = coded["input_ids"], [], 0
    for token, (_, stop) in zip(ids, coded.get("offset_mapping", [(0, 0)] * len(ids))):
        texts.append(prompt[end:stop] or tokenizer.decode([token]))  # special tokens, parts of a character
        end = max(end, stop)
    return ids, texts


def load(name):
    """The model as its own class, and its tokenizer."""
    import transformers
    config = transformers.AutoConfig.from_pretrained(name)
    own = getattr(transformers, (config.architectures or [""])[0], None)
    general = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    model = (own or general).from_pretrained(name, dtype="auto").eval()
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return model, transformers.AutoTokenizer.from_pretrained(name)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a name on the Hugging Face hub, or a folder")
    prompt = parser.add_mutually_exclusive_group(required=True)
    prompt.add_argument("--prompt", help="the text to read, given to the model as it is")
    prompt.add_argument("--prompt-file", help="a UTF-8 file with the text")
    parser.add_argument("--layers", default="all", help="such as 0,12 (the first is 0), or all (the default)")
    parser.add_argument("--part", help="of models with several: decoder, encoder, cross, or a piece of module names")
    parser.add_argument("--attentions", action="store_true", help="store patterns instead of Q, K and V")
    parser.add_argument("--max-new-tokens", type=int, default=0, help="tokens that the model adds (default 0)")
    parser.add_argument("--max-tokens", type=int, default=4096, help="the prompt is cut off there (default 4096)")
    parser.add_argument("--dtype", choices=("auto", "f16", "f32"), default="auto",
                        help="of the dump (auto: f16 where that moves no weight by more than 0.0005)")
    parser.add_argument("--split", action="store_true", help="a file for each kind of layer, where one cannot say all")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("-o", "--out", required=True, help="the .safetensors file to write")
    return parser


def chosen(words, count):
    """{0, 12} of "0,12"; None of all."""
    if words == "all":
        return None
    layers = {int(word) if word.strip().isdecimal() else -1 for word in words.split(",")}
    if not layers <= set(range(count)):
        raise Refusal(f"--layers {words}: this model has 0 to {count - 1}; give them as 0,{count - 1} or all")
    return layers


def export(options):
    if os.path.exists(options.out) and not options.overwrite:
        raise Refusal(f"{options.out} exists; --overwrite replaces it")
    try:
        prompt = options.prompt
        if prompt is None:
            with open(options.prompt_file, encoding="utf-8") as file:
                prompt = file.read()
        model, tokenizer = load(options.model)
        ids, texts = tokenize(tokenizer, prompt)
    except (OSError, ValueError, ImportError) as error:
        raise Refusal(f"the prompt or the model cannot be read: {error}") from None
    if not ids or options.max_tokens < 1 or options.max_new_tokens < 0:
        raise Refusal("a prompt needs a token at least, --max-tokens 1 or more, and --max-new-tokens 0 or more")
    if len(ids) > options.max_tokens:
        print(f"note: of the prompt's {len(ids)} tokens {options.max_tokens} are read (--max-tokens)", file=sys.stderr)
    ids, texts = torch.tensor([ids[:options.max_tokens]], device=model.device), texts[:options.max_tokens]
    layers = chosen(options.layers, model.config.get_text_config().num_hidden_layers)
    with torch.no_grad(), capture(model, layers, patterns=options.attentions) as seen:
        made = run(model, ids, options.max_new_tokens)
    name = os.path.basename(os.path.abspath(options.model)) if os.path.isdir(options.model) else options.model
    facts = dict(part=options.part, dtype=options.dtype, split=options.split, overwrite=options.overwrite, model=name)
    if not seen.tracks and options.attentions and not made:  # what it returns is all there is
        with torch.no_grad():
            files = save(model(input_ids=ids, output_attentions=True), options.out, texts, layers=layers, **facts)
        return print(f"{', '.join(files)}: patterns of {len(texts)} tokens, as the model returned them")
    answer = [tokenizer.decode([token]) for token in made]
    if model.config.is_encoder_decoder:
        texts = texts if options.part in ("encoder", "cross") else answer
    else:
        texts = texts + answer
    files = seen.save(options.out, texts, **facts)
    what = "patterns" if options.attentions else "Q, K, V"
    print(f"{', '.join(files)}: {what} of {len(texts)} tokens, layers {spoken(seen.found(options.part))}")


def run(model, ids, new):
    """One pass over the prompt, or an answer to it; returns the ids that were added."""
    if not new and not model.config.is_encoder_decoder:
        model.base_model(input_ids=ids)  # nobody asks for logits here
        return []
    if not model.can_generate():
        raise Refusal(f"{type(model).__name__} does not generate; leave out --max-new-tokens")
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=max(new, 1), num_beams=1,
                         do_sample=False)
    return out[0].tolist() if model.config.is_encoder_decoder else out[0, ids.shape[1]:].tolist()


def main(words=None):
    words = sys.argv[1:] if words is None else list(words)
    try:
        if words[:1] == ["convert"]:
            parser = argparse.ArgumentParser(prog="attnscope_export.py convert", description=convert.__doc__)
            parser.add_argument("source", help="a file of torch.save")
            parser.add_argument("out", help="the .safetensors file to write")
            parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
            options = parser.parse_args(words[1:])
            if os.path.exists(options.out) and not options.overwrite:
                raise Refusal(f"{options.out} exists; --overwrite replaces it")
            print(", ".join(convert(options.source, options.out)))
        else:
            export(arguments().parse_args(words))
    except Refusal as refusal:
        sys.exit(str(refusal))


if __name__ == "__main__":
    main()
