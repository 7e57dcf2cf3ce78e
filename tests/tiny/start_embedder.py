"""An embedder that ranks before it is trained: its attention averages the token table.

Layer 0 marks every token that comes after "Query" (one head looks for that token). In layers 1 and
2 the end-of-text position averages the marked tokens, or all where nothing is marked, each token
weighted as in the table; two layers, since the key-value heads of one carry half of the width.
A head's other half reads the instruction and starts silent. The rotary dimensions used are those
that hardly turn, so position does not matter yet.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import Qwen3ForCausalLM

from .network import new_network
from .settings import Shape
from .vocabulary import END_OF_TEXT

WIDTH = 252  # of the table; the residual stream keeps four places for bookkeeping
WEIGHT, ONE, AFTER_QUERY, ROLE = range(WIDTH, WIDTH + 4)

AVERAGE_GAIN = 0.5  # of a mean in the residual stream
_REACH = 12.0  # the largest logit a token's weight can make
_ONE = 0.5
_QUIET = 0.003  # of the outputs that have no part in the construction
_SHARP = 1.5  # of the head that looks for the marker
_SLOW = (31, 30, 29)  # head dimensions whose rotary frequency is the lowest


def start_embedder(
    tokenizer: Tokenizer, table: NDArray[np.float32], shape: Shape, seed: int
) -> Qwen3ForCausalLM:
    """Return a network that gives the table's weighted mean at the end-of-text position."""
    model = new_network(shape, len(table), seed)
    end = tokenizer.token_to_id(END_OF_TEXT)
    marker = tokenizer.token_to_id("Query")
    with torch.no_grad():
        _fill_table(model, torch.from_numpy(table), end, marker)
        for index, layer in enumerate(model.model.layers):
            layer.mlp.down_proj.weight.mul_(_QUIET)
            attention = layer.self_attn
            attention.o_proj.weight.mul_(_QUIET)
            if index == 0:
                _mark_after_query(attention, shape)
            else:
                _average(attention, shape, first=(index - 1) * 2 * shape.head_dim)
        model.model.norm.weight[WIDTH:] = 0.0
    return model


def _fill_table(model: Qwen3ForCausalLM, table: torch.Tensor, end: int, marker: int) -> None:
    norms = table.norm(dim=1, keepdim=True).clamp_min(1e-6)
    rows = model.model.embed_tokens.weight
    rows.zero_()
    rows[:, :WIDTH] = table / norms
    logs = norms.squeeze(1).log()
    middle = logs.median()
    share = ((logs - middle) / _REACH).clamp(-0.5, 0.3)
    rows[:, WEIGHT] = _ONE * share / (1 - share**2).sqrt()
    rows[:, ONE] = _ONE
    rows[marker, ROLE] = 1.0
    rows[end] = 0.0
    rows[end, ROLE] = -1.0


def _mark_after_query(attention: torch.nn.Module, shape: Shape) -> None:
    q, k, v, o = _clear(attention, shape, head=0)
    a = _SLOW[0]
    q[a, ONE] = 1.0
    q[a, ROLE] = -1.0  # the end-of-text position has no ONE
    k[a, ROLE] = 1.0
    k[_SLOW[1], ONE] = 0.3
    attention.q_norm.weight.fill_(_SHARP)
    v.zero_()
    v[0, ROLE] = 1.0
    o.zero_()
    o[AFTER_QUERY, 0] = 0.022  # a value of 12 becomes about half of ONE


def _average(attention: torch.nn.Module, shape: Shape, first: int) -> None:
    attention.q_norm.weight.fill_(_REACH / 8 * 2**0.5)
    group = shape.heads // shape.key_value_heads
    for pair in range(shape.key_value_heads):
        q, k, v, o = _clear(attention, shape, head=pair * group)
        a, b, c = _SLOW
        q[a, ROLE] = q[b, ROLE] = -1.0
        k[a, WEIGHT] = k[b, AFTER_QUERY] = k[c, ONE] = 1.0
        k[c, ROLE] = -4.0  # neither the end nor the marker is worth reading
        start = first + pair * shape.head_dim
        width = min(shape.head_dim, WIDTH - start)
        places = torch.arange(width)
        v.zero_()
        v[places, start + places] = 1.0 / 16
        o.zero_()
        o[start + places, places] = AVERAGE_GAIN
        instruction = attention.q_proj.weight[(pair * group + 1) * shape.head_dim :][
            : shape.head_dim
        ]
        instruction.zero_()
        instruction[a, ROLE], instruction[b, ROLE] = -1.0, 1.0


def _clear(attention: torch.nn.Module, shape: Shape, head: int) -> tuple[torch.Tensor, ...]:
    """Return the silenced query and key rows, and the value rows and output columns, of a head."""
    size = shape.head_dim
    group = shape.heads // shape.key_value_heads
    mine = slice(head * size, (head + 1) * size)
    shared = slice(head // group * size, (head // group + 1) * size)
    q, k = attention.q_proj.weight[mine], attention.k_proj.weight[shared]
    q.zero_()
    k.zero_()
    return q, k, attention.v_proj.weight[shared], attention.o_proj.weight[:, mine]
