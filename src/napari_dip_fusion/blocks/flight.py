"""Send items of work to the workers of a dask cluster, a few at a time, and get results."""

import operator
import pickle
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import uuid4

import cloudpickle

from napari_dip_fusion.blocks.crew import LOST, Crew
from napari_dip_fusion.blocks.on_worker import UnwantedError, work_on
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.fusion.control import Control

if TYPE_CHECKING:
    from distributed import Client, Future, KilledWorker

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")

# Deaths of workers after which an item that was the only one at work is held to be the reason.
_MOST_DEATHS = 3

_LOOK_AGAIN = 0.2  # seconds in which a control, or a lost scheduler, is noticed
_MOST_CHARACTERS = 80  # of an item in a message

_ADVICE = "take a smaller block, or fewer workers"


@dataclass
class _Attempt(Generic[Item]):
    """An item, and how many workers died while they had it."""

    item: Item
    deaths: int = 0


@dataclass
class _Trip(Generic[Item, Result]):
    """An attempt that is away, and the worker that was to get it."""

    attempt: _Attempt[Item]
    worker: str
    future: "Future[Result]"


class Flight(Generic[Shared, Item, Result]):
    """The items of one run: waiting, away to workers, or done."""

    def __init__(
        self,
        client: "Client",
        work: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Iterable[Item],
    ) -> None:
        self._client = client
        self._crew = Crew(client)
        self._parcel = cloudpickle.dumps(partial(work_on, work, shared))
        self._shared = self._share()
        self._items = iter(items)
        self._is_exhausted = False
        self._returned: deque[_Attempt[Item]] = deque()
        self._suspects: deque[_Attempt[Item]] = deque()
        self._away: dict[str, _Trip[Item, Result]] = {}
        self._done: SimpleQueue[str] = SimpleQueue()
        self._may_recall = False

    def run(self, control: Control) -> Iterator[tuple[Item, Result]]:
        """Send items as long as the control lets it, and yield what comes back."""
        while True:
            control.raise_if_discarded()
            self._crew.check()
            if control.paused or control.stopped:
                self._recall()
            else:
                self._send()
            if not self._away and (control.stopped or not self._is_any_left):
                return
            landed = self._land()
            if landed is not None:
                yield landed

    def close(self) -> None:
        """Cancel what is away; computations that ask whether they are wanted end."""
        futures = [trip.future for trip in self._away.values()]
        self._away.clear()
        if self._client.status == "running":
            # A scheduler that is lost has forgotten them.
            with suppress(OSError):
                self._client.cancel([*futures, self._shared])

    @property
    def _is_any_left(self) -> bool:
        return bool(self._suspects or self._returned) or not self._is_exhausted

    def _share(self) -> "Future[Callable[..., Result]]":
        """Send what all items share, as the result of a task.

        If the workers that have it die, the scheduler has the task done again. What is scattered
        would be lost with them.
        """
        import dask

        # dask warns from 10 MB on. It is as large as it is, and goes to each worker once.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            key = f"share-{uuid4().hex}"
            return self._client.submit(pickle.loads, self._parcel, key=key, pure=False)

    def _send(self) -> None:
        """Send as many items as are to be away; suspects one by one."""
        if self._suspects:
            if not self._away:
                self._submit(self._suspects.popleft(), self._find_room() or "")
            return
        while (worker := self._find_room()) is not None:
            attempt = self._draw()
            if attempt is None:
                return
            self._submit(attempt, worker)

    def _find_room(self) -> str | None:
        return self._crew.find_room(Counter(trip.worker for trip in self._away.values()))

    def _draw(self) -> _Attempt[Item] | None:
        if self._returned:
            return self._returned.popleft()
        try:
            return _Attempt(next(self._items))
        except StopIteration:
            self._is_exhausted = True
            return None

    def _submit(self, attempt: _Attempt[Item], worker: str) -> None:
        # Python's own function, and bytes: dask would look for futures and tasks in the item, and
        # a worker that lacks the package of what it is sent waits for ever.
        parcel = cloudpickle.dumps(attempt.item)
        key = f"fuse_block-{uuid4().hex}"
        future = self._client.submit(
            operator.call,
            self._shared,
            parcel,
            self._crew.count_neighbors(),
            key=key,
            pure=False,
            # By itself dask sends the first few to the worker that has what they share.
            workers=worker or None,
            allow_other_workers=bool(worker),
        )
        future.add_done_callback(lambda _: self._done.put(key))
        self._away[key] = _Trip(attempt, worker, future)
        self._may_recall = True

    def _recall(self) -> None:
        """Take back the items that no worker has begun with."""
        if not self._may_recall:
            return
        try:
            stacks = self._client.call_stack(keys=list(self._away))
        # A worker that just died. Its items are looked at again.
        except OSError:
            return
        begun = {key for keys in stacks.values() for key in keys}
        taken = [k for k, trip in self._away.items() if k not in begun and not trip.future.done()]
        self._client.cancel([self._away[key].future for key in taken])
        for key in taken:
            self._take_back(self._away.pop(key).attempt)
        self._may_recall = False

    def _take_back(self, attempt: _Attempt[Item]) -> None:
        (self._suspects if attempt.deaths else self._returned).append(attempt)

    def _land(self) -> tuple[Item, Result] | None:
        """Wait a little for a result, and return it with its item."""
        from distributed import CancelledError, KilledWorker
        from distributed.comm.core import CommClosedError

        try:
            key = self._done.get(timeout=_LOOK_AGAIN)
        except Empty:
            return None
        if key not in self._away:
            return None
        trip = self._away.pop(key)
        try:
            return trip.attempt.item, trip.future.result()
        except KilledWorker as error:
            self._suspect(trip.attempt, error)
        except UnwantedError:
            self._take_back(trip.attempt)
        except (CancelledError, CommClosedError) as error:
            raise FusionError(LOST) from error
        except ModuleNotFoundError as error:
            raise FusionError(
                f"the workers lack what this program has ({error}); install the same version of "
                "napari-dip-fusion there"
            ) from error
        except MemoryError as error:
            raise FusionError(
                f"a worker ran out of memory at {_name(trip.attempt)}; {_ADVICE}"
            ) from error
        return None

    def _suspect(self, attempt: _Attempt[Item], error: "KilledWorker") -> None:
        """Have an item made again, alone: others that the worker had may be the reason."""
        was_alone = attempt.deaths > 0
        attempt.deaths += error.allowed_failures + 1
        if was_alone and attempt.deaths >= _MOST_DEATHS:
            raise FusionError(
                f"{attempt.deaths} workers ran out of memory, or crashed, at {_name(attempt)}; "
                f"{_ADVICE}"
            ) from error
        self._take_back(attempt)
        # The worker may have died while it received what the items share.
        if self._shared.status == "error":
            self._shared = self._share()


def _name(attempt: _Attempt[Any]) -> str:
    return f"block {' '.join(str(attempt.item).split())[:_MOST_CHARACTERS]}"
