"""Qwen3's own forward pass: packed tokens, shared beginnings, one last position.

It computes what transformers' `Qwen3Model` computes, over the same modules, without the waste that
retrieval does not need: linear layers see the tokens of a batch without padding, the beginning that
sequences share is computed once and kept as keys and values, and in the last layer only the last
position goes on. The layers' projections are called as modules, so that adapters in them keep
working.

Formulas: Qwen3 Technical Report (arXiv:2505.09388) and transformers' `modeling_qwen3.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import rms_norm, silu
from transformers import Qwen3ForCausalLM, Qwen3ForSequenceClassification, Qwen3Model

from qwen_retrieval.local.attention import Group, Span, Stem, span_of
from qwen_retrieval.local.int8 import products
from qwen_retrieval.local.memory import keep_freed_memory

ROWS = 4096
"""Tokens that the widest layers take at once: they are what a long document needs most memory for,
and products of this many rows are as fast as larger ones."""


def decoder_of(inner: Any) -> Any:  # noqa: ANN401 - transformers is untyped
    """Return the `Qwen3Model` within a loaded model with a head, or the model itself."""
    with_head = type(inner) in {Qwen3ForCausalLM, Qwen3ForSequenceClassification}
    return inner.model if with_head else inner


def unknown_to_network(inner: Any) -> str | None:  # noqa: ANN401 - transformers is untyped
    """Return what in a loaded model `Qwen3Network` does not compute, or None."""
    model = decoder_of(inner)
    if type(model) is not Qwen3Model:
        return f"a {type(inner).__name__}"
    config, scaling = model.config, getattr(model.rotary_emb, "rope_type", "default")
    parts = (model.layers, model.norm)  # rows of the vocabulary are widened as they are read
    places = {(weight.device, weight.dtype) for part in parts for weight in part.parameters()}
    # transformers' own choice of attention; anything else was asked for.
    chosen = config._attn_implementation  # noqa: SLF001 - it has no public name
    obstacles = {
        "sliding-window attention": set(config.layer_types or ()) != {"full_attention"},
        "attention in both directions": not getattr(config, "is_causal", True),
        f"rope scaling {scaling!r}": scaling != "default",
        f"the activation {config.hidden_act!r}": config.hidden_act != "silu",
        f"attention {chosen!r}": chosen != "sdpa",
        "weights in several places or dtypes": len(places) != 1,
        # Its attention has given wrong numbers for grouped heads, and nobody has tried this there.
        "the device mps": model.device.type == "mps",
    }
    return next((what for what, found in obstacles.items() if found), None)


class Qwen3Network:
    """The forward pass of a loaded `Qwen3Model`."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - transformers' modules are untyped
        self._embed = model.embed_tokens
        self._layers = list(model.layers)
        self._norm = model.norm
        self._rotary = model.rotary_emb
        self._head_dim: int = self._layers[0].self_attn.head_dim
        keep_freed_memory()

    @property
    def bytes_per_token(self) -> int:
        """Bytes that the keys and values of one token take."""
        config = self._layers[0].self_attn.config
        heads: int = config.num_key_value_heads
        size: int = self._norm.weight.element_size()
        return 2 * len(self._layers) * heads * self._head_dim * size

    def last_hidden(self, groups: Sequence[Group]) -> Tensor:
        """Return the normed hidden state at the end of each sequence, shape (n, width)."""
        for hidden in self.by_layers(groups):  # noqa: B007 - unpacking would keep them all
            pass
        return _normed(self._norm, hidden)

    def by_layers(self, groups: Sequence[Group]) -> Iterator[Tensor]:
        """Yield the hidden states after each layer: of all tokens, of last ones after the last."""
        pack = self._pack(groups)
        hidden = self._rows(pack.ids)
        for number in range(len(self._layers)):
            final = number == len(self._layers) - 1
            hidden, _, _ = self._layer(number, hidden, pack, final=final)
            yield hidden

    def stems(self, before: tuple[Stem, ...], sequences: Sequence[Sequence[int]]) -> list[Stem]:
        """Return the keys and values of each sequence, which follows the stems before it."""
        pack = self._pack([Group(before, sequences)])
        hidden = self._rows(pack.ids)
        kept: list[tuple[Tensor, Tensor]] = []
        for number in range(len(self._layers) - 1):
            hidden, key, value = self._layer(number, hidden, pack, final=False)
            kept.append((key, value))
        # Of the last layer nothing but these is ever looked at.
        normed = _normed(self._layers[-1].input_layernorm, hidden)
        kept.append(self._keys_and_values(-1, normed, pack))
        found, start = [], 0
        for sequence in sequences:
            mine = slice(start, start + len(sequence))
            layers = tuple(
                (_heads_first(key[None, mine]), _heads_first(value[None, mine]))
                for key, value in kept
            )
            found.append(Stem(len(sequence), layers))
            start += len(sequence)
        return found

    def _rows(self, ids: Tensor) -> Tensor:
        return self._embed(ids).to(self._norm.weight.dtype)  # type: ignore[no-any-return]

    def _pack(self, groups: Sequence[Group]) -> _Pack:
        device, dtype = self._embed.weight.device, self._norm.weight.dtype
        spans: list[Span] = []
        ids: list[int] = []
        places: list[int] = []
        for group in groups:
            spans.append(span_of(group, len(ids), device, dtype))
            for sequence in group.sequences:
                ids.extend(sequence)
                places.extend(range(group.before, group.before + len(sequence)))
        angles = torch.outer(
            torch.tensor(places, dtype=torch.float32, device=device), self._rotary.inv_freq.float()
        )
        scale = self._rotary.attention_scaling
        return _Pack(
            torch.tensor(ids, device=device),
            (angles.cos() * scale).to(dtype)[:, None],
            (angles.sin() * scale).to(dtype)[:, None],
            spans,
            torch.cat([span.ends for span in spans]),
        )

    def _layer(
        self, number: int, hidden: Tensor, pack: _Pack, *, final: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the hidden states after a layer (the last positions' if final), its k and v."""
        layer = self._layers[number]
        attention = layer.self_attn
        normed = _normed(layer.input_layernorm, hidden)
        cos, sin = pack.cos, pack.sin
        if final:
            ends, hidden = normed[pack.ends], hidden[pack.ends]
            cos, sin = cos[pack.ends], sin[pack.ends]
            query = attention.q_proj(ends)
            key, value = self._keys_and_values(number, normed, pack)  # which uses `normed` up
        else:
            query, *others = products(normed, self._projections(number))
            key, value = self._rotated_keys(number, pack, *others)
        query = _rotated(_normed(attention.q_norm, self._heads(query)), cos, sin)
        attended = torch.cat(
            [
                span.attend_at_ends(n, query, key, value, number)
                if final
                else span.attend(query, key, value, number)
                for n, span in zip(pack.sequences_before, pack.spans, strict=True)
            ]
        )
        hidden = hidden + products(attended.flatten(1), (attention.o_proj,))[0]
        normed = _normed(layer.post_attention_layernorm, hidden)
        widened = [_fed_forward(layer.mlp, part) for part in torch.split(normed, ROWS)]
        return hidden + (widened[0] if len(widened) == 1 else torch.cat(widened)), key, value

    def _projections(self, number: int) -> tuple[Any, Any, Any]:
        attention = self._layers[number].self_attn
        return attention.q_proj, attention.k_proj, attention.v_proj

    def _keys_and_values(self, number: int, normed: Tensor, pack: _Pack) -> tuple[Tensor, Tensor]:
        """Return both for every token, each of shape (tokens, key-value heads, head width)."""
        return self._rotated_keys(number, pack, *products(normed, self._projections(number)[1:]))

    def _rotated_keys(
        self, number: int, pack: _Pack, key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        normed = _normed(self._layers[number].self_attn.k_norm, self._heads(key))
        return _rotated(normed, pack.cos, pack.sin), self._heads(value)

    def _heads(self, rows: Tensor) -> Tensor:
        return rows.view(len(rows), -1, self._head_dim)


@dataclass(frozen=True, slots=True)
class _Pack:
    """The tokens of a batch in one row, without padding."""

    ids: Tensor
    cos: Tensor
    sin: Tensor
    spans: list[Span]
    ends: Tensor
    """The place of each sequence's last token."""

    @property
    def sequences_before(self) -> list[int]:
        """How many sequences stand before each span."""
        counts = [0]
        for span in self.spans[:-1]:
            counts.append(counts[-1] + span.count)
        return counts


def _fed_forward(mlp: Any, normed: Tensor) -> Tensor:  # noqa: ANN401
    gate, up = products(normed, (mlp.gate_proj, mlp.up_proj))
    return products(silu(gate).mul_(up), (mlp.down_proj,))[0]


def _heads_first(rows: Tensor) -> Tensor:
    # A copy in any case, lest the stem keep the whole batch alive.
    return rows.transpose(1, 2).clone(memory_format=torch.contiguous_format)


def _normed(norm: Any, hidden: Tensor) -> Tensor:  # noqa: ANN401
    if hidden.device.type != "cpu" or hidden.dtype != torch.float32:
        return rms_norm(hidden, hidden.shape[-1:], norm.weight, norm.variance_epsilon)
    # Half as many passes over memory as torch's own makes on a CPU.
    squares = vector_norm(hidden, dim=-1, keepdim=True).square_()
    scale = squares.div_(hidden.shape[-1]).add_(norm.variance_epsilon).rsqrt_()
    return hidden.mul(scale).mul_(norm.weight)


def _rotated(rows: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return the heads turned by their positions' angles; rows has shape (tokens, heads, width)."""
    turned = torch.empty_like(rows)
    one, two = rows.chunk(2, -1)
    first, second = turned.chunk(2, -1)
    torch.mul(one, cos, out=first).addcmul_(two, sin, value=-1)
    torch.mul(two, cos, out=second).addcmul_(one, sin)
    return turned
