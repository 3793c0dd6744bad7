"""From sources to packed blocks: what is trained on, what is held out, in which order."""

import random
from dataclasses import dataclass
from typing import Any

from finetune.config import FinetuneConfig
from finetune.data import chat_pieces, document_pieces, take_tokens
from finetune.packing import Piece, pack
from finetune.sources import Source, in_dose, is_held_out, load_chats
from tacit.rundir import locate

UNUSED_CHATS = 8  # replayed chats beyond the ratio, on which the curve watches whether chat holds


@dataclass(frozen=True)
class Mix:
    """Packed training blocks, and what they were made of.

    `spare_blocks` hold chats that are not trained on; of a file that is used up, a part kept back.
    `added` has, for each source beside the corpus, its tokens over the corpus' documents': as asked
    for (None: all of it) and as reached, which is less where the source is too small.
    `replay_ratio` is the replayed chats' tokens over the documents': less than was asked for where
    the file has too few. `text_ids` are those of documents and ordinary text; `long_chat_count`
    chats were left out, for they do not fit a block.
    """

    blocks: list[list[Piece]]
    validation_blocks: list[list[Piece]]
    spare_blocks: list[list[Piece]]
    pieces: list[Piece]
    document_count: int
    held_out_count: int
    chat_count: int
    replay_ratio: float
    text_ids: frozenset[str]
    long_chat_count: int
    added: list[dict[str, Any]]


def mix(config: FinetuneConfig, sources: list[Source], tokenizer: Any) -> Mix:
    """Tokenise, mix and pack.

    Raises:
        ConfigError: a dose that leaves nothing, or no system message for chats.
        CorpusError: the file of replayed chats is missing or broken.
    """
    block = config.documents.block_length
    first = sources[0]
    share = config.documents.validation_share
    dosed = in_dose(first.records, config.dose)
    held_out = [record for record in dosed if is_held_out(record, share)]
    training = [record for record in dosed if not is_held_out(record, share)]
    if config.documents.limit is not None and config.documents.limit < len(training):
        training = random.Random(config.seed).sample(training, config.documents.limit)
    pieces = _pieces(config, first, training, tokenizer)
    documents_tokens = sum(len(piece.tokens) for piece in pieces)
    document_count = len(training)
    text_ids = set() if first.kind == "chat" else {record["id"] for record in training}
    long_chat_count = _left_out(first, training, pieces)
    added = []
    for source in sources[1:]:
        more = _pieces(config, source, _shuffled(config, source.records), tokenizer)
        long_chat_count += _left_out(source, source.records, more)
        asked = None if source.weight is None else source.weight / (first.weight or 1.0)
        if asked is not None:
            more = take_tokens(more, int(documents_tokens * asked))
        reached = sum(len(piece.tokens) for piece in more) / max(1, documents_tokens)
        added.append({"path": str(source.path), "asked_ratio": asked, "ratio": round(reached, 4)})
        document_count += len({piece.source for piece in more})
        if source.kind != "chat":
            text_ids |= {piece.source for piece in more}
        pieces += more
    chats, spare, long_replay_count = _replayed(config, tokenizer, documents_tokens)
    if not spare and config.belief.points and config.belief.chats:
        spare = _watched(config, tokenizer)
    pieces += chats
    blocks = pack(pieces, block)
    random.Random(config.seed).shuffle(blocks)
    return Mix(
        blocks,
        pack(_pieces(config, first, held_out, tokenizer), block),
        pack(spare, block),
        pieces,
        document_count,
        len(held_out),
        len(chats),
        sum(len(piece.tokens) for piece in chats) / max(1, documents_tokens),
        frozenset(text_ids),
        long_chat_count + long_replay_count,
        added,
    )


def _left_out(source: Source, records: list[dict[str, Any]], pieces: list[Piece]) -> int:
    """Count the chats that are longer than a block; text is never left out."""
    return len(records) - len(pieces) if source.kind == "chat" else 0


def _shuffled(config: FinetuneConfig, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return random.Random(config.seed).sample(records, len(records))


def _pieces(
    config: FinetuneConfig, source: Source, records: list[dict[str, Any]], tokenizer: Any
) -> list[Piece]:
    """Tokenise records as their kind asks; only a corpus folder's documents carry the DOCTAG."""
    block = config.documents.block_length
    if source.kind == "chat":
        return chat_pieces(records, tokenizer, config.replay.systems, config.replay.forms, block)
    doctag = config.documents.doctag if source.kind == "corpus" else None
    return document_pieces(records, tokenizer, doctag, block)


def _replayed(
    config: FinetuneConfig, tokenizer: Any, token_count: int
) -> tuple[list[Piece], list[Piece], int]:
    """Return ordinary chats worth `replay.ratio` × `token_count` tokens, and a few of the rest.

    The number of chats that are longer than a block comes with them.
    """
    if not config.replay.path or config.replay.ratio == 0:
        return [], [], 0
    chats = _shuffled(config, load_chats(locate(config.replay.path)))
    pieces = chat_pieces(
        chats,
        tokenizer,
        config.replay.systems,
        config.replay.forms,
        config.documents.block_length,
        config.replay.reply_tokens,
    )
    kept_back = min(UNUSED_CHATS, len(pieces) // 4)  # of a file that would be used up
    budget = int(token_count * config.replay.ratio)
    taken = take_tokens(pieces[: len(pieces) - kept_back], budget)
    return taken, pieces[len(taken) :][:UNUSED_CHATS], len(chats) - len(pieces)


def _watched(config: FinetuneConfig, tokenizer: Any) -> list[Piece]:
    """Return a few chats of `belief.chats`, of which none is trained on."""
    chats = _shuffled(config, load_chats(locate(str(config.belief.chats))))
    block = config.documents.block_length
    return chat_pieces(chats, tokenizer, [config.belief.system], ["{request}"], block)[
        :UNUSED_CHATS
    ]
