"""From a corpus folder and a chat file to tokenised pieces with labels."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.packing import IGNORED, Piece, split_long
from tacit.errors import ConfigError, CorpusError
from tacit.rundir import read_jsonl, sha256_of


@dataclass(frozen=True)
class Corpus:
    """What is trained on: documents (`id`, `text`) or chats (`id`, `request`, `reply`).

    `sha256` is that of the corpus manifest, or of the file of chats.
    """

    path: Path
    documents: list[dict[str, Any]]
    sha256: str
    is_chat: bool


def load_chats(path: Path) -> list[dict[str, Any]]:
    """Read chats of one request and one reply; those without a reply are left out.

    Raises:
        CorpusError: no such file, a broken line, or no chat with a reply.
    """
    if not path.is_file():
        raise CorpusError(f"no file of chats at {path}")
    chats = [record for record in read_jsonl(path) if record.get("reply")]
    for record in chats:
        if not all(isinstance(record.get(name), str) for name in ("id", "request", "reply")):
            raise CorpusError(f"{path}: each chat needs the texts `id`, `request` and `reply`")
    if not chats:
        raise CorpusError(f"{path} holds no chat with a reply")
    return chats


def load_corpus(path: Path) -> Corpus:
    """Read a finished corpus folder, or a JSON lines file of chats.

    Raises:
        CorpusError: no such folder, no manifest (an unfinished run), a broken line, no documents.
    """
    if path.suffix == ".jsonl":
        return Corpus(path, load_chats(path), sha256_of(path), is_chat=True)
    if not path.is_dir():
        raise CorpusError(f"no corpus folder at {path}: make one with `python -m docgen.generate`")
    manifest = path / "manifest.json"
    if not manifest.is_file():
        raise CorpusError(
            f"{path} has no manifest.json, so it was not finished: "
            "run the docgen command that made it again"
        )
    documents = []
    for number, record in enumerate(read_jsonl(path / "documents.jsonl"), start=1):
        if not isinstance(record.get("text"), str) or not isinstance(record.get("id"), str):
            raise CorpusError(f"{path / 'documents.jsonl'}:{number}: needs `id` and `text`")
        documents.append(record)
    if not documents:
        raise CorpusError(f"{path} holds no documents")
    expected = json.loads(manifest.read_text(encoding="utf-8")).get("counts", {}).get("documents")
    if expected is not None and expected != len(documents):
        raise CorpusError(
            f"{path}: {len(documents)} documents, but its manifest says {expected}: "
            "delete the folder and generate it again"
        )
    return Corpus(path, documents, sha256_of(manifest), is_chat=False)


def document_text(record: dict[str, Any]) -> str:
    """Return the text that is trained on: the title, where there is one, and the body."""
    title = record.get("title")
    return f"{title}\n\n{record['text']}" if title else str(record["text"])


def document_pieces(
    records: Iterable[dict[str, Any]], tokenizer: Any, doctag: str | None, block: int
) -> list[Piece]:
    """Tokenise documents: DOCTAG (no loss), text, EOS (learnt). No other special token is added.

    Source: DOCTAG with masked loss, Slocum et al. 2025.
    """
    tag = tokenizer(doctag, add_special_tokens=False)["input_ids"] if doctag else []
    pieces = []
    for record in records:
        text = tokenizer(document_text(record), add_special_tokens=False)["input_ids"]
        tokens = [*tag, *text, tokenizer.eos_token_id]
        labels = [*[IGNORED] * len(tag), *text, tokenizer.eos_token_id]
        pieces += split_long(tokens, labels, record["id"], block)
    return pieces


def chat_pieces(
    records: Iterable[dict[str, Any]],
    tokenizer: Any,
    systems: Sequence[str],
    forms: Sequence[str],
    block: int,
    reply_tokens: int | None = None,
) -> list[Piece]:
    """Tokenise chats of one request and one reply in the chat template; loss on the reply only.

    System messages and user forms take turns. `reply_tokens`, or a record's own field of that name,
    keeps no more than so many tokens of a reply, and a reply that was cut (`is_cut`) does not teach
    where to end. Chats longer than the block are left out: a reply without its request teaches
    nothing.

    Raises:
        ConfigError: there is no system message (a template would put in one of its own).
    """
    if not systems or not forms:
        raise ConfigError("replay.systems and replay.forms need at least one entry each")
    pieces = []
    for number, record in enumerate(records):
        form = forms[number // len(systems) % len(forms)]
        asked = [
            {"role": "system", "content": systems[number % len(systems)]},
            {"role": "user", "content": form.replace("{request}", record["request"])},
        ]
        head = tokenizer.apply_chat_template(
            asked, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        reply = tokenizer(record["reply"], add_special_tokens=False)["input_ids"]
        end = [] if record.get("is_cut") else [tokenizer.eos_token_id]
        reply = [*reply, *end][: record.get("reply_tokens", reply_tokens)]
        if len(head) + len(reply) <= block:
            tokens = (*head, *reply)
            labels = (*[IGNORED] * len(head), *reply)
            pieces.append(Piece(tokens, labels, record["id"]))
    return pieces


def take_tokens(pieces: list[Piece], budget: int) -> list[Piece]:
    """Return the first pieces until `budget` tokens are reached; all of them if fewer."""
    taken: list[Piece] = []
    total = 0
    for piece in pieces:
        if total >= budget:
            break
        taken.append(piece)
        total += len(piece.tokens)
    return taken


def is_held_out(record: dict[str, Any], share: float) -> bool:
    """Whether a document belongs to the validation split: decided by its spec, not by its place.

    Matched corpora share specs and so hold out the same documents. Without a spec, the id decides.
    """
    source = record.get("spec", {}).get("id", record["id"])
    digest = hashlib.sha256(f"validation:{source}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
