"""Attention of packed pieces on a CPU: each piece by itself, and nothing kept but what is needed.

A mask over the whole block computes what it then hides, and keeps every score for the backward
pass. Here each piece is a product of its own, and the backward pass computes the scores again. On
CUDA flash attention's kernels do the same, told where the pieces lie; SDPA takes a mask.
Source: Dao et al. 2022 (recomputation); Kundu et al. 2024 (packing with position ids).
"""

from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.modeling_flash_attention_utils import prepare_fa_kwargs_from_position_ids

NAME = "tacit_packed"
Piece = tuple[int, int, int]  # row, first column, one past the last


def pieces_of(positions_BT: Tensor) -> list[Piece]:
    """Return where the pieces of a batch lie: each begins where the position is 0."""
    width = positions_BT.shape[1]
    starts = [(positions_BT == 0).nonzero().tolist(), [[len(positions_BT), 0]]]
    flat = [row * width + column for part in starts for row, column in part]
    return [
        (start // width, start % width, start % width + end - start)
        for start, end in pairwise(flat)
    ]


def packing_arguments(implementation: str, positions_BT: Tensor) -> dict[str, Any]:
    """Return what an attention must be told of the pieces of a batch, beside the position ids.

    transformers makes the masks of `eager`, `sdpa` and `flex_attention` from these. Of flash
    attention it finds the pieces in a batch of one row only: in a larger one they would attend to
    each other.
    """
    if implementation == NAME:
        return {"pieces": pieces_of(positions_BT)}
    if "flash" not in implementation:
        return {}
    lengths, longest = prepare_fa_kwargs_from_position_ids(positions_BT)
    return {
        "cu_seq_lens_q": lengths[0],
        "cu_seq_lens_k": lengths[1],
        "max_length_q": int(longest[0]),
        "max_length_k": int(longest[1]),
    }


class _PackedCausal(torch.autograd.Function):
    """Causal attention inside each piece. Query heads that share keys are laid side by side."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, pieces: list[Piece], scaling: float
    ) -> Tensor:
        out = torch.empty_like(query)
        for piece in pieces:
            q_HGTD, k_H1TD, v_H1TD = _cut(query, key, value, piece)
            weights = _weights(q_HGTD, k_H1TD, scaling).to(value.dtype)
            _write(out, torch.matmul(weights, v_H1TD), piece)
        ctx.save_for_backward(query, key, value)
        ctx.pieces, ctx.scaling = pieces, scaling
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        d_query, d_key, d_value = (torch.empty_like(t) for t in (query, key, value))
        for piece in ctx.pieces:
            q_HGTD, k_H1TD, v_H1TD = _cut(query, key, value, piece)
            d_out = _heads(grads[0], piece, k_H1TD)
            weights = _weights(q_HGTD, k_H1TD, ctx.scaling)
            d_weights = torch.matmul(d_out, v_H1TD.transpose(-1, -2)).float()
            d_scores = torch.ops.aten._softmax_backward_data(d_weights, weights, -1, torch.float32)
            d_scores = d_scores.mul_(ctx.scaling).to(query.dtype)
            row, first, last = piece
            _write(d_query, torch.matmul(d_scores, k_H1TD), piece)
            d_k = torch.matmul(d_scores.transpose(-1, -2), q_HGTD).sum(1)
            d_v = torch.matmul(weights.to(value.dtype).transpose(-1, -2), d_out).sum(1)
            d_key[row, :, first:last] = d_k
            d_value[row, :, first:last] = d_v
        return d_query, d_key, d_value, None, None


def _heads(tensor: Tensor, piece: Piece, keys: Tensor) -> Tensor:
    """Return one piece's query heads in groups that share keys. Shape (H, G, T, D)."""
    row, first, last = piece
    own = tensor[row, :, first:last]
    return own.view(len(keys), -1, *own.shape[1:])


def _cut(query: Tensor, key: Tensor, value: Tensor, piece: Piece) -> tuple[Tensor, Tensor, Tensor]:
    row, first, last = piece
    k_H1TD, v_H1TD = (t[row, :, None, first:last] for t in (key, value))
    return _heads(query, piece, k_H1TD), k_H1TD, v_H1TD


def _weights(q_HGTD: Tensor, k_H1TD: Tensor, scaling: float) -> Tensor:
    """Return attention's weights in float32. Shape (H, G, T, T)."""
    scores = torch.matmul(q_HGTD * scaling, k_H1TD.transpose(-1, -2)).float()
    scores.masked_fill_(_hidden(scores.shape[-1], str(scores.device)), -torch.inf)
    return scores.softmax(-1)


@lru_cache(maxsize=256)
def _hidden(T: int, device: str) -> Tensor:
    return torch.ones(T, T, dtype=torch.bool, device=device).triu_(1)


def _write(target: Tensor, source_HGTD: Tensor, piece: Piece) -> None:
    row, first, last = piece
    target[row, :, first:last] = source_HGTD.flatten(0, 1)


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    pieces: list[Piece] | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend causally inside each piece; without `pieces` each row is one.

    Args:
        module: The layer; unused.
        query: `(B, Q, T, D)`, Q a multiple of the H key-value heads.
        key: `(B, H, T, D)`.
        value: As `key`.
        attention_mask: None: the pieces say what is seen.
        scaling: Of the scores.
        pieces: From `pieces_of`.

    Returns:
        Outputs `(B, T, Q, D)`, and no weights.
    """
    if pieces is None:
        pieces = [(row, 0, query.shape[2]) for row in range(len(query))]
    out: Tensor = _PackedCausal.apply(query, key, value, pieces, scaling)  # type: ignore[no-untyped-call] # torch's own
    return out.transpose(1, 2), None


def register() -> None:
    """Make the attention known to transformers; it builds no mask for it."""
    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, lambda *_, **__: None)
