"""Run independent items of work, in this process or on the workers of a dask cluster."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from napari_dip_fusion.blocks.cluster import connect, find_dashboard, start_cluster
from napari_dip_fusion.blocks.flight import Flight
from napari_dip_fusion.blocks.local import LocalEngine
from napari_dip_fusion.fusion.control import Control

if TYPE_CHECKING:
    from distributed import Client

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """What runs items of work, wherever it does."""

    @property
    def workers(self) -> int:
        """How many processes compute at present."""

    @property
    def dashboard(self) -> str:
        """The address of a page that shows what they do; empty without one."""

    def run(
        self,
        work: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Iterable[Item],
        control: Control,
    ) -> Iterator[tuple[Item, Result]]:
        """Call a function with each of some items, and yield items and results as they are done.

        Parameters
        ----------
        work : callable
            Takes `shared` and an item. An item may be given to it more than once, also at the
            same time, so that what it writes must not depend on that.
        shared : object
            The same for all items; sent to each worker once, also to one that comes later.
        items : iterable
            They are drawn as late as possible, in this thread.
        control : Control
            While it is paused no item is begun. Once it is stopped none is begun any more, and
            those at work are finished and yielded.

        Yields
        ------
        tuple of item and result
            In the order in which they were done.

        Raises
        ------
        StoppedError
            If the run is thrown away; computations that look at their control end, too.
        FusionError
            If workers lack memory or crash, or are lost.
        Exception
            Whatever `work` raises, of its own type.
        """


class ClusterEngine:
    """Runs items of work on the workers of a dask cluster, through a client of it.

    Parameters
    ----------
    client : distributed.Client
        It stays open. What is on its way when the engine is closed is canceled.
    """

    def __init__(self, client: "Client") -> None:
        if client.asynchronous:
            raise ValueError(
                "expected a client that waits, got an asynchronous one; make it without "
                "asynchronous=True"
            )
        self.dashboard = find_dashboard(client)
        self._client = client
        self._flights: set[Flight[Any, Any, Any]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for flight in list(self._flights):
            flight.close()

    @property
    def workers(self) -> int:
        """How many processes compute at present."""
        return len(self._client.nthreads())

    def run(
        self,
        work: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Iterable[Item],
        control: Control,
    ) -> Iterator[tuple[Item, Result]]:
        """Call a function with each of some items; see :meth:`.Engine.run`."""
        with closing(Flight(self._client, work, shared, items)) as flight:
            self._flights.add(flight)
            try:
                yield from flight.run(control)
            finally:
                self._flights.discard(flight)


@contextmanager
def open_engine(
    client: "Client | None" = None, *, workers: int = 0, scheduler: str = "", side_by_side: int = 1
) -> Iterator[Engine]:
    """Open what runs items of work; whatever it started ends with the context.

    Parameters
    ----------
    client : distributed.Client, optional
        A client of any dask cluster. It stays open.
    workers : int
        Processes to start on this machine, which divide its cores and its memory.
    scheduler : str
        The address of the scheduler of a dask cluster, such as ``tcp://10.0.0.5:8786``.
    side_by_side : int
        Items that this process works on at once, where no others do.

    Yields
    ------
    Engine
        Without any of these one that computes in this process.

    Raises
    ------
    FusionError
        If the package distributed is missing, if the scheduler does not answer, or if the
        workers do not start.
    """
    if (client is not None) + bool(workers) + bool(scheduler) > 1:
        raise ValueError("expected a client, workers or a scheduler, got several of them; give one")
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, got {workers}")
    if client is not None:
        with ClusterEngine(client) as engine:
            yield engine
    elif scheduler or workers:
        cluster = connect(scheduler) if scheduler else start_cluster(workers)
        with cluster as opened, ClusterEngine(opened) as engine:
            yield engine
    else:
        yield LocalEngine(side_by_side)
