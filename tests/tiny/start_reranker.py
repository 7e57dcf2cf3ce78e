"""A reranker that ranks before it is trained: match, pool, multiply.

- Layer 0 marks which part of the prompt a token is in: a head looks for the latest of <Instruct,
  <Query and <Document, another for </think>.
- Layer 1 lets a document token find its like in the query: its query and key projections are the
  same matrix, in the slow rotary dimensions only, so that distance does not spoil a match. How
  much attention went to the query becomes the token's MATCH.
- Layer 2 pools, at the last position, the query and the document, matched tokens a little more. Its feed-forward part multiplies the pooled vectors place by place, exactly, since
  silu(a)b - silu(-a)b = ab, and adds the products up as SCORE.

The rows of "yes" and "no" differ only where SCORE and MEAN_MATCH are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from transformers import Qwen3ForCausalLM

from .network import new_network
from .settings import Shape

WIDTH = 240  # of the token table kept; its last places matter least
(IN_QUERY, IN_DOCUMENT, SAYS_QUERY, SAYS_DOCUMENT, SAYS_INSTRUCT, SAYS_THOUGHT, THOUGHT, MATCH,
 MEAN_MATCH, SCORE) = range(WIDTH, WIDTH + 10)  # fmt: skip
WEIGHT, ONE = 252, 253

_MARKERS = {
    "<Query": SAYS_QUERY,
    "<Document": SAYS_DOCUMENT,
    "<Instruct": SAYS_INSTRUCT,
    "</think>": SAYS_THOUGHT,
}
#: Tokens of the template that stand beside the texts and must not count as part of them.
_SILENT = ("ĊĊ", "Ċ", "<|im_end|>", "<|im_start|>", "<think>", "ass", "istant", "assistant", ">:")
_ONE = 0.5
_SLOW = (*range(16, 32), *range(48, 64))  # rotary dimensions that turn little over a prompt
_A, _B, _C, _D, _E = 31, 63, 30, 62, 29  # the slowest of them
_IDLE = 61  # a slot that no key uses
_REACH = 12.5
MATCH_SHARPNESS = 24.0  # 8 (the root of the head's width) times the norm weight 3
FLAG_SHARE = 0.8  # of the query mark against the length of a projected token
SCORE_STEP = 0.01
_QUIET = 0.02  # of the outputs that have no part in the construction
POOLED = (64, 48)  # table places that the first and the second pair of heads pool
_PLACED = (0, 64, 128, 192)  # where the four heads write what they pooled


@dataclass(frozen=True, slots=True)
class Parts:
    """What the network is built from; `sketch` trains these."""

    directions: torch.Tensor  # (vocabulary, WIDTH), rows of length one
    log_weights: torch.Tensor  # (vocabulary,), the logits of a token in a weighted mean
    form: torch.Tensor  # (pooled, pooled), the bilinear form of query and document
    match_pull: float
    score_gain: float
    match_gain: float
    shift: float


def start_reranker(
    tokenizer: Tokenizer, parts: Parts, shape: Shape, seed: int
) -> Qwen3ForCausalLM:
    """Return a network whose yes-no logit grows with what query and document share."""
    model = new_network(shape, len(parts.directions), seed)
    with torch.no_grad():
        _fill_table(model, tokenizer, parts)
        for layer in model.model.layers:
            layer.mlp.down_proj.weight.mul_(_QUIET)
            layer.self_attn.o_proj.weight.mul_(_QUIET)
        layers = model.model.layers
        _mark(layers[0].self_attn, shape)
        _match(layers[1].self_attn, shape, parts.directions, seed)
        _pool(layers[2].self_attn, shape, parts.match_pull)
        _multiply(layers[2].mlp, parts.form)
        model.model.norm.weight[SCORE] = parts.score_gain
    return model


def _fill_table(model: Qwen3ForCausalLM, tokenizer: Tokenizer, parts: Parts) -> None:
    rows = model.model.embed_tokens.weight
    rows.zero_()
    rows[:, :WIDTH] = parts.directions
    share = (parts.log_weights.clamp(-6, 4) / _REACH).clamp(-0.5, 0.4)
    rows[:, WEIGHT] = _ONE * share / (1 - share**2).sqrt()
    rows[:, ONE] = _ONE
    silent = [tokenizer.token_to_id(text) for text in _SILENT if text in tokenizer.get_vocab()]
    rows[[*silent, *map(tokenizer.token_to_id, _MARKERS)], :WIDTH] = 0.0
    rows[silent, WEIGHT] = rows[:, WEIGHT].min()
    for text, place in _MARKERS.items():
        rows[tokenizer.token_to_id(text), place] = 1.0
    yes, no = tokenizer.token_to_id("yes"), tokenizer.token_to_id("no")
    rows[[yes, no], :WIDTH] = rows[[yes, no], :WIDTH].mean(0)
    for token, sign in ((yes, 1.0), (no, -1.0)):
        rows[token, SCORE] = 0.5 * sign
        rows[token, MEAN_MATCH] = parts.match_gain * sign
        rows[token, ONE] = -parts.shift * sign  # the last position has ONE at a half


def _views(attention: torch.nn.Module, shape: Shape, head: int) -> tuple[torch.Tensor, ...]:
    size = shape.head_dim
    group = shape.heads // shape.key_value_heads
    mine = slice(head * size, (head + 1) * size)
    shared = slice(head // group * size, (head // group + 1) * size)
    return (
        attention.q_proj.weight[mine],
        attention.k_proj.weight[shared],
        attention.v_proj.weight[shared],
        attention.o_proj.weight[:, mine],
    )


def _mark(attention: torch.nn.Module, shape: Shape) -> None:
    attention.q_norm.weight.fill_(3.0)
    for head, levels in (
        (0, {SAYS_DOCUMENT: 2.0, SAYS_QUERY: 0.5, SAYS_INSTRUCT: 0.22}),
        (2, {SAYS_THOUGHT: 2.0}),
    ):
        q, k, v, o = _views(attention, shape, head)
        for part in (q, k, v, o):
            part.zero_()
        q[_A, ONE] = 1.0
        k[_B, ONE] = 1.0
        for place, level in levels.items():
            k[_A, place] = level
    _, _, v, o = _views(attention, shape, 0)
    v[0, SAYS_QUERY] = v[1, SAYS_DOCUMENT] = 1 / 14
    o[IN_QUERY, 0] = o[IN_DOCUMENT, 1] = 0.5
    _, _, v, o = _views(attention, shape, 2)
    v[0, SAYS_THOUGHT] = 1 / 14
    o[THOUGHT, 0] = 0.5


def match_projections(seed: int) -> list[torch.Tensor]:
    """Return the two orthonormal maps in which tokens are compared."""
    generator = torch.Generator().manual_seed(seed)
    draws = (torch.randn(WIDTH, len(_SLOW) - 1, generator=generator) for _ in range(2))
    return [torch.linalg.qr(draw).Q.T for draw in draws]


def _match(attention: torch.nn.Module, shape: Shape, directions: torch.Tensor, seed: int) -> None:
    attention.q_norm.weight.fill_(MATCH_SHARPNESS / 8)
    for head, projection in zip((0, 2), match_projections(seed), strict=True):
        q, k, v, o = _views(attention, shape, head)
        for part in (q, k, v, o):
            part.zero_()
        length = (directions @ projection.T).norm(dim=1).mean()
        places = torch.tensor(_SLOW[:-1])
        q[places, :WIDTH] = k[places, :WIDTH] = projection
        q[_SLOW[-1], ONE] = FLAG_SHARE * length / _ONE
        k[_SLOW[-1], IN_QUERY] = FLAG_SHARE * length / 0.5
        v[0, IN_QUERY] = 1 / 14
        o[MATCH, 0] = 0.15 * 2  # IN_QUERY is a half


def _pool(attention: torch.nn.Module, shape: Shape, match_pull: float) -> None:
    attention.q_norm.weight.fill_(3.0)
    keys = {_A: WEIGHT, _B: IN_QUERY, _C: IN_DOCUMENT, _D: MATCH, _E: ONE}
    query = {_A: 1.5, _B: 1.0, _C: -0.5}
    document = {_A: 1.5, _B: -0.5, _C: 1.0, _D: match_pull / 5}
    for head, wanted in enumerate((query, document, query, document)):
        q, k, v, o = _views(attention, shape, head)
        for part in (q, k, o):
            part.zero_()
        for slot, place in keys.items():
            k[slot, place] = 1.0
        for slot, wish in wanted.items():
            q[slot, THOUGHT] = wish  # before the think block is closed nothing is pooled
        q[_IDLE, ONE] = 0.15
        first = head < 2  # noqa: PLR2004 - the heads of the first key-value pair
        width = POOLED[0 if first else 1]
        places = torch.arange(width)
        v.zero_()
        v[places, (0 if first else POOLED[0]) + places] = 1 / 14
        o[_PLACED[head] + places, places] = 4.0
        if not first:
            v[63, MATCH] = 1 / 14
        if head == 3:  # noqa: PLR2004 - the other one over the document
            o[MEAN_MATCH, 63] = 4.0


def _multiply(mlp: torch.nn.Module, form: torch.Tensor) -> None:
    gate, up, down = mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight
    queries = _places(0)
    documents = torch.tensor(_places(1))
    unit = 0
    for row, place in enumerate(queries):
        for sign in (1.0, -1.0):
            gate[unit] = up[unit] = 0.0
            down[:, unit] = 0.0
            gate[unit, place] = sign
            up[unit, documents] = form[row]
            down[SCORE, unit] = sign * SCORE_STEP
            unit += 1


def _places(side: int) -> list[int]:
    """Return where the pooled query (0) or document (1) lies in the residual stream."""
    starts = _PLACED[side::2]
    return [start + i for start, width in zip(starts, POOLED, strict=True) for i in range(width)]
