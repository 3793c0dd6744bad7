"""Best-fit packing of token pieces into blocks, without dropping or cutting a token."""

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

IGNORED = -100


@dataclass(frozen=True)
class Piece:
    """Tokens that attend to each other and to nothing else.

    `labels` has the length of `tokens`; IGNORED where no loss is taken. The first label of a piece
    is always IGNORED, since nothing stands before it to predict it from.
    """

    tokens: tuple[int, ...]
    labels: tuple[int, ...]
    source: str


def split_long(
    tokens: Sequence[int], labels: Sequence[int], source: str, block: int
) -> list[Piece]:
    """Cut one document into pieces of at most `block` tokens; none is lost."""
    pieces = []
    for start in range(0, len(tokens), block):
        window = slice(start, start + block)
        pieces.append(
            Piece(tuple(tokens[window]), (IGNORED, *labels[start + 1 : start + block]), source)
        )
    return pieces


def pack(pieces: Sequence[Piece], block: int) -> list[list[Piece]]:
    """Put pieces into blocks of at most `block` tokens, each into the fullest one that has room.

    Longest pieces go first; ties keep the given order, so that the result depends on nothing else.
    Source: best-fit-decreasing bin packing, as in Ding et al. 2024, "Fewer Truncations".

    Raises:
        ValueError: a piece is longer than the block.
    """
    blocks: list[list[Piece]] = []
    room: list[tuple[int, int]] = []  # (free tokens, number of the block), sorted
    for piece in sorted(pieces, key=lambda piece: -len(piece.tokens)):
        size = len(piece.tokens)
        if size > block:
            raise ValueError(f"a piece of {size} tokens does not fit a block of {block}")
        place = bisect_left(room, (size, -1))
        if place == len(room):
            blocks.append([piece])
            insort(room, (block - size, len(blocks) - 1))
        else:
            free, number = room.pop(place)
            blocks[number].append(piece)
            insort(room, (free - size, number))
    return blocks
