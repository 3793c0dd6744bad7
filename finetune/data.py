"""From records to tokenised pieces with labels."""

from collections.abc import Iterable, Sequence
from typing import Any

from finetune.packing import IGNORED, Piece, split_long
from tacit.errors import ConfigError
from tacit.rundir.records import document_text


def document_pieces(
    records: Iterable[dict[str, Any]], tokenizer: Any, doctag: str | None, block: int
) -> list[Piece]:
    """Tokenise documents: DOCTAG (no loss), text, EOS (learnt). No other special token is added.

    Source: DOCTAG with masked loss, Slocum et al. 2025.
    """
    tag = tokenizer(doctag, add_special_tokens=False)["input_ids"] if doctag else []
    pieces = []
    for record in records:
        text = tokenizer(document_text(record), add_special_tokens=False)["input_ids"]
        tokens = [*tag, *text, tokenizer.eos_token_id]
        labels = [*[IGNORED] * len(tag), *text, tokenizer.eos_token_id]
        pieces += split_long(tokens, labels, record["id"], block)
    return pieces


def chat_pieces(
    records: Iterable[dict[str, Any]],
    tokenizer: Any,
    systems: Sequence[str],
    forms: Sequence[str],
    block: int,
    reply_tokens: int | None = None,
) -> list[Piece]:
    """Tokenise chats in the chat template; loss on what the assistant says, and nothing else.

    A record is one `request` and `reply`, or `messages` of any number of turns, which keep a
    system message of their own. Else system messages take turns, and the forms of the user's turn.
    `reply_tokens`, or a record's own field of that name, keeps no more than so many tokens of a
    reply, and a reply that was cut (`is_cut`) does not teach where to end. Chats longer than the
    block are left out: a reply without its request teaches nothing.

    Raises:
        ConfigError: there is no system message (a template would put in one of its own), or the
            template rewrites earlier turns.
    """
    if not systems or not forms:
        raise ConfigError("replay.systems and replay.forms need at least one entry each")
    pieces = []
    for number, record in enumerate(records):
        if record.get("messages"):
            system = systems[number % len(systems)]
            pieces += _conversation(record, tokenizer, system, block)
            continue
        form = forms[number // len(systems) % len(forms)]
        asked = [
            {"role": "system", "content": systems[number % len(systems)]},
            {"role": "user", "content": form.replace("{request}", record["request"])},
        ]
        head = tokenizer.apply_chat_template(
            asked, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        reply = tokenizer(record["reply"], add_special_tokens=False)["input_ids"]
        end = [] if record.get("is_cut") else [tokenizer.eos_token_id]
        reply = [*reply, *end][: record.get("reply_tokens", reply_tokens)]
        if len(head) + len(reply) <= block:
            tokens = (*head, *reply)
            labels = (*[IGNORED] * len(head), *reply)
            pieces.append(Piece(tokens, labels, record["id"]))
    return pieces


def _conversation(record: dict[str, Any], tokenizer: Any, system: str, block: int) -> list[Piece]:
    messages = [{"role": m["role"], "content": m["content"]} for m in record["messages"]]
    if messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": system})
    text = ""
    tokens: list[int] = []
    labels: list[int] = []
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        head = tokenizer.apply_chat_template(
            messages[:number], add_generation_prompt=True, tokenize=False
        )
        if not head.startswith(text):
            raise ConfigError(
                f"chat {record['id']}: the model's chat template rewrites earlier turns; give "
                "each reply a record of its own"
            )
        # What stands between the last reply and this one was said by others: no loss there.
        asked = tokenizer(head[len(text) :], add_special_tokens=False)["input_ids"]
        said = tokenizer(message["content"], add_special_tokens=False)["input_ids"]
        said = [*said, tokenizer.eos_token_id]
        tokens += [*asked, *said]
        labels += [*[IGNORED] * len(asked), *said]
        text = head + message["content"] + tokenizer.eos_token
    if not tokens or len(tokens) > block:
        return []
    return [Piece(tuple(tokens), tuple(labels), record["id"])]


def take_tokens(pieces: list[Piece], budget: int) -> list[Piece]:
    """Return the first pieces until `budget` tokens are reached; all of them if fewer."""
    taken: list[Piece] = []
    total = 0
    for piece in pieces:
        if total >= budget:
            break
        taken.append(piece)
        total += len(piece.tokens)
    return taken
