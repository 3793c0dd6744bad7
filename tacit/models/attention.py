"""Attention over a prefix that is kept once, merged with each row's own tokens.

Registered with transformers' attention interface; a model that runs with it takes `shared_prefix`
among its forward arguments. The softmax over prefix and own tokens together equals the two
softmaxes weighted by their shares of the mass, which their log-sum-exps give.
Source: Juravsky et al. 2024 (Hydragen); Milakov and Gimelshein 2018 (online softmax).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

NAME = "tacit_shared_prefix"


@dataclass(frozen=True)
class Prefix:
    """Keys and values of tokens that all rows share: one `(H, P, D)` tensor a layer each."""

    tokens: tuple[int, ...]
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.tokens)

    @property
    def bytes(self) -> int:
        """What it holds in memory."""
        return sum(2 * keys.nbytes for keys in self.keys)


def _attend(
    query_NTD: Tensor, key_NLD: Tensor, value_NLD: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return outputs `(N, T, D)` in float32 and the log-sum-exp `(N, T, 1)` of the scores."""
    scores_NTL = torch.matmul(query_NTD, key_NLD.transpose(-1, -2)).float()
    if mask is not None:
        scores_NTL = scores_NTL + mask
    top_NT1 = scores_NTL.amax(-1, keepdim=True)
    weights_NTL = scores_NTL.sub_(top_NT1).exp_()
    mass_NT1 = weights_NTL.sum(-1, keepdim=True)
    out_NTD = torch.matmul(weights_NTL.to(value_NLD.dtype), value_NLD).float() / mass_NT1
    return out_NTD, top_NT1 + mass_NT1.log()


def shared_prefix_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    shared_prefix: Prefix | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend from each row to the shared prefix and to its own keys.

    Args:
        module: The layer; its `layer_idx` picks the prefix.
        query: `(B, Q, T, D)`, Q a multiple of the H key-value heads.
        key: `(B, H, L, D)`, the rows' own.
        value: As `key`.
        attention_mask: `(B, 1, T, L)`, added to the scores in float32: 0 or -inf.
        scaling: Of the scores.
        shared_prefix: What every query may see besides.

    Returns:
        Outputs `(B, T, Q, D)`, and no weights.
    """
    B, Q, T, D = query.shape
    H, L = key.shape[1], key.shape[2]
    group = Q // H
    query = (query * scaling).reshape(B, H, group * T, D)
    mask = attention_mask.expand(B, 1, T, L).repeat(1, 1, group, 1) if T > 1 else attention_mask
    out, mass = _attend(query, key, value, mask)
    if shared_prefix is not None:
        N = B * group * T
        flat_HND = query.transpose(0, 1).reshape(H, N, D)
        layer = module.layer_idx
        far_HND, far_mass_HN1 = _attend(
            flat_HND, shared_prefix.keys[layer], shared_prefix.values[layer], None
        )
        far = far_HND.reshape(H, B, group * T, D).transpose(0, 1)
        far_mass = far_mass_HN1.reshape(H, B, group * T, 1).transpose(0, 1)
        share = torch.sigmoid(far_mass - mass)
        out = out + share * (far - out)
    out = out.to(value.dtype).reshape(B, Q, T, D).transpose(1, 2)
    return out, None


def register() -> None:
    """Make the attention known to transformers, with the masks of its eager one."""
    AttentionInterface.register(NAME, shared_prefix_attention)
    AttentionMaskInterface.register(NAME, eager_mask)
