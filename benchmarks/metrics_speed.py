"""Time the metrics, in units of a plain 8x8 mean filter over the same images.

Run it by hand: python benchmarks/metrics_speed.py [side] [rounds]. Metrics and filter run in one
thread and in turn, so that whatever else the machine does slows both down; the ratio of their
medians is the figure to watch. The four default metrics together should stay below 12.
"""

import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
from scipy.ndimage import uniform_filter

from napari_dip_fusion.metrics import METRICS, evaluate


def make_pictures(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two smooth pictures with edges and noise, and their mean, all of 8-bit values."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    first = 127 + 80 * np.sin(40 * x * y) + rng.normal(0, 6, (side, side))
    second = 100 + 90 * (np.hypot(x - 0.5, y - 0.5) < 0.3) + rng.normal(0, 6, (side, side))
    a, b = (np.clip(np.rint(image), 0, 255) for image in (first, second))
    return a, b, np.floor((a + b) / 2 + 0.5)


def measure_seconds(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


def main(side: int = 2048, rounds: int = 5) -> None:
    """Print the median time of each metric, alone and together."""
    first, second, fused = make_pictures(side)
    in_uint8 = [image.astype(np.uint8) for image in (first, second, fused)]

    def filters() -> None:
        for image in (first, second, fused):
            uniform_filter(image, size=8)

    tasks: dict[str, Callable[[], object]] = {"3 x uniform_filter": filters}
    for name in METRICS:
        tasks[name] = lambda name=name: evaluate(
            [first, second], fused, data_range=255, which=[name]
        )
    tasks["default four, float64"] = lambda: evaluate([first, second], fused, data_range=255)
    tasks["default four, uint8"] = lambda: evaluate(in_uint8[:2], in_uint8[2])
    tasks["all, uint8"] = lambda: evaluate(in_uint8[:2], in_uint8[2], which="all")

    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, work in tasks.items():
            times[name].append(measure_seconds(work))
    unit = median(times["3 x uniform_filter"])
    print(f"{side}x{side} pair, one thread, median of {rounds}")
    for name, values in times.items():
        print(f"{name:30} {1e3 * median(values):9.1f} ms {median(values) / unit:6.2f} x filter")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
