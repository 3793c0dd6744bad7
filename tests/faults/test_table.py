"""The table of `docs/reliability.md` is that of the last record, whichever that is."""

import json
import sys

import pytest

from tests.conftest import REPO

RECORD = REPO / "results" / "benchmarks" / "faults.json"


@pytest.fixture
def faults(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(REPO / "benchmarks")])
    import faults

    yield faults
    sys.modules.pop("faults")


def test_the_page_holds_the_table_of_the_record(faults):
    page = (REPO / "docs" / "reliability.md").read_text(encoding="utf-8")
    if not RECORD.is_file():
        assert "No whole run is on record yet" in page.partition(faults.HEADING)[2]
        return
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert page == faults.with_table(page, record)
    assert {name: record["ratios"][name] for name in faults.COUNTS[1:]} == dict.fromkeys(
        faults.COUNTS[1:], 0
    )


def test_a_record_replaces_the_table_and_nothing_else(faults):
    row = {"fault": "kill: x", "injected": 3, "lost": 0, "doubled": 0, "executed": 1,
           "failed": 1, "part_s": 12.3, "part": "rest"}  # fmt: skip
    sums = {"injected": 3.0, "lost": 0.0, "doubled": 0.0, "executed": 1.0}
    record = {"command": "x", "machine": "2 cores", "date": "2026-01-01", "rows": [row],
              "ratios": sums}  # fmt: skip
    page = faults.with_table(f"# Title\n\n{faults.HEADING}\nold\n", record)
    assert page.startswith("# Title\n\n## The table\n") and "old" not in page
    assert "| kill: x (a test of its part failed) |  | 3 | 0 | 0 | 1 | 12 |" in page
    assert faults.with_table(page, record) == page

    one = {**row, "fault": "server: openai, 500", "failed": 0}
    forms = [one, {**one, "fault": "server: openai, reset", "lost": 2, "injected": 4}]
    page = faults.table_of({**record, "rows": [*forms, {**one, "fault": "disk: full"}]})
    assert "| server: openai | 500 (3); reset (4) | 7 | 2 | 0 | 2 | 12 |" in page
    assert "| disk | full (3) | 3 | 0 | 0 | 1 | 12 |" in page
