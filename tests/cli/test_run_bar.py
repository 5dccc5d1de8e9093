"""The bar of a run: which stage it names, and what it says of an iteration."""

import io

import pytest
from rich.console import Console

from napari_dip_fusion.cli import console, run_bar
from napari_dip_fusion.fusion import Decided, StepDone


@pytest.mark.parametrize("restored", [(), ("PET: pixels of 4 x 4 mm",)])
def test_a_bar_tells_a_restoration_from_the_fit_behind_it(monkeypatch, restored) -> None:
    shown = io.StringIO()
    screen = Console(file=shown, force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr(console, "err", screen)
    with run_bar.make_progress(False) as progress:
        bar = run_bar.RunBar(progress)
        bar.show(Decided(True, True, restored))
        bar.show(StepDone(7, 900, 0.25, 0.0, 3.0))
        progress.refresh()
        bar.show(StepDone(1, 120, 0.5, 0.25, 3.0))
        progress.refresh()
    text = shown.getvalue()
    assert ("restoring" in text) == bool(restored)
    assert "fusing" in text
    assert ("7/900  loss 2.500e-01  3.0 it/s" in text) == bool(restored)
    assert "1/120  loss 5.000e-01  excess 2.500e-01  3.0 it/s" in text
