"""The run directory: journal, atomic files, manifest, run key, the door."""

from tacit.rundir.files import append_line, locate, read_jsonl, sha256_of, write_atomic, write_jsonl
from tacit.rundir.records import read_records
from tacit.rundir.run import RunDir, open_run, run_key

__all__ = [
    "RunDir",
    "append_line",
    "locate",
    "open_run",
    "read_jsonl",
    "read_records",
    "run_key",
    "sha256_of",
    "write_atomic",
    "write_jsonl",
]
