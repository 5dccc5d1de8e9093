"""Engines: in this process, on workers that it starts, and on a cluster that others started."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from copy import deepcopy
from threading import Barrier, Timer

import dask
import distributed
import numpy as np
import psutil
import pytest

from napari_dip_fusion import Control
from napari_dip_fusion.blocks import cluster
from napari_dip_fusion.blocks.engine import LocalEngine, open_engine
from napari_dip_fusion.errors import FusionError, ImageFileError, StoppedError
from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.sensor.threads import count_cores

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")

# What workers are to do is defined within functions: they cannot import this module, and get it
# by value then.


@pytest.fixture(scope="module")
def two_workers():
    with open_engine(workers=2) as opened:
        yield opened


@pytest.fixture
def engine(two_workers):
    """Two workers, also after a test at which some died."""
    wait_for(lambda: two_workers.workers == 2)
    return two_workers


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The address and the process of a scheduler of others, with one worker of two threads."""
    file = tmp_path_factory.mktemp("cluster") / "scheduler.json"
    call = (sys.executable, "-m")
    known = ("--scheduler-file", str(file), "--dashboard-address", "127.0.0.1:0")
    options = {
        "cwd": file.parent,
        "env": os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"},
        "stderr": subprocess.DEVNULL,
    }
    processes = [
        subprocess.Popen(
            [*call, "distributed.cli.dask_scheduler", *known, "--host", "127.0.0.1", "--port", "0"],
            **options,
        ),
        subprocess.Popen(
            [*call, "distributed.cli.dask_worker", *known[:2], "--nthreads", "2"], **options
        ),
    ]
    wait_for(file.is_file)
    yield json.loads(file.read_text())["address"], processes[0]
    for process in processes:
        process.kill()
        process.wait()


def wait_for(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def make_sums():
    """Return work whose result depends on the last bit, and what it is to work on."""

    def sum_part(shared, item):
        return float(np.sin(shared[item]).sum(dtype=np.float32))

    image = np.random.default_rng(1).random((40, 50, 60), dtype=np.float32)
    return sum_part, image


def make_gated_work():
    """Return work that marks in a folder what is begun, and waits there for leave but once."""

    def work(folder, item):
        (folder / f"begun {item}").touch()
        try:
            (folder / "first").touch(exist_ok=False)
        except FileExistsError:
            while not (folder / "leave").exists():
                checkpoint()
                time.sleep(0.01)

    return work


def list_begun(folder) -> set[int]:
    return {int(path.name.split()[1]) for path in folder.glob("begun *")}


def wait_for_three(folder) -> set[int]:
    """Wait until one item is done and two are at work, and return them."""
    wait_for(lambda: len(list_begun(folder)) == 3)
    return list_begun(folder)


def test_results_are_those_of_this_process_and_items_are_drawn_late(engine) -> None:
    work, image = make_sums()
    expected = [(n, work(image, n)) for n in range(40)]
    drawn = []
    items = (drawn.append(n) or n for n in range(40))
    assert list(LocalEngine().run(work, image, iter(range(40)), Control())) == expected
    most = 0
    found = {}
    for item, result in engine.run(work, image, items, Control()):
        found[item] = result
        most = max(most, len(drawn) - len(found))
    assert sorted(found.items()) == expected
    assert most <= 4
    assert (engine.workers, LocalEngine().workers, LocalEngine().dashboard) == (2, 1, "")


def test_in_this_process_an_item_is_begun_when_it_is_asked_for() -> None:
    drawn = []
    running = LocalEngine().run(
        lambda shared, item: shared + item, 10, (drawn.append(n) or n for n in range(3)), Control()
    )
    assert drawn == []
    assert [(next(running), list(drawn)) for _ in range(2)] == [
        ((0, 10), [0]),
        ((1, 11), [0, 1]),
    ]


def test_items_may_be_at_work_side_by_side_in_this_process() -> None:
    both = Barrier(2, timeout=20)

    def meet(shared, item):
        both.wait()
        return shared + item

    engine, control = LocalEngine(2), Control()
    assert dict(engine.run(meet, 10, range(6), control)) == {n: 10 + n for n in range(6)}
    begun = []

    def enter(shared, item):
        begun.append(item)
        time.sleep(0.02)

    running = engine.run(enter, None, range(100), control)
    first, _ = next(running)
    # What follows is at work while the caller has the first one.
    until = time.monotonic() + 20
    while len(begun) < 3 and time.monotonic() < until:
        time.sleep(0.001)
    assert len(begun) >= 3
    control.stop()
    # It is finished, and nothing else is begun.
    assert {first, *(item for item, _ in running)} == set(begun)
    assert len(begun) <= 4

    def fail_or_go_on(shared, item):
        both.wait()
        if item == 0:
            raise ValueError("one of two")
        while True:
            checkpoint()
            time.sleep(0.01)

    with pytest.raises(ValueError, match="one of two"):
        list(engine.run(fail_or_go_on, None, range(9), Control()))


def test_items_that_are_too_much_together_are_made_again_one_by_one(engine, tmp_path) -> None:
    def work(shared, item):
        folder, data = shared
        together = not (folder / "met").exists()
        mine = folder / f"at work {os.getpid()}"
        mine.touch()
        until = time.monotonic() + (20 if together else 0.1)
        while time.monotonic() < until:
            processes = [int(path.name.split()[2]) for path in folder.glob("at work *")]
            processes.remove(os.getpid())
            if any(together or psutil.pid_exists(process) for process in processes):
                (folder / "met").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.01)
        mine.unlink()
        return data[item]

    data = np.arange(4) ** 2
    assert dict(engine.run(work, (tmp_path, data), range(4), Control())) == dict(enumerate(data))
    # Both workers died, and with them what they had been sent.
    assert len(list(tmp_path.glob("at work *"))) == 2


