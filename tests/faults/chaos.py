"""A server that answers as Anthropic's or OpenAI's does, and fails as networks and services do.

Which request fails, and how, is decided by the hash of its prompt and of how often it was asked:
the same run meets the same faults.
"""

import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from tests.docgen.loopback import Handler, Script, Server, error, prompt_of, scripted

# What a retry mends: the same question asked again is answered.
TRANSIENT = (
    "429_seconds", "429_date", "500", "529", "reset", "reset_in_body", "timeout", "slow_drip",
    "truncated_json", "not_json",
)  # fmt: skip
# What came is no document; docgen asks once more by itself, then leaves it out with the reason.
CONTENT = ("empty", "max_tokens", "refusal")
# Of the calls about batches: what is sent may have arrived although the answer is lost.
BATCH = ("429_seconds", "500", "529", "reset", "reset_in_body", "truncated_json", "not_json")


def varied(prompt: str) -> str:
    """Answer as `scripted` does, with ideas that differ from call to call."""
    if not prompt.startswith("Kind of text"):
        return scripted(prompt)
    salt = hashlib.sha256(prompt.encode()).hexdigest()[:6]
    return re.sub(r"Idea (\d+) of", rf"Idea \1 {salt} of", scripted(prompt))


@dataclass
class Chaos(Script):
    """A script with faults: `share` of the requests (0-1) fail, in one of `kinds` of ways."""

    share: float = 0.2
    kinds: Sequence[str] = (*TRANSIENT, *CONTENT)
    injected: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    hold_s: float = 6.0
    batch_kinds: Sequence[str] = ()  # every second call about batches fails in the next of these
    batch_calls: int = 0
    asked_well_after: int = 2  # askings of a prompt: each fault doubles the client's wait

    def draw(self, prompt: str, exempt: bool) -> str | None:
        """Return the fault of this request, or None."""
        with self.lock:
            self.asked[prompt] += 1
            attempt = self.asked[prompt]
        digest = hashlib.sha256(f"{attempt}\0{prompt}".encode()).digest()
        if attempt > self.asked_well_after or int.from_bytes(digest[:4]) / 2**32 >= self.share:
            return None
        kinds = [kind for kind in self.kinds if not (exempt and kind in CONTENT)]
        kind = kinds[digest[5] % len(kinds)]
        with self.lock:
            self.injected[kind] += 1
        return kind

    def draw_of_batches(self) -> str | None:
        """Return the fault of this call about batches, or None."""
        self.batch_calls += 1
        if not self.batch_kinds or self.batch_calls % 2:
            return None
        kind = self.batch_kinds[self.batch_calls // 2 % len(self.batch_kinds)]
        self.injected[kind] += 1
        return kind


class ChaosHandler(Handler):
    script: Chaos

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path.startswith("/v1/messages/batches"):
            kind = self.script.draw_of_batches()
            answer = None if kind in ("429_seconds", "529") else self.new_batch(body)
            self.spoil(kind, json.dumps(answer).encode())
            return
        is_openai = self.path.endswith("/chat/completions")
        if is_openai:
            body["messages"] = [m for m in body["messages"] if m["role"] == "user"]
        prompt = prompt_of(body)
        # Without lists of kinds and ideas there is no corpus at all: those only meet transients.
        kind = self.script.draw(prompt, exempt=not prompt.startswith(("Write", "Below")))
        time.sleep(self.script.delay_s)
        if kind in TRANSIENT:
            getattr(self, f"fault_{kind}")(body, is_openai)
        else:
            self.answer(200, self.reply(body, is_openai, kind))

    def do_GET(self) -> None:
        self.kind = self.script.draw_of_batches()
        super().do_GET()

    def answer(self, status: int, body: Any, lines: bool = False) -> None:
        if self.command == "POST":
            super().answer(status, body, lines)
            return
        rows = [json.dumps(row) + "\n" for row in body] if lines else [json.dumps(body)]
        self.spoil(self.kind, "".join(rows).encode())

    def spoil(self, kind: str | None, data: bytes) -> None:
        """Send an answer about batches, or what is left of it."""
        if kind in ("429_seconds", "500", "529"):
            self.refuse(int(kind[:3]), {"retry-after": "0"})
        elif kind == "reset":
            self.reset()
        elif kind == "reset_in_body":
            self.head("application/json", len(data))
            self.wfile.write(data[: len(data) // 2])
            self.reset()
        elif kind == "not_json":
            self.send_whole("text/html", b"<html><body>Bad gateway, with status 200</body></html>")
        else:
            self.send_whole("application/json", data[: len(data) // (2 if kind else 1)])

    def reply(self, body: dict[str, Any], is_openai: bool, kind: str | None = None) -> Any:
        said = self.script.reply(body)
        if kind == "empty":
            said["content"] = []
        elif kind:
            said["stop_reason"] = kind
        return as_openai(said) if is_openai else said

    def fault_429_seconds(self, *_: Any) -> None:
        self.refuse(429, {"retry-after": "1"})

    def fault_429_date(self, *_: Any) -> None:
        self.refuse(429, {"retry-after": formatdate(time.time() + 1, usegmt=True)})

    def fault_500(self, *_: Any) -> None:
        self.refuse(500, {})

    def fault_529(self, *_: Any) -> None:
        self.refuse(529, {})

    def fault_reset(self, *_: Any) -> None:
        self.reset()

    def fault_reset_in_body(self, body: dict[str, Any], is_openai: bool) -> None:
        data = json.dumps(self.reply(body, is_openai)).encode()
        self.head("application/json", len(data))
        self.wfile.write(data[: len(data) // 2])
        self.reset()

    def fault_timeout(self, *_: Any) -> None:
        time.sleep(self.script.hold_s)
        self.reset()

    def fault_slow_drip(self, body: dict[str, Any], is_openai: bool) -> None:
        data = json.dumps(self.reply(body, is_openai)).encode()
        self.head("application/json", len(data))
        try:
            for start in range(0, len(data), 1 + len(data) // 20):
                self.wfile.write(data[start : start + 1 + len(data) // 20])
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            self.close_connection = True

    def fault_truncated_json(self, body: dict[str, Any], is_openai: bool) -> None:
        data = json.dumps(self.reply(body, is_openai)).encode()
        self.send_whole("application/json", data[: len(data) // 2])

    def fault_not_json(self, *_: Any) -> None:
        self.send_whole("text/html", b"<html><body>Bad gateway, with status 200</body></html>")

    def refuse(self, status: int, headers: dict[str, str]) -> None:
        data = json.dumps(error("overloaded_error", "try later")).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def send_whole(self, kind: str, data: bytes) -> None:
        self.head(kind, len(data))
        self.wfile.write(data)

    def head(self, kind: str, length: int) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(length))
        self.end_headers()

    def reset(self) -> None:
        """End the connection with a reset, as a crashed peer does."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()

    def finish(self) -> None:
        if not self.rfile.closed:
            super().finish()


def as_openai(said: dict[str, Any]) -> dict[str, Any]:
    """Return a reply in the form of OpenAI's chat completions."""
    stops = {"end_turn": "stop", "max_tokens": "length", "refusal": "content_filter"}
    text = "".join(block["text"] for block in said["content"])
    return {
        "id": "1", "object": "chat.completion", "created": 0, "model": said["model"],
        "choices": [{"index": 0, "finish_reason": stops[said["stop_reason"]],
                     "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
    }  # fmt: skip


def serve_chaos(script: Chaos) -> Any:
    """Start the server on a free port; `shutdown()` ends it."""
    handler = type("ScriptedChaos", (ChaosHandler,), {"script": script})
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
