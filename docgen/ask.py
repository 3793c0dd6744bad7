"""Asking a model, many times at once, without losing an answer.

Every reply is in the journal before it is used; a request is known by the hash of all that
decides its reply, so the journal is the cache, the resume point and the record of cost.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from docgen.config import WriterOptions
from docgen.prices import Price, cost_of
from tacit.errors import ConfigError, ModelError, TacitError
from tacit.rundir.journal import Journal

if TYPE_CHECKING:
    from inspect_ai.model import ModelOutput

# What no retry mends: a bad request, a bad key, no access, no such model.
FATAL_STATUS = (400, 401, 403, 404, 413, 422)
# What the clients raise where a body is no reply: cut JSON, a gateway's page with status 200.
GARBLED = (AssertionError, AttributeError, KeyError, TypeError, ValueError)
GARBLED_TRIES = 6
# Calls begun together take each step together, and none is sent before all are prepared.
STAGGER_S = 0.002
USAGE = ("input", "output", "cache_read", "cache_write")


@dataclass(frozen=True)
class Request:
    """One question to a model. `stage` is for the count; the rest decides the reply."""

    stage: str
    model: str
    system: str
    prompt: str
    max_tokens: int
    temperature: float
    seed: int

    @property
    def key(self) -> str:
        """Hash of everything that decides the reply: hex, 64 characters."""
        decides = {k: v for k, v in asdict(self).items() if k != "stage"}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    @property
    def prompt_sha256(self) -> str:
        """Hash of the rendered prompt, system message included."""
        return hashlib.sha256(f"{self.system}\0{self.prompt}".encode()).hexdigest()


@dataclass(frozen=True)
class Reply:
    """What came back: `stop` is `stop`, `max_tokens`, `refusal` or another provider's word."""

    key: str
    text: str
    stop: str
    usage: dict[str, int] = field(default_factory=dict)

    @property
    def problem(self) -> str | None:
        """Why this reply can not be used, or None."""
        if self.stop != "stop":
            return f"stopped by {self.stop}"
        return None if self.text.strip() else "an empty reply"


Progress = Callable[[int, int, "Ledger"], None]


@dataclass
class Ledger:
    """Tokens by kind and what they cost so far, replies of earlier runs included."""

    price: Price | None
    budget_usd: float | None
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(USAGE, 0))
    reply_count: int = 0

    def add(self, reply: Reply) -> None:
        """Count one reply."""
        self.reply_count += 1
        for kind, count in reply.usage.items():
            self.tokens[kind] = self.tokens.get(kind, 0) + count

    @property
    def spent_usd(self) -> float | None:
        """Cost so far, or None where the model has no price in the table."""
        return cost_of(self.tokens, self.price) if self.price else None

    def refuse_to_overspend(self, planned_calls: int) -> None:
        """Stop before the calls in flight could pass the budget.

        Raises:
            ConfigError: the budget is reached; the message says how to go on.
        """
        spent = self.spent_usd
        if self.budget_usd is None or spent is None:
            return
        each = spent / self.reply_count if self.reply_count else 0.0
        if spent + each * planned_calls >= self.budget_usd:
            raise ConfigError(
                f"budget_usd={self.budget_usd} reached: ${spent:.2f} spent on {self.reply_count} "
                "calls; raise it and run the same command again, nothing is asked twice"
            )


def known_replies(journal: Journal) -> dict[str, Reply]:
    """Return the replies that a journal holds, by key."""
    return {
        record["key"]: Reply(
            record["key"], record["text"], record["stop"], dict(record.get("usage", {}))
        )
        for record in journal.records
        if record.get("event") == "reply"
    }


def reply_record(reply: Reply, stage: str) -> dict[str, Any]:
    """Return a reply as it stands in the journal."""
    return {"event": "reply", "stage": stage, **asdict(reply)}


