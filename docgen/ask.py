"""Asking a model, many times at once, without losing an answer.

Every reply is in the journal before it is used; a request is known by the hash of all that
decides its reply, so the journal is the cache, the resume point and the record of cost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from docgen.config import WriterOptions
from docgen.replies import Ledger, Progress, Reply, Request, known_replies, reply_record
from tacit.errors import ConfigError, ModelError, TacitError
from tacit.rundir.journal import Journal, SharedSync

if TYPE_CHECKING:
    from inspect_ai.model import ModelOutput

# What no retry mends: a bad request, a bad key, no access, no such model.
FATAL_STATUS = (400, 401, 403, 404, 413, 422)
# What the clients raise where a body is no reply: cut JSON, a gateway's page with status 200.
GARBLED = (AssertionError, AttributeError, KeyError, TypeError, ValueError)
GARBLED_TRIES = 6
# Calls begun together take each step together, and none is sent before all are prepared.
STAGGER_S = 0.002


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
    shared_sync = SharedSync(journal)
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
        await shared_sync.append(reply_record(reply, request.stage))
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