def test_errors_of_work_are_raised_as_they_are(engine) -> None:
    def work(errors, item):
        raise errors[item]

    errors = [ValueError("one"), FusionError("two"), ImageFileError("three"), OSError(28, "full")]
    for number, error in enumerate(errors):
        with pytest.raises(type(error)) as raised:
            list(engine.run(work, errors, [number], Control()))
        assert type(raised.value) is type(error)
        assert str(raised.value) == str(error)
    with pytest.raises(FusionError, match="out of memory at block 0; take a smaller block"):
        list(engine.run(work, [MemoryError()], [0], Control()))


def test_no_item_is_begun_while_a_run_is_paused(engine, tmp_path) -> None:
    control = Control()
    running = engine.run(make_gated_work(), tmp_path, range(8), control)
    first, _ = next(running)
    begun = wait_for_three(tmp_path)
    control.pause()
    Timer(0.4, (tmp_path / "leave").touch).start()
    assert {first, next(running)[0], next(running)[0]} == begun
    # Time in which others could begin.
    time.sleep(0.2)
    assert list_begun(tmp_path) == begun
    Timer(0.1, control.resume).start()
    assert {item for item, _ in running} == {*range(8)} - begun
    assert not control.paused


def test_what_is_at_work_is_finished_when_a_run_is_stopped(engine, tmp_path) -> None:
    control = Control()
    running = engine.run(make_gated_work(), tmp_path, range(8), control)
    first, _ = next(running)
    begun = wait_for_three(tmp_path)
    control.stop()
    Timer(0.4, (tmp_path / "leave").touch).start()
    assert {first, *(item for item, _ in running)} == begun
    assert list_begun(tmp_path) == begun


@pytest.mark.parametrize("how", ["discard", "close"])
def test_computations_end_when_nobody_wants_them(engine, tmp_path, how) -> None:
    def work(folder, item):
        try:
            return gated(folder, item)
        except Exception:
            (folder / f"ended {item}").touch()
            raise

    gated = make_gated_work()
    control = Control()
    running = engine.run(work, tmp_path, range(8), control)
    next(running)
    begun = wait_for_three(tmp_path)
    if how == "close":
        running.close()
    else:
        control.discard()
        with pytest.raises(StoppedError, match="thrown away"):
            next(running)
    wait_for(lambda: len(list(tmp_path.glob("ended *"))) == 2)
    assert list_begun(tmp_path) == begun


def test_controls_of_a_run_in_this_process() -> None:
    control = Control()

    def work(shared, item):
        if item == 1:
            control.pause()
            Timer(0.1, control.resume).start()
        elif item == 2:
            control.stop()
        return control.paused

    assert list(LocalEngine().run(work, None, range(9), control)) == [
        (0, False),
        (1, True),
        (2, False),
    ]
    control = Control()
    running = LocalEngine().run(lambda *_: control.discard() or checkpoint(), None, [1], control)
    with pytest.raises(StoppedError, match="thrown away"):
        next(running)


def global_state() -> list[object]:
    handlers = logging.getLogger("distributed").handlers
    levels = [handler.level for handler in handlers]
    return [dict(os.environ), deepcopy(dask.config.config), levels, list(sys.path)]