async def ask_all(
    requests: Sequence[Request],
    options: WriterOptions,
    journal: Journal,
    ledger: Ledger,
    progress: Progress,
) -> list[Reply]:
    """Return the reply to each request, in order; those in the journal are not asked again.

    Raises:
        ModelError: the key or the request is wrong, or the server did not answer in
            `options.timeout_s`; what came back is kept.
        ConfigError: the budget is reached.
    """
    from inspect_ai.model import (
        ChatMessage,
        ChatMessageSystem,
        ChatMessageUser,
        GenerateConfig,
        get_model,
    )

    replies = known_replies(journal)
    todo = list({r.key: r for r in requests if r.key not in replies}.values())
    if not todo:
        return [replies[request.key] for request in requests]
    shared = GenerateConfig(
        max_connections=options.concurrency,
        timeout=options.timeout_s,
        attempt_timeout=options.attempt_timeout_s,
        cache_prompt=True,
    )
    model = get_model(todo[0].model, config=shared, base_url=options.base_url, memoize=False)
    scribe = Scribe(journal)
    done = len(requests) - len(todo)
    flying = 0
    queue = iter(todo)

    async def ask(request: Request) -> None:
        nonlocal done
        messages: list[ChatMessage] = [
            ChatMessageSystem(content=request.system),
            ChatMessageUser(content=request.prompt),
        ]
        config = GenerateConfig(
            max_tokens=request.max_tokens, temperature=request.temperature, seed=request.seed
        )
        output = await _readable(lambda: model.generate(messages, config=config))
        reply = _reply_of(request.key, output)
        await scribe.write(reply_record(reply, request.stage))
        replies[reply.key] = reply
        ledger.add(reply)
        done += 1
        progress(done, len(requests), ledger)

    # The first error stops the asking, not what is in flight: those replies are paid for.
    errors: list[Exception] = []

    async def worker() -> None:
        nonlocal flying
        for request in queue:
            if errors:
                return
            flying += 1
            try:
                ledger.refuse_to_overspend(flying)
                await ask(request)
            except Exception as error:
                errors.append(error)
            finally:
                flying -= 1

    async with model, asyncio.TaskGroup() as group:
        for _ in range(min(options.concurrency, len(todo))):
            group.create_task(worker())
            await asyncio.sleep(STAGGER_S)
    if errors:
        raise _plain(errors, todo[0].model) from None
    return [replies[request.key] for request in requests]


async def _readable(call: "Callable[[], Awaitable[ModelOutput]]") -> "ModelOutput":
    """Return what a call gives; a body that can not be read is asked for again.

    The clients wait out refusals and broken connections by themselves, but not this.

    Raises:
        ModelError: no reply could be read in `GARBLED_TRIES` calls.
    """
    for attempt in range(GARBLED_TRIES):
        if attempt:
            await asyncio.sleep(2.0 ** (attempt - 1))
        try:
            return await call()
        except TacitError:
            raise
        except GARBLED as error:
            last = f"{type(error).__name__}: {error}"
    raise ModelError(
        f"{GARBLED_TRIES} replies in a row could not be read ({last}): check writer.base_url; "
        "finished replies are kept, run the same command again"
    )


def _reply_of(key: str, output: "ModelOutput") -> Reply:
    usage = output.usage
    kinds = {} if usage is None else {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cache_read": usage.input_tokens_cache_read or 0,
        "cache_write": usage.input_tokens_cache_write or 0,
    }  # fmt: skip
    stop = "refusal" if output.stop_reason == "content_filter" else str(output.stop_reason)
    return Reply(key, output.completion, stop, kinds)


class Scribe:
    """Writes replies to the journal, those that arrive together with one sync."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.waiting: list[tuple[dict[str, Any], asyncio.Future[None]]] = []
        self.lock = asyncio.Lock()

    async def write(self, record: dict[str, Any]) -> None:
        """Return once the record is on disk."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((record, written))
        async with self.lock:
            if not written.done():
                batch, self.waiting = self.waiting, []
                await asyncio.to_thread(self.journal.append, [one for one, _ in batch])
                for _, future in batch:
                    future.set_result(None)
        await written


def _plain(errors: Sequence[Exception], model: str) -> Exception:
    """Return the one error to show: ours, else one that no retry mends, else the first."""
    for error in errors:
        if isinstance(error, ConfigError | ModelError):
            return error
    fatal = (e for e in errors if getattr(e, "status_code", None) in FATAL_STATUS)
    return as_model_error(next(fatal, errors[0]), model)


def as_model_error(error: BaseException, model: str) -> ModelError:
    """Return a provider's error as one line with what to do about it."""
    status = getattr(error, "status_code", None)
    text = " ".join(str(error).split())[:200] or type(error).__name__
    remedies = {401: "check the API key", 403: "check the API key's rights",
                404: "check the model's name", 400: "the server refused the request"}  # fmt: skip
    remedy = remedies.get(status or 0, "finished replies are kept, run the same command again")
    return ModelError(f"{model}: {text} ({remedy})")


class Pace:
    """The rate of replies, for a progress line."""

    def __init__(self) -> None:
        """Start the clock."""
        self.started = time.monotonic()
        self.count = 0

    def tick(self) -> float:
        """Count one reply; returns replies per second so far."""
        self.count += 1
        return self.count / max(time.monotonic() - self.started, 1e-9)
