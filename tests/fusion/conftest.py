"""A clock that stands still but for the work that it is told of."""

import time

import pytest

from napari_dip_fusion.fusion import frames
from napari_dip_fusion.prior.fit import Fit

ITERATION, ANALYSIS = 0.25, 3.0
"""Seconds that an iteration and the analysis of the sources take on the clock."""


@pytest.fixture
def _only_work_takes_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let iterations and analysis take their times, whatever the machine does beside the test."""
    now = 0.0

    def taking(seconds: float, work):
        def done(*arguments, **options):
            nonlocal now
            now += seconds
            return work(*arguments, **options)

        return done

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    monkeypatch.setattr(Fit, "_step", taking(ITERATION, Fit._step))
    monkeypatch.setattr(frames, "analyze", taking(ANALYSIS, frames.analyze))
