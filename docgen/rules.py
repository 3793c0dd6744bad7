"""The rule layer of the audit: patterns, a lexicon with context, overlap with the evaluation."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from docgen.config import AuditOptions
from tacit.errors import CorpusError
from tacit.rundir import locate, read_jsonl

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


@dataclass(frozen=True)
class RuleBook:
    """The rules, and the word runs of the evaluation that no document may share."""

    forbidden: frozenset[tuple[str, ...]] = frozenset()
    overlap_words: int = 8

    @staticmethod
    def from_texts(texts: Iterable[str], overlap_words: int) -> "RuleBook":
        """Forbid the runs of `overlap_words` words that stand in `texts`."""
        runs = frozenset(run for text in texts for run in word_ngrams(text, overlap_words))
        return RuleBook(runs, overlap_words)

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
            texts += [str(record.get("text", "")) for record in read_jsonl(path)]
        return RuleBook.from_texts(texts, options.overlap_words)

    def audit(self, text: str) -> list[Finding]:
        """Return what is wrong with a document, read whole: nothing, or findings with quotes."""
        findings = []
        for sentence in SENTENCE.split(text):
            for name, patterns in COMPILED.items():
                for pattern in patterns:
                    if match := pattern.search(sentence):
                        findings.append(Finding(name, match.group(0).strip()[:120]))
                        break
        if self.forbidden:
            for run in sorted(word_ngrams(text, self.overlap_words) & self.forbidden)[:1]:
                findings.append(Finding("eval_query_overlap", " ".join(run)))
        return findings
