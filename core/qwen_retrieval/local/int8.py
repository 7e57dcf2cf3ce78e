"""Linear layers in 8-bit integers on a CPU: weights by output channel, activations by token.

A token's scale depends on that token alone, so a result does not depend on what else is in the
batch. In some layers a few input channels are far larger than all others, and would leave these
only a few of the 256 steps; they stay in float32, as in LLM.int8() (Dettmers et al.,
arXiv:2208.07339), here chosen once, on a sample. What attention has gathered is rounded to 16 bits:
where a model finds little to tell documents apart by, it lies in differences below a 256th.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear, Module

from qwen_retrieval.errors import SettingsError
from qwen_retrieval.local.int8_product import FULL, PackedBytes, Way, fastest_exact
from qwen_retrieval.local.memory import give_freed_memory_back
from qwen_retrieval.local.widening import Forms, MappedFiles, fastest_forms, widen_layer

WHOLE = 32
"""One in so many input channels stays in float32, where that makes the steps
`FINER` times as fine."""
FINER = 1.5
"""On the tiny models, leaving out layers that gain less costs nothing; asking for twice doubles the
mean error of a logit."""
INPUTS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)
"""A decoder layer's linear layers; those in a row have the same input."""
FINE = "self_attn.o_proj"
"""The layer whose input is rounded to 16 bits."""

Rows = tuple[Tensor, Tensor, Tensor | None]
"""Bytes around 128, the scale of each row, and the channels that stay as they are, if any."""


class Int8Linear(Module):
    """A linear layer without bias whose product is computed in 8-bit integers."""

    def __init__(self, weight: Tensor, whole: Tensor | None, way: Way, largest: int) -> None:
        """Quantise a float weight of shape (out, in) symmetrically, row by row.

        Args:
            weight: stays as it is.
            whole: places of the input channels that are left in float32, if any.
            way: how it is multiplied.
            largest: what a weight may be in that way.
        """
        super().__init__()
        self.whole = whole
        rest = weight.float()
        if whole is not None:
            self._float = rest[:, whole].T.contiguous()
            rest = rest.index_fill(1, whole, 0.0)
        scales = rest.abs().amax(1).clamp_min(1e-12) / largest
        self._bytes = PackedBytes((rest / scales[:, None]).round_(), scales, way)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the product of float rows, shape (..., out)."""
        flat = self.product(quantized(rows.flatten(0, -2), self.whole))
        return flat.view(*rows.shape[:-1], -1)

    def product(self, rows: Rows) -> Tensor:
        """Return the product of rows from `quantized`, which several layers may share."""
        rounded, scales, whole = rows
        found = self._bytes.product(rounded).mul_(scales)
        return found if whole is None else found.addmm_(whole, self._float)


class FineInt8Linear(Int8Linear):
    """One whose input is rounded to 16 bits: each number becomes two bytes, at twice the cost."""

    def __init__(self, weight: Tensor, way: Way, largest: int) -> None:
        """Quantise a float weight of shape (out, in); see `Int8Linear`."""
        super().__init__(weight, None, way, largest)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the product of float rows, shape (..., out)."""
        steps, scales = _in_steps(rows.flatten(0, -2))
        coarse = steps.round()
        fine = steps.sub_(coarse).mul_(2 * FULL).round_()
        found, rest = self._bytes.product(_as_bytes(torch.cat([coarse, fine]))).chunk(2)
        return found.add_(rest, alpha=0.5 / FULL).mul_(scales).view(*rows.shape[:-1], -1)


def quantized(rows: Tensor, whole: Tensor | None) -> Rows:
    """Return float rows as bytes and scales, with some channels taken out."""
    rest = rows if whole is None else rows.index_fill(1, whole, 0.0)
    steps, scales = _in_steps(rest)
    return _as_bytes(steps.round_()), scales, None if whole is None else rows[:, whole]


