"""Turns a loaded model's layers into 8-bit ones, choosing on sample texts how each is rounded.

In some layers a few input channels are far larger than all others, and would leave these only a few
of the 256 steps; they stay in float32. Where what tells a text's tokens apart lies below a 256th,
the input is rounded to 16 bits.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn import Linear, Module

from qwen_retrieval.errors import SettingsError
from qwen_retrieval.local.attention import Group
from qwen_retrieval.local.int8 import FineInt8Linear, Int8Linear, in_steps
from qwen_retrieval.local.int8_product import fastest_exact
from qwen_retrieval.local.memory import give_freed_memory_back
from qwen_retrieval.local.network import Qwen3Network
from qwen_retrieval.local.widening import Forms, MappedFiles, fastest_forms, widen_layer
from qwen_retrieval.prompts import RERANKER_PREFIX, RERANKER_SUFFIX, reranker_head

_log = logging.getLogger(__name__)

WHOLE = 32
"""One in so many input channels stays in float32, where that makes the steps
`FINER` times as fine."""
FINER = 1.5
"""On the tiny models, leaving out layers that gain less costs nothing; asking for twice doubles the
mean error of a logit."""
NOISE = 0.1
"""What rounding to bytes may add to a layer's outputs, next to how far these differ between the
tokens of one text, before 16 bits are taken. Where it cost accuracy in the tiny models it was .16
to 26, in one place where it cost none .4; in all others .08 at most, in random models .07."""
INPUTS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)
"""A decoder layer's linear layers; those in a row have the same input."""
PROMPTED = (
    f"{RERANKER_PREFIX}{reranker_head('how do I read a file line by line?', None)}"
    "for line in open(path):\n    print(line.rstrip())\n\nDie Hauptstadt von Frankreich ist Paris."
    " ¿Cuál es la capital de España? 北京是中国的首都。 भारत की राजधानी नई दिल्ली है।"
    f" Gravity is a force that attracts two bodies: F = G m1 m2 / r².{RERANKER_SUFFIX}"
)
"""A prompt, prose of several scripts, and code, to find large channels with; control tokens are
spelled out."""
CHINESE = (
    "北京是中国的首都。长江是亚洲最长的河流,全长约六千三百公里。春天农民在田里种水稻,秋天收割。"
)
HINDI = "भारत की राजधानी नई दिल्ली है। गंगा उत्तर भारत की सबसे लंबी नदी है। किसान धान बोते हैं।"
"""Scripts by themselves, to find noise in: what tells a text's tokens apart is small where a model
knows little of its script."""


@torch.inference_mode()
def to_int8(
    model: Any,  # noqa: ANN401 - transformers is untyped
    encode: Callable[[Sequence[str]], Sequence[Sequence[int]]],
) -> None:
    """Replace the linear layers of a loaded `Qwen3Model`, one at a time, in place.

    Sample texts go through the layers in float32 once; as soon as they are through one, that one is
    replaced. The last decoder layer stays as it is: most of it is computed for last positions only,
    so it costs little, and its error would be the result's own.

    Args:
        model: on a CPU; its vocabulary stays in the dtype it has.
        encode: turns texts into token ids.

    Raises:
        SettingsError: the model has a layer that is no plain linear one, such as LoRA's, or this
            machine has no exact product.
    """
    fastest_exact()  # refuses before anything is changed
    *layers, last = model.layers
    for layer in layers:
        _refuse_adapted(layer)
    files = MappedFiles()
    widen_layer(model.norm, files, Forms())
    samples = encode([PROMPTED, CHINESE, HINDI])
    computing = Qwen3Network(model).by_layers([Group((), samples)])
    kinds: Counter[type[Int8Linear]] = Counter()
    for layer in layers:
        widen_layer(layer, files, Forms())
        with _inputs_of(layer) as inputs:
            next(computing)
        kinds.update(_replace_linears(layer, inputs, [len(sample) for sample in samples]))
        give_freed_memory_back()
    widen_layer(last, files, fastest_forms())
    _log.info(
        "8-bit integers: of %d linear layers %d take their input in 16 bits",
        kinds.total(), kinds[FineInt8Linear],
    )  # fmt: skip


@contextmanager
def _inputs_of(layer: Module) -> Iterator[dict[str, Tensor]]:
    """Yield what the linear layers of a decoder layer are given while it is computed."""
    inputs: dict[str, Tensor] = {}

    def note(name: str, _: Module, given: tuple[Tensor]) -> None:
        inputs[name] = given[0]

    hooks = [
        layer.get_submodule(name).register_forward_pre_hook(partial(note, name))
        for name, *_ in INPUTS
    ]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()


def _replace_linears(
    layer: Module, inputs: dict[str, Tensor], lengths: list[int]
) -> Iterator[type[Int8Linear]]:
    """Replace a decoder layer's linear layers by 8-bit ones, whose kinds are yielded."""
    way, largest = fastest_exact()
    for names in INPUTS:
        weights = [layer.get_parameter(f"{name}.weight").detach() for name in names]
        prompted, *plain = torch.split(inputs.pop(names[0]), lengths)
        whole = large_channels(prompted)
        kind = FineInt8Linear if noise(plain, weights, whole) > NOISE else Int8Linear
        for name, weight in zip(names, weights, strict=True):
            owner, _, place = name.partition(".")
            setattr(layer.get_submodule(owner), place, kind(weight, whole, way, largest))
            yield kind


def large_channels(rows: Tensor) -> Tensor | None:
    """Return the places of the largest channels, if the others' steps are much finer without.

    By how much is the mean over the rows, since each has steps of its own.
    """
    sizes = rows.abs()
    places = sizes.amax(0).topk(max(1, sizes.shape[1] // WHOLE)).indices.sort().values
    without = sizes.index_fill(1, places, 0.0).amax(1).clamp_min(1e-12)
    return places if bool((sizes.amax(1) / without).mean() >= FINER) else None


def noise(texts: Sequence[Tensor], weights: Sequence[Tensor], whole: Tensor | None) -> float:
    """Return how much rounding rows to bytes adds to products, next to what tells them apart.

    For each token the length of its error over its distance from the middle of its text; of these
    the median, and the largest of all texts and weights. Both are medians because models have a
    token to rest attention on, mostly the first, which is unlike all others.

    Args:
        texts: their tokens' rows, each of shape (tokens, in).
        weights: each of shape (out, in).
        whole: places of the channels that are not rounded, if any.
    """
    rows = torch.cat(list(texts))
    rest = rows if whole is None else rows.index_fill(1, whole, 0.0)
    steps, scales = in_steps(rest)
    errors = steps.sub_(steps.round()).mul_(scales)
    lengths = [len(text) for text in texts]
    found = 0.0
    for weight in weights:
        # One product for all: of few rows it takes the time to read the weights.
        parts = torch.split(torch.cat([rows, errors]) @ weight.T, lengths * 2)
        for outputs, added in zip(parts, parts[len(texts) :], strict=False):
            apart = vector_norm(outputs - outputs.median(0).values, dim=1).clamp_min(1e-12)
            found = max(found, float((vector_norm(added, dim=1) / apart).median()))
    return found


def _refuse_adapted(layer: Module) -> None:
    for name in (name for names in INPUTS for name in names):
        linear = layer.get_submodule(name)
        if type(linear) is not Linear or linear.bias is not None:
            raise SettingsError(
                f"precision is 'int8', but {name} is a {type(linear).__name__}; merge adapters"
                " into the model first, or leave precision out."
            )
