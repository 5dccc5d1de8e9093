"""Control, as far as threads meet in it."""

from napari_dip_fusion import Control


def test_a_run_that_is_stopped_while_it_is_paused_is_not_held(monkeypatch) -> None:
    control = Control()
    hold = control._running.clear

    def stop_first() -> None:
        control.stop()
        hold()

    monkeypatch.setattr(control._running, "clear", stop_first)
    control.pause()
    assert control.stopped
    assert not control.paused
