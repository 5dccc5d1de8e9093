"""Keep libraries from printing what this package says itself.

Files are read in several threads at once, and loggers and warning filters belong
to the whole process: the last to leave restores what the first one found.
"""

import logging
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["no_warnings", "quiet"]

_lock = threading.Lock()
_inside: Counter[str] = Counter()
_restore: dict[str, ExitStack] = {}


@contextmanager
def quiet(logger: str) -> Iterator[None]:
    """Silence a library's logger; what is wrong with a file is told by one error.

    Parameters
    ----------
    logger : str
        Name of the logger, such as ``"tifffile"``.
    """
    with _shared(logger):
        yield


@contextmanager
def no_warnings() -> Iterator[None]:
    """Ignore Python's warnings, in all threads."""
    with _shared(""):
        yield


@contextmanager
def _shared(what: str) -> Iterator[None]:
    with _lock:
        if not _inside[what]:
            _restore[what] = _silenced(what)
        _inside[what] += 1
    try:
        yield
    finally:
        with _lock:
            _inside[what] -= 1
            if not _inside[what]:
                _restore.pop(what).close()


def _silenced(logger: str) -> ExitStack:
    """Silence a logger, or all warnings where it has no name; closing restores them."""
    stack = ExitStack()
    if logger:
        silenced = logging.getLogger(logger)
        stack.callback(setattr, silenced, "disabled", silenced.disabled)
        silenced.disabled = True
    else:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
    return stack
