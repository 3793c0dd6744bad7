"""The hub: datasets read from it, and its refusals said in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tacit.errors import CorpusError, TacitError

HUB = "hub/"  # before a dataset's id, where the hub can be reached


class HubError(TacitError, OSError):
    """What was to be pushed did not arrive on the hub."""


@contextmanager
def hub_errors_named() -> Iterator[None]:
    """Turn what `huggingface_hub` raises on a push into one line.

    Raises:
        HubError: no connection, no rights, no such name, or an upload that broke off.
    """
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (HfHubHTTPError, OSError, RuntimeError, ValueError) as error:
        line = " ".join(str(error).split())[:200]
        raise HubError(f"hub: {line} (log in with `hf auth login`, or check the name)") from None


def load_from_hub(name: str, *place: str, split: str | None = None) -> Any:
    """Return a dataset of the hub, or one split of it.

    Args:
        name: As the user gave it, for the message.
        place: Its id and, where it has several, its configuration.
        split: Which; None takes all.

    Raises:
        CorpusError: no such dataset, no connection, or no rights.
    """
    from datasets import load_dataset

    try:
        return load_dataset(*place, split=split)
    except (OSError, ValueError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CorpusError(
            f"cannot read {name}: {said[:200]} (a gated set needs `hf auth login`; "
            "or name a downloaded file)"
        ) from None
