"""A reranker that ranks before it is trained: match, average, compare.

- Layer 0 marks which part of the prompt a token is in: one head looks for the latest of <Instruct,
  <Query and <Document, another for </think>.
- Layer 1 lets a document token find its like in the query: its query and key projections are the
  same matrix, in the slow rotary dimensions only, so that distance does not spoil a match. How
  much attention went to the query becomes the token's MATCH.
- Layer 2 averages, each token weighted as in the token table: the query at the <Document token,
  the document at </think>, matched tokens a little more.
- Layer 3 adds the two averages up at the last position. The layer's norm has given each of them the
  same length, so the square of the sum grows with their cosine; the feed-forward part takes that
  square, exactly, since silu(a)a - silu(-a)a = aa, and writes it to SCORE.

The rows of "yes" and "no" differ only where SCORE is, and in a constant. Without the template
nothing is marked; before </think> there is no document average to compare.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import Qwen3ForCausalLM

from .network import new_network
from .settings import Shape

WIDTH = 208  # of the token table kept; its last places matter least
(IN_QUERY, IN_DOCUMENT, SAYS_QUERY, SAYS_DOCUMENT, SAYS_INSTRUCT, SAYS_THOUGHT, THOUGHT, MATCH,
 SCORE, WEIGHT, ONE, LOUD) = range(WIDTH, WIDTH + 12)  # fmt: skip

_MARKERS = {
    "<Query": SAYS_QUERY,
    "<Document": SAYS_DOCUMENT,
    "<Instruct": SAYS_INSTRUCT,
    "</think>": SAYS_THOUGHT,
}
#: Tokens of the template that stand beside the texts and must not count as part of them.
_SILENT = ("ĊĊ", "Ċ", "<|im_end|>", "<|im_start|>", "<think>", "ass", "istant", "assistant", ">:")
_ONE = 0.5
_QUIET = 0.0002  # of the outputs that have no part in the construction
_SLOW = (*range(16, 32), *range(48, 64))  # rotary dimensions that turn little over a prompt
_A, _B, _C, _D, _E, _F = 31, 63, 30, 62, 29, 61  # the slowest of them
_IDLE = 61  # a slot that no key uses
_REACH = 12.5  # a token's log weight is stored as this part of a logit
_SHARP = 3.0
_AVERAGE_GAIN = 100.0  # large, so that the norm leaves nothing but the average
_QUERY_TOTAL = 13.0  # what the weights of a usual query's tokens add up to
_PART = WIDTH // 4  # places of the table that one head carries


def start_reranker(  # noqa: PLR0913 - what a network is made of
    tokenizer: Tokenizer,
    table: NDArray[np.float32],
    kind: NDArray[np.float32],
    shape: Shape,
    seed: int,
    match_pull: float = 0.0,
) -> Qwen3ForCausalLM:
    """Return a network whose yes-no logit grows with what query and document share.

    `kind` is the table's row for the default instruction, which counts as a token of the query.
    """
    model = new_network(shape, len(table), seed)
    document = tokenizer.token_to_id("<Document")
    with torch.no_grad():
        _fill_table(model, tokenizer, torch.from_numpy(table), torch.from_numpy(kind))
        for layer in model.model.layers:
            layer.mlp.down_proj.weight.mul_(_QUIET)
            layer.self_attn.o_proj.weight.mul_(_QUIET)
        layers = model.model.layers
        _mark(layers[0].self_attn, shape, model.model.embed_tokens.weight[document].norm())
        _match(layers[1].self_attn, shape, model.model.embed_tokens.weight, seed)
        _average(layers[2].self_attn, shape, match_pull)
        _add_up(layers[3].self_attn, shape)
        _square(layers[3].mlp)
    return model


def centre(
    model: Qwen3ForCausalLM, tokenizer: Tokenizer, prompts: list[str], spread: float
) -> None:
    """Scale and shift the yes-no logit to zero mean and the given deviation over the prompts."""
    yes, no = tokenizer.token_to_id("yes"), tokenizer.token_to_id("no")
    rows = model.model.embed_tokens.weight
    seen = []
    with torch.no_grad():
        for prompt in prompts:
            ids = torch.tensor([tokenizer.encode(prompt, add_special_tokens=False).ids])
            last = model.model(ids).last_hidden_state[0, -1]
            seen.append([float(last[SCORE]), float(last[ONE])])
        scores, ones = np.array(seen).T
        gain = spread / scores.std()
        shift = gain * scores.mean() / ones.mean()
        # Half of the difference in either row; the norm takes the gain that a row cannot hold.
        model.model.norm.weight[SCORE] = gain
        for token, sign in ((yes, 0.5), (no, -0.5)):
            rows[token, SCORE] = sign
            rows[token, ONE] = -shift * sign


def _fill_table(
    model: Qwen3ForCausalLM, tokenizer: Tokenizer, table: torch.Tensor, kind: torch.Tensor
) -> None:
    norms = table.norm(dim=1, keepdim=True).clamp_min(1e-6)
    logs = norms.squeeze(1).log()
    share = ((logs - logs.median()) / _REACH).clamp(-0.5, 0.4)
    rows = model.model.embed_tokens.weight
    rows.zero_()
    rows[:, :WIDTH] = table[:, :WIDTH] / norms
    rows[:, WEIGHT] = _ONE * share / (1 - share**2).sqrt()
    rows[:, ONE] = _ONE
    silent = [tokenizer.token_to_id(text) for text in _SILENT if text in tokenizer.get_vocab()]
    rows[[*silent, *map(tokenizer.token_to_id, _MARKERS)], :WIDTH] = 0.0
    rows[silent, WEIGHT] = rows[:, WEIGHT].min()
    rows[tokenizer.token_to_id("ĊĊ"), LOUD] = 2.0  # makes the square below nearly linear
    for text, place in _MARKERS.items():
        rows[tokenizer.token_to_id(text), place] = 1.0
    document = tokenizer.token_to_id("<Document")
    rows[document, :WIDTH] = _AVERAGE_GAIN * kind[:WIDTH] / _QUERY_TOTAL
    rows[document, WEIGHT] = rows[:, WEIGHT].min()
    yes, no = tokenizer.token_to_id("yes"), tokenizer.token_to_id("no")
    rows[[yes, no]] = rows[[yes, no]].mean(0)
    rows[[yes, no], LOUD] = 0.0


def _views(attention: torch.nn.Module, shape: Shape, head: int) -> tuple[torch.Tensor, ...]:
    """Return the query, key and value rows and the output columns of a head, silenced."""
    size = shape.head_dim
    mine = slice(head * size, (head + 1) * size)
    parts = (
        attention.q_proj.weight[mine],
        attention.k_proj.weight[mine],
        attention.v_proj.weight[mine],
        attention.o_proj.weight[:, mine],
    )
    for part in parts:
        part.zero_()
    return parts


def _mark(attention: torch.nn.Module, shape: Shape, document_length: torch.Tensor) -> None:
    attention.q_norm.weight.fill_(_SHARP)
    latest = {SAYS_DOCUMENT: 2.0, SAYS_QUERY: 0.5, SAYS_INSTRUCT: 0.22}
    for head, levels in ((0, latest), (2, {SAYS_THOUGHT: 2.0})):
        q, k, v, o = _views(attention, shape, head)
        q[_A, ONE] = 1.0
        k[_B, ONE] = 1.0
        for place, level in levels.items():
            k[_A, place] = level
        if head == 0:
            v[0, SAYS_QUERY] = 1 / 14
            v[1, SAYS_DOCUMENT] = document_length / 16
            o[IN_QUERY, 0] = o[IN_DOCUMENT, 1] = 0.5
        else:
            v[0, SAYS_THOUGHT] = 1 / 14
            o[THOUGHT, 0] = 0.5


def _match(attention: torch.nn.Module, shape: Shape, rows: torch.Tensor, seed: int) -> None:
    attention.q_norm.weight.fill_(_SHARP)
    generator = torch.Generator().manual_seed(seed)
    for head in (0, 2):
        q, k, v, o = _views(attention, shape, head)
        random = torch.randn(WIDTH, len(_SLOW) - 1, generator=generator)
        projection = torch.linalg.qr(random).Q.T
        length = (rows[:, :WIDTH] @ projection.T).norm(dim=1).mean()
        places = torch.tensor(_SLOW[:-1])
        q[places, :WIDTH] = k[places, :WIDTH] = projection
        q[_SLOW[-1], ONE] = 0.8 * length / _ONE
        k[_SLOW[-1], IN_QUERY] = 0.8 * length / 0.5
        v[0, IN_QUERY] = 1 / 14
        o[MATCH, 0] = 0.3


def _average(attention: torch.nn.Module, shape: Shape, match_pull: float) -> None:
    attention.q_norm.weight.fill_(2 * _SHARP)
    keys = {_A: WEIGHT, _B: IN_QUERY, _C: IN_DOCUMENT, _D: MATCH, _E: ONE}
    for head in range(shape.heads):
        q, k, v, o = _views(attention, shape, head)
        for slot, place in keys.items():
            k[slot, place] = 1.0
        k[_E, ONE] = 3.0  # so that a match hardly changes the length of a key
        k[_F, SAYS_QUERY], q[_F, ONE] = 4.0, 0.3  # other positions read <Query, which says nothing
        for place, wanted in (
            (SAYS_DOCUMENT, {_A: 1.5, _B: 1.0, _C: -0.5}),
            (SAYS_THOUGHT, {_A: 1.5, _B: -0.5, _C: 1.0, _D: match_pull / 5}),
        ):
            for slot, wish in wanted.items():
                q[slot, place] = wish
        _carry(v, o, head, _AVERAGE_GAIN)


def _carry(v: torch.Tensor, o: torch.Tensor, head: int, gain: float) -> None:
    slots = torch.arange(_PART)
    v[slots, head * _PART + slots] = 1 / 16
    o[head * _PART + slots, slots] = gain


def _add_up(attention: torch.nn.Module, shape: Shape) -> None:
    attention.q_norm.weight.fill_(_SHARP)
    for head in range(shape.heads):
        q, k, v, o = _views(attention, shape, head)
        q[_A, THOUGHT] = 1.0
        q[_IDLE, ONE] = 0.15
        k[_A, SAYS_THOUGHT] = k[_A, SAYS_DOCUMENT] = 1.0
        k[_B, ONE] = 0.05
        _carry(v, o, head, 2.0)


def _square(mlp: torch.nn.Module) -> None:
    gate, up, down = mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight
    for unit in range(2 * WIDTH):
        place, sign = unit // 2, 1.0 - 2.0 * (unit % 2)
        gate[unit] = up[unit] = 0.0
        down[:, unit] = 0.0
        gate[unit, place] = sign
        up[unit, place] = 1.0
        down[SCORE, unit] = sign * 0.01
