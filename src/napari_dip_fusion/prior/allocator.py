"""The C library's heap while a network is being fitted."""

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Numbers of mallopt's parameters in glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
# The largest threshold that glibc takes. Larger blocks, of images beyond 512x512, stay apart:
# kept in the heap, they would leave holes of their size.
_LARGE = 32 * 2**20
_KEEPING = {
    _TRIM_THRESHOLD: 2**31 - 1,
    _TOP_PAD: 16 * 2**20,
    _MMAP_THRESHOLD: _LARGE,
    _ARENA_MAX: 1,
}
_DEFAULTS = {_TRIM_THRESHOLD: 2**17, _TOP_PAD: 2**17, _MMAP_THRESHOLD: 2**17}

_lock = threading.Lock()
_users = 0


@contextmanager
def kept_heap() -> Iterator[None]:
    """Let glibc keep freed memory for the next iteration, and give it back at the end.

    Every iteration frees and allocates the same features. By default glibc
    returns blocks of that size to the system at once, and fetching them again,
    page by page, took a sixth to a quarter of an iteration. On other C
    libraries nothing is changed.
    """
    global _users
    library = _glibc()
    if library is None:
        yield
        return
    with _lock:
        _users += 1
        if _users == 1:
            _set(library, _KEEPING)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _set(library, _DEFAULTS)
                library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None


def _set(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for parameter, value in values.items():
        library.mallopt(parameter, value)
