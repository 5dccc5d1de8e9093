"""Libraries are kept from printing what this package says itself.

Files are read in several threads at once, while loggers and warning filters belong to
the whole process. The first thread silences them, and the last one to leave restores
what the first one found.
"""

import logging
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["silence_logger", "silence_warnings"]

# The warnings of Python stand under the empty name among the loggers.
_WARNINGS = ""

_lock = threading.Lock()
_users: Counter[str] = Counter()
_restorers: dict[str, ExitStack] = {}


@contextmanager
def silence_logger(name: str) -> Iterator[None]:
    """Disable a library's logger, in all threads, while the block runs.

    Parameters
    ----------
    name : str
        Name of the logger, such as ``"tifffile"``.
    """
    with _share(name):
        yield


@contextmanager
def silence_warnings() -> Iterator[None]:
    """Ignore Python's warnings, in all threads, while the block runs."""
    with _share(_WARNINGS):
        yield


@contextmanager
def _share(name: str) -> Iterator[None]:
    """Keep a name silent as long as any thread is in such a block."""
    with _lock:
        if not _users[name]:
            _restorers[name] = _silence(name)
        _users[name] += 1
    try:
        yield
    finally:
        with _lock:
            _users[name] -= 1
            if not _users[name]:
                _restorers.pop(name).close()


def _silence(name: str) -> ExitStack:
    """Silence a logger or the warnings, and return what restores them when it is closed."""
    restorer = ExitStack()
    if name == _WARNINGS:
        restorer.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
    else:
        logger = logging.getLogger(name)
        restorer.callback(setattr, logger, "disabled", logger.disabled)
        logger.disabled = True
    return restorer
