"""Records of anyone's making: JSON lines, parquet files and saved datasets, one at a time."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tacit.errors import CorpusError
from tacit.rundir.files import numbered_jsonl

SPLITS = "dataset_dict.json"  # of a saved dataset with several


def document_text(record: Mapping[str, Any]) -> str:
    """Return a document as it is trained on: the title, where there is one, and the body."""
    title = record.get("title")
    return f"{title}\n\n{record['text']}" if title else str(record["text"])


def is_saved_dataset(path: Path) -> bool:
    """Whether `datasets` has saved a dataset there, of one split or of several."""
    return (path / "dataset_info.json").is_file() or (path / SPLITS).is_file()


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Read a file of JSON lines or parquet, or a saved dataset with all of its splits.

    Raises:
        CorpusError: nothing there that can be read, or a broken line; the message names it.
    """
    return (record for _, record in numbered_records(path))


def numbered_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read records as `read_records`, each with the number of its line or row."""
    if is_saved_dataset(path):
        return enumerate(_saved(path), start=1)
    if not path.is_file():
        raise CorpusError(f"no JSON lines, parquet file or saved dataset at {path}")
    if path.suffix == ".parquet":
        return enumerate(_parquet(path), start=1)
    return numbered_jsonl(path)


def _saved(path: Path) -> Iterator[dict[str, Any]]:
    from datasets import DatasetDict, load_from_disk

    try:
        loaded = load_from_disk(str(path))
    except (OSError, ValueError) as error:
        raise CorpusError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
    for split in loaded.values() if isinstance(loaded, DatasetDict) else [loaded]:
        yield from split


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        for batch in ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise CorpusError(f"{path}: not a parquet file ({str(error).splitlines()[0]})") from None
