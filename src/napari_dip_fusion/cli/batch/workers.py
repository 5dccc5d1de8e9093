"""Jobs are run one after the other in this process, or side by side in processes of their own."""

import multiprocessing
import os
import signal
import threading
from _thread import interrupt_main
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection

from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.batch.jobs import FAILED, Job, Outcome, Show, run_job
from napari_dip_fusion.cli.batch.stopping import StopSwitch, hold_back_signals
from napari_dip_fusion.cli.heap import keep_freed_memory

Tell = Callable[[Outcome], None]

_LOOK_AGAIN = 0.2  # seconds in which Ctrl-C is noticed


def run_jobs(
    jobs: Sequence[Job], workers: int, switch: StopSwitch, *, tell: Tell, show: Show
) -> None:
    """Run jobs, and tell what became of each as soon as it is known.

    Parameters
    ----------
    jobs : sequence of Job
    workers : int
        Processes to run them in; with 1 none is started.
    switch : StopSwitch
        Stops all. Jobs that were not finished are not told of.
    tell : callable
        Called with each outcome.
    show : callable
        Called with a job and the part of it that is done: 0 when it is begun, and with more than
        one worker not again.
    """
    if workers > 1:
        _run_side_by_side(jobs, workers, switch, tell, show)
        return
    for job in jobs:
        show(job, 0.0)
        outcome = run_job(job, switch, partial(show, job))
        if outcome is None:
            return
        tell(outcome)


def _run_side_by_side(
    jobs: Sequence[Job], workers: int, switch: StopSwitch, tell: Tell, show: Show
) -> None:
    context = multiprocessing.get_context("spawn")
    # Nothing is ever sent: to close it says stop, as does the end of this process, whatever it is.
    line, end = context.Pipe(duplex=False)
    waiting = deque(jobs)
    free = [_Worker(line) for _ in range(min(workers, len(jobs)))]
    all_workers = tuple(free)
    running: dict[Future[Outcome | None], tuple[_Worker, Job]] = {}
    stopping = False
    try:
        while running or (waiting and not stopping):
            while free and waiting and not stopping:
                worker, job = free.pop(), waiting.popleft()
                show(job, 0.0)
                running[worker.submit(job)] = worker, job
            done, _ = wait(running, timeout=_LOOK_AGAIN, return_when=FIRST_COMPLETED)
            for future in done:
                worker, job = running.pop(future)
                outcome = worker.take(future, job, killed=switch.presses > 1)
                if outcome is not None:
                    tell(outcome)
                free.append(worker)
            if switch.is_on and not stopping:
                stopping = True
                console.message("stopping: Ctrl-C again does not wait for the workers")
                end.close()
            if switch.presses > 1:
                _kill_workers()
    finally:
        end.close()
        for worker in all_workers:
            worker.end()
        line.close()


def _kill_workers() -> None:
    for process in multiprocessing.active_children():
        process.kill()


class _Worker:
    """A process that runs one job after the other, and is replaced if it dies.

    A pool of one: when a process of a pool dies, all jobs of the pool fail with it.
    """

    def __init__(self, line: "Connection[object, object]") -> None:
        self._line = line
        self._pool = self._make_pool()

    def _make_pool(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(
            1, mp_context=context, initializer=_begin, initargs=(self._line,)
        )

    def submit(self, job: Job) -> "Future[Outcome | None]":
        with hold_back_signals():
            return self._pool.submit(_run_here, job)

    def take(self, future: "Future[Outcome | None]", job: Job, *, killed: bool) -> Outcome | None:
        """Return what became of a job, also if the process died of it and not by us."""
        try:
            return future.result()
        except BrokenProcessPool:
            if killed:
                return None
            self._pool.shutdown()
            self._pool = self._make_pool()
            reason = (
                "its process was ended from outside, perhaps for lack of memory; try fewer "
                "--workers"
            )
            return Outcome(name=job.name, status=FAILED, reason=reason)

    def end(self) -> None:
        self._pool.shutdown()


# What follows is run in the processes of workers.
_switch = StopSwitch()
_at_work = threading.Lock()


def _begin(line: "Connection[object, object]") -> None:
    keep_freed_memory()
    signal.signal(signal.SIGINT, _switch.press)
    threading.Thread(target=_watch, args=(line,), daemon=True).start()


def _watch(line: "Connection[object, object]") -> None:
    """Stop the job when the batch is stopped, and end this process when that of the batch ends."""
    with suppress(EOFError, OSError):
        line.recv_bytes()
    interrupt_main()
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    # A process that was not told to end waits for jobs for ever. The last one cleans up before.
    with _at_work:
        os._exit(1)


def _run_here(job: Job) -> Outcome | None:
    with _at_work:
        return run_job(job, _switch)
