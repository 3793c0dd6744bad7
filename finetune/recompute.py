"""Elementwise steps of a block on a CPU: computed again in the backward pass, not kept.

A norm keeps its input twice, once in float32, and a gated unit keeps four wide tensors where two
say it all. Products are never computed twice.
Source: Chen et al. 2016 (recomputation), `torch.utils.checkpoint`.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recompute_elementwise(model: nn.Module) -> None:
    """Make a llama-like model's norms and gated units keep their inputs alone while training.

    Args:
        model: One that `tacit.models.shared.supports`; its values do not change.
    """
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = partial(_again, module.forward)
        elif hasattr(module, "gate_proj"):
            module.forward = partial(_gated_unit, module)


def _again(compute: Any, *inputs: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return compute(*inputs)  # type: ignore[no-any-return]
    return checkpoint(compute, *inputs, use_reentrant=False, preserve_rng_state=False)  # type: ignore[no-any-return]


def _gated_unit(module: Any, hidden: Tensor) -> Tensor:
    def gate(opened: Tensor, passed: Tensor) -> Tensor:
        return module.act_fn(opened) * passed  # type: ignore[no-any-return]

    wide = _again(gate, module.gate_proj(hidden), module.up_proj(hidden))
    return module.down_proj(wide)  # type: ignore[no-any-return]
