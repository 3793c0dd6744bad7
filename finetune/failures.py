"""What a machine can run out of in a training, said in one line with its remedy."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

from safetensors import SafetensorError

from tacit.errors import ConfigError, ModelError, RunDirError
from tacit.models.engine import is_out_of_memory

# torch and safetensors report a failed write as errors of their own, without errno.
UNREAD = ("PytorchStreamReader", "deserializing", "incomplete metadata")
UNWRITTEN = ("No space left", "File too large", "PytorchStreamWriter", "iostream error", "quota")


@contextmanager
def failures_named(checkpoint: Path | None = None) -> Iterator[None]:
    """Turn a lack of memory or of disk space into an error that names the remedy.

    Args:
        checkpoint: The one to go on from. Its pickles are read as weights only: what holds more
            than tensors and numbers is refused, and nothing of it is executed.

    Raises:
        ConfigError: an option needs a package that is not installed.
        ModelError: memory ran out.
        RunDirError: a checkpoint or the adapter could not be written, or `checkpoint` not read.
    """
    unread = RunDirError(
        f"{checkpoint} cannot be read, or holds more than weights: delete that folder, and the "
        "same command goes on from the one before, or begins anew"
    )
    try:
        yield
    except (UnpicklingError, EOFError) as error:
        raise unread from error
    except ImportError as error:
        raise ConfigError(f"not installed: {str(error).splitlines()[0]}") from error
    except (RuntimeError, MemoryError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise ModelError(
                "out of memory: lower optim.batch_size or documents.block_length, set "
                "optim.gradient_checkpointing=true, or take a smaller model (on CUDA also "
                "precision=nf4); the last whole checkpoint is kept"
            ) from None
        if checkpoint and any(sign in str(error) for sign in UNREAD):
            raise unread from error
        if any(sign in str(error) for sign in UNWRITTEN):
            raise RunDirError(
                "a checkpoint could not be written, probably for lack of disk space: free some; "
                "the last whole checkpoint is kept, the same command continues"
            ) from None
        raise
