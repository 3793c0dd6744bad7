"""Files that survive a kill: appended line by line, or written whole and then renamed."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tacit.errors import CorpusError

PROJECT = Path(__file__).parent.parent.parent
HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair: an escape cut in two, no character
UNKNOWN = "\ufffd"


def locate(path: str | Path) -> Path:
    """Return a path as given or, where nothing is there, the same path among what is shipped.

    So that `data=corpora/helpful_only/treatment` works from any folder.
    """
    given = Path(path)
    shipped = PROJECT / given
    return shipped if not given.exists() and shipped.exists() else given


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a file that takes the place of `path` once whole; of a failed one nothing stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a whole file so that a reader sees the old one or the new one, never a part."""
    with _replacing(path) as handle:
        handle.write(content.encode("utf-8") if isinstance(content, str) else content)


def to_line(record: Any) -> str:
    """Return a record as one line of JSON, without the newline; half characters as U+FFFD."""
    return HALF.sub(UNKNOWN, json.dumps(record, ensure_ascii=False, separators=(", ", ": ")))


def write_jsonl(path: Path, records: Iterable[Any]) -> int:
    """Write records as JSON lines, atomically and one at a time; returns their count."""
    return write_lines(path, (to_line(record) for record in records))


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write lines, atomically and one at a time; returns their count."""
    count = 0
    with _replacing(path) as handle:
        for line in lines:
            handle.write((line + "\n").encode("utf-8"))
            count += 1
    return count


def append_line(path: Path, record: Any) -> None:
    """Append one record to a journal and force it to disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as handle:
        if handle.tell() and not _ends_with_newline(path):
            handle.truncate(path.read_bytes().rfind(b"\n") + 1)
        handle.write((to_line(record) + "\n").encode("utf-8"))
        handle.flush()
        os.fsync(handle.fileno())


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as handle:
        handle.seek(-1, os.SEEK_END)
        return handle.read(1) == b"\n"


def read_jsonl(path: Path, journal: bool = False) -> Iterator[dict[str, Any]]:
    """Read JSON lines; an escape that is half a character is read as U+FFFD.

    Args:
        path: The file.
        journal: Stop at the last newline: what follows it was cut by a kill.

    Raises:
        CorpusError: a line is no JSON object; the message names file and line.
    """
    return (record for _, record in numbered_jsonl(path, journal))


def numbered_jsonl(path: Path, journal: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read JSON lines as `read_jsonl`, each with the number of its line."""
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            if journal and not line.endswith(b"\n"):
                return
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                if b"\\u" in line:
                    record = json.loads(to_line(record))
            except (ValueError, RecursionError):  # nested beyond what the parser takes
                record = None
            if not isinstance(record, dict):
                raise CorpusError(f"{path}:{number}: not a JSON object; mend or delete this line")
            yield number, record


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, as hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_of_all(paths: Iterable[Path]) -> str:
    """Return one sha256 over the names and contents of files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda one: one.name):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
