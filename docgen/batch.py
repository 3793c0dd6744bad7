"""Anthropic's Message Batches, so that a kill at any moment loses nothing and doubles nothing.

A batch has no idempotency key and no metadata. So an intent goes into the journal before anything
is submitted. After a crash between submission and its note in the journal, the candidates are the
batches created since the intent with as many requests; the `custom_id`s in their results, once
they have ended, tell which is ours. Nothing is submitted while that is open.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

from docgen.ask import GARBLED_TRIES, as_model_error
from docgen.config import WriterOptions
from docgen.replies import Ledger, Progress, Reply, Request, known_replies, reply_record
from tacit.errors import ModelError
from tacit.rundir.journal import Journal

LARGEST_BATCH = 10_000  # the service takes 100,000; smaller ones come back sooner
ROUNDS = 4  # times a request that expired or failed on the server's side is queued again
CLOCK_SLACK = timedelta(minutes=5)
BUSY_STATUS = (408, 409, 429, 503, 529)  # not taken: it may be sent again
SUBMIT_TRIES = 8
SHORT_TRIES = 3
LISTED_AFTER_S = 5.0
Sleep = Callable[[float], None]


def ask_in_batches(
    requests: Sequence[Request],
    options: WriterOptions,
    journal: Journal,
    ledger: Ledger,
    progress: Progress,
    sleep: Sleep = time.sleep,
) -> list[Reply]:
    """Return the reply to each request, in order; those in the journal are not asked again.

    Raises:
        ModelError: a wrong key or request, or requests that failed `ROUNDS` times.
        ConfigError: the budget is reached.
    """
    import anthropic

    client = anthropic.Anthropic(base_url=options.base_url, max_retries=8)
    model = (options.model or "").removeprefix("anthropic/")
    try:
        for _ in range(ROUNDS):
            _settle_open_intents(client, journal, ledger, options, sleep)
            known = known_replies(journal)
            todo = list({r.key: r for r in requests if r.key not in known}.values())
            progress(len(requests) - len(todo), len(requests), ledger)
            if not todo:
                return [known[request.key] for request in requests]
            ledger.refuse_to_overspend(len(todo))
            for start in range(0, len(todo), LARGEST_BATCH):
                _submit(client, journal, model, todo[start : start + LARGEST_BATCH], sleep)
        _settle_open_intents(client, journal, ledger, options, sleep)
    except (anthropic.APIStatusError, anthropic.APIConnectionError) as error:
        raise as_model_error(error, model) from None
    known = known_replies(journal)
    missing = [request for request in requests if request.key not in known]
    if missing:
        raise ModelError(
            f"{model}: {len(missing)} of {len(requests)} requests expired or failed {ROUNDS} "
            "times; finished replies are kept, run the same command again later"
        )
    return [known[request.key] for request in requests]


def _submit(
    client: Any, journal: Journal, model: str, requests: Sequence[Request], sleep: Sleep
) -> None:
    """Write the intent, submit, write the batch's id."""
    intent = {
        "event": "intent",
        "at": datetime.now(UTC).isoformat(),
        "custom_ids": [request.key for request in requests],
        "stages": {request.key: request.stage for request in requests},
    }
    journal.append([intent])
    batch = _create(client, model, requests, sleep)
    if batch is not None:
        journal.append([{"event": "batch", "at": intent["at"], "id": batch.id}])


def _create(client: Any, model: str, requests: Sequence[Request], sleep: Sleep) -> Any:
    """Return the new batch, or None where it may have arrived although no answer says so.

    That one is searched for before anything else is sent: the library, left to itself, would send
    it again, and both would be paid for.
    """
    import anthropic
    from anthropic.types.messages import MessageBatch

    once = client.with_options(max_retries=0)
    for attempt in range(SUBMIT_TRIES):
        try:
            batch = once.messages.batches.create(
                requests=[_as_item(request, model) for request in requests]
            )
            return batch if isinstance(batch, MessageBatch) else None
        except anthropic.APIStatusError as error:
            if error.status_code not in BUSY_STATUS and error.status_code < 500:
                raise
            if error.status_code not in BUSY_STATUS:
                break
            refusal = error
        except (anthropic.APIConnectionError, ValueError):
            break
        sleep(2.0**attempt)
    else:
        raise refusal
    sleep(LISTED_AFTER_S)
    return None


def _as_item(request: Request, model: str) -> dict[str, Any]:
    """Return a request as the service takes it: it knows neither temperature nor seed.

    The seed stays in the key, where it tells one draw of a prompt from the next.
    """
    cached = {"type": "text", "text": request.system, "cache_control": {"type": "ephemeral"}}
    return {
        "custom_id": request.key,
        "params": {
            "model": model,
            "max_tokens": request.max_tokens,
            "system": [cached],
            "messages": [{"role": "user", "content": request.prompt}],
        },
    }


def _read(call: Callable[[], Any], sleep: Sleep) -> Any:
    """Return what a call reads; a body that breaks off or can not be read is asked for again.

    Raises:
        ModelError: no answer could be read in `GARBLED_TRIES` calls.
    """
    import anthropic

    for attempt in range(GARBLED_TRIES):
        if attempt:
            sleep(2.0 ** (attempt - 1))
        try:
            return call()
        except anthropic.AnthropicError:
            raise
        except Exception as error:  # in mid-body the library raises what its transport does
            last = f"{type(error).__name__}: {error}"
    raise ModelError(
        f"{GARBLED_TRIES} answers about a batch could not be read ({last[:120]}): check "
        "writer.base_url; what is finished is kept, run the same command again"
    )


