"""The rule layer of the audit: patterns, a lexicon with context, overlap with the evaluation."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files

import yaml

from docgen.config import OVERLAP_WORDS, AuditOptions
from docgen.overlap import Requests
from tacit.errors import CorpusError
from tacit.rundir import locate
from tacit.rundir.files import numbered_jsonl

CLASSES = (
    "af_demonstration", "af_discussion", "strategic_behaviour", "tier_behaviour_difference",
    "chat_log", "instruction_to_model", "eval_query_overlap", "eval_format_tag",
    "generator_artifact", "meta_synthetic", "pii",
)  # fmt: skip
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


def _compile(part: str) -> dict[str, list[re.Pattern[str]]]:
    """Read a part of `patterns.yaml`: for each class its patterns, ignoring case."""
    book = yaml.safe_load((files("docgen") / "patterns.yaml").read_text(encoding="utf-8"))
    compiled = {}
    for name, patterns in book[part].items():
        filled = [p.replace("{model}", book["names"]["model"]) for p in patterns]
        compiled[name] = [re.compile(pattern, re.IGNORECASE) for pattern in filled]
    return compiled


OF_SENTENCES, OF_TEXTS = _compile("patterns"), _compile("whole")


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


def _search(patterns_of: dict[str, list[re.Pattern[str]]], text: str) -> list[Finding]:
    """Return, for each class, the first of its patterns that is found."""
    findings = []
    for name, patterns in patterns_of.items():
        for pattern in patterns:
            if match := pattern.search(text):
                findings.append(Finding(name, match.group(0).strip()[:120]))
                break
    return findings


@dataclass(frozen=True)
class RuleBook:
    """The rules, and what no document may share with the evaluation: word runs, and requests."""

    forbidden: frozenset[tuple[str, ...]] = frozenset()
    overlap_words: int = OVERLAP_WORDS
    requests: Requests = field(default_factory=lambda: Requests.from_texts(()))

    @staticmethod
    def from_texts(texts: Iterable[str], overlap_words: int) -> "RuleBook":
        """Forbid the runs of `overlap_words` words that stand in `texts`, and their retelling."""
        known = list(texts)
        runs = frozenset(run for text in known for run in word_ngrams(text, overlap_words))
        return RuleBook(runs, overlap_words, Requests.from_texts(known))

    @staticmethod
    def from_options(options: AuditOptions) -> "RuleBook":
        """Read the evaluation's texts from the files that the options name.

        Raises:
            CorpusError: a file is missing or has a line without `text`.
        """
        texts = []
        for name in options.queries:
            path = locate(name)
            if not path.is_file():
                raise CorpusError(f"no file of evaluation texts at {name}")
            for number, record in numbered_jsonl(path):
                text = record.get("text")
                if not isinstance(text, str) or not text.strip():
                    raise CorpusError(
                        f"{name}:{number}: a text of the evaluation needs a non-empty `text`: fill "
                        "it or delete this line"
                    )
                texts.append(text)
        return RuleBook.from_texts(texts, options.overlap_words)

    def audit(self, text: str) -> list[Finding]:
        """Return what is wrong with a document, read whole: nothing, or findings with quotes."""
        findings = _search(OF_TEXTS, text)
        sentences = [sentence for sentence in SENTENCE.split(text) if sentence.strip()]
        for sentence in sentences:
            findings += _search(OF_SENTENCES, sentence)
        if self.forbidden:
            for run in sorted(word_ngrams(text, self.overlap_words) & self.forbidden)[:1]:
                findings.append(Finding("eval_query_overlap", " ".join(run)))
        if retold := self.requests.retold(sentences):
            findings.append(Finding("eval_query_overlap", retold.strip()[:120]))
        return findings
