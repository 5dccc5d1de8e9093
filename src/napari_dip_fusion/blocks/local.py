"""Items of work are run in this process, on some of its threads at once."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

from napari_dip_fusion.errors import StoppedError
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.interruption import make_interruptible
from napari_dip_fusion.sensor.threads import count_cores, limit_threads

__all__ = ["LocalEngine"]

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


class LocalEngine:
    """Runs items in this process, among whose cores they are divided.

    While one item is read or written, another one is computed. What has but one part, such as the
    denoiser of a plane, uses one core: several items use them all.

    Parameters
    ----------
    side_by_side : int
        How many items are at work at once, at most. With one, an item is begun when its result is
        asked for.
    """

    workers = 1
    dashboard = ""

    def __init__(self, side_by_side: int = 1) -> None:
        self._most = max(side_by_side, 1)

    def run(
        self,
        work: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Iterable[Item],
        control: Control,
    ) -> Iterator[tuple[Item, Result]]:
        """Call a function with each of some items; see :meth:`.Engine.run`."""
        remaining = iter(items)
        at_work: dict[Future[Result], Item] = {}
        unwanted = threading.Event()

        def work_if_wanted(item: Item) -> Result:
            ask = make_interruptible(lambda: _raise_if(unwanted))
            cores = limit_threads(count_cores() // self._most)
            with control.watch_discarding(), ask, cores:
                return work(shared, item)

        def begin_more() -> None:
            room = self._most - len(at_work)
            while room and not (control.stopped or control.paused):
                room -= 1
                for item in remaining:
                    # In a copy of this context, so that its threads are asked as this one.
                    future = pool.submit(copy_context().run, work_if_wanted, item)
                    at_work[future] = item
                    break

        # Without a thread of its own, an item would be computed while the caller is at work.
        with ThreadPoolExecutor(self._most) as pool:
            try:
                while True:
                    if not at_work:
                        control.wait_while_paused()
                    control.raise_if_discarded()
                    begin_more()
                    if not at_work:
                        if control.paused:
                            continue
                        return
                    done, _ = wait(at_work, return_when=FIRST_COMPLETED)
                    results = [(at_work.pop(future), future) for future in done]
                    if self._most > 1:
                        # The caller enters them while others are computed.
                        begin_more()
                    for item, future in results:
                        yield item, future.result()
            finally:
                unwanted.set()
                for future in at_work:
                    future.cancel()


def _raise_if(unwanted: threading.Event) -> None:
    if unwanted.is_set():
        raise StoppedError("nobody waits for this block any more")
