"""Cross-entropy of a frozen output layer, computed in chunks: the full logits never exist."""

from typing import Any

import torch
from torch import Tensor

from finetune.attention import packing_arguments


class _FrozenHeadCrossEntropy(torch.autograd.Function):
    """Sum of token losses; the gradient to the hidden states is computed in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, chunk: int
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        gradient_ND = torch.empty_like(hidden_ND)
        for start in range(0, len(labels_N), chunk):
            rows = slice(start, start + chunk)
            logits_CV = (hidden_ND[rows] @ weight_VD.T).float()
            labels_C1 = labels_N[rows, None]
            target_C1 = logits_CV.gather(1, labels_C1)
            top_C1 = logits_CV.amax(-1, keepdim=True)
            weights_CV = logits_CV.sub_(top_C1).exp_()  # in place: each pass over V costs
            mass_C1 = weights_CV.sum(-1, keepdim=True)
            total += (mass_C1.log() + top_C1 - target_C1).sum()
            if not ctx.needs_input_grad[0]:
                continue
            # The mean output row under the model, less the row of the label.
            mean_CD = (weights_CV.to(weight_VD.dtype) @ weight_VD).float() / mass_C1
            gradient_ND[rows] = (mean_CD - weight_VD[labels_N[rows]]).to(gradient_ND.dtype)
        ctx.save_for_backward(gradient_ND)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient_ND,) = ctx.saved_tensors
        return gradient_ND * grads[0].to(gradient_ND.dtype), None, None, None


def frozen_head_cross_entropy(
    hidden_BTD: Tensor, weight_VD: Tensor, labels_BT: Tensor, chunk: int = 256
) -> Tensor:
    """Return the summed next-token loss, only over positions whose next label counts.

    Args:
        hidden_BTD: Last hidden states, after the final norm.
        weight_VD: Output embedding; it gets no gradient, so it must be frozen.
        labels_BT: Token ids aligned with the inputs, -100 where no loss is taken.
        chunk: Positions whose logits exist at a time; memory is `chunk` × V floats.

    Returns:
        A float32 scalar, in nats, not averaged.
    """
    next_labels_N = labels_BT[:, 1:].reshape(-1)
    counted = next_labels_N != -100
    hidden_ND = hidden_BTD[:, :-1].reshape(-1, hidden_BTD.shape[-1])[counted]
    total: Tensor = _FrozenHeadCrossEntropy.apply(  # type: ignore[no-untyped-call] # torch's own
        hidden_ND, weight_VD.to(hidden_ND.dtype), next_labels_N[counted], chunk
    )
    return total


def take_loss_in_forward(causal: Any) -> None:
    """Make a causal model return its summed token loss, and no logits, where labels are given.

    The loss is taken inside the model's own forward, so that wrappers around it (PEFT, DDP, FSDP)
    see an ordinary call; without labels nothing changes.

    Args:
        causal: A transformers causal model; its output layer must be frozen.
    """
    plain = causal.forward

    def forward(*args: Any, labels: Tensor | None = None, **kwargs: Any) -> Any:
        if labels is None:
            return plain(*args, **kwargs)
        positions_BT = kwargs["position_ids"]
        packed = packing_arguments(causal.config._attn_implementation, positions_BT)
        hidden_BTD = causal.base_model(
            input_ids=kwargs["input_ids"], position_ids=positions_BT, use_cache=False, **packed
        ).last_hidden_state
        return (
            frozen_head_cross_entropy(hidden_BTD, causal.get_output_embeddings().weight, labels),
        )

    causal.forward = forward
