"""What is silenced for the whole process, from several threads at once."""

import logging
import threading
import warnings

import pytest

from napari_dip_fusion.io.silence import silence_logger, silence_warnings


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
    before = list(warnings.filters)
    overlapped(silence_warnings)
    assert list(warnings.filters) == before
    with silence_warnings():
        warnings.warn("not heard", stacklevel=1)
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


def test_a_logger_is_as_it_was_after_threads_that_overlap() -> None:
    logger = logging.getLogger("silenced for a test")
    overlapped(lambda: silence_logger(logger.name))
    assert not logger.disabled
    with silence_logger(logger.name):
        assert logger.disabled
