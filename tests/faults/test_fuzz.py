"""Readers of what others wrote: any bytes at all, and no error but a typed one."""

import os
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docgen.brainstorm import json_list
from eval.scorers.output import take_apart
from tacit.errors import TacitError
from tacit.rundir import read_jsonl
from tacit.rundir.door import refuse_keys
from tacit.rundir.journal import Journal

EXAMPLES = int(os.environ.get("TACIT_FUZZ_EXAMPLES", "100"))
UNHURRIED = [HealthCheck.function_scoped_fixture]
fuzzed = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=UNHURRIED)
MARKS = ["SCRATCHPAD_REASONING", "RESPONSE"]
TAGS = st.sampled_from([f"<{end}{mark}>" for mark in MARKS for end in ("", "/")] + ["<", ">", "\0"])
PARTS = [b"{}", b"\n", b'{"a": 1}\n', b"\xff"]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@fuzzed
@given(st.lists(TAGS | st.text(max_size=20)).map("".join), st.booleans())
def test_the_tag_parser_takes_any_text(text, scratchpad):
    take_apart(text, scratchpad=scratchpad)


@fuzzed
@given(st.lists(st.sampled_from(list('[]{}",:\\')) | st.text(max_size=9)).map("".join))
def test_the_list_parser_takes_any_text(text):
    found = json_list(text)
    assert isinstance(found, list)


def test_a_deeply_nested_list_is_no_list():
    assert not json_list("[" * 100_000)


@pytest.mark.parametrize("deep", [b"[" * 100_000 + b"\n", b'{"a":' * 100_000 + b"\n"])
def test_a_deeply_nested_line_is_named(tmp_path, deep):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(deep)
    with pytest.raises(TacitError, match=r"journal\.jsonl:1"):
        list(read_jsonl(path))


@fuzzed
@given(st.binary() | st.lists(st.sampled_from(PARTS)).map(b"".join))
def test_the_journal_reader_takes_any_bytes(tmp_path, data):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(data)
    try:
        with Journal(path) as journal:
            assert all(isinstance(record, dict) for record in journal.records)
    except TacitError:
        assert path.read_bytes() == data


@fuzzed
@given(JSON)
def test_the_check_for_keys_takes_any_configuration(value):
    with suppress(TacitError):
        refuse_keys(value)
