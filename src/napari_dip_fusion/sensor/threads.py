"""Work on several parts of images at the same time."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import TypeVar

from napari_dip_fusion.interruption import checkpoint

Item = TypeVar("Item")
Result = TypeVar("Result")

# NumPy lets go of Python's lock while it computes. More threads than this wait for memory.
_THREADS = 4

_limit: ContextVar[int] = ContextVar("limit", default=_THREADS)


def count_cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def limit_threads(count: int) -> Iterator[None]:
    """Let :func:`map_on_threads` use no more than so many threads at once within this context.

    Processes that compute side by side on one machine divide its cores so. Results do not depend
    on it.

    Parameters
    ----------
    count : int
        At least 1. A limit that stands outside this context still holds.
    """
    token = _limit.set(min(max(count, 1), _limit.get()))
    try:
        yield
    finally:
        _limit.reset(token)


def map_on_threads(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Call a function with each of some items, on as many threads as there are cores, at most four.

    Within :func:`limit_threads` there may be fewer.

    Parameters
    ----------
    work : callable
        What it returns, and what it writes, does not depend on the other items.
    items : sequence

    Returns
    -------
    list
        What `work` returned, in the order of the items. If it raises an exception, that of the
        first such item is raised here, and items that nobody has begun with are left out.
    """

    def work_if_wanted(item: Item) -> Result:
        checkpoint()
        return work(item)

    if len(items) == 1:
        return [work_if_wanted(items[0])]
    with ThreadPoolExecutor(min(_limit.get(), count_cores())) as pool:
        # In copies of this context, so that stopping the run ends the threads as well.
        futures = [pool.submit(copy_context().run, work_if_wanted, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
