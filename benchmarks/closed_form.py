"""How long the closed form of a clean pair takes, in Gaussian filters, and what its passes take.

``speed.py`` calls this. One Gaussian filter is ``scipy.ndimage.gaussian_filter(image, 2)`` of one
float32 image of the same size, in one thread, in turns with the closed form: the estimate of the
noise, the gains and T, from arrays in memory to arrays in memory.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from time import perf_counter, thread_time
from typing import Any
from unittest.mock import patch

import numpy as np
from pairs import Floats
from scipy import ndimage

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.sensor import analysis, coherence, model, windows

# Each pass, and the function whose own time it is; that of functions which are listed, too, counts
# for them.
PASSES = {
    "noise": (analysis, "_find_noise"),
    "bands": (windows, "_replace_filtered"),
    "moments": (coherence, "average_products"),
    "leading eigenvectors": (coherence, "find_leading"),
    "guided filter of the gains": (coherence, "_smooth"),
    "rest of the gains": (model, "estimate_band_gains"),
    "undershoot": (model, "measure_undershoot"),
    "rest of the sensor model": (model._Estimate, "work"),
    "T and floor": (model._Estimate, "_fit_bands"),
}


def draw_pair(size: int) -> Floats:
    """Return two smooth sources in [0, 1], without noise."""
    rough = np.random.default_rng(0).random((2, size, size), dtype=np.float32)
    smooth = np.stack([ndimage.gaussian_filter(image, 3) for image in rough])
    low, high = smooth.min(), smooth.max()
    return np.asarray((smooth - low) / (high - low), dtype=np.float32)


def measure(size: int, rounds: int) -> dict[str, Any]:
    """Return the seconds of the filter and of the closed form, and the share of each pass."""
    images, config = draw_pair(size), FusionConfig.preset("fast")
    tasks: dict[str, Callable[[], object]] = {
        "filter": lambda: ndimage.gaussian_filter(images[0], 2),
        "closed form": lambda: analysis.analyze(images, config),
    }
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds + 1):
        for name, task in tasks.items():
            start = perf_counter()
            task()
            seconds[name].append(perf_counter() - start)
    with timed_passes() as own:
        tasks["closed form"]()
    total = sum(own.values())
    shares = {name: own[name] / total for name in PASSES}
    # The first turn warms up.
    return {"size": size, "seconds": {n: s[1:] for n, s in seconds.items()}, "shares": shares}


@contextmanager
def timed_passes() -> Iterator[Counter[str]]:
    """Count the processor seconds that each pass takes in this context, over all threads."""
    own: Counter[str] = Counter()
    lock, local = threading.Lock(), threading.local()

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            outside, local.inside = getattr(local, "inside", 0.0), 0.0
            start = thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                taken = thread_time() - start
                with lock:
                    own[name] += taken - local.inside
                local.inside = outside + taken

        return run

    with ExitStack() as patches:
        for name, (owner, function) in PASSES.items():
            patched = timed(name, getattr(owner, function))
            patches.enter_context(patch.object(owner, function, patched))
        yield own


def table(figures: dict[str, Any]) -> list[str]:
    """Return the lines of a Markdown table."""
    seconds = {name: median(s) for name, s in figures["seconds"].items()}
    side, whole, unit = figures["size"], seconds["closed form"], seconds["filter"]
    return [
        f"Closed form of a clean pair of {side}x{side}: {whole:.2f} s, {whole / unit:.1f} times "
        f"one Gaussian filter ({unit:.3f} s).",
        "",
        "| pass | share of the processor time |",
        "|---|---:|",
        *(f"| {name} | {100 * share:.0f} % |" for name, share in figures["shares"].items()),
    ]
