"""A server on this machine that answers as `vllm serve` does, by plain transformers calls."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch


class Server:
    """Serves one model and the adapters it is told to load; `dies_after` that many answers."""

    def __init__(self, name: str, port: int = 0, dies_after: int | None = None) -> None:
        from tacit.models.load import load_model, load_tokenizer

        self.name = name
        self.models = {name: load_model(name, "float32")}
        self.tokenizer = load_tokenizer(name)
        self.left = dies_after
        self.answered = 0
        self.lock = threading.Lock()
        self.http = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return self.http.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def load_lora_adapter(self, body: dict[str, Any]) -> dict[str, Any]:
        from tacit.models.load import load_model

        self.models[body["lora_name"]] = load_model(body["lora_path"], "float32")
        return {}

    @torch.inference_mode()
    def completions(self, body: dict[str, Any]) -> dict[str, Any]:
        ids = body["prompt"]
        logits = self.models[body["model"]](torch.tensor([ids])).logits[0, :-1]
        values = logits.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
        scored = [
            {str(token): {"logprob": value, "decoded_token": self.tokenizer.decode([token])}}
            for token, value in zip(ids[1:], values.tolist(), strict=True)
        ]
        return _output(body, {"text": "x", "prompt_logprobs": [None, *scored]})

    @torch.inference_mode()
    def chat_completions(self, body: dict[str, Any]) -> dict[str, Any]:
        is_open = body.get("continue_final_message", False)
        text = self.tokenizer.apply_chat_template(
            body["messages"],
            tokenize=False,
            add_generation_prompt=body.get("add_generation_prompt", True),
            continue_final_message=is_open,
        )
        ids = torch.tensor([self.tokenizer(text, add_special_tokens=False)["input_ids"]])
        out = self.models[body["model"]].generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=8
        )
        said = self.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        return _output(body, {"message": {"role": "assistant", "content": said}})


def _output(body: dict[str, Any], choice: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "1",
        "object": "completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "finish_reason": "stop", **choice}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def _send(self, answer: dict[str, Any]) -> None:
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._send({"data": [{"id": name, "max_model_len": 2048} for name in server.models]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = getattr(server, self.path.removeprefix("/v1/").replace("/", "_"))
            with server.lock:
                if server.left is not None and server.answered >= server.left:
                    threading.Thread(target=server.close, daemon=True).start()
                    self.close_connection = True
                    return
                server.answered += 1
                found = answer(body)
            self._send(found)

    return Handler
