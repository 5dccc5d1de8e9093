"""Connect to a dask cluster, or start one on this machine."""

import asyncio
import logging
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

from napari_dip_fusion.errors import FusionError, summarize_error
from napari_dip_fusion.sensor.threads import count_cores

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

_SECONDS_TO_ANSWER = 10

# What NumPy's libraries of linear algebra, and torch, read when they are imported.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# What glibc reads: how much freed memory it keeps, and from which size on arrays stay apart.
_KEPT_MEMORY = {"MALLOC_TRIM_THRESHOLD_": 2**30, "MALLOC_MMAP_THRESHOLD_": 2**25}

# A worker holds next to nothing between two items: to write that to disk, or to wait until it is
# less, would not help. One that takes too much memory is ended, and its item made again.
_SETTINGS = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # Blocks free and allocate the same arrays again and again. dask lets glibc return them to the
    # system at once, and fetch them page by page, which takes as long as the work itself.
    **{f"distributed.nanny.pre-spawn-environ.{name}": n for name, n in _KEPT_MEMORY.items()},
    # On a busy machine a worker that replaces another may take longer than the 15 s of the default.
    "distributed.deploy.lost-worker-timeout": "5 minutes",
}

_ROUTES = "distributed.scheduler.http.routes"

_GUARD = (
    'in a script, put what is to be done under: if __name__ == "__main__": since each worker '
    "imports the script"
)


def require_distributed() -> None:
    """Import dask.distributed, or say how it is installed.

    Raises
    ------
    FusionError
        If it is missing.
    """
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise FusionError(
            f"workers and clusters need dask.distributed, which cannot be imported "
            f'({summarize_error(error)}): pip install "napari-dip-fusion[distributed]"'
        ) from error


@contextmanager
def connect(address: str) -> Iterator["Client"]:
    """Connect to the scheduler of a cluster, which goes on after the context.

    Parameters
    ----------
    address : str
        Such as ``tcp://10.0.0.5:8786``.

    Raises
    ------
    FusionError
        If none answers there that can be spoken to.
    """
    require_distributed()
    from distributed import Client
    from distributed.utils import silence_logging_cmgr

    with silence_logging_cmgr(logging.CRITICAL):
        try:
            _greet(address)
            client = Client(address, timeout=_SECONDS_TO_ANSWER, set_as_default=False)
        # Errors of sockets, of addresses, and of schedulers of another version.
        except Exception as error:
            raise FusionError(
                f"no dask scheduler can be reached at {address} ({summarize_error(error)}); give "
                "the address that it prints, such as tcp://10.0.0.5:8786, and install the same "
                "version of distributed here and there"
            ) from error
        with client:
            yield client


def _greet(address: str) -> None:
    """Ask who answers at an address; raise an error if that takes long, or is no scheduler.

    A client would wait for ever for something else that listens there, and one that could not
    connect does so when this process ends.
    """
    from distributed.core import rpc
    from distributed.security import Security

    async def greet() -> None:
        security = Security().get_connection_args("client")
        async with asyncio.timeout(_SECONDS_TO_ANSWER):
            async with rpc(address, connection_args=security) as server:
                kind = (await server.identity())["type"]
        if kind != "Scheduler":
            raise ValueError(f"a {kind} answers")

    # In a thread of its own: a loop of the caller may run in this one.
    with ThreadPoolExecutor(1) as thread:
        try:
            thread.submit(asyncio.run, greet()).result()
        except TimeoutError as error:
            raise TimeoutError(f"no answer in {_SECONDS_TO_ANSWER} s") from error


@contextmanager
def start_cluster(workers: int) -> Iterator["Client"]:
    """Start workers on this machine, which end with the context, or with this process.

    Parameters
    ----------
    workers : int
        Processes, among which cores and memory are divided. Each works on one item at a time.

    Raises
    ------
    FusionError
        If they do not start.
    """
    require_distributed()
    _refuse_inner_workers()
    import dask
    from distributed import Client

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dip-fusion-"))
        # A copy: without bokeh a scheduler adds a route to this very list.
        routes = [*dask.config.get(_ROUTES)]
        settings = {**_SETTINGS, _ROUTES: routes, "temporary-directory": folder}
        stack.enter_context(dask.config.set(settings))
        stack.enter_context(_kept_environment())
        cluster = stack.enter_context(_make_cluster(workers))
        _start_workers(cluster, workers)
        yield stack.enter_context(Client(cluster, set_as_default=False))


def find_dashboard(client: "Client") -> str:
    """Return the address of the page that shows what a cluster does; empty without one."""
    # A cluster of this process shows nothing without bokeh, but has an address all the same.
    if client.cluster is not None and find_spec("bokeh") is None:
        return ""
    try:
        return client.dashboard_link or ""
    except KeyError:
        return ""


def _refuse_inner_workers() -> None:
    """Refuse to start workers in a process that is importing the script that started it."""
    # multiprocessing looks at the same mark, but only in threads that nobody waits for.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise FusionError(f"a worker cannot start workers; {_GUARD}")


def _make_cluster(workers: int) -> "LocalCluster":
    """Make a cluster that is to have so many workers, and has none as yet."""
    from distributed import LocalCluster
    from distributed.system import MEMORY_LIMIT

    return LocalCluster(
        n_workers=0,
        threads_per_worker=1,
        memory_limit=MEMORY_LIMIT // workers,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
        # A worker's death is told of at once: whoever counts deaths knows which item was alone.
        scheduler_kwargs={"allowed_failures": 0},
    )


def _start_workers(cluster: "LocalCluster", workers: int) -> None:
    from tornado.platform.asyncio import BaseAsyncIOLoop

    async def start() -> None:
        _hold_back_interrupts()
        cluster.scale(workers)
        await cluster

    with _kept_environment():
        threads = str(max(1, count_cores() // workers))
        os.environ.update(dict.fromkeys(_THREAD_VARIABLES, threads))
        assert isinstance(cluster.loop, BaseAsyncIOLoop)
        started = asyncio.run_coroutine_threadsafe(start(), cluster.loop.asyncio_loop)
        try:
            started.result()
        except KeyboardInterrupt:
            # dask cannot close a cluster whose workers are half started.
            wait([started])
            raise
        except Exception as error:
            raise FusionError(
                f"the workers did not start ({summarize_error(error)}); take fewer of them; "
                f"{_GUARD}"
            ) from error


def _hold_back_interrupts() -> None:
    """Keep Ctrl-C from all processes that the present thread starts from now on.

    A terminal sends it to every process at once. It is this one that ends its workers.
    """
    # Windows has no such mask.
    if hasattr(signal, "pthread_sigmask"):
        # The first process that is started with pipes starts this one, which lifts the mask.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


@contextmanager
def _kept_environment() -> Iterator[None]:
    """Restore the variables that dask sets in this process whenever it starts a worker."""
    import dask

    settings = dask.config.get("distributed.nanny.pre-spawn-environ")
    names = {*_THREAD_VARIABLES, *settings, "PYTHONHASHSEED", "__DASK_PARENT_PID"}
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
