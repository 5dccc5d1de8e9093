"""The workers of a dask cluster: how many there are, and which of them has room for more."""

import time
from collections import Counter
from typing import TYPE_CHECKING

from napari_dip_fusion.errors import FusionError

if TYPE_CHECKING:
    from distributed import Client

# Items that a worker has for each one that it can work on: the next is there when one is done.
_ON_THEIR_WAY = 2

_COUNT_AGAIN = 1.0  # seconds in which workers are noticed that came or went

LOST = (
    "the dask scheduler was lost, or canceled the work; what is done is kept: start it again, and "
    "resume"
)
"""What is said when the scheduler of a cluster is gone."""


class Crew:
    """The workers of a cluster, which come and go."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._threads: dict[str, int] = {}
        self._next_count = 0.0
        self.check()

    def check(self) -> None:
        """Count the workers, unless that was just done.

        Raises
        ------
        FusionError
            If the scheduler is gone.
        """
        if self._client.status != "running":
            raise FusionError(LOST)
        if time.monotonic() < self._next_count:
            return
        try:
            self._threads = self._client.nthreads()
        except OSError as error:
            raise FusionError(LOST) from error
        self._next_count = time.monotonic() + _COUNT_AGAIN

    def find_room(self, away: Counter[str]) -> str | None:
        """Return the worker that is to get the next item.

        Parameters
        ----------
        away : Counter of str
            How many items each worker has.

        Returns
        -------
        str or None
            An address; empty where there is no worker as yet, and None where all have enough.
        """
        room = {
            worker: _ON_THEIR_WAY * threads - away[worker]
            for worker, threads in (self._threads or {"": 1}).items()
        }
        worker = max(room, key=room.__getitem__)
        return worker if room[worker] > 0 else None

    def count_neighbors(self) -> int:
        """Return how many items can be at work on one machine at once."""
        from distributed.comm.addressing import get_address_host

        machines = Counter[str]()
        for address, threads in self._threads.items():
            machines[get_address_host(address)] += threads
        return max(machines.values(), default=1)
