"""What libraries print is kept back, or passed on as warnings of this package.

Files are read in several threads at once, while loggers and warning filters belong to
the whole process. The first thread listens for all of them, and the last one to leave
restores what the first one found; each thread keeps what it was told itself.
"""

import logging
import re
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

__all__ = ["relay_messages", "silence_logger", "silence_warnings"]

# The warnings of Python stand under the empty name among the loggers.
_WARNINGS = ""

_lock = threading.Lock()
_users: Counter[str] = Counter()
_restorers: dict[str, ExitStack] = {}
_told = threading.local()
"""Lists of what each thread was told, one for each of its open blocks; the last one is heard."""


@contextmanager
def silence_logger(name: str) -> Iterator[None]:
    """Keep back what a library logs, in all threads, while the block runs.

    Parameters
    ----------
    name : str
        Name of the logger, such as ``"tifffile"``.
    """
    with _hear((name,), []):
        yield


@contextmanager
def silence_warnings() -> Iterator[None]:
    """Ignore Python's warnings, in all threads, while the block runs."""
    with _hear((_WARNINGS,), []):
        yield


@contextmanager
def relay_messages(
    about: str,
    library: str,
    *,
    loggers: Sequence[str] = (),
    harmless: Sequence[str] = (),
    told: set[str] | None = None,
) -> Iterator[None]:
    """Issue what a library says in the block as warnings of this package, each once.

    Nothing is issued where the block raises: its error says more.

    Parameters
    ----------
    about : str
        What is read, such as the name of a file; the warnings begin with it.
    library : str
        Name of the library for people, such as ``"nibabel"``.
    loggers : sequence of str
        Names of the loggers through which it speaks besides Python's warnings.
    harmless : sequence of str
        Regular expressions; a message in which one is found does not concern the data.
    told : set of str, optional
        What blocks before this one were told, which is not issued again; what this one is
        told is added. An image that is read piece by piece has one such set.
    """
    heard: list[str] = []
    known = set[str]() if told is None else told
    with _hear((_WARNINGS, *loggers), heard):
        yield
    for message in filter(None, heard):
        # Files of a series tell the same of each other's numbers and names.
        kind = re.sub(r"\d+|'[^']*'", "#", message)
        if kind not in known and not any(re.search(pattern, message) for pattern in harmless):
            known.add(kind)
            # The caller of the function that opened the block: two levels of contextlib.
            warnings.warn(f"{about}: {message} (said by {library})", stacklevel=4)


@contextmanager
def _hear(names: Sequence[str], told: list[str]) -> Iterator[None]:
    """Keep what is said under some names in a list, if it is said in this thread."""
    stack: list[list[str]] = _told.__dict__.setdefault("stack", [])
    stack.append(told)
    try:
        with ExitStack() as shared:
            for name in names:
                shared.enter_context(_share(name))
            yield
    finally:
        stack.pop()


@contextmanager
def _share(name: str) -> Iterator[None]:
    """Listen under a name as long as any thread is in such a block."""
    with _lock:
        if not _users[name]:
            _restorers[name] = _listen(name)
        _users[name] += 1
    try:
        yield
    finally:
        with _lock:
            _users[name] -= 1
            if not _users[name]:
                _restorers.pop(name).close()


def _listen(name: str) -> ExitStack:
    """Listen to a logger or to the warnings, and return what restores them when it is closed."""
    restorer = ExitStack()
    if name == _WARNINGS:
        shown = warnings.showwarning
        restorer.enter_context(warnings.catch_warnings())
        warnings.simplefilter("always")
        warnings.showwarning = partial(_keep_warning, shown)
        return restorer
    logger = logging.getLogger(name)
    ear = _Ear(level=logging.WARNING)
    for attribute, value in (("handlers", [ear]), ("propagate", False)):
        restorer.callback(setattr, logger, attribute, getattr(logger, attribute))
        setattr(logger, attribute, value)
    return restorer


class _Ear(logging.Handler):
    """Keeps what is logged for the thread in which it is."""

    def emit(self, record: logging.LogRecord) -> None:
        _keep(record.getMessage())


def _keep(message: str) -> bool:
    """Keep a message for the block that this thread is in, and tell whether there is one."""
    stack = getattr(_told, "stack", None)
    if stack:
        stack[-1].append(" ".join(message.split()))
    return bool(stack)


def _keep_warning(
    shown: Callable[..., None], message: Warning | str, category: type[Warning], *where: Any
) -> None:
    """Keep a warning, or show it as before where this thread is in no block."""
    # What libraries say of their own future, or of open files, concerns no data.
    concerning = issubclass(category, (UserWarning, RuntimeWarning))
    if not _keep(str(message) if concerning else ""):
        shown(message, category, *where)