def test_a_cluster_divides_the_machine_and_leaves_nothing(monkeypatch, tmp_path) -> None:
    def work(shared, item):
        from napari_dip_fusion.sensor import threads

        return os.environ["OMP_NUM_THREADS"], threads._limit.get(), os.getpid()

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(cluster, "count_cores", lambda: 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    before = global_state()
    sums, image = make_sums()
    with open_engine(workers=1) as alone:
        results = dict(alone.run(work, None, range(4), Control()))
        found = dict(alone.run(sums, image, range(4), Control()))
    assert found == {n: sums(image, n) for n in range(4)}
    most = min(count_cores(), 4)
    assert {(threads, limit) for threads, limit, _ in results.values()} == {("3", most)}
    assert not any(psutil.pid_exists(pid) for _, _, pid in results.values())
    assert global_state() == before
    assert list(tmp_path.iterdir()) == []


SCRIPT = """
import os, sys, time
from napari_dip_fusion import Control
from napari_dip_fusion.blocks.engine import open_engine

def work(shared, item):
    time.sleep(0.1)
    return os.getpid()

if __name__ == "__main__":
    with open_engine(workers=1) as engine:
        for item, process in engine.run(work, None, range(1000), Control()):
            print(process, flush=True)
"""


@needs_signals
def test_ctrl_c_ends_all_processes_without_noise(tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    folder = tmp_path / "temporary"
    folder.mkdir()
    started = subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    worker = int(started.stdout.readline())
    os.killpg(started.pid, signal.SIGINT)
    _, printed = started.communicate(timeout=60)
    assert printed.count("Traceback") == 1
    assert printed.rstrip().endswith("KeyboardInterrupt")
    assert not psutil.pid_exists(worker)
    assert list(folder.iterdir()) == []


def test_a_worker_that_imports_a_script_starts_no_workers(monkeypatch) -> None:
    process = cluster.multiprocessing.current_process()
    monkeypatch.setattr(process, "_inheriting", True, raising=False)
    with pytest.raises(FusionError, match='if __name__ == "__main__":'), open_engine(workers=1):
        pass


def test_clusters_of_others_are_reached_by_address_and_by_client(scheduler) -> None:
    work, image = make_sums()
    expected = {n: work(image, n) for n in range(8)}
    address, _ = scheduler
    with open_engine(scheduler=address) as engine:
        assert dict(engine.run(work, image, range(8), Control())) == expected
        assert engine.workers == 1
        assert engine.dashboard.endswith("/status")
    with distributed.Client(address, set_as_default=False) as client:
        with open_engine(client) as engine:
            assert dict(engine.run(work, image, range(8), Control())) == expected
        assert client.submit(abs, -1).result() == 1
        # Its tasks are gone.
        wait_for(lambda: not any(client.has_what().values()))
        with open_engine(client) as engine:
            running = engine.run(work, image, range(40), Control())
            next(running)
            client.close()
            with pytest.raises(FusionError, match="scheduler was lost"):
                list(running)


def test_an_item_at_which_workers_die_is_found_among_others(scheduler, tmp_path) -> None:
    def work(folder, item):
        # Both are at work in one process.
        time.sleep(0.3)
        if item == 1:
            tempfile.mkstemp(dir=folder)
            os._exit(1)
        time.sleep(0.3)
        return item

    address, _ = scheduler
    with open_engine(scheduler=address) as engine:
        running = engine.run(work, tmp_path, range(2), Control())
        assert next(running) == (0, 0)
        with pytest.raises(FusionError, match=r"3 workers .* at block 1; take a smaller block, or"):
            list(running)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_lost_scheduler_ends_in_advice(scheduler) -> None:
    address, process = scheduler
    with open_engine(scheduler=address) as engine:
        running = engine.run(lambda shared, item: item, None, range(1000), Control())
        next(running)
        process.kill()
        with pytest.raises(FusionError, match="scheduler was lost"):
            list(running)


def test_what_does_not_answer_is_no_scheduler(engine, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "_SECONDS_TO_ANSWER", 0.3)
    worker = next(iter(engine._client.nthreads()))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        cases = {
            f"tcp://127.0.0.1:{silent.getsockname()[1]}": "no answer in 0.3 s",
            "tcp://127.0.0.1:1": "no answer in 0.3 s",
            "slides": "missing port number",
            worker: "a Worker answers",
        }
        for address, reason in cases.items():
            expected = rf"no dask scheduler can be reached at {address} \({reason}.*; give the addr"
            with pytest.raises(FusionError, match=expected), open_engine(scheduler=address):
                pass


def test_a_missing_package_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    for where in ({"workers": 2}, {"scheduler": "tcp://127.0.0.1:1"}):
        with (
            pytest.raises(FusionError, match=r'pip install "napari-dip-fusion\[distributed\]"'),
            open_engine(**where),
        ):
            pass
    with open_engine() as engine:
        assert list(engine.run(lambda *both: both, 1, [2], Control())) == [(2, (1, 2))]


def test_one_engine_is_asked_for() -> None:
    with pytest.raises(ValueError, match="give one"), open_engine(workers=2, scheduler="tcp://a:1"):
        pass
    with pytest.raises(ValueError, match="0 or more, got -1"), open_engine(workers=-1):
        pass
