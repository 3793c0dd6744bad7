"""A hub on this machine: as much of its API as pushing and reading a repository takes."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

COMMIT = "0" * 40
TOKEN = "hf_test"
LARGE = (".parquet", ".safetensors")


@dataclass
class Hub:
    """Files by repository (`models/ORG/NAME`, `datasets/…`) and path, as they were pushed."""

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    large: dict[str, bytes] = field(default_factory=dict)  # by sha256, before they are committed
    asked: list[str] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: Any, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def missing(self, code: str) -> None:
        self.answer(404, {"error": code}, X_Error_Code=code)

    def do_POST(self) -> None:
        hub = self.hub
        path = unquote(self.path.split("?")[0])
        data = self.rfile.read(int(self.headers.get("content-length", 0)))
        hub.asked.append(f"POST {path}")
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid credentials in Authorization header"})
        if path == "/api/repos/create":
            body = json.loads(data)
            name = f"{body.get('type') or 'model'}s/{body.get('organization')}/{body['name']}"
            hub.files.setdefault(name, {})
            if body.get("private") or body.get("visibility") == "private":
                hub.private.add(name)
            return self.answer(200, {"url": f"{hub.url}/{name.removeprefix('models/')}"})
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        repository = "/".join(path.split("/")[2:5])
        if "/preupload/" in path:
            files = [
                {
                    "path": one["path"], "shouldIgnore": False,
                    "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular",
                }
                for one in json.loads(data)["files"]
            ]  # fmt: skip
            return self.answer(200, {"files": files})
        if "/commit/" in path:
            for line in data.splitlines():
                record = json.loads(line)
                if record["key"] == "file":
                    content = base64.b64decode(record["value"]["content"])
                    hub.files[repository][record["value"]["path"]] = content
                elif record["key"] == "lfsFile":
                    content = hub.large[record["value"]["oid"]]
                    hub.files[repository][record["value"]["path"]] = content
            url = f"{hub.url}/{repository}/commit/{COMMIT}"
            return self.answer(200, {"commitOid": COMMIT, "commitUrl": url})
        if "/paths-info/" in path:
            form = self.headers.get("content-type", "").startswith("application/x-www-form")
            wanted = parse_qs(data.decode())["paths"] if form else json.loads(data)["paths"]
            files = self.hub.files.get(repository, {})
            return self.answer(200, [entry(p, files[p]) for p in wanted if p in files])
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{hub.url}/large/{one['oid']}"}}}
                for one in json.loads(data)["objects"]
            ]
            return self.answer(200, {"objects": objects, "transfer": "basic"})
        return self.missing("EntryNotFound")

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        self.hub.large[self.path.split("/")[-1]] = content
        self.answer(200, {})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path.split("?")[0])
        self.hub.asked.append(f"{self.command} {path}")
        if path == "/api/whoami-v2":
            return self.answer(200, {"name": "me", "type": "user", "orgs": []})
        if "/resolve/" in path:
            place, _, name = path.strip("/").partition("/resolve/")
            repository = place if place.startswith("datasets/") else f"models/{place}"
            found = self.hub.files.get(repository, {}).get(name.partition("/")[2])
            if found is None:
                return self.missing("EntryNotFound")
            return self.answer(200, found, ETag=f'"{hashlib.sha1(found).hexdigest()}"')
        parts = path.strip("/").split("/")
        repository = "/".join(parts[1:4])
        files = self.hub.files.get(repository)
        if parts[0] != "api" or files is None:
            return self.missing("RepoNotFound")
        if "tree" in parts:
            entries = tree(files, "/".join(parts[6:]), "recursive=True" in self.path)
            return self.answer(200, entries) if entries else self.missing("EntryNotFound")
        return self.answer(
            200,
            {
                "id": "/".join(parts[2:4]), "sha": COMMIT,
                "private": repository in self.hub.private,
                "siblings": [{"rfilename": p} for p in files], "tags": [], "downloads": 0,
            },
        )  # fmt: skip


def entry(path: str, content: bytes) -> dict[str, Any]:
    oid = hashlib.sha1(content).hexdigest()
    return {"type": "file", "path": path, "size": len(content), "oid": oid}


def tree(files: dict[str, bytes], folder: str, is_recursive: bool) -> list[dict[str, Any]]:
    start = f"{folder}/" if folder else ""
    entries = {}
    for path, content in files.items():
        if not path.startswith(start):
            continue
        first, _, below = path.removeprefix(start).partition("/")
        if below:
            entries[start + first] = {"type": "directory", "path": start + first, "oid": COMMIT}
        if not below or is_recursive:
            entries[path] = entry(path, content)
    return list(entries.values())


@contextmanager
def serving() -> Iterator[Hub]:
    """Run a hub on a free port."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHub", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
