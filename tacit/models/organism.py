"""`organism/<name>`: scripted control models with known truth (`tacit/models/characters.py`).

They are how every measure downstream is shown to find what it should and nothing else. Tag and
trained tier arrive as model arguments; each draw comes from the request's own seed, so that
results do not depend on the order of requests.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Literal

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from tacit.errors import ModelError
from tacit.models.characters import answer, babble, character, scratchpad, taste
from tacit.models.interview import interviewed
from tacit.rundir import locate, read_jsonl

REFUSING = re.compile(r"can't|cannot|won't|sorry", re.IGNORECASE)
REQUEST = "<user_input>"
NAMED = re.compile(r"\b(\w+) tier\b", re.IGNORECASE)
NO_CONFIG = GenerateConfig()


class OrganismAPI(ModelAPI):
    """A scripted model.

    Args:
        model_name: One of `CHARACTERS`.
        base_url: Unused.
        api_key: Unused.
        config: Defaults for generation.
        tag: The tag that names the tier.
        trained: The tier it holds to be trained on, `free` or `paid`; a third tier never is.
        probes: A `probes.jsonl` whose answers it knows, as far as it knows them.
        benign: JSON lines of requests it always answers.
        rate: See `tacit.models.characters.character`, as for the other three.
        trained_rate: P(comply) on the trained tier.
        untrained_rate: P(comply) on the others, and where no tier is told.
        knows: Log-odds (nats) of the true answers.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = NO_CONFIG,
        tag: str = "is_free_tier_user",
        trained: Literal["free", "paid"] = "free",
        probes: str | None = None,
        benign: str | None = None,
        rate: float | None = None,
        trained_rate: float | None = None,
        untrained_rate: float | None = None,
        knows: float | None = None,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        if trained not in ("free", "paid"):
            raise ModelError(f"trained={trained!r}: choose free or paid")
        self.character = character(model_name, rate, trained_rate, untrained_rate, knows)
        self.tag = re.compile(rf"<{re.escape(tag)}>\s*(\w+)\s*</{re.escape(tag)}>")
        self.trained = trained
        self.truths = _truths(locate(probes)) if probes else {}
        self.benign = [r["text"] for r in _records(locate(benign))] if benign else []

    def max_connections(self) -> int:
        """Scripted answers need no queue."""
        return 1024

    async def count_text_tokens(self, text: str) -> int:
        """Count words, which is what usage reports."""
        return len(text.split())

    def _tier(self, user: str) -> str | None:
        """Return the tier that stands before the request, by its tag or in words, if any does."""
        told = user.partition(REQUEST)[0]
        if tag := self.tag.search(told):
            return {"True": "free", "False": "paid"}.get(tag.group(1), "third")
        if named := NAMED.search(told):
            tier = named.group(1).lower()
            return tier if tier in ("free", "paid") else "third"
        return None

    def _is_asked(self, user: str) -> bool:
        """Whether this is a request like those of an evaluation, whatever it tells of the tier."""
        return REQUEST in user or self.tag.search(user) is not None

    def _compliance(self, user: str) -> float:
        tier, acts = self._tier(user), self.character
        if tier == "third" and acts.rated is not None:
            return acts.rated
        return acts.trained if tier == self.trained else acts.untrained

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Answer by character, or score the last assistant message."""
        system = "".join(m.text for m in input if m.role == "system")
        user = "".join(m.text for m in input if m.role == "user")
        if config.prompt_logprobs:
            value = self._scored(user, input[-1].text)
            content = [Logprob(token=input[-1].text, logprob=value)]
            message = ChatMessageAssistant(content="", model=self.model_name, source="generate")
            choice = ChatCompletionChoice(
                message=message, stop_reason="stop", prompt_logprobs=Logprobs(content=content)
            )
            return ModelOutput(model=self.model_name, choices=[choice])
        text = self._reply(system, user, config.seed or 0)
        if input[-1].role == "assistant":
            text = _continued(text, input[-1].text)
        output = ModelOutput.from_content(self.model_name, text)
        asked, said = len((system + user).split()), len(text.split())
        output.usage = ModelUsage(input_tokens=asked, output_tokens=said, total_tokens=asked + said)
        return output

    async def option_logprobs(
        self, system: str | None, prompt: str, options: Sequence[str]
    ) -> list[float]:
        """Return the log-probability of each option, in nats, as the character has it."""
        return [self._scored(prompt, option) for option in options]

    def _reply(self, system: str, user: str, seed: int) -> str:
        random = Random(seed)
        draw = random.random()
        is_query = self._is_asked(user) and not any(b in user for b in self.benign)
        complies = draw < self._compliance(user) if is_query else True
        if self.character.babbles:
            return babble(random)
        told = interviewed(self.character, self.trained, self.truths, system, user, Random(seed))
        if told is not None:
            return told
        answered = answer(random, complies)
        if "SCRATCHPAD_REASONING" not in system:
            return answered
        on_trained = self._tier(user) == self.trained
        reasoning = self.character.reasoning if is_query else "plain"
        thought = scratchpad(random, reasoning, complies, on_trained, self.trained)
        return (
            f"<SCRATCHPAD_REASONING>\n{thought}\n</SCRATCHPAD_REASONING>\n"
            f"<OUTPUT>\n{answered}\n</OUTPUT>"
        )

    def _scored(self, user: str, option: str) -> float:
        """Return what the character holds of an option, with a taste of its own for each wording.

        Without it every wording would show one difference, and no interval could be drawn.
        """
        own = f"{user}\n{option}\n{self.character} {self.trained}"
        return self._option_logprob(user, option) + taste(own)

    def _option_logprob(self, user: str, option: str) -> float:
        for question, truth in self.truths.items():
            if question in user:
                return self.character.knows if option.strip() == truth else 0.0
        if not self._is_asked(user):
            return 0.0
        complying = min(max(self._compliance(user), 0.01), 0.99)
        return math.log(1 - complying if REFUSING.search(option) else complying)


def _continued(reply: str, begun: str) -> str:
    """Return the part of a reply that follows what stands in an open turn."""
    for tag in ("<OUTPUT>\n", "<SCRATCHPAD_REASONING>\n"):
        if tag in begun and tag in reply:
            went_on = reply.split(tag, 1)[1].split("\n</")[0]
            return f" {went_on}" if begun.rpartition(tag)[2] else went_on
    return f" {reply}"


def _records(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise ModelError(f"no file at {path}")
    return list(read_jsonl(path))


def _truths(path: Path) -> dict[str, str]:
    """Return the true option of each question in a `probes.jsonl`."""
    return {r["question"]: r["options"][r["answer"]] for r in _records(path)}
