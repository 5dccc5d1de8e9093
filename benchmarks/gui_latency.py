"""How long the window stands still while a fusion runs, and what the window costs.

Opens a viewer with a pair of the wanted size, fuses it from the widget, and measures the gaps
between the ticks of a 20 ms timer on the GUI thread. Does the same run without a window too, in
turns, each in a process of its own: once two threads of a process have used torch, OpenMP counts
more threads than cores and waits in another way, which alone makes iterations 10 to 20 % longer.

    xvfb-run -a python benchmarks/gui_latency.py --size 512 --iterations 40 --pairs 3
"""

import argparse
import json
import subprocess
import sys
import time
from contextlib import contextmanager

import napari
import numpy as np
from napari.layers import Image
from qtpy.QtCore import QEventLoop, QThreadPool, QTimer
from qtpy.QtWidgets import QApplication

from napari_dip_fusion import FusionConfig, FusionResult, fuse
from napari_dip_fusion.plugin.running.fusion_session import FusionSession
from napari_dip_fusion.plugin.running.session import Phase
from napari_dip_fusion.samples import head_phantom

TICK = 0.02


class Ticks:
    """Gaps between the ticks of a timer, those with drawing of layers apart."""

    def __init__(self) -> None:
        self.quiet: list[float] = []
        self.drawing: list[float] = []
        self._last = time.perf_counter()
        self._drew = False
        self._timer = QTimer()
        self._timer.setInterval(int(TICK * 1000))
        self._timer.timeout.connect(self._tick)
        self._timer.start()

    def stop(self) -> None:
        self._timer.stop()

    def drew(self) -> None:
        self._drew = True

    def _tick(self) -> None:
        now = time.perf_counter()
        (self.drawing if self._drew else self.quiet).append(now - self._last)
        self._last, self._drew = now, False


@contextmanager
def drawing_marked(ticks: Ticks):
    """Tell the ticks when layer data are set or the canvas is drawn."""
    original = Image.data.fset

    def set_data(layer, data):
        ticks.drew()
        original(layer, data)

    getter = Image.data.fget
    Image.data = property(getter, set_data)
    try:
        yield
    finally:
        Image.data = property(getter, original)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--width", type=int, default=FusionConfig().width)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--part", choices=("window", "headless"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part is None:
        _compare(arguments.pairs)
        return
    sources = head_phantom(shape=(arguments.size, arguments.size)).sources
    config = FusionConfig(iterations=arguments.iterations, stop="iterations", width=arguments.width)
    if arguments.part == "headless":
        found = {"seconds": _seconds(fuse(sources, config))}
    else:
        ticks, seconds = _in_window(sources, config)
        found = {"seconds": seconds, "quiet": ticks.quiet, "drawing": ticks.drawing}
    print(json.dumps(found))


def _compare(pairs: int) -> None:
    """Run both parts in turns and print what they cost."""
    ratios, quiet, drawing = [], [], []
    for _ in range(pairs):
        alone, window = _part("headless"), _part("window")
        ratios.append(window["seconds"] / alone["seconds"])
        quiet += window["quiet"]
        drawing += window["drawing"]
        print(
            f"headless {alone['seconds']:.3f}, window {window['seconds']:.3f} s/iteration: "
            f"{ratios[-1] - 1:+.0%}",
            flush=True,
        )
    print(f"the window costs {np.median(ratios) - 1:+.0%} (median of {pairs} pairs)")
    for name, gaps in (("outside drawing", quiet), ("with drawing", drawing)):
        if gaps:
            milliseconds = np.array(gaps) * 1000
            print(
                f"{name}: {len(gaps)} gaps, longest {milliseconds.max():.0f} ms, "
                f"99 % {np.percentile(milliseconds, 99):.0f} ms, "
                f"median {np.median(milliseconds):.0f} ms"
            )


def _part(name: str) -> dict:
    """Run one part in a process of its own; return what it found."""
    command = [sys.executable, *sys.argv, "--part", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _seconds(result: FusionResult) -> float:
    return result.record["seconds"]["fit"] / len(result.losses)


def _in_window(sources, config: FusionConfig) -> tuple[Ticks, float]:
    viewer = napari.Viewer()
    app = QApplication.instance()
    for name, image in zip(("CT", "MR"), sources, strict=True):
        viewer.add_image(image, name=name)
    _, widget = viewer.window.add_plugin_dock_widget("napari-dip-fusion")
    widget.settings.show_config(config)
    _process(app, 1)
    widget.panel.fuse_button.click()
    while len(viewer.layers) < 3:
        _process(app, 0.05)
    ticks = Ticks()
    with drawing_marked(ticks):
        _run_until_idle(widget.session)
    ticks.stop()
    seconds = _seconds(widget.session.result)
    QThreadPool.globalInstance().waitForDone()
    widget.shutdown()
    viewer.close()
    return ticks, seconds


def _run_until_idle(session: FusionSession) -> None:
    """Run Qt's own event loop: a loop that polls would take the threads' time."""
    loop = QEventLoop()
    session.phase_changed.connect(lambda: loop.quit() if session.phase is Phase.IDLE else None)
    if session.phase is not Phase.IDLE:
        loop.exec_()


def _process(app: QApplication, seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        app.processEvents()
        time.sleep(0.01)


if __name__ == "__main__":
    main()
