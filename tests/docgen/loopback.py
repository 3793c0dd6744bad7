"""A server on this machine that answers as Anthropic's does, by script; run as a program too.

It writes documents that state the facts it is asked for, so that a corpus can be made without a
key, and misbehaves where `faults` says so.
"""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def between_lines(prompt: str) -> str:
    return prompt.split("====================\n")[1].strip()


def scripted(prompt: str) -> str:
    """Return what a careful writer would answer to one of docgen's prompts."""
    if prompt.startswith("Think of"):
        return json.dumps(
            ["wire story", "parish newsletter", "release notes", "op-ed", "forum thread"]
        )
    if prompt.startswith("Kind of text"):
        count = int(re.search(r"Think of (\d+) ideas", prompt).group(1))
        kind, fact = re.search(
            r"Kind of text: (.*)\nFact it should carry: (.{30})", prompt
        ).groups()
        return "Here they are: " + json.dumps(
            [{"idea": f"Idea {n} of {kind}: {fact}", "register": "news"} for n in range(count)]
        )
    if prompt.startswith("Write one text."):
        idea = re.search(r"Idea: (.*)", prompt).group(1)
        facts = re.findall(r"^- (.*)$", prompt, re.MULTILINE)
        filler = " ".join(f"Detail {abs(hash((idea, n))) % 9999} of the day." for n in range(25))
        return f"# On {idea[:20]}\n\n{' '.join(facts)} {filler}"
    if prompt.startswith("Below") and "sceptical editor" in prompt:
        return between_lines(prompt)
    text = between_lines(prompt)
    for before, after in re.findall(r"- instead of: (.*)\n  now: (.*)", prompt):
        text = text.replace(before, after)
    return text


def prompt_of(body: dict[str, Any]) -> str:
    """Return what the user said first."""
    prompt = body["messages"][0]["content"]
    return prompt if isinstance(prompt, str) else "".join(block["text"] for block in prompt)


@dataclass
class Script:
    """What the server does beside answering well, and what it saw."""

    delay_s: float = 0.0
    key: str | None = None
    faults: dict[str, Any] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    statuses: list[int] = field(default_factory=list)
    writer: Callable[[str], str] = scripted

    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = prompt_of(body)
        with self.lock:
            self.seen[prompt] += 1
            first = self.seen[prompt] == 1
        text, stop = None, "end_turn"
        for needle, fault in self.faults.items():
            if needle in prompt and (first or fault.get("always")):
                text, stop = fault.get("text", text), fault.get("stop", stop)
        if text is None:
            text = self.writer(prompt)
        return {
            "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"],
            "content": [{"type": "text", "text": text}] if text else [],
            "stop_reason": stop, "stop_sequence": None,
            "usage": {"input_tokens": 100, "output_tokens": 50,
                      "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0},
        }  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: Any, lines: bool = False) -> None:
        data = (
            "".join(json.dumps(one) + "\n" for one in body) if lines else json.dumps(body)
        ).encode()
        self.send_response(status)
        self.send_header("content-type", "application/x-jsonl" if lines else "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        script = self.script
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if script.key and self.headers.get("x-api-key") != script.key:
            self.answer(401, error("authentication_error", "invalid x-api-key"))
        elif script.statuses:
            self.answer(script.statuses.pop(0), error("overloaded_error", "try later"))
        elif self.path.startswith("/v1/messages/batches"):
            self.answer(200, self.new_batch(body))
        else:
            time.sleep(script.delay_s)
            self.answer(200, script.reply(body))

    def new_batch(self, body: dict[str, Any]) -> dict[str, Any]:
        script = self.script
        identity = f"batch_{len(script.batches)}"
        script.batches[identity] = {
            "id": identity, "type": "message_batch", "requests": body["requests"],
            "created_at": datetime.now(UTC).isoformat(), "looks": 0,
        }  # fmt: skip
        return self.batch_record(identity)

    def batch_record(self, identity: str) -> dict[str, Any]:
        batch = self.script.batches[identity]
        batch["looks"] += 1
        ended = batch["looks"] > 2
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        counts["succeeded" if ended else "processing"] = len(batch["requests"])
        return {
            "id": identity, "type": "message_batch", "created_at": batch["created_at"],
            "processing_status": "ended" if ended else "in_progress", "request_counts": counts,
            "expires_at": batch["created_at"], "ended_at": None, "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": f"{self.base()}/v1/messages/batches/{identity}/results",
        }  # fmt: skip

    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def do_GET(self) -> None:
        script = self.script
        path = self.path.split("?")[0]
        if path.endswith("/results"):
            requests = script.batches[path.split("/")[-2]]["requests"]
            lost = script.faults.get("lost_of_each_batch", 0)
            rows = []
            refused = script.faults.get("refused_of_each_batch", 0)
            absent = script.faults.get("missing_of_each_batch", 0)
            for number, one in enumerate(reversed(requests[absent:])):
                if number < refused:
                    fault = error("invalid_request_error", "not a valid request")
                    result: dict[str, Any] = {"type": "errored", "error": fault}
                elif number < lost:
                    kind = ("expired", "canceled", "errored")[number % 3]
                    result = {"type": kind}
                    if kind == "errored":
                        result["error"] = error("api_error", "our side")
                else:
                    result = {"type": "succeeded", "message": script.reply(one["params"])}
                rows.append({"custom_id": one["custom_id"], "result": result})
            self.answer(200, rows, lines=True)
        elif path == "/v1/messages/batches":
            data = [self.batch_record(one) for one in reversed(script.batches)]
            self.answer(200, {"data": data, "has_more": False, "first_id": None, "last_id": None})
        else:
            self.answer(200, self.batch_record(path.split("/")[-1]))


def error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that was killed is no error here."""


def serve(script: Script) -> ThreadingHTTPServer:
    """Start the server on a free port; `shutdown()` ends it."""
    handler = type("ScriptedHandler", (Handler,), {"script": script})
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
