"""A hub that does not answer or does not let us in, said in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from tacit.errors import TacitError


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
