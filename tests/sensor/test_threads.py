"""Work on several threads."""

from threading import Barrier, BrokenBarrierError, Event, get_ident

import pytest

from napari_dip_fusion.interruption import checkpoint, make_interruptible
from napari_dip_fusion.sensor import threads
from napari_dip_fusion.sensor.threads import limit_threads, map_on_threads


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(threads, "count_cores", lambda: 2)


def test_items_are_worked_on_beside_each_other_and_stay_in_order() -> None:
    second_began = Event()

    def work(item):
        if item == 1:
            second_began.set()
        return item, second_began.wait(10)

    assert map_on_threads(work, range(5)) == [(n, True) for n in range(5)]


def meet_in_threads(seconds) -> int:
    """Return how many threads two items took that wait for each other."""
    together = Barrier(2)
    return len(set(map_on_threads(lambda _: (together.wait(seconds), get_ident())[1], range(2))))


def test_threads_are_limited_within_a_context_and_in_its_threads() -> None:
    with limit_threads(1), limit_threads(3), pytest.raises(BrokenBarrierError):
        meet_in_threads(0.1)
    with limit_threads(1):
        assert map_on_threads(lambda _: threads._limit.get(), range(2)) == [1, 1]
    assert meet_in_threads(10) == 2


def test_one_item_needs_no_thread() -> None:
    assert map_on_threads(lambda item: get_ident(), ["one"]) == [get_ident()]


def test_nothing_to_do_is_done() -> None:
    assert map_on_threads(str, []) == []


def test_the_first_failure_is_raised_and_the_rest_left_out() -> None:
    begun = []

    def work(item):
        begun.append(item)
        raise KeyError(item)

    with pytest.raises(KeyError, match="0"):
        map_on_threads(work, range(1000))
    assert len(begun) < 1000


@pytest.mark.parametrize("count", [1, 3])
def test_a_stopped_run_ends_its_threads(count) -> None:
    def ask():
        raise InterruptedError

    with make_interruptible(ask), pytest.raises(InterruptedError):
        map_on_threads(lambda item: None, range(count))


def test_what_is_computed_in_a_thread_asks_the_run_too() -> None:
    asked = []
    with make_interruptible(lambda: asked.append(get_ident())):
        map_on_threads(lambda item: checkpoint(), range(3))
    assert len(asked) == 6
    assert get_ident() not in asked
