"""What every benchmark leaves behind: `results/benchmarks/NAME.json`, in one form."""

import json
import os
import platform
import shlex
import sys
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))


def machine() -> str:
    """Describe this machine: cores, processor, GPU."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{os.cpu_count()} cores, {platform.machine()}, {gpu}"


def read_rows(name: str) -> list[dict[str, Any]]:
    """Return the rows of the last record, none where there is none."""
    target = ROOT / "results" / "benchmarks" / f"{name}.json"
    if not target.is_file():
        return []
    rows: list[dict[str, Any]] = json.loads(target.read_text(encoding="utf-8"))["rows"]
    return rows


def write_record(name: str, rows: list[dict[str, Any]], ratios: dict[str, float]) -> Path:
    """Write and name the record of a run, with the arguments that it was given."""
    from tacit.rundir.run import versions

    record = {
        "command": shlex.join(["python", f"benchmarks/{name}.py", *sys.argv[1:]]),
        "machine": machine(),
        "versions": versions(),
        "date": date.today().isoformat(),
        "rows": rows,
        "ratios": ratios,
    }
    target = ROOT / "results" / "benchmarks" / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{target}: {ratios}")
    return target
