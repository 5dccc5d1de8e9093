"""What fits of networks have in common about torch: its threads, and its errors in plain words."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from napari_dip_fusion.errors import FusionError

# What torch's allocators write.
_LACK_OF_MEMORY = ("can't allocate memory", "tried to allocate")


@contextmanager
def set_threads(threads: int) -> Iterator[None]:
    """Set torch's thread count and restore it; 0 leaves it alone."""
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if threads:
            torch.set_num_threads(before)


@contextmanager
def explain_failures(device: str, work: str, remedy: str) -> Iterator[None]:
    """Turn torch's errors into a FusionError that says what to do.

    Parameters
    ----------
    device : str
    work : str
        What is computed there, such as ``256x256 pixels with width 32``.
    remedy : str
        What makes it take less memory, as a command: ``use a smaller image``.

    Raises
    ------
    FusionError
        In place of a RuntimeError or a MemoryError within the context.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        lacking = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        # Of processors and of Apple's GPUs torch has no class of its own for it. Its other errors
        # speak of memory, too: of a layout in memory, for one.
        if lacking or any(words in text.lower() for words in _LACK_OF_MEMORY):
            raise FusionError(f"not enough memory on {device} for {work}; {remedy}") from error
        reason = text.splitlines()[0] if text else repr(error)
        raise FusionError(
            f"torch failed on {device}: {reason}; try device cpu and precision float32"
        ) from error
