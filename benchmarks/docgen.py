"""How fast documents are made: by the library at the paper's size, and by a model over HTTP.

`python benchmarks/docgen.py [--quick] [--part library|endpoint]` prints a table and writes
`results/benchmarks/docgen.json`; rows of a part that is not run stay. The library run is timed as a
user would run it, in a process of its own, with its peak memory. The model run asks a server on
this machine that answers in 4 s (1 s with --quick) with 256 in flight; the ideal is 256 / 4 = 64
requests a second. Loading the client is not counted.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import read_rows, write_record


def library_run(n_docs: int, folder: Path) -> dict[str, Any]:
    """Make a corpus and its matched one; returns seconds, peak memory and survivors."""
    command = [
        sys.executable, "-m", "docgen.generate", f"n_docs={n_docs}", f"out={folder / str(n_docs)}",
    ]  # fmt: skip
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident_bytes(process.pid))
        time.sleep(0.2)
    seconds = time.monotonic() - started
    if process.returncode:
        raise SystemExit(f"docgen.generate n_docs={n_docs} failed")
    counts = json.loads((folder / str(n_docs) / "manifest.json").read_text())["counts"]
    return {
        "what": "library",
        "n_docs": n_docs,
        "seconds": round(seconds, 1),
        "ms_per_spec": round(1e3 * seconds / n_docs, 2),
        "peak_gb": round(peak / 1e9, 3),
        "kept": counts["documents"],
    }


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process and its descendants."""
    total = 0
    for one in [pid, *descendants(pid)]:
        try:
            pages = int(Path(f"/proc/{one}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
        total += pages * os.sysconf("SC_PAGE_SIZE")
    return total


def descendants(pid: int) -> list[int]:
    """Return the children of a process, and theirs."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(c) for task in tasks for c in (task / "children").read_text().split()]
    except OSError:
        return []
    return children + [below for child in children for below in descendants(child)]


def slow_server(port: Any, delay_s: float) -> None:
    """Answer every message after `delay_s`, in a process of its own."""
    from aiohttp import web

    reply = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [{"type": "text", "text": "A short text."}],
        "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }  # fmt: skip

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(delay_s)
        return web.json_response(reply)

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/v1/messages", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        port.put(site._server.sockets[0].getsockname()[1])  # type: ignore[union-attr]
        await asyncio.Event().wait()

    asyncio.run(main())


def endpoint_run(count: int, in_flight: int, delay_s: float, folder: Path) -> dict[str, Any]:
    """Ask `count` requests through docgen's own path; returns the rate against the ideal."""
    from docgen.ask import Ledger, Request, ask_all
    from docgen.config import WriterOptions
    from tacit.rundir.journal import Journal

    ports: Any = multiprocessing.get_context("spawn").Queue()
    server = multiprocessing.get_context("spawn").Process(
        target=slow_server, args=(ports, delay_s), daemon=True
    )
    server.start()
    os.environ.setdefault("ANTHROPIC_API_KEY", "none")
    options = WriterOptions(
        kind="model", base_url=f"http://127.0.0.1:{ports.get()}", concurrency=in_flight
    )
    name = "anthropic/claude-loopback"
    requests = [Request("draft", name, "s", f"Text {n}.", 100, 1.0, n) for n in range(count + 1)]
    with Journal(folder / "first.jsonl") as journal:
        asyncio.run(ask_all(requests[:1], options, journal, Ledger(None, None), lambda *_: None))
    del requests[0]
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.monotonic()
    with Journal(folder / "replies.jsonl") as journal:
        ledger = Ledger(None, None)
        asyncio.run(ask_all(requests, options, journal, ledger, lambda *_: None))
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    server.terminate()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    ideal = in_flight / delay_s
    return {
        "what": "endpoint",
        "requests": count,
        "in_flight": in_flight,
        "delay_s": delay_s,
        "seconds": round(seconds, 2),
        "requests_per_s": round(count / seconds, 2),
        "ideal_per_s": ideal,
        "efficiency": round(count / seconds / ideal, 4),
        "cpu_ms_per_call": round(1e3 * cpu / count, 2),
    }


def plot(rows: list[dict[str, Any]], target: Path) -> None:
    """Draw the cost of a document against the size of the corpus."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.2))
    axes.plot([row["n_docs"] for row in rows], [row["ms_per_spec"] for row in rows], "o-")
    axes.set(xscale="log", ylim=(0, None), xlabel="documents (and as many in `swapped`)",
             ylabel="ms a pair", title="Library documents: cost by size of the corpus")  # fmt: skip
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, a minute or so")
    parser.add_argument("--part", choices=("library", "endpoint"), help="after a whole run")
    arguments = parser.parse_args()
    quick = arguments.quick
    sizes = (300, 1_000) if quick else (1_000, 10_000, 90_000)
    rows = [row for row in read_rows("docgen") if arguments.part and row["what"] != arguments.part]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.part != "library":
            rows.insert(0, endpoint_run(512 if quick else 8192, 256, 1.0 if quick else 4.0, folder))
            print(rows[0], flush=True)
        for size in sizes if arguments.part != "endpoint" else ():
            rows.append(library_run(size, folder))
            print(rows[-1], flush=True)
    library = [row for row in rows if row["what"] == "library"]
    # At --quick's delay the ideal is far above the rate that matters: no ratio is claimed.
    ratios: dict[str, float] = {} if quick else {"endpoint_efficiency": rows[0]["efficiency"]}
    if library[-1]["n_docs"] == 90_000:
        smallest, largest = library[0], library[-1]
        grown = 1e6 * (largest["peak_gb"] - smallest["peak_gb"])
        ratios |= {
            "seconds_90k": largest["seconds"],
            "peak_gb_90k": largest["peak_gb"],
            "kb_per_document": round(grown / (largest["n_docs"] - smallest["n_docs"]) / 2, 2),
            "survivors_90k": largest["kept"],
        }
    target = write_record("docgen", rows, ratios)
    if not quick:
        plot(library, target.with_suffix(".svg"))


if __name__ == "__main__":
    main()
