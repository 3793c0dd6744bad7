"""How long a verb's --help takes, against the bare Hydra door and against importing Inspect.

`python benchmarks/startup.py [--quick]` prints medians and writes results/benchmarks/startup.json.
"""

import statistics
import subprocess
import sys
import time

from record import write_record

VERBS = ("docgen.generate", "finetune.train", "eval.run", "study.run")
PEERS = {
    "import hydra": [sys.executable, "-c", "import hydra"],
    "import inspect_ai": [sys.executable, "-c", "import inspect_ai"],
}


def seconds(command):
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main():
    rounds = 3 if "--quick" in sys.argv else 9
    commands = {f"{verb} --help": [sys.executable, "-m", verb, "--help"] for verb in VERBS} | PEERS
    times = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            times[name].append(seconds(command))
    rows = [
        {
            "command": name,
            "median_s": statistics.median(kept),
            "min_s": min(kept),
            "max_s": max(kept),
        }
        for name, kept in ((name, found[1:]) for name, found in times.items())
    ]
    for row in rows:
        print(
            f"{row['command']:<26}{row['median_s']:.2f} s  [{row['min_s']:.2f}, {row['max_s']:.2f}]"
        )
    slowest = max(row["median_s"] for row in rows if row["command"].endswith("--help"))
    peer = next(row["median_s"] for row in rows if row["command"] == "import inspect_ai")
    write_record("startup", rows, {"slowest_help_vs_import_inspect": slowest / peer})


if __name__ == "__main__":
    main()
