"""What the workers of a dask cluster do with an item of work."""

import pickle
from collections.abc import Callable
from typing import TypeVar

from napari_dip_fusion.interruption import make_interruptible
from napari_dip_fusion.sensor.threads import count_cores, limit_threads

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


class UnwantedError(Exception):
    """An item that is at work was canceled."""


def work_on(
    work: Callable[[Shared, Item], Result], shared: Shared, parcel: bytes, neighbors: int
) -> Result:
    """Call a function with an item, on a worker that has so many items at work beside it."""
    item: Item = pickle.loads(parcel)
    with limit_threads(count_cores() // neighbors), make_interruptible(_make_question()):
        return work(shared, item)


def _make_question() -> Callable[[], None]:
    """Return what asks, in any thread, whether the item at work here is still wanted."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def ask() -> None:
        task = worker.state.tasks.get(key)
        if task is not None and task.state == "cancelled":  # codespell:ignore cancelled
            raise UnwantedError(key)

    return ask
