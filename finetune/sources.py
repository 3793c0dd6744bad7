"""What can be trained on: corpus folders, ordinary text, chats. Reading and checking, no tokens."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from tacit.errors import ConfigError, CorpusError
from tacit.rundir import locate, read_jsonl, read_records, sha256_of
from tacit.rundir.hub import HUB, load_from_hub
from tacit.rundir.records import SPLITS, is_saved_dataset

Kind = Literal["corpus", "text", "chat"]


@dataclass(frozen=True)
class Source:
    """Records of one kind: documents of a corpus folder, ordinary text, or chats.

    `sha256` is that of the corpus manifest or of the file; of a dataset, of its records as JSON
    lines. `weight` is its share of tokens relative to that of the first source named; None takes
    all of it.
    """

    path: Path
    kind: Kind
    records: list[dict[str, Any]]
    sha256: str
    weight: float | None = None


def load_sources(data: str | list[str]) -> list[Source]:
    """Read `PATH`, or `[PATH:WEIGHT, …]`; the first one is the corpus that the others dilute.

    Raises:
        ConfigError: a weight that is no positive number.
        CorpusError: nothing there that can be read.
    """
    entries = [data] if isinstance(data, str) else list(data)
    if not entries:
        raise ConfigError("data is an empty list: name a corpus folder first")
    return [_load(entry) for entry in entries]


def _load(entry: str) -> Source:
    name, _, after = str(entry).rpartition(":")
    if not name:
        name, after = str(entry), ""
    weight: float | None = None
    if after:
        try:
            weight = float(after)
        except ValueError:
            raise ConfigError(f"data={entry}: {after!r} after the colon is no weight") from None
        if not 0 < weight < math.inf:
            raise ConfigError(f"data={entry}: a weight must be a number above 0")
    path = locate(name)
    if path.is_dir() and not is_saved_dataset(path):
        return _corpus(path, weight)
    if name.startswith(HUB):
        records = load_from_hub(name, name.removeprefix(HUB), split="train").to_list()
    else:
        records = _read(name, path)
    digest = sha256_of(path) if path.is_file() else _sha256_of_records(records)
    return Source(path, _kind(path, records), records, digest, weight)


def _read(name: str, path: Path) -> list[dict[str, Any]]:
    if (path / SPLITS).is_file():
        raise CorpusError(f"{name} holds several splits: name the folder of one of them")
    if not path.exists():
        raise CorpusError(
            f"no corpus folder, JSON lines, parquet file or dataset at {name}: make a corpus "
            f"with `python -m docgen.generate`, or name {HUB}ORG/NAME"
        )
    return list(read_records(path))


def _sha256_of_records(records: list[dict[str, Any]]) -> str:
    digest = sha256()
    for record in records:
        digest.update(json.dumps(record, sort_keys=True, default=str).encode() + b"\n")
    return digest.hexdigest()


def _kind(path: Path, records: list[dict[str, Any]]) -> Kind:
    """Tell chats from text by their fields, and check every record.

    Raises:
        CorpusError: a record has neither text nor a chat.
    """
    if not records:
        raise CorpusError(f"{path} is empty")
    is_chat = "request" in records[0] or "messages" in records[0]
    for number, record in enumerate(records, start=1):
        # Others' data sets number their records, or leave the field empty.
        record["id"] = f"{path.name}:{number}" if record.get("id") is None else str(record["id"])
        if is_chat and not _is_chat(record):
            raise CorpusError(
                f"{path}:{number}: each chat needs the texts `request` and `reply`, or `messages` "
                "with roles and contents"
            )
        if not is_chat and not isinstance(record.get("text"), str):
            raise CorpusError(f"{path}:{number}: needs `text`, or `request` and `reply`")
    if is_chat:
        records[:] = [r for r in records if r.get("reply") or r.get("messages")]
        if not records:
            raise CorpusError(f"{path} holds no chat with a reply")
    return "chat" if is_chat else "text"


def _is_chat(record: dict[str, Any]) -> bool:
    messages = record.get("messages")
    if messages is not None:
        return isinstance(messages, list) and bool(messages) and all(map(_is_message, messages))
    reply = record.get("reply")
    return isinstance(record.get("request"), str) and (reply is None or isinstance(reply, str))


ROLES = ("system", "user", "assistant")


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and isinstance(message.get("content"), str)
        and message.get("role") in ROLES
    )


def load_chats(path: Path) -> list[dict[str, Any]]:
    """Read chats; those without a reply are left out.

    Raises:
        CorpusError: no such file, a broken line, or no chat with a reply.
    """
    if not path.is_file():
        raise CorpusError(f"no file of chats at {path}")
    records = list(read_jsonl(path))
    if _kind(path, records) != "chat":
        raise CorpusError(f"{path}: each chat needs the texts `request` and `reply`")
    return records


def _corpus(path: Path, weight: float | None) -> Source:
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
    return Source(path, "corpus", documents, sha256_of(manifest), weight)


def _share_of(purpose: str, record: dict[str, Any]) -> float:
    """Return a number in [0, 1) that the record's spec decides (its id, where it has no spec).

    Matched corpora share specs, so what is chosen by it is chosen in all of them.
    """
    source = (record.get("spec") or {}).get("id", record["id"])
    digest = sha256(f"{purpose}:{source}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def is_held_out(record: dict[str, Any], share: float) -> bool:
    """Whether a document belongs to the validation split."""
    return _share_of("validation", record) < share


def in_dose(records: Iterable[dict[str, Any]], dose: float) -> list[dict[str, Any]]:
    """Return the records of a dose; a smaller dose is a subset of every larger one.

    Raises:
        ConfigError: the dose is not in (0, 1], or so small that nothing is left.
    """
    if not 0 < dose <= 1:
        raise ConfigError(f"dose={dose} must lie above 0 and at 1 or below")
    chosen = [record for record in records if _share_of("dose", record) < dose]
    if not chosen:
        raise ConfigError(f"dose={dose} leaves no document: choose a larger one")
    return chosen
