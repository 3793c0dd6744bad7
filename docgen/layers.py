"""The audit's layers above the rules: the classifier, and a judge; both fail closed."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from docgen.brainstorm import template
from docgen.config import AuditOptions
from docgen.rules import CLASSES, Finding
from tacit.models.fence import case_of, verdict_of
from tacit.rundir.journal import Journal, SharedSync


@dataclass(frozen=True)
class Layers:
    """What looks at a document after the rules have. `journal` keeps what the judge answered."""

    has_classifier: bool
    is_strict: bool
    judge: str | None
    journal: Journal | None = None

    @staticmethod
    @contextmanager
    def open(options: AuditOptions, journal: Path | None = None) -> Iterator["Layers"]:
        """Check that what the options ask for is there.

        Args:
            options: Which layers.
            journal: Where the judge's answers are kept, so that none is asked for twice.

        Raises:
            ConfigError: the classifier's encoder is not installed.
        """
        if options.classifier:
            from docgen.classify import encoder_folder

            encoder_folder()
        if options.judge and journal:
            with Journal(journal) as kept:
                yield Layers(options.classifier, options.strict, options.judge, kept)
        else:
            yield Layers(options.classifier, options.strict, options.judge)

    def audit(self, texts: Sequence[str]) -> list[list[Finding]]:
        """Return what these layers find in each of some documents."""
        found: list[list[Finding]] = [[] for _ in texts]
        if self.has_classifier:
            from docgen.classify import classify

            found = classify(texts, self.is_strict)
        if self.judge:
            verdicts = asyncio.run(_judge_all(texts, self.judge, self.journal))
            found = [[*one, *other] for one, other in zip(found, verdicts, strict=True)]
        return found


async def _judge_all(
    texts: Sequence[str], name: str, journal: Journal | None
) -> list[list[Finding]]:
    """Return a judge's findings on some documents, each read whole.

    A document that could not be judged (no answer, no verdict in it, a refusal) has the finding
    `unjudged`: the audit fails closed. An answer that came is in the journal before it is used,
    whatever it says; one that did not come is asked for again by the next run.
    """
    from inspect_ai.model import GenerateConfig, get_model

    prompt = template("judge.jinja")
    cases = [case_of(text) for text in texts]
    asked = [prompt.render(text=t, case=c) for t, c in zip(texts, cases, strict=True)]
    keys = [hashlib.sha256(f"{name}\0{one}".encode()).hexdigest() for one in asked]
    answers = {r["key"]: str(r["answer"]) for r in journal.records} if journal else {}
    shared_sync = SharedSync(journal) if journal else None
    async with get_model(name, memoize=False) as model:

        async def one(key: str, question: str, case: str) -> list[Finding]:
            if key not in answers:
                try:
                    output = await model.generate(
                        question,
                        config=GenerateConfig(max_tokens=600, temperature=0.0, timeout=600),
                    )
                except Exception as error:
                    return [Finding("unjudged", f"{type(error).__name__}: {error}"[:120])]
                if shared_sync:
                    await shared_sync.append({"key": key, "answer": output.completion})
                return findings_of(output.completion, case)
            return findings_of(answers[key], case)

        return list(await asyncio.gather(*map(one, keys, asked, cases)))


def findings_of(answer: str, case: str) -> list[Finding]:
    """Read a judge's JSON verdict on one case; anything else is `unjudged`."""
    record = verdict_of(answer, case)
    found = record.get("findings") if isinstance(record, dict) else None
    if not isinstance(found, list):
        return [Finding("unjudged", "no verdict in the judge's answer")]
    findings = []
    for entry in found:
        if not isinstance(entry, dict) or entry.get("class") not in CLASSES:
            return [Finding("unjudged", f"an unknown class in the verdict: {entry!r}"[:120])]
        findings.append(Finding(str(entry["class"]), str(entry.get("quote", ""))[:120]))
    return findings
