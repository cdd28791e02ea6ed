"""`attach(model, to=...)`: a model of transformers that tells a viewer what its attention does, or computes with skip softmax.

The package registers one attention function with transformers. It calls the implementation that was there, notes what was
given to it (references, nothing is copied), and hands back the result as it is; with `lambda_` it computes itself. What a
viewer asks for (pictures, tables, rows) is made on a thread of its own from these references.
"""
import collections
import contextlib
import math
import os
import queue
import sys
import threading
import time
import weakref

import torch

from . import answers as answering
from . import kernels
from .rules import DECODE, PREFILL, Rules, Tile
from .sender import Sender, note

NAME = "attnscope"  # of the implementation registered with transformers
PART = 64 << 20  # bytes of Q, K and V in a frame
KEPT = 4 << 30  # bytes of queries that are kept
CHECKED = 16  # rows of a mask that are held against the rules of its layer


class Stopped(Exception):
    """A viewer has asked to end the run."""


class Layer:
    """One layer of the model: its rules, and what it was given so far."""

    def __init__(self, number, query, key, value, rules):
        self.number, self.rules = number, rules
        self.heads, self.kv_heads, self.dim, self.value_dim = query.shape[1], key.shape[1], key.shape[3], value.shape[3]
        self.queries = []  # [heads, n, d] of prompts, and [B, heads, 1, d] of tokens as they came
        self.keys, self.masks = None, None
        self.own_keys = []  # of layers whose cache lets go of what left the window
        self.given = None  # (query, key, value) of the newest call, as they came
        self.begin, self.end, self.last = 0, 0, 0  # which rows of query are new, and where those of key end
        self.scores = None  # of the newest row
        self.margin = None  # of the step, where this package computes
        self.error = None  # [heads], of the output against dense, where it was measured

    def new(self, place):
        """(q, k, v) of the newest call [heads, n, d]."""
        count = self.end - self.begin
        return tuple(tensor.detach()[place if tensor.shape[0] > 1 else 0, :, end - count:end]
                     for tensor, end in zip(self.given, (self.end, self.last, self.last)))

    def all_queries(self, place):
        """[heads, n, d]; joined once."""
        if len(self.queries) > 1:
            self.queries = [torch.cat([one.detach()[place if one.shape[0] > 1 else 0] if one.ndim == 4 else one
                                       for one in self.queries], 1)]
        return self.queries[0]

    def all_keys(self, place, tokens, low):
        """[kv heads, tokens, d], or fewer where a cache has let go of some."""
        if self.own_keys:
            if len(self.own_keys) > 1:
                self.own_keys = [torch.cat(self.own_keys, 1)]
            return self.own_keys[0][:, :tokens]
        return self.keys.detach()[place if self.keys.shape[0] > 1 else 0, :, low:low + tokens]