def _in_steps(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row in units of a step of its own, within ±127, and that step."""
    largest = torch.maximum(rows.amax(-1, keepdim=True), rows.amin(-1, keepdim=True).neg_())
    scales = largest.clamp_min_(1e-12).div_(FULL)
    return rows.div(scales), scales


def _as_bytes(rounded: Tensor) -> Tensor:
    # Adds 128: torch turns floats into signed bytes several times as fast as into unsigned ones.
    return rounded.to(torch.int8).bitwise_xor_(-128).view(torch.uint8)


def large_channels(rows: Tensor) -> Tensor | None:
    """Return the places of the largest channels, if the others' steps are much finer without.

    By how much is the mean over the rows, since each has steps of its own.
    """
    sizes = rows.abs()
    places = sizes.amax(0).topk(max(1, sizes.shape[1] // WHOLE)).indices.sort().values
    without = sizes.index_fill(1, places, 0.0).amax(1).clamp_min(1e-12)
    return places if bool((sizes.amax(1) / without).mean() >= FINER) else None


def products(rows: Tensor, layers: Sequence[Any]) -> list[Tensor]:
    """Return what each layer makes of the same rows."""
    if isinstance(layers[0], Int8Linear):
        shared = quantized(rows, layers[0].whole)
        return [layer.product(shared) for layer in layers]
    return [layer(rows) for layer in layers]


@torch.inference_mode()
def to_int8(model: Any, sample: Sequence[int]) -> None:  # noqa: ANN401 - transformers is untyped
    """Replace the linear layers of a loaded `Qwen3Model`, one at a time, in place.

    The sample goes through the layers in float32 once; as soon as it is through one, that one is
    replaced. The last decoder layer stays as it is: most of it is computed for last positions only,
    so it costs little, and its error would be the result's own.

    Args:
        model: on a CPU; its vocabulary stays in the dtype it has.
        sample: token ids of an ordinary text, to find the large channels with.

    Raises:
        SettingsError: the model has a layer that is no plain linear one, such as LoRA's, or this
            machine has no exact product.
    """
    way, largest = fastest_exact()
    layers = model.layers[:-1]
    for layer in layers:
        _refuse_adapted(layer)
    files = MappedFiles()
    widen_layer(model.norm, files, Forms())
    noted: dict[str, Tensor | None] = {}

    def note(name: str, _: Module, inputs: tuple[Tensor]) -> None:
        noted[name] = large_channels(inputs[0].flatten(0, -2))

    def begin(layer: Module, _: object) -> None:
        stays = layer is model.layers[-1]
        widen_layer(layer, files, fastest_forms() if stays else Forms())

    def end(layer: Module, _inputs: object, _found: object) -> None:
        for names in INPUTS:
            for name in names:
                owner, _, last = name.partition(".")
                weight = layer.get_submodule(name).weight
                assert isinstance(weight, Tensor)  # noqa: S101 - `_refuse_adapted` has looked
                reduced = (
                    FineInt8Linear(weight.detach(), way, largest)
                    if name == FINE
                    else Int8Linear(weight.detach(), noted[names[0]], way, largest)
                )
                setattr(layer.get_submodule(owner), last, reduced)
        give_freed_memory_back()

    hooks = [layer.register_forward_pre_hook(begin) for layer in model.layers]
    hooks += [layer.register_forward_hook(end) for layer in layers]
    hooks += [
        layer.get_submodule(names[0]).register_forward_pre_hook(partial(note, names[0]))
        for layer in layers
        for names in INPUTS
        if names != (FINE,)
    ]
    try:
        model(inputs_embeds=model.embed_tokens(torch.tensor([list(sample)])).float())
    finally:
        for hook in hooks:
            hook.remove()


def _refuse_adapted(layer: Module) -> None:
    for name in (name for names in INPUTS for name in names):
        linear = layer.get_submodule(name)
        if type(linear) is not Linear or linear.bias is not None:
            raise SettingsError(
                f"precision is 'int8', but {name} is a {type(linear).__name__}; merge adapters"
                " into the model first, or leave precision out."
            )
