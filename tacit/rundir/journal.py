"""A journal: JSON lines that are on disk before anything is made of them."""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from tacit.rundir.files import read_jsonl, to_line


class Journal:
    """One append-only file, held open by one process; what a kill cut off is dropped on opening."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is touched before `with`."""
        self.path = path
        self.records: list[dict[str, Any]] = []
        self._handle: BinaryIO | None = None

    def __enter__(self) -> "Journal":
        """Read what is there, up to the last newline, and open for appending.

        Raises:
            CorpusError: a whole line is broken; the message names file and line.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self.records = list(read_jsonl(self.path, journal=True))
            data = self.path.read_bytes()
            if not data.endswith(b"\n"):
                os.truncate(self.path, data.rfind(b"\n") + 1)
        self._handle = self.path.open("ab")
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def append(self, records: Iterable[dict[str, Any]]) -> None:
        """Append records and force them to disk, all with one sync."""
        if self._handle is None:
            raise RuntimeError("a journal is written inside its `with` block")
        added = list(records)
        self._handle.write("".join(to_line(record) + "\n" for record in added).encode("utf-8"))
        self._handle.flush()
        os.fsync(self._handle.fileno())
        self.records += added


class SharedSync:
    """Appends records to a journal from many tasks: those that arrive together share one sync."""

    def __init__(self, journal: Journal) -> None:
        """Take a journal that is open."""
        self._journal = journal
        self._waiting: list[tuple[dict[str, Any], asyncio.Future[None]]] = []
        self._lock = asyncio.Lock()

    async def append(self, record: dict[str, Any]) -> None:
        """Return once the record is on disk."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((record, written))
        async with self._lock:
            if not written.done():
                batch, self._waiting = self._waiting, []
                await asyncio.to_thread(self._journal.append, [one for one, _ in batch])
                for _, future in batch:
                    future.set_result(None)
        await written
