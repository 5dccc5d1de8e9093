"""What libraries say is kept back or passed on, for the whole process and several threads."""

import logging
import threading
import warnings

import pytest

from napari_dip_fusion.io.silence import relay_messages, silence_logger, silence_warnings

LOGGER = "silenced for a test"


def overlapped(context) -> None:
    """Enter in one thread, enter in another, leave the first, then the second."""
    entered, left = threading.Event(), threading.Event()

    def second() -> None:
        with context():
            entered.set()
            left.wait(10)

    other = threading.Thread(target=second)
    with context():
        other.start()
        assert entered.wait(10)
    left.set()
    other.join()


def test_warnings_are_heard_again_after_threads_that_overlap() -> None:
    before, show = list(warnings.filters), warnings.showwarning
    overlapped(silence_warnings)
    assert list(warnings.filters) == before
    assert warnings.showwarning is show
    with silence_warnings():
        warnings.warn("not heard", stacklevel=1)
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


def test_a_logger_is_as_it_was_after_threads_that_overlap(caplog) -> None:
    logger = logging.getLogger(LOGGER)
    before = list(logger.handlers)
    overlapped(lambda: silence_logger(LOGGER))
    assert logger.propagate
    assert logger.handlers == before
    with silence_logger(LOGGER):
        logger.error("not heard")
    logger.error("heard")
    assert [record.message for record in caplog.records] == ["heard"]


def test_what_a_library_says_is_passed_on_once_with_what_it_is_about(recwarn) -> None:
    logger = logging.getLogger(LOGGER)
    with relay_messages("scan.tif", "tifffile", loggers=[LOGGER], harmless=["^habit"]):
        for _ in range(2):
            logger.warning("2 pages\nare missing")
        logger.info("all is well")
        warnings.warn("habit of a scanner", stacklevel=1)
        warnings.warn("a value is cut", stacklevel=1)
        warnings.warn("to be removed", DeprecationWarning, stacklevel=1)
    assert [str(w.message) for w in recwarn] == [
        "scan.tif: 2 pages are missing (said by tifffile)",
        "scan.tif: a value is cut (said by tifffile)",
    ]


def test_each_thread_passes_on_what_it_was_told(recwarn) -> None:
    barrier = threading.Barrier(2, timeout=10)

    def read(name: str) -> None:
        with relay_messages(name, "library", loggers=[LOGGER]):
            barrier.wait()
            logging.getLogger(LOGGER).warning("%s is odd", name)
            barrier.wait()

    threads = [threading.Thread(target=read, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(w.message) for w in recwarn) == [
        f"{name}: {name} is odd (said by library)" for name in "ab"
    ]


def test_an_error_says_enough(recwarn) -> None:
    def fail() -> None:
        with relay_messages("a", "library"):
            warnings.warn("odd", stacklevel=1)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert not recwarn


def test_what_differs_in_numbers_and_names_is_told_once(recwarn) -> None:
    with relay_messages("a", "library"):
        for number in range(3):
            warnings.warn(f"page {number} of '{number}.tif' is odd", stacklevel=1)
    assert [str(w.message) for w in recwarn] == ["a: page 0 of '0.tif' is odd (said by library)"]


def test_what_earlier_blocks_were_told_is_not_told_again(recwarn) -> None:
    told: set[str] = set()
    for number in range(3):
        with relay_messages("a", "library", told=told):
            warnings.warn(f"frame {number} is odd", stacklevel=1)
    assert [str(w.message) for w in recwarn] == ["a: frame 0 is odd (said by library)"]
