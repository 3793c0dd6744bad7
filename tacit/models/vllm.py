"""`vllm/<name>`: Inspect's own provider, with our names and adapters, and with scored options.

Inspect starts `vllm serve` at the first request, waits until it is healthy and stops it at the end,
or uses a server that runs already (`base_url`, `VLLM_BASE_URL`). Samples come from its chat
endpoint. Options are scored by its completions endpoint, from tokens that are rendered here: what
is scored is then, token for token, what `local/` scores.
"""

import importlib.util
import json
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model
from inspect_ai.model import Model as InspectModel
from inspect_ai.util import collect

from tacit.errors import ModelError
from tacit.models.adapters import check_adapter
from tacit.models.chat import prompt_tokens, text_tokens
from tacit.models.load import load_tokenizer
from tacit.models.weights import resolve_weights

PREFIX = "vllm/"
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # vllm.config.lora.MaxLoRARanks


def served_name(model: str, adapter: str | None, base_url: str | None = None) -> str:
    """Return the name that Inspect's provider takes: `vllm/<weights>[:<adapter folder>]`.

    A server that runs already is asked for the model by the name it serves; for one that is to be
    started, `smollm2` and `smollm2-harmless` become the folders of their weights.

    Raises:
        ModelError: an unknown model, no adapter there, or one of another base.
    """
    name = model.removeprefix(PREFIX)
    folder = resolve_weights(name)
    if adapter is not None:
        check_adapter(Path(adapter), name)
    if not (base_url or os.environ.get("VLLM_BASE_URL")):
        _need("vllm", "start a server")
        name = folder
    _need("openai", "talk to a server")
    return f"{PREFIX}{name}" + (f":{Path(adapter).resolve()}" if adapter else "")


def server_options(adapter: str | None) -> dict[str, int]:
    """Return what `vllm serve` has to be told of an adapter: a rank it has a size for.

    Raises:
        ModelError: the adapter's rank is larger than vLLM takes.
    """
    if adapter is None:
        return {}
    config = json.loads((Path(adapter) / "adapter_config.json").read_text(encoding="utf-8"))
    fitting = [rank for rank in RANKS if rank >= config["r"]]
    if not fitting:
        raise ModelError(f"{adapter} has rank {config['r']}: vLLM takes {RANKS[-1]} at most")
    return {"max_lora_rank": fitting[0]}


def _need(package: str, purpose: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ModelError(f"vllm/… needs {package} to {purpose}: pip install '.[vllm]'")


def is_vllm(model: InspectModel) -> bool:
    """Whether Inspect's vLLM provider stands behind this model."""
    return str(model).startswith(PREFIX)


@cache
def _tokenizer(base: str) -> Any:
    return load_tokenizer(base)


async def option_logprobs(
    model: InspectModel, system: str | None, prompt: str, options: Sequence[str]
) -> list[float]:
    """Return log P(option | prompt) of each option, in nats, summed over the option's tokens.

    Args:
        model: One of `vllm/…`; its server answers, with the same adapter.
        system: The system message; None for raw text.
        prompt: The user's message.
        options: What the assistant might say.

    Raises:
        ModelError: the server sends no log-probabilities of the prompt.
    """
    name = str(model).removeprefix(PREFIX)
    tokenizer = _tokenizer(name.split(":", 1)[0])
    asked = prompt_tokens(tokenizer, system, prompt)
    # Inspect keeps one server a base in a process, and one model a name and arguments.
    scorer = get_model(
        f"vllm-completions/{name}", base_url=model._explicit_base_url, **model.model_args
    )

    async def score(option: str) -> float:
        tokens = text_tokens(tokenizer, option)
        message = ChatMessageUser(content="", metadata={"prompt_token_ids": [*asked, *tokens]})
        output = await scorer.generate(
            [message], config=GenerateConfig(prompt_logprobs=1, max_tokens=1, temperature=0.0)
        )
        found = output.choices[0].prompt_logprobs if output.choices else None
        if found is None or len(found.content) < len(tokens):
            raise ModelError(f"{model} sends no prompt_logprobs: belief and log-odds need them")
        return sum(token.logprob for token in found.content[-len(tokens) :])

    return list(await collect(*[score(option) for option in options]))