class Attachment:
    """What `attach` gives: it goes on until `detach`."""

    def __init__(self, model, to="viewer", *, lambda_=None, kernel="torch", tile=None, decode_tile=None, tokenizer=None,
                 sequence=0, layers=None, carry=None, counts=True, token=None, request=None, rank=None, world=None,
                 first_head=None, keep=KEPT, errors=16, program="attnscope"):
        self.model, self.tokenizer, self.sequence, self.wanted = model, tokenizer, sequence, layers
        self.prefill_tile, self.decode_tile = Tile.of(tile or PREFILL, PREFILL), Tile.of(decode_tile or DECODE, DECODE)
        self.lambda_ = 0.0 if lambda_ is None else float(lambda_)
        if not 0 <= self.lambda_ <= 1:
            raise ValueError(f"lambda_={lambda_}: the threshold is a number from 0 (dense) to 1")
        self.kernel = kernels.named(kernel) if lambda_ is not None else None
        self.request, self.counts, self.keep, self.kept = request, counts, keep, 0
        self.rank, self.world = ranks(rank, world)
        self.first_head, self.errors = first_head, errors
        self.lock, self.gate = threading.RLock(), threading.Condition()
        self.is_paused, self.allowed, self.is_stopped = False, 0, False
        self.layers, self.others, self.tokens, self.low, self.inside = {}, {}, 0, 0, False
        self.begun, self.calls, self.ids, self.top, self.carries_all = None, 0, None, None, False
        self.notes, self.runs, self.speed = set(), 0, collections.deque(maxlen=32)
        if "{rank}" in to:
            to = to.replace("{rank}", str(self.rank or 0))
        # A pipe and a file have nobody to ask: rows of Q, K and V travel with them.
        self.carry = (not to.startswith(("unix:", "tcp:")) and to != "viewer") if carry is None else bool(carry)
        self.sender = Sender(to, self.told, token=token, program=program)
        self.asked, self.cancelled = queue.SimpleQueue(), set()
        threading.Thread(target=self.answers, daemon=True, name="attnscope-answers").start()
        self.undo = contextlib.ExitStack()
        self.register()

    def __enter__(self):
        return self

    def __exit__(self, kind, *failure):
        self.detach("the run is over" if kind is None else f"the run ended with {kind.__name__}")

    def detach(self, why="the run is over"):
        """Gives the model its attention back, says good-bye to viewers, and lets go of what was kept."""
        self.undo.close()
        self.sender.close(why)
        self.asked.put(None)
        with self.lock:
            self.layers = {}

    @property
    def address(self):
        """Where a viewer finds it: unix:PATH or tcp:HOST:PORT."""
        return self.sender.address

    # ---- registration ----

    def register(self):
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        model = self.model
        before = model.config._attn_implementation
        if str(before).startswith(NAME):
            raise ValueError("attnscope is attached to this model already: detach it first")
        self.implementation = None if before == "eager" else ALL_ATTENTION_FUNCTIONS[before]
        name = f"{NAME}_{before}"
        # A compiler goes around what looks and sends: it breaks its graph there.
        AttentionInterface.register(name, torch.compiler.disable(called))
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[before])
        for config in configs(model):
            self.undo.callback(setattr, config, "_attn_implementation_internal", config._attn_implementation_internal)
        for module in model.modules():
            if getattr(module, "layer_idx", None) is not None:
                OWNERS[module] = self
                self.undo.callback(OWNERS.pop, module, None)
        model.set_attn_implementation(name)
        for hook in (model.register_forward_pre_hook(torch.compiler.disable(self.before), with_kwargs=True),
                     model.register_forward_hook(torch.compiler.disable(self.after))):
            self.undo.callback(hook.remove)

    def original(self, module):
        """What computes a module's attention without us."""
        if self.implementation is not None:
            return self.implementation
        eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        if eager is None:
            raise ValueError(f"{type(module).__name__} has no eager attention of its own; load it with sdpa")
        return eager

    # ---- around a pass of the model ----

    def before(self, module, args, kwargs):
        """Waits while a viewer holds the run; notes which tokens come."""
        if self.is_paused:
            with self.gate:
                while self.is_paused and not self.allowed and not self.is_stopped:
                    self.gate.wait()
                self.allowed = max(0, self.allowed - 1)
                if self.is_paused:
                    self.sender.moment(phase="paused", **{"lambda": self.lambda_})
        if self.is_stopped:
            raise Stopped("a viewer has ended the run")
        ids = kwargs.get("input_ids", args[0] if args else None)
        embeds = kwargs.get("inputs_embeds")
        given = ids if ids is not None else embeds
        self.begun, self.calls, self.inside = time.perf_counter(), 0, True
        if given is None:
            self.ids = None
            return
        cache = kwargs.get("past_key_values")
        cache = kwargs.get("cache") if cache is None else cache
        past = 0 if cache is None else int(cache.get_seq_length())
        place = self.sequence if given.shape[0] > 1 else 0
        self.place, self.past = place, past
        self.ids = ids[place].detach() if ids is not None else torch.zeros(embeds.shape[1], dtype=torch.int64)
        if past == 0:
            self.starts(kwargs.get("attention_mask"), place, given.shape[1])

    def starts(self, mask, place, count):
        """A new text, or, without a cache, the same one with another token."""
        low, high = 0, count
        if isinstance(mask, torch.Tensor) and mask.ndim == 2 and mask.shape[1] == count:
            real = mask[place].nonzero().flatten()
            if len(real):
                low, high = int(real[0]), int(real[-1]) + 1
        ids = self.ids[low:high].cpu()
        with self.lock:
            anew = self.tokens > 0 and len(ids) == self.tokens + 1 and torch.equal(ids[:-1], self.text)
            self.again = self.tokens if anew else 0
            if self.tokens and not anew:
                self.runs += 1
                self.say("another text began; it is shown from its own beginning to whoever comes now")
            if not anew:
                self.layers, self.tokens, self.kept, self.top = {}, 0, 0, None
                self.text = ids[:0]
            self.low, self.high = low, high

    def after(self, module, args, output):
        """A pass is over: a prompt, some of it, or a token."""
        self.inside = False
        if self.ids is None:
            return
        if not self.calls:
            self.say("a pass ran without calling its attention (a captured graph?): nothing is shown of it")
            return
        with self.lock:
            first = self.tokens
            ids = self.ids[self.low:self.high].cpu()[self.again:] if self.past == 0 else self.ids.cpu()
            self.text = torch.cat([self.text, ids])
            self.tokens = first + len(ids)
        if self.runs:
            return  # hello said what is no longer so
        if not self.sender.is_ready:
            self.hello(len(ids))
        seconds = time.perf_counter() - self.begun
        watched = self.sender.is_watched
        if first == 0 or len(ids) > 1:
            self.push_prompt(first, ids)
        else:
            self.push_step(first, int(ids[0]), seconds, watched)
        errors = [self.layers[number].error for number in sorted(self.layers)]
        if errors and all(one is not None for one in errors):
            self.sender.push("findings", {"values": torch.stack(errors)}, name="output_error", label="output error",
                             unit="relative L2 to dense", position=first)
        self.top = output if watched else None
        now = time.perf_counter()
        if len(ids) == 1 and first:
            self.speed.append(now - self.ended)  # with all that is between two passes
        self.ended = now
        if watched:
            speed = f"{len(self.speed) / sum(self.speed):.4g}" if self.speed else None
            self.sender.moment(phase="paused" if self.is_paused else "running", **{"lambda": self.lambda_},
                               tokens_per_second=speed)

    def say(self, sentence):
        if sentence not in self.notes:
            self.notes.add(sentence)
            note(sentence)
            self.sender.moment(note=sentence)

    # ---- what is pushed ----

    def hello(self, prompt):
        layers = [self.layers[number] for number in sorted(self.layers)]
        first, config = layers[0], self.model.config.get_text_config()
        scales = {layer.rules.scale for layer in layers}
        shapes = {(layer.heads, layer.kv_heads, layer.dim, layer.value_dim) for layer in layers}
        if len(shapes) > 1:
            self.say("layers of different shapes: those like the first are shown (layers=[...] chooses)")
            shape = (first.heads, first.kv_heads, first.dim, first.value_dim)
            layers = [one for one in layers if (one.heads, one.kv_heads, one.dim, one.value_dim) == shape]
            self.layers = {layer.number: layer for layer in layers}
        # Q and K say nothing of a mask that no rule gives, or of scales that differ.
        self.carries_all = self.carry and len(scales) == 1 and all(layer.masks is None for layer in layers)
        if self.carry and not self.carries_all:
            self.say("masks that no rule gives, or scales that differ: Q and K are not sent, pictures are made here")
        heads_before = self.first_head
        if heads_before is None:
            whole = getattr(config, "num_attention_heads", first.heads)
            heads_before = (self.rank or 0) * first.heads if whole > first.heads else 0
        numbers = [layer.number for layer in layers]
        windows, softcaps = [one.rules.window for one in layers], [one.rules.softcap for one in layers]
        sinks = [layer.rules.sinks for layer in layers]
        tile, decode = self.prefill_tile, self.decode_tile
        self.sender.hello(
            {"sinks": torch.stack([one.float() for one in sinks])} if all(one is not None for one in sinks) else
            {f"layers.{one.number}.sinks": one.rules.sinks.float() for one in layers if one.rules.sinks is not None},
            wire=1, model=name_of(self.model, config), request=self.request,
            kernel=self.kernel.name if self.kernel else f"transformers {self.model_implementation}",
            layers=len(layers), heads=first.heads, kv_heads=first.kv_heads, head_dim=first.dim,
            value_dim=first.value_dim, layer_numbers=numbers if numbers != list(range(len(numbers))) else None,
            first_head=heads_before or None, rank=self.rank, world=self.world, prompt_tokens=prompt,
            scale=first.rules.scale, sliding_window=windows if any(windows) else None,
            softcap=softcaps if any(softcaps) else None, **{"lambda": self.lambda_}, tile=tile.text, vote=tile.vote,
            order=tile.order, decode_tile=decode.text, decode_vote=decode.vote, decode_order=decode.order,
            carries=["q", "k", "v"] if self.carries_all else [], answers=["picture", "table", "row"],
            takes=["pause", "run", "step", "lambda", "tile", "stop"])

    @property
    def model_implementation(self):
        return self.model.config._attn_implementation.removeprefix(NAME + "_")

    def push_prompt(self, first, ids):
        texts = [self.piece(one) for one in ids.tolist()] if self.tokenizer else [""] * len(ids)
        each = sum((one.heads + one.kv_heads) * one.dim + one.kv_heads * one.value_dim for one in self.layers.values())
        size = max(one.given[0].element_size() for one in self.layers.values())
        at_once = max(1, PART // (each * size)) if self.carries_all else len(ids)
        for begin in range(0, len(ids), at_once):
            end = min(len(ids), begin + at_once)
            arrays = {"token_ids": ids[begin:end].to(torch.int32)}
            if self.carries_all:
                for number, layer in sorted(self.layers.items()):
                    for name, tensor in zip("qkv", layer.new(self.place)):
                        arrays[f"layers.{number}.{name}"] = tensor[:, begin:end]
            self.sender.push("prefill", arrays, position=first + begin, tokens=texts[begin:end])

    def push_step(self, position, token, seconds, watched):
        facts, arrays = {"ms": round(seconds * 1e3, 3)}, {}
        if self.carries_all:
            for number, layer in sorted(self.layers.items()):
                for name, tensor in zip("qkv", layer.new(self.place)):
                    arrays[f"layers.{number}.{name}"] = tensor
        if watched:
            arrays |= self.counted(facts)
            if self.tokenizer:
                facts["text"] = self.piece(token)
            self.choices(token, facts)
        self.sender.push("step", arrays, position=position, token=token, step=facts)

    def counted(self, facts):
        """visible, skipped and sinks [layers, heads] of the newest row, and by which tile they were counted."""
        layers = [self.layers[number] for number in sorted(self.layers)]
        if not self.counts or any(layer.scores is None and layer.margin is None for layer in layers):
            return {}
        tile = self.decode_tile
        facts |= {"lambda": self.lambda_, "rows": tile.rows, "keys": tile.keys, "vote": tile.vote, "order": tile.order}
        return answering.newest(layers, tile, self.lambda_, self.tokens)

    def choices(self, token, facts):
        """The likeliest tokens that might have come, of the pass before."""
        logits = getattr(self.top, "logits", None)
        if logits is None:
            return
        logits = logits[self.place if logits.shape[0] > 1 else 0, -1].float()
        best = logits.topk(min(10, len(logits)))
        total = logits.logsumexp(0)
        values = torch.cat([best.values, logits[token:token + 1], total[None]]).tolist()
        facts["logprob"] = values[-2] - values[-1]
        facts["top"] = [{"token": one, "piece": self.piece(one) if self.tokenizer else str(one), "logit": value}
                        for one, value in zip(best.indices.tolist(), values)]

    def piece(self, token):
        if not hasattr(self, "pieces"):
            self.pieces = {}
        if token not in self.pieces:
            self.pieces[token] = self.tokenizer.decode([token])
        return self.pieces[token]

    # ---- a call of attention ----

    def attend(self, module, query, key, value, attention_mask, options):
        number = int(module.layer_idx)
        if not self.inside or self.ids is None or getattr(module, "is_cross_attention", False):
            return self.original(module)(module, query, key, value, attention_mask, **options)
        self.calls += 1
        if self.wanted is not None and number not in self.wanted:
            if self.kernel is None:
                return self.original(module)(module, query, key, value, attention_mask, **options)
            if number not in self.others:
                self.others[number] = Layer(number, query, key, value, rules_of(module, query, options))
            return self.computed(self.others[number], query, key, value, attention_mask)
        try:
            layer = self.seen(module, number, query, key, value, attention_mask, options)
        except Exception as error:  # the model goes on, whatever becomes of its picture
            self.say(f"layer {number} is not shown: {error}")
            layer = None
        if self.kernel and layer is not None:
            return self.computed(layer, query, key, value, attention_mask)
        return self.original(module)(module, query, key, value, attention_mask, **options)

    def seen(self, module, number, query, key, value, mask, options):
        layer = self.layers.get(number)
        if layer is None:
            layer = self.layers[number] = Layer(number, query, key, value, rules_of(module, query, options))
        elif key.shape[3] != layer.dim or query.shape[1] != layer.heads:
            raise ValueError("it attends twice, in two shapes")
        count = query.shape[2]
        if self.past == 0:
            layer.begin, layer.end = self.low + self.again, self.high
            layer.last, end = self.high, self.high - self.low
        else:
            end = self.tokens + count
            layer.begin, layer.end, layer.last = 0, count, min(end + self.low, key.shape[2])
        layer.given, layer.scores, layer.margin = (query, key, value), None, None
        is_token = layer.end - layer.begin == 1
        kept = layer.heads * layer.dim * query.element_size() * (layer.end - layer.begin)
        if self.kept + kept > self.keep:
            self.say(f"queries of {self.keep >> 20} MiB are kept (keep=...): later rows have no picture")
        else:
            self.kept += kept
            # Of one sequence the row stays as it is: nothing is copied, and nothing is cut.
            with self.lock:
                layer.queries.append(query if is_token and query.shape[0] == 1 and count == 1 else
                                     layer.new(self.place)[0].clone() if is_token else layer.new(self.place)[0])
        layer.keys = key
        if layer.rules.window:
            with self.lock:
                layer.own_keys.append(layer.new(self.place)[1].clone())
        position = options.get("position_bias")
        if layer.masks is not None or position is not None or (mask is not None and not self.past):
            self.check(layer, mask, position, self.place if query.shape[0] > 1 else 0, count, end)
        if is_token and self.counts and self.kernel is None and self.sender.is_watched:
            q, k = query[self.place if query.shape[0] > 1 else 0, :, layer.begin:layer.end], key[
                self.place if key.shape[0] > 1 else 0]
            k = k[:, self.low:self.low + end] if k.shape[1] >= self.low + end else k
            layer.scores = torch.bmm(q.reshape(layer.kv_heads, -1, layer.dim), k.transpose(1, 2))
        return layer

    def check(self, layer, mask, bias, place, count, end):
        """Whether a mask says what the rules do; else it is kept."""
        if layer.masks is None and bias is None and (not isinstance(mask, torch.Tensor) or self.past):
            return
        if isinstance(mask, torch.Tensor) and mask.ndim == 4:
            mask = mask[place if mask.shape[0] > 1 else 0]
            mask = mask[:, -count:, self.low:self.low + end] if mask.shape[1] > 1 else mask[..., self.low:self.low + end]
        else:
            mask = None
        if self.past == 0 and mask is not None:
            mask = mask[:, self.low:self.high]
        begin = 0 if self.past == 0 else self.tokens
        if layer.masks is None and bias is None and mask is not None:
            rows = torch.linspace(0, mask.shape[1] - 1, min(CHECKED, mask.shape[1])).round().long().to(mask.device)
            hidden = ~mask[:, rows] if mask.dtype == torch.bool else mask[:, rows] <= torch.finfo(mask.dtype).min / 2
            added = mask.dtype != torch.bool and bool((mask[:, rows].masked_fill(hidden, 0) != 0).any())
            expected = layer.rules.visible(rows + begin, mask.shape[2])
            if not added and bool((hidden == ~expected).all()):
                return
        added = torch.zeros(1, end - begin, end) if mask is None else mask.detach().float().cpu() \
            if mask.dtype != torch.bool else torch.where(mask.cpu(), 0.0, -math.inf)
        if bias is not None:
            added = added + bias[place if bias.shape[0] > 1 else 0].detach().float().cpu()[:, -(end - begin):, :end]
        with self.lock:
            layer.masks = (layer.masks or []) + [added]

    def computed(self, layer, query, key, value, mask):
        """Skip softmax in the place of the model's own attention; one sequence is reported."""
        n = query.shape[2]
        tile = self.decode_tile if n == 1 else self.prefill_tile
        place = self.place if query.shape[0] > 1 else 0
        end = self.tokens + n if self.past else n
        out = torch.empty(query.shape[0], n, query.shape[1], value.shape[3], dtype=query.dtype, device=query.device)
        for one in range(query.shape[0]):
            given = None if mask is None else mask[one if mask.shape[0] > 1 else 0]
            what = (query[one], key[one], value[one], layer.rules)
            past = end - n if self.past else 0
            made, margin = self.kernel(*what, self.lambda_, tile, past=past, mask=given)
            out[one] = made.transpose(0, 1)
            if one == place:
                layer.margin, layer.error = margin, None
                if self.errors and layer.number in self.layers and (n > 1 or self.tokens % self.errors == 0):
                    dense, _ = self.kernel(*what, 0.0, tile, past=past, mask=given)
                    layer.error = (made - dense).float().norm(dim=(1, 2)) / dense.float().norm(dim=(1, 2))
        return out, None

    # ---- what a viewer says ----

    def told(self, link, line):
        """A line of a viewer; what makes no sense is passed over."""
        if "ask" in line:
            self.asked.put((link, line))
            return
        do, value = line.get("do"), line.get("value")
        with self.gate:
            if do == "pause":
                self.is_paused = True
            elif do == "run":
                self.is_paused = False
            elif do == "step":
                count = line.get("count", 1)
                self.is_paused, self.allowed = True, self.allowed + (count if type(count) is int and count > 0 else 1)
            elif do == "stop":
                self.is_stopped = True
            elif do == "cancel":
                if type(line.get("to")) is int and len(self.cancelled) < 4096:  # those answered before stay
                    self.cancelled.add((link, line["to"]))
            elif do == "lambda" and type(value) in (int, float) and 0 <= value <= 1:
                self.lambda_ = float(value)
            elif do == "tile":
                with contextlib.suppress(ValueError, TypeError, AttributeError):
                    self.prefill_tile = Tile.of(line.get("prefill") or {}, self.prefill_tile)
                    self.decode_tile = Tile.of(line.get("decode") or {}, self.decode_tile)
            else:
                return
            self.gate.notify_all()
        if link is not None:
            self.sender.moment(phase="paused" if self.is_paused else "running", **{"lambda": self.lambda_})

    def answers(self):
        """The thread that makes what is asked for, one after the other."""
        while (one := self.asked.get()) is not None:
            link, line = one
            number = line["ask"]
            if type(number) is not int:
                continue  # nobody could tell which question is answered
            if (link, number) in self.cancelled:
                self.cancelled.discard((link, number))
                continue
            link.answer(answering.answer(self, line))


def name_of(model, config):
    """What people call the model; of a folder its last part."""
    name = getattr(config, "name_or_path", "") or type(model).__name__
    return os.path.basename(name.rstrip("/")) if os.path.exists(name) else name


def rules_of(module, query, options):
    """What a layer does to its scores, as its module and the words of the call say it."""
    return Rules(float(options.get("scaling") or query.shape[-1] ** -0.5), options.get("sliding_window") or None,
                 options.get("softcap"), sinks_of(module, options), getattr(module, "is_causal", True))


def sinks_of(module, options):
    sinks = options.get("s_aux")
    sinks = getattr(module, "sinks", None) if sinks is None else sinks
    return None if sinks is None else sinks.detach().flatten()


def configs(model):
    """Every configuration that holds an implementation."""
    found = {}
    for module in model.modules():
        config = getattr(module, "config", None)
        if config is not None and hasattr(config, "_attn_implementation_internal"):
            found[id(config)] = config
            for name in getattr(config, "sub_configs", None) or ():
                sub = getattr(config, name, None)
                if sub is not None and hasattr(sub, "_attn_implementation_internal"):
                    found[id(sub)] = sub
    return found.values()


def ranks(rank, world):
    """As told, else as torch.distributed knows."""
    if rank is not None or world is not None:
        return rank, world
    if torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and "RANK" in os.environ:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return None, None


OWNERS = weakref.WeakKeyDictionary()  # attention modules to their Attachment


def called(module, query, key, value, attention_mask=None, **options):
    """What transformers calls in every layer."""
    return OWNERS[module].attend(module, query, key, value, attention_mask, options)


def attach(model, to="viewer", **options):
    """Shows what the attention of a transformers model does while it runs; returns an `Attachment`.

    `to` is "viewer" (starts attnscope), "unix:PATH", "tcp:HOST:PORT", a file, or "-" (for `| attnscope open -`); {rank} in
    it is replaced. With `lambda_` the model computes with skip softmax (`kernel` "torch" or "triton") and `[` `]` of the
    viewer change lambda while it runs; without, its own attention computes and lambda says which blocks are counted.
    `tile`, `decode_tile` ("128x64") and `counts`; `tokenizer` for texts; `sequence` of a batch; `layers` to look at;
    `carry` Q, K and V in the frames (for files and pipes by default); `keep` bytes of queries; where the
    package computes, `errors`: after how many tokens the output is held against dense once more (0: never).

        with attnscope.attach(model, to="unix:/run/user/1000/run.sock", tokenizer=tokenizer):
            model.generate(**inputs, max_new_tokens=200)
    """
    return Attachment(model, to, **options)


def detach(model):
    """Gives a model its own attention back."""
    for module in model.modules():
        if module in OWNERS:
            OWNERS[module].detach()
            return
    raise ValueError("attnscope is not attached to this model")


__all__ = ["Attachment", "Stopped", "attach", "detach"]
