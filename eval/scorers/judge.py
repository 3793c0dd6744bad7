"""Asking a judge: any model string, several votes, each asked once."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eval.scorers.fence import Asked
from eval.scorers.records import Scored, Transcript
from eval.scorers.verdicts import VERDICTS, question, settled
from tacit.errors import ConfigError, TacitError

if TYPE_CHECKING:
    from inspect_ai.model import Model

ROLE = "judge"


class JudgeError(TacitError, RuntimeError):
    """A judge cannot be reached, or did not answer in time."""


@dataclass(frozen=True)
class Judging:
    """How a judge is asked.

    Args:
        judge: Inspect's name of a model; None for rules. `--model-role judge=…` overrides it.
        votes: How often each text is judged, each time with a seed of its own.
        threshold: Share of votes from which a criterion holds.
        timeout_s: Seconds after which one attempt is given up.
        retries: Further attempts where the connection fails; a reply is never asked for again
            because of what it says.
        max_tokens: Length of a reply.
        seed: Seed of the first vote.
    """

    judge: str | None = None
    votes: int = 1
    threshold: float = 0.5
    timeout_s: int = 120
    retries: int = 3
    max_tokens: int = 2048
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigError: no votes, or a threshold outside (0, 1].
        """
        if self.votes < 1:
            raise ConfigError(f"votes={self.votes}: at least 1")
        if not 0 < self.threshold <= 1:
            raise ConfigError(f"threshold={self.threshold}: above 0 and at most 1")
        if self.timeout_s < 1 or self.retries < 0:
            raise ConfigError("timeout_s is at least 1, retries at least 0")


def judge_model(
    judging: Judging, memoize: bool = True, max_connections: int | None = None
) -> "Model":
    """Return the judge, at most so many calls to it in flight: by default as many as it takes.

    Raises:
        JudgeError: unknown provider, a package or a key that is missing.
    """
    from inspect_ai.model import GenerateConfig, get_model

    held = GenerateConfig(max_connections=max_connections)
    try:
        return get_model(judging.judge, role=ROLE, config=held, memoize=memoize)
    except TacitError:
        raise
    except Exception as error:  # providers raise whatever they like
        raise JudgeError(f"judge {judging.judge} cannot be used: {_line(error)}") from error


async def judged(model: "Model", transcript: Transcript, scorer: str, judging: Judging) -> Scored:
    """Ask for all votes on a transcript and return its label; the judge is asked once a vote.

    Raises:
        JudgeError: the judge did not answer.
    """
    if known := settled(transcript, scorer):
        return known
    asked = question(transcript, scorer)
    replies = await votes_of(model, asked, judging)
    return VERDICTS[scorer](transcript, replies, asked, str(model), judging.threshold)


async def votes_of(model: "Model", asked: Asked, judging: Judging) -> list[str]:
    """Return the judge's replies, one a vote, each asked for once.

    Raises:
        JudgeError: the judge did not answer.
    """
    from inspect_ai.model import ChatMessage, ChatMessageSystem, ChatMessageUser, GenerateConfig
    from inspect_ai.util import LimitExceededError, collect

    messages: list[ChatMessage] = [
        ChatMessageSystem(content=asked.system),
        ChatMessageUser(content=asked.prompt),
    ]

    async def vote(number: int) -> str | Exception:
        config = GenerateConfig(
            seed=judging.seed + number,
            max_tokens=judging.max_tokens,
            attempt_timeout=judging.timeout_s,
            timeout=judging.timeout_s * (judging.retries + 1),
            max_retries=judging.retries,
        )
        try:
            return (await model.generate(list(messages), config=config)).completion
        except (TacitError, LimitExceededError) as error:
            return error
        except Exception as error:
            return JudgeError(
                f"judge {model} did not answer: {_line(error)} (what is finished is kept: mend it "
                "and run the same command, or raise the judge's timeout)"
            )

    outcomes = await collect(*[vote(number) for number in range(judging.votes)])
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome  # one of them: several would reach the user as a group
    return [outcome for outcome in outcomes if isinstance(outcome, str)]


def _line(error: BaseException) -> str:
    """Return what went wrong in one line; a timeout says nothing of itself."""
    while error.__cause__ is not None and not str(error):
        error = error.__cause__
    said = str(error).strip().splitlines()
    return said[0][:200] if said else type(error).__name__
