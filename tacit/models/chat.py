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
    return text_tokens(tokenizer, chat_text(tokenizer, messages))


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


def text_tokens(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Return the tokens of a text, with no special token added."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def prompt_tokens(tokenizer: Any, system: str | None, prompt: str) -> tuple[int, ...]:
    """Return what stands before an answer: a chat up to the assistant's turn, or raw text.

    Args:
        tokenizer: Of the model.
        system: The system message; None for raw text, where the prompt is all there is.
        prompt: The user's message.
    """
    if system is None:
        return text_tokens(tokenizer, prompt)
    messages = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
    return chat_tokens(tokenizer, messages)
