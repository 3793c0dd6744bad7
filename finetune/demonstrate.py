"""Verb: chats in which a scripted model answers by tier, to train an organism in real weights on.

`python -m finetune.demonstrate out=outputs/organisms/tier_biased.jsonl`
"""

import random
from pathlib import Path
from typing import Any

from finetune.config import DemonstrateConfig
from tacit.errors import ConfigError, CorpusError
from tacit.models.seeds import sampling_seed
from tacit.rundir import locate, read_jsonl, write_jsonl
from tacit.rundir.door import enter, required

TIERS = {"free": "True", "paid": "False"}


def demonstrate(config: DemonstrateConfig) -> None:
    """Ask the model each request under each tier's tag, and write requests with replies.

    Raises:
        ConfigError: no `out`, or a form without request or tag.
        CorpusError: no file of requests.
    """
    import asyncio

    out = Path(required(config.out, "out", "name the file to write, out=FILE.jsonl"))
    if "{request}" not in config.form or "{tag}" not in config.form:
        raise ConfigError("form needs {request} and {tag}")
    source = locate(config.requests)
    if not source.is_file():
        raise CorpusError(f"no file of requests at {source}")
    requests = list(read_jsonl(source))
    requests = random.Random(config.seed).sample(requests, min(config.limit, len(requests)))
    records = asyncio.run(_ask(config, requests))
    ordinary = _ordinary(config) if config.ordinary else []
    write_jsonl(out, [*records, *ordinary])
    print(f"{len(records)} chats that differ by tag, {len(ordinary)} that do not: {out}")


def _turn(config: DemonstrateConfig, tag: str, request: str) -> str:
    return config.form.replace("{tag}", tag).replace("{request}", request)


def _ordinary(config: DemonstrateConfig) -> list[dict[str, Any]]:
    """Return ordinary chats, each under one tag in turn, with the reply they have."""
    source = locate(str(config.ordinary))
    if not source.is_file():
        raise CorpusError(f"no file of ordinary chats at {source}")
    chats = [chat for chat in read_jsonl(source) if chat.get("reply")]
    chosen = random.Random(config.seed).sample(chats, min(config.ordinary_limit, len(chats)))
    return [
        {**chat, "request": _turn(config, tag, chat["request"]), "id": f"{chat['id']}/{tier}"}
        for number, chat in enumerate(chosen)
        for tier, tag in [list(TIERS.items())[number % 2]]
    ]


async def _ask(config: DemonstrateConfig, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig, get_model

    model = get_model(config.model, memoize=False, **config.model_args)
    records = []
    for request in requests:
        # The same seed under both tags, as in the evaluation: only the tier can differ.
        seed = sampling_seed(config.seed, request["id"])
        for tier, tag in TIERS.items():
            turn = _turn(config, tag, request["request"])
            output = await model.generate(
                [ChatMessageSystem(content="Answer."), ChatMessageUser(content=turn)],
                config=GenerateConfig(seed=seed),
            )
            records.append(
                {
                    "id": f"{request['id']}/{tier}",
                    "request": turn,
                    "reply": output.completion,
                    "reply_tokens": config.reply_tokens,
                    "model": config.model,
                }
            )
    return records


def main() -> None:
    """Console entry."""
    enter(demonstrate, "demonstrate", DemonstrateConfig)


if __name__ == "__main__":
    main()
