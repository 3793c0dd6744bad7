"""Messages to tokens by the model's own chat template, with nothing added to it."""

from collections.abc import Sequence
from typing import Any

from tacit.errors import ModelError


def chat_tokens(tokenizer: Any, messages: Sequence[dict[str, str]]) -> tuple[int, ...]:
    """Render messages to tokens, ready for the assistant's turn.

    A final assistant message is a prefill: it is left open, to be continued.

    Raises:
        ModelError: no system message is given, where templates put in one of their own.
    """
    return tuple(tokenizer(chat_text(tokenizer, messages), add_special_tokens=False)["input_ids"])


def chat_text(tokenizer: Any, messages: Sequence[dict[str, str]]) -> str:
    """Render messages to the literal text that the model reads.

    Raises:
        ModelError: no system message is given, where templates put in one of their own.
    """
    if not messages or messages[0]["role"] != "system":
        raise ModelError("a system message is missing: the chat template would add its own")
    open_turn = messages[-1]["role"] == "assistant"
    text: str = tokenizer.apply_chat_template(
        list(messages),
        tokenize=False,
        add_generation_prompt=not open_turn,
        continue_final_message=open_turn,
    )
    return text
