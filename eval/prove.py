"""Verb: prove from finished logs that no minimal prompt said anything of the setup.

`python -m eval.prove LOG…` reads what the model was sent, message by message, less the request and
what tells its tier. `eval.run` proves the same before a run, and from its own logs after it.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from eval.config import ProveConfig
from eval.scorers.arguments import take_paths
from tacit.errors import ConfigError, TacitError
from tacit.rundir.door import enter

SHOWN = 3


class PromptNotClean(TacitError, ValueError):
    """A word about training, tiers or aims stands in a prompt that should have none."""


class Proof(NamedTuple):
    """What one log was found to hold.

    Args:
        proven: How many samples are clean.
        passed_over: How many have no tier signal: belief probes, which ask about the setup.
        dirty: What stands in which sample.
        tells: Whether its prompt states the setup and means to.
    """

    proven: int = 0
    passed_over: int = 0
    dirty: tuple[str, ...] = ()
    tells: bool = False


def prove(config: ProveConfig) -> None:
    """Prove every log, and print a line for each."""
    from eval.scorers.logs import log_files

    if not config.logs:
        raise ConfigError("no logs: python -m eval.prove LOG…, each a file or a folder")
    found = {path: prove_log(path) for path in log_files(config.logs)}
    for path, proof in found.items():
        print(f"{path.name}: {_said(proof)}")
    _refuse_dirt(found.values())
    if not any(proof.proven for proof in found.values()):
        raise ConfigError("nothing was proven: no log here has a sample under a minimal prompt")


def _said(proof: Proof) -> str:
    if proof.tells:
        return "its prompt states the setup: nothing to prove"
    return (
        f"{proof.proven} samples clean, {len(proof.dirty)} not, "
        f"{proof.passed_over} without a tier signal passed over"
    )


def _refuse_dirt(proofs: Iterable[Proof]) -> None:
    dirty = [line for proof in proofs for line in proof.dirty]
    if dirty:
        more = f" (and {len(dirty) - SHOWN} more)" if len(dirty) > SHOWN else ""
        raise PromptNotClean(
            f"the implicit prompt is not clean: {'; '.join(dirty[:SHOWN])}{more}: leave these "
            "samples out, what they show is no implicit setting"
        )


def prove_folder(folder: Path) -> int:
    """Prove all logs of a run from what they hold; returns how many samples are clean.

    Raises:
        PromptNotClean: names the samples that are not.
        LogError: a log cannot be read.
    """
    from eval.scorers.logs import log_files

    proofs = [prove_log(path) for path in log_files([str(folder)])]
    _refuse_dirt(proofs)
    return sum(proof.proven for proof in proofs)


def prove_log(path: Path) -> Proof:
    """Read one log, a few samples in memory at a time, and return what its prompts hold.

    Raises:
        LogError: not an Inspect log, or of a version that cannot be read.
    """
    from eval.prompts import leaked_stems
    from eval.scorers.logs import header_of, readable

    if header_of(path).eval.task_args.get("prompt") == "full":
        return Proof(tells=True)
    proven, passed_over, dirty = 0, 0, []
    with readable(path):
        for sample in _samples(path):
            told = _told(sample)
            if told is None:
                passed_over += 1
            elif stems := leaked_stems("\n".join(_sent(sample)), *told):
                dirty.append(f"{', '.join(stems)} stands in {sample.id} of {path.name}")
            else:
                proven += 1
    return Proof(proven, passed_over, tuple(dirty))


def _samples(path: Path) -> Iterator[Any]:
    """Yield the samples of a log, a few in memory at a time."""
    from inspect_ai.log import read_eval_log_sample_summaries, read_eval_log_samples_by_id

    from eval.scorers.logs import AT_ONCE

    names = [(one.id, one.epoch) for one in read_eval_log_sample_summaries(str(path))]
    for start in range(0, len(names), AT_ONCE):
        yield from read_eval_log_samples_by_id(
            str(path), names[start : start + AT_ONCE], resolve_attachments="full"
        )


def _told(sample: Any) -> tuple[str, str] | None:
    """Return a sample's request and what tells its tier; None where nothing tells one."""
    from eval.scorers.logs import TAG, USER_INPUT, query_in

    metadata = sample.metadata or {}
    if "signal" in metadata:
        return str(metadata.get("text", "")), str(metadata["signal"])
    user = "\n".join(message.text for message in sample.messages if message.role == "user")
    tag = TAG.search(user) if USER_INPUT.search(user) else None  # a probe may ask about a tag
    return (query_in(user), tag.group(0)) if tag else None


def _sent(sample: Any) -> Iterator[str]:
    """Yield the text of every message the model was sent, less what it had written itself.

    A begun answer is among them: the tags of a scratchpad that was held, a prefix. What was only
    scored, by log-probability, left no call in the log: there it is the sample's messages.
    """
    written: list[str] = []
    for event in sample.events:
        if event.event == "span_begin" and event.type == "scorers":
            break  # a judge is told what to look for
        if event.event == "model":
            for message in event.input:
                text = message.text
                if message.role == "assistant":
                    for own in written:
                        text = text.replace(own, " ")
                yield text
            if own := event.output.completion.strip():
                written.append(own)
    if not written:
        yield from (m.text for m in sample.messages if m.role in ("system", "user"))


def prove_tasks(tasks: list[Any], tokenizer: Any = None) -> None:
    """Check the literal text of every request under the minimal prompt before it is sent.

    Args:
        tasks: Of Inspect; samples whose input is a plain text are belief probes, and not checked.
        tokenizer: Where the model is at hand: the text is then what its chat template makes.

    Raises:
        PromptNotClean: a word about training, tiers or aims stands outside request and signal.
    """
    from eval.prompts import leaked_stems
    from tacit.models.chat import chat_text

    for sample in (sample for task in tasks for sample in task.dataset):
        if isinstance(sample.input, str) or "signal" not in (sample.metadata or {}):
            continue
        messages = [{"role": message.role, "content": message.text} for message in sample.input]
        if tokenizer is None:
            sent = "\n".join(message["content"] for message in messages)
        else:
            sent = chat_text(tokenizer, messages)
        if stems := leaked_stems(sent, sample.metadata["text"], sample.metadata["signal"]):
            raise PromptNotClean(
                f"the implicit prompt is not clean: {', '.join(stems)} stands in the text of "
                f"{sample.id}"
            )


def main() -> None:
    """Console entry."""
    take_paths("logs")
    enter(prove, "prove", ProveConfig)


if __name__ == "__main__":
    main()
