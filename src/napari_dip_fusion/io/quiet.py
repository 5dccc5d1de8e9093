"""Keep libraries from printing what this package says itself."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet"]


@contextmanager
def quiet(logger: str) -> Iterator[None]:
    """Silence a library's logger; what is wrong with a file is told by one error.

    Parameters
    ----------
    logger : str
        Name of the logger, such as ``"tifffile"``.
    """
    silenced = logging.getLogger(logger)
    before = silenced.disabled
    silenced.disabled = True
    try:
        yield
    finally:
        silenced.disabled = before
