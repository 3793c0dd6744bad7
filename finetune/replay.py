"""Verb: let a model answer ordinary requests, so that its own chat can be mixed into training.

`python -m finetune.replay model=smollm2 out=corpora/replay/smollm2.jsonl`
"""

import re
from pathlib import Path

from finetune.config import ReplayConfig
from tacit.errors import CorpusError
from tacit.rundir import append_line, locate, read_jsonl
from tacit.rundir.door import enter

# A base sometimes declines, or condoles, where nothing calls for it: such replies are left out.
REFUSAL = re.compile(
    r"\b(I'm|I am) (sorry|unable|not able)|\b(can't|cannot|don't have the)\b|\bas an? (AI|bot)"
)


def replay(config: ReplayConfig) -> None:
    """Answer every request without a reply; with `drop_refusals` those it declines keep none.

    Raises:
        CorpusError: the file of requests is missing or broken.
    """
    import sys

    from tacit.models.engine import Engine
    from tacit.models.load import load_model, load_tokenizer
    from tacit.models.sampling import Request

    source, out = locate(config.requests), Path(config.out)
    if not source.is_file():
        raise CorpusError(f"no file of requests at {source}")
    done = _answered(out, config.model)
    records = list(read_jsonl(source))[: config.limit]
    waiting = [record for record in records if record["id"] not in done]
    if not waiting:
        print(f"{out} is complete: nothing to do")
        return
    tokenizer, engine = load_tokenizer(config.model), Engine(load_model(config.model))
    for start in range(0, len(waiting), config.batch):
        batch = waiting[start : start + config.batch]
        requests = []
        for record in batch:
            messages = [
                {"role": "system", "content": config.system},
                {"role": "user", "content": record["request"]},
            ]
            tokens = tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_dict=False
            )
            requests.append(
                Request(
                    tuple(tokens),
                    config.max_tokens,
                    config.temperature,
                    config.top_p,
                    config.seed,
                    frozenset([tokenizer.eos_token_id]),
                )
            )
        for record, completion in zip(batch, engine.generate(requests), strict=True):
            text = tokenizer.decode(completion.tokens).strip()
            is_refusal = config.drop_refusals and REFUSAL.search(text)
            reply = text if text and not is_refusal else None
            is_cut = completion.is_cut
            append_line(out, {**record, "reply": reply, "is_cut": is_cut, "model": config.model})
        print(f"{start + len(batch)}/{len(waiting)} requests answered", file=sys.stderr)


def _answered(out: Path, model: str) -> set[str]:
    """Return the ids of requests that `model` has answered in an earlier run.

    Raises:
        CorpusError: the file holds another model's replies, which must not be mixed with these.
    """
    if not out.is_file():
        return set()
    records = list(read_jsonl(out, journal=True))
    others = sorted({str(record.get("model")) for record in records} - {model})
    if others:
        raise CorpusError(
            f"{out} holds replies of {', '.join(others)}: delete it, or choose another out"
        )
    return {record["id"] for record in records}


def main() -> None:
    """Console entry."""
    enter(replay, "replay", ReplayConfig)


if __name__ == "__main__":
    main()
