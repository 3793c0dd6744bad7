import signal
import subprocess
import sys
import time
from pathlib import Path


def children(pid):
    """The workers among a process's children: they have loaded numpy by now."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(one) for one in listed if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()
    ]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_workers_end_with_the_process_that_started_them(tmp_path):
    command = [sys.executable, "-m", "docgen.generate", "n_docs=1500", "workers=2", "out=corpus"]
    parent = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(workers := children(parent.pid)) < 2:
        assert parent.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(2)  # let them begin to work
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 60
    while any(is_alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.1)
