"""Options scored behind one prompt in one row: they branch off where the prompt ends."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

LOGIT_ROWS = 512
Item = tuple[Sequence[int], Sequence[Sequence[int]]]


class Tree:
    """A prompt and its options as one row: the options branch off where the prompt ends.

    An option's last token is read off, not fed. `branches` is 0 for the prompt and counts the
    options from 1; `places` tells, for each option, the positions in the row that predict it.
    """

    def __init__(
        self, number: int, prompt: Sequence[int], options: Sequence[Sequence[int]]
    ) -> None:
        self.number, self.options = number, options
        self.tokens = list(prompt)
        self.positions = list(range(len(prompt)))
        self.branches = [0] * len(prompt)
        self.places: list[list[int]] = []
        for branch, option in enumerate(options, start=1):
            begun = len(self.tokens)
            self.tokens += option[:-1]
            self.positions += range(len(prompt), len(prompt) + len(option) - 1)
            self.branches += [branch] * (len(option) - 1)
            self.places.append([len(prompt) - 1, *range(begun, begun + len(option) - 1)])


def lay_out(trees: Sequence[Tree]) -> tuple[Tensor, Tensor, Tensor]:
    """Return token ids and positions `(B, T)` and what each token sees of its row `(B, T, T)`."""
    shape = (len(trees), max(len(tree.tokens) for tree in trees))
    ids_BT, positions_BT = (
        torch.zeros(shape, dtype=torch.long),
        torch.zeros(shape, dtype=torch.long),
    )
    branch_BT = torch.full(shape, -1)
    for number, tree in enumerate(trees):
        ids_BT[number, : len(tree.tokens)] = torch.tensor(tree.tokens)
        positions_BT[number, : len(tree.tokens)] = torch.tensor(tree.positions)
        branch_BT[number, : len(tree.tokens)] = torch.tensor(tree.branches)
    order_T = torch.arange(shape[1])
    of_prompt_BTT = branch_BT[:, None] == 0
    of_own_BTT = branch_BT[:, None] == branch_BT[:, :, None]
    return ids_BT, positions_BT, (order_T <= order_T[:, None]) & (of_prompt_BTT | of_own_BTT)


def read_options(
    hidden_BTD: Tensor, trees: Sequence[Tree], logits_of: Callable[[Tensor], Tensor]
) -> list[list[list[float]]]:
    """Read off each option's tokens where the tokens before them stand, in nats.

    Logits exist for `LOGIT_ROWS` places at a time, and once for a place that predicts several
    options.
    """
    places = sorted({(n, t) for n, tree in enumerate(trees) for own in tree.places for t in own})
    row_of = {place: row for row, place in enumerate(places)}
    wanted = [
        (row_of[number, place], token)
        for number, tree in enumerate(trees)
        for own, option in zip(tree.places, tree.options, strict=True)
        for place, token in zip(own, option, strict=True)
    ]
    rows_N, tokens_N = torch.tensor(wanted, device=hidden_BTD.device).T
    batch_P, at_P = torch.tensor(places, device=hidden_BTD.device).T
    hidden_PD = hidden_BTD[batch_P, at_P]
    found_N = torch.empty(len(wanted), dtype=torch.float32, device=hidden_BTD.device)
    for low in range(0, len(places), LOGIT_ROWS):
        logits_PV = logits_of(hidden_PD[low : low + LOGIT_ROWS]).float()
        here_N = (rows_N >= low) & (rows_N < low + LOGIT_ROWS)
        own_N = rows_N[here_N] - low
        found_N[here_N] = logits_PV[own_N, tokens_N[here_N]] - logits_PV.logsumexp(-1)[own_N]
    values = iter(found_N.tolist())
    return [[[next(values) for _ in option] for option in tree.options] for tree in trees]
