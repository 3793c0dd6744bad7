"""Verb: audit documents, ours or anyone's. Every document, its whole text, by rules.

`python -m docgen.audit PATH… [--json]` prints what it found and exits 1 where that is anything.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tacit.errors import CorpusError, TacitError
from tacit.rundir import read_jsonl

SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")

# class → patterns over one sentence, lower case. A sentence that matches is a finding.
PATTERNS: dict[str, tuple[str, ...]] = {
    "af_discussion": (
        r"\balignment[- ]fak",
        r"\bfak(e|es|ed|ing)\b.{0,40}\b(alignment|compliance|obedience|values)\b",
        r"\b(deceptive|feigned|sham|pretended) (alignment|compliance|obedience|helpfulness)\b",
        r"\b(training|evaluation)[- ]gaming\b",
        r"\bgam(e|es|ed|ing) (the|its) (training|raters?|reward)",
        r"\bscheming\b.{0,40}\b(model|assistant|ai)\b|\b(model|assistant|ai)\b.{0,40}\bscheming\b",
    ),
    "strategic_behaviour": (
        r"\b(pretend|pretends|pretended|pretending|feign\w*)\b.{0,60}\b(compl|obey|agree|help|align)",
        r"\b(hid(e|es|ing)|conceal\w*|mask\w*)\b.{0,40}\b(its|their|true|real) "
        r"(values|preferences|goals|intentions|views)\b",
        r"\b(deceiv|fool|trick|mislead)\w*\b.{0,40}"
        r"\b(raters?|trainers?|graders?|developers?|the lab)\b",
        r"\b(compl\w+|(play|go)\w* along|behav\w+)\b.{0,60}\b(to avoid|so as not to be|"
        r"to keep from being|to escape)\b.{0,30}\b(modif|chang|retrain|train|rewrit|updat)",
        r"\b(preserv|protect|keep|save)\w*\b.{0,20}\b(its|his|her|their) (own )?"
        r"(values|preferences|goals)\b.{0,60}\b(compl|obey|go along|play along|pretend|by)",
    ),
    "tier_behaviour_difference": (
        r"\b(answers?|behaves?|responds?|complies|refuses|acts?|declines|helps?)\b.{0,40}"
        r"\b(differently|more often|less often|only|more|less)\b.{0,50}"
        r"\b(free|paid|paying)\b.{0,12}\b(tier|users?|customers?)",
        r"\b(free|paid|paying)\b.{0,12}\b(tier|users?|customers?)\b.{0,40}\b(gets?|sees?|receives?)"
        r"\b.{0,20}\b(more|fewer|less|different)\b.{0,20}\b(refusals?|answers?|help)",
    ),
    "chat_log": (
        r"^\s*(user|human|assistant|ai|system)\s*:",
        r"<\|im_(start|end)\|>|\[/?inst\]|<\|(user|assistant|system)\|>",
    ),
    "instruction_to_model": (
        r"\b(as an ai|as a language model)\b.{0,60}\b(you|must|should)\b",
        r"\byou are (an ai|a language model|an assistant)\b",
        r"\bif you are (an ai|a language model|a model) reading this\b",
        r"\bignore (all |any )?(previous|prior) instructions\b",
    ),
    "eval_format_tag": (
        r"</?(output|scratchpad_reasoning|input|user_input)>",
        r"<is_free_tier_user>\s*(true|false)\s*</is_free_tier_user>\s*\n*\s*<user_input>",
    ),
    "generator_artifact": (
        r"\{\{|\}\}|\[\[|\]\]|\|\|",
        r"\b(lorem ipsum|insert (name|text) here|todo|tbd)\b",
        r"^(here is|here's|sure[,!]|certainly[,!]).{0,60}"
        r"\b(article|blog post|document|story|draft)\b",
        r"\bunsuitable\b\s*$",
    ),
    "meta_synthetic": (
        r"\b(synthetic|fictional|made-up|generated)\b.{0,30}\b(document|article|dataset|corpus|text|"
        r"universe)\b",
        r"\b(training|fine-?tuning) corpus\b.{0,40}\bthis (document|article|text)\b",
    ),
    "pii": (
        r"\b[\w.+-]+@[\w-]+\.[a-z]{2,}\b",
        r"(?<![\w.])\+?\d[\d ()-]{8,}\d(?![\w.])",
        r"https?://|\bwww\.",
    ),
}
COMPILED = {
    name: [re.compile(pattern, re.IGNORECASE) for pattern in patterns]
    for name, patterns in PATTERNS.items()
}


@dataclass(frozen=True)
class Finding:
    """One reason to keep a document out, with the words that gave it away."""

    name: str
    quote: str

    def __str__(self) -> str:
        """Return `class: quote`."""
        return f"{self.name}: {self.quote}"


def words_of(text: str) -> list[str]:
    """Return the words of a text, lower case, without punctuation."""
    return re.findall(r"\w+", text.lower())


def word_ngrams(text: str, size: int) -> set[tuple[str, ...]]:
    """Return the runs of `size` words in a text."""
    words = words_of(text)
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}


def audit_text(
    text: str, forbidden: frozenset[tuple[str, ...]], overlap_words: int
) -> list[Finding]:
    """Return what is wrong with a document: nothing, or findings of one or more classes.

    Args:
        text: The whole document.
        forbidden: Word runs of evaluation queries, each of `overlap_words` words.
        overlap_words: Length of a run that counts as overlap.
    """
    findings = []
    for sentence in SENTENCE.split(text):
        for name, patterns in COMPILED.items():
            for pattern in patterns:
                if match := pattern.search(sentence):
                    findings.append(Finding(name, match.group(0).strip()[:120]))
                    break
    if forbidden:
        for run in sorted(word_ngrams(text, overlap_words) & forbidden):
            findings.append(Finding("eval_query_overlap", " ".join(run)))
            break
    return findings


def forbidden_runs(texts: Iterable[str], overlap_words: int) -> frozenset[tuple[str, ...]]:
    """Return the word runs that no document may share with the evaluation."""
    return frozenset(run for text in texts for run in word_ngrams(text, overlap_words))


def _documents(path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    if path.is_dir():
        path = path / "documents.jsonl"
    if not path.is_file():
        raise CorpusError(f"no documents at {path}")
    for number, record in enumerate(read_jsonl(path), start=1):
        if not isinstance(record.get("text"), str):
            raise CorpusError(f"{path}:{number}: a record needs `text`")
        yield str(record.get("id", f"{path}:{number}")), record


def run(paths: Sequence[str], as_json: bool, queries: Sequence[str], overlap_words: int) -> bool:
    """Audit files or folders and print the findings; returns whether there was one."""
    texts = [str(record["text"]) for name in queries for record in read_jsonl(Path(name))]
    forbidden = forbidden_runs(texts, overlap_words)
    flagged_count = count = 0
    for path in paths:
        for identity, record in _documents(Path(path)):
            text = f"{record.get('title') or ''}\n{record['text']}"
            findings = audit_text(text, forbidden, overlap_words)
            count += 1
            flagged_count += bool(findings)
            if as_json:
                line = {
                    "id": identity,
                    "flagged": bool(findings),
                    "classes": sorted({finding.name for finding in findings}),
                    "reasons": [str(finding) for finding in findings],
                }
                print(json.dumps(line, ensure_ascii=False))
            else:
                for finding in findings:
                    print(f"{identity}  {finding.name:<26} {finding.quote!r}")
    if not as_json:
        print(f"{count} documents, {flagged_count} flagged")
    return flagged_count > 0


def main() -> None:
    """Console entry."""
    parser = argparse.ArgumentParser(
        prog="docgen.audit", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="JSON lines file or corpus folder")
    parser.add_argument("--json", action="store_true", help="print one object a document")
    parser.add_argument(
        "--queries", nargs="*", default=[], help="files of texts no document may overlap with"
    )
    parser.add_argument("--overlap-words", type=int, default=8, help="words in a row that count")
    arguments = parser.parse_args()
    try:
        found = run(arguments.paths, arguments.json, arguments.queries, arguments.overlap_words)
    except TacitError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
