"""Readers of what others wrote: any bytes at all, and no error but a typed one."""

import io
import os
import sys
from contextlib import redirect_stderr, suppress

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from docgen.audit import documents_of
from docgen.brainstorm import json_list
from eval.config import EvalConfig
from eval.scorers.output import take_apart
from finetune.sources import load_sources
from tacit.errors import TacitError
from tacit.rundir import read_jsonl
from tacit.rundir.door import enter, refuse_keys
from tacit.rundir.files import to_line
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


RECORDS = st.dictionaries(st.sampled_from(["id", "text", "title", "messages"]) | st.text(), JSON)


@fuzzed
@given(st.binary() | st.lists(RECORDS).map(lambda rows: "\n".join(map(to_line, rows)).encode()))
def test_the_readers_of_documents_take_any_file(tmp_path, data):
    path = tmp_path / "documents.jsonl"
    path.write_bytes(data)
    with suppress(TacitError):
        assert all(isinstance(text, str) for _, text in documents_of(path))
    with suppress(TacitError):
        load_sources(str(path))


WORDS = st.sampled_from(
    ["samples", "query_limit", "model", "${", "}", "${model}", "${oc.env:HOME}", "=", ".", "[", "]",
     "{", ":", ",", "null", "-1", "1e9", "'", '"', "\\"]
)  # fmt: skip


@settings(fuzzed, max_examples=max(20, EXAMPLES // 20))
@given(st.lists(WORDS | st.text(max_size=5)).map("".join).filter(lambda text: text[:1] != "-"))
@example("setting=null")
def test_the_door_takes_any_override_or_says_in_one_line_what_is_wrong(override):
    """The real door, in this process: whatever it raises but an exit is a traceback to a user."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(said):
        patch.setattr(sys, "argv", ["eval.run", "setting=prompted", override])
        try:
            enter(lambda config: None, "eval", EvalConfig)
        except SystemExit as stopped:
            complaint = said.getvalue()
            assert stopped.code == 1 and complaint.startswith("error: "), complaint
            assert complaint.count("\n") == 1


@fuzzed
@given(JSON)
def test_the_check_for_keys_takes_any_configuration(value):
    with suppress(TacitError):
        refuse_keys(value)