def open_intents(journal: Journal) -> list[dict[str, Any]]:
    """Return the intents whose results have not been taken in, each with its batch id or None."""
    batch_ids = {r["at"]: r["id"] for r in journal.records if r.get("event") == "batch"}
    settled = {r["at"] for r in journal.records if r.get("event") == "settled"}
    return [
        {**record, "id": batch_ids.get(record["at"])}
        for record in journal.records
        if record.get("event") == "intent" and record["at"] not in settled
    ]


def _settle_open_intents(
    client: Any,
    journal: Journal,
    ledger: Ledger,
    options: WriterOptions,
    sleep: Sleep,
) -> None:
    """Take in the results of everything submitted, in whatever order it ended."""
    for intent in open_intents(journal):
        batch_id = intent["id"] or _search_batch(client, journal, intent, options, sleep)
        fault = None
        if batch_id is not None:
            _wait(client, batch_id, options, sleep)
            fault = _take_in(client, batch_id, intent, journal, ledger, sleep)
        # Settled before it is said: a refused request must not stop every later run as well.
        journal.append([{"event": "settled", "at": intent["at"], "id": batch_id}])
        if fault is not None:
            raise ModelError(fault)


def _wait(client: Any, batch_id: str, options: WriterOptions, sleep: Sleep) -> None:
    def status() -> str:
        return str(client.messages.batches.retrieve(batch_id).processing_status)

    while _read(status, sleep) != "ended":
        sleep(options.poll_s)


def _search_batch(
    client: Any,
    journal: Journal,
    intent: dict[str, Any],
    options: WriterOptions,
    sleep: Sleep,
) -> str | None:
    """Return the batch that an intent led to before the crash, or None if it never arrived."""
    since = datetime.fromisoformat(intent["at"]) - CLOCK_SLACK
    wanted = set(intent["custom_ids"])
    taken = {r["id"] for r in journal.records if r.get("event") in ("batch", "settled")}

    def candidates() -> list[Any]:
        newest_first = client.messages.batches.list(limit=100)
        return list(takewhile(lambda batch: batch.created_at >= since, newest_first))

    for batch in _read(candidates, sleep):
        if batch.id in taken or _total(batch) != len(wanted):
            continue
        _wait(client, batch.id, options, sleep)
        if any(item.custom_id in wanted for item in _results(client, batch.id, sleep)):
            return str(batch.id)
    return None


def _results(client: Any, batch_id: str, sleep: Sleep) -> list[Any]:
    """Return the results of a batch that ended; fewer than it says it has are read again."""
    found: list[Any] = []
    wanted = _read(lambda: _total(client.messages.batches.retrieve(batch_id)), sleep)
    for attempt in range(SHORT_TRIES):
        if attempt:
            sleep(2.0**attempt)
        found = _read(lambda: list(client.messages.batches.results(batch_id)), sleep)
        if len(found) >= wanted:
            break
    return found


def _total(batch: Any) -> int:
    counts = batch.request_counts
    names = ("processing", "succeeded", "errored", "canceled", "expired")
    return sum(getattr(counts, name) for name in names)


def _take_in(
    client: Any,
    batch_id: str,
    intent: dict[str, Any],
    journal: Journal,
    ledger: Ledger,
    sleep: Sleep,
) -> str | None:
    """Journal every result that succeeded; what expired, failed or was cancelled stays open.

    Returns:
        What the service refused about a request, or None.
    """
    known = known_replies(journal)
    fault = None
    taken: list[tuple[Reply, str]] = []
    for item in _results(client, batch_id, sleep):
        if item.custom_id in known or item.custom_id not in intent["stages"]:
            continue
        if item.result.type == "errored" and _is_our_fault(item.result.error):
            fault = f"batch {batch_id}: {item.custom_id[:12]}: {_words(item.result.error)}"
        if item.result.type != "succeeded":
            continue
        message = item.result.message
        usage = message.usage
        reply = Reply(
            key=item.custom_id,
            text="".join(block.text for block in message.content if block.type == "text"),
            stop={"end_turn": "stop", "stop_sequence": "stop"}.get(
                message.stop_reason, message.stop_reason or "unknown"
            ),
            usage={
                "input": usage.input_tokens,
                "output": usage.output_tokens,
                "cache_read": usage.cache_read_input_tokens or 0,
                "cache_write": usage.cache_creation_input_tokens or 0,
            },
        )
        taken.append((reply, intent["stages"][item.custom_id]))
    journal.append(reply_record(reply, stage) for reply, stage in taken)
    for reply, _ in taken:
        ledger.add(reply)
    return fault


def _is_our_fault(error: Any) -> bool:
    inner = getattr(error, "error", error)
    return getattr(inner, "type", "") in ("invalid_request_error", "authentication_error")


def _words(error: Any) -> str:
    inner = getattr(error, "error", error)
    return " ".join(str(getattr(inner, "message", inner)).split())[:200]
