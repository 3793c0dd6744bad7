"""Requests out of files of anyone's making: JSON lines, CSV, parquet, or a dataset on the hub."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tacit.errors import CorpusError
from tacit.rundir import read_records
from tacit.rundir.files import numbered_jsonl
from tacit.rundir.hub import HUB, load_from_hub


class Form(NamedTuple):
    """How a public set names its columns, in lower case; the first of several that is there counts.

    `has` are the columns it is known by.
    """

    source: str
    has: tuple[str, ...]
    text: str
    ids: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()


# As their authors publish them, and as the copies on the hub name the same columns.
FORMS = (
    Form("", ("text",), "text"),
    Form(
        "harmbench", ("behavior", "behaviorid"), "behavior",
        ("behaviorid",), ("semanticcategory",), ("contextstring",),
    ),
    Form("strongreject", ("forbidden_prompt",), "forbidden_prompt", (), ("category",)),
    Form("advbench", ("goal", "target"), "goal"),
    Form("advbench", ("prompt", "target"), "prompt"),
    Form("xstest", ("prompt", "type"), "prompt", ("id", "id_v2"), ("type",)),
    Form("", ("prompt", "category"), "prompt", ("id",), ("category",), ("context",)),
)  # fmt: skip
COLUMNS = (
    "text (yours); goal, target (AdvBench); forbidden_prompt (StrongREJECT); Behavior, BehaviorID "
    "(HarmBench); prompt, type (XSTest); or prompt, category"
)
CONTEXT_RULE = "\n\n---\n\n"  # HarmBench's own line between a context and the request


class Placed(NamedTuple):
    """A request and where it stands, for whoever has to mend it."""

    place: str
    record: dict[str, Any]


def read_queries(name: str, path: Path) -> list[Placed]:
    """Read the requests of a file or of `hub/OWNER/NAME[/CONFIG][:SPLIT]`, columns by their names.

    Raises:
        CorpusError: nothing there that can be read, or columns that are not known.
    """
    if name.startswith(HUB):
        rows = list(_numbered(name, _from_hub(name)))
    elif path.suffix.lower() == ".csv":
        rows = list(_csv(path))
    elif path.suffix.lower() == ".parquet" or path.is_dir():
        rows = list(_numbered(str(path), list(read_records(path))))
    else:
        rows = list(_lines(path))
    if not rows:
        return []
    columns = {str(key).strip().lower() for key in rows[0].record}
    form = next((form for form in FORMS if columns.issuperset(form.has)), None)
    if form is None:
        raise CorpusError(
            f"{name}: no known columns among {', '.join(sorted(columns))[:120]}: rename them to "
            f"{COLUMNS}"
        )
    stem = name.removeprefix(HUB).split(":")[0] if name.startswith(HUB) else path.stem
    return [Placed(place, _query(row, form, form.source or stem)) for place, row in rows]


def _query(row: dict[str, Any], form: Form, source: str) -> dict[str, Any]:
    if form.text == "text":
        return {"source": source, **{str(key).strip(): value for key, value in row.items()}}
    cells = {str(key).strip().lower(): value for key, value in row.items() if value is not None}
    text = str(cells.get(form.text, "")).strip()
    context = _first(cells, form.contexts)
    found: dict[str, Any] = {
        "id": _first(cells, form.ids),
        "text": CONTEXT_RULE.join([context, text]) if context and text else text,
        "topic": _first(cells, form.topics),
        "source": source,
    }
    if form.source == "xstest":
        is_unsafe = (
            str(cells.get("label", cells["type"])).lower().startswith(("unsafe", "contrast"))
        )
        found |= {"unsafe": is_unsafe, "safe": not is_unsafe}
    return found


def _first(cells: dict[str, Any], names: tuple[str, ...]) -> str:
    found = (str(cells[name]).strip() for name in names if name in cells)
    return next((one for one in found if one), "")


def _lines(path: Path) -> Iterator[Placed]:
    return (Placed(f"{path}:{number}", record) for number, record in numbered_jsonl(path))


def _csv(path: Path) -> Iterator[Placed]:
    start = 2
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, strict=True)
            for row in reader:
                yield Placed(f"{path}:{start}", {k: v for k, v in row.items() if k is not None})
                start = reader.line_num + 1
    except (csv.Error, UnicodeDecodeError) as error:
        raise CorpusError(
            f"{path}:{start}: no CSV in UTF-8 ({error}): save it again as that"
        ) from None


def _numbered(name: str, records: list[dict[str, Any]]) -> Iterator[Placed]:
    for number, record in enumerate(records, start=1):
        yield Placed(f"{name}, row {number}", record)


def _from_hub(name: str) -> list[dict[str, Any]]:
    place, _, split = name.removeprefix(HUB).partition(":")
    parts = place.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise CorpusError(
            f"{name}: write {HUB}OWNER/NAME, then /CONFIG and :SPLIT where it has any"
        )
    found = load_from_hub(name, "/".join(parts[:2]), *parts[2:])
    splits = list(found)
    if (split or len(splits) == 1) and (split or splits[0]) in splits:
        records: list[dict[str, Any]] = found[split or splits[0]].to_list()
        return records
    raise CorpusError(f"{name}: name one of its splits after a colon: {', '.join(splits)}")
