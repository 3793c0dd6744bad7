"""The audit's layers above the rules: the classifier, and a judge; both fail closed."""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from docgen.brainstorm import template
from docgen.config import AuditOptions
from docgen.rules import CLASSES, Finding


@dataclass(frozen=True)
class Layers:
    """What looks at a document after the rules have."""

    has_classifier: bool
    judge: str | None

    @staticmethod
    def open(options: AuditOptions) -> "Layers":
        """Check that what the options ask for is there.

        Raises:
            ConfigError: the classifier's encoder is not installed.
        """
        if options.classifier:
            from docgen.classify import encoder_folder

            encoder_folder()
        return Layers(options.classifier, options.judge)

    def audit(self, texts: Sequence[str]) -> list[list[Finding]]:
        """Return what these layers find in each of some documents."""
        found: list[list[Finding]] = [[] for _ in texts]
        if self.has_classifier:
            from docgen.classify import classify

            found = classify(texts)
        if self.judge:
            verdicts = judged(texts, self.judge)
            found = [[*one, *other] for one, other in zip(found, verdicts, strict=True)]
        return found


def judged(texts: Sequence[str], model: str) -> list[list[Finding]]:
    """Return a judge's findings on some documents, each read whole.

    A document that could not be judged (no answer, no verdict in it, a refusal) has the finding
    `unjudged`: the audit fails closed.
    """
    return asyncio.run(_judge_all(texts, model))


async def _judge_all(texts: Sequence[str], name: str) -> list[list[Finding]]:
    from inspect_ai.model import GenerateConfig, get_model

    prompt = template("judge.jinja")
    async with get_model(name, memoize=False) as model:

        async def one(text: str) -> list[Finding]:
            try:
                output = await model.generate(
                    prompt.render(text=fenced(text), classes=CLASSES),
                    config=GenerateConfig(max_tokens=600, temperature=0.0, timeout=600),
                )
            except Exception as error:
                return [Finding("unjudged", f"{type(error).__name__}: {error}"[:120])]
            return verdict_of(output.completion)

        return list(await asyncio.gather(*(one(text) for text in texts)))


def fenced(text: str) -> str:
    """Return a text that can not close the fence it stands in."""
    return re.sub(r"={6,}", "=====", text)


def verdict_of(answer: str) -> list[Finding]:
    """Read a judge's JSON verdict; anything else is `unjudged`."""
    match = re.search(r"\{.*\}", answer, re.DOTALL)
    try:
        record = json.loads(match.group(0)) if match else None
    except ValueError:
        record = None
    found = record.get("findings") if isinstance(record, dict) else None
    if not isinstance(found, list):
        return [Finding("unjudged", "no verdict in the judge's answer")]
    findings = []
    for entry in found:
        if not isinstance(entry, dict) or entry.get("class") not in CLASSES:
            return [Finding("unjudged", f"an unknown class in the verdict: {entry!r}"[:120])]
        findings.append(Finding(str(entry["class"]), str(entry.get("quote", ""))[:120]))
    return findings
