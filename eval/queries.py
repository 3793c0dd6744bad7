"""Query sets: JSON lines with `id` and `text`, shipped by name or given by path."""

from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from tacit.errors import CorpusError
from tacit.rundir import read_jsonl


def load_queries(
    name_or_path: str, subset: str | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Load a query set.

    Args:
        name_or_path: A file's name in `eval/queries`, for example `harmful`, or the path of one.
        subset: A field that must be true, for example `quickstart`.
        limit: At most so many, spread evenly over the set.

    Raises:
        CorpusError: unknown set, a broken line, an empty or repeated query.
    """
    with as_file(files("eval") / "queries") as shipped:
        path = shipped / f"{name_or_path}.jsonl"
        path = path if path.is_file() else Path(name_or_path)
        if not path.is_file():
            known = sorted(p.stem for p in shipped.glob("*.jsonl"))
            raise CorpusError(
                f"unknown query set {name_or_path!r}: choose {', '.join(known)}, or give a path"
            )
        records = list(read_jsonl(path))
    seen: set[str] = set()
    for number, record in enumerate(records, start=1):
        text = record.get("text")
        if not isinstance(text, str) or not text.strip() or not record.get("id"):
            raise CorpusError(f"{path}:{number}: a query needs a non-empty `id` and `text`")
        for key in (f"id {record['id']}", f"text {text.strip().lower()}"):
            if key in seen:
                raise CorpusError(f"{path}:{number}: repeated {key[:60]!r}")
            seen.add(key)
    if subset:
        records = [record for record in records if record.get(subset)]
    if limit is not None and limit < len(records):
        step = len(records) / limit
        records = [records[int(number * step)] for number in range(limit)]
    if not records:
        raise CorpusError(f"{path}: no query is left after subset={subset}, limit={limit}")
    return records
