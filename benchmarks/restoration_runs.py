"""Runs of restoration.py in processes of their own: times, memory, and a volume of thick slices."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from degraded import CASES, CONFIG, Scene, restored_pairs
from pairs import Floats, likeness

from napari_dip_fusion import FusionConfig, Source, fuse
from napari_dip_fusion.fusion import Done, GainsReady, Preview, iter_fuse
from napari_dip_fusion.samples import head_volume

Figures = dict[str, Any]

_THICK, _VOLUME, _LARGE = 4, (40, 96, 96), 2048


def peak() -> int:
    """Return the peak resident memory of this process in bytes (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def observed(sources: Sequence[Source], truth: Floats, config: FusionConfig = CONFIG) -> Figures:
    """Fuse some sources with all threads, and return when there was what, and how good it is."""
    for library in ("skimage.restoration", "torch"):
        import_module(library)
    before, start, first = peak(), perf_counter(), None
    for event in iter_fuse(sources, config):
        if first is None and isinstance(event, GainsReady | Preview):
            first = perf_counter() - start
        if isinstance(event, Done):
            image = event.result.image
    seconds = perf_counter() - start
    figures = {"first": first, "seconds": seconds, "grown": peak() - before, "peak": peak()}
    return {**figures, **score(image, truth)}


def score(image: Floats, truth: Floats) -> Figures:
    return likeness(np.asarray(image), np.asarray(truth))


def small(data: Path | None) -> Figures:
    """Measure case a of one pair."""
    (pair, *_), *_ = restored_pairs(data, None, 1).values()
    scene = Scene(pair, CASES["a"])
    linear = [scene.on_reference(p, n, 1) for n, p in enumerate(scene.pixels)]
    figures = observed(scene.sources(), scene.truth)
    return {**figures, "linear": score(scene.fuse(linear), scene.truth)}


def large(data: Path | None) -> Figures:
    """Measure case a of a pair that is mirrored to and fro until it fills 2048x2048 pixels."""
    (pair, *_), *_ = restored_pairs(data, None, 1).values()
    scene = Scene(pair, CASES["a"])
    scene.shape = (_LARGE, _LARGE)
    scene.truths = [_repeat(image) for image in scene.truths]
    second = scene.case.second.observe(scene.truths[1], 0)
    scene.pixels = [scene.truths[0], second]
    linear = [scene.on_reference(p, n, 1) for n, p in enumerate(scene.pixels)]
    figures = observed(scene.sources(), scene.truth)
    return {**figures, "linear": score(scene.fuse(linear), scene.truth)}


def _repeat(image: Floats) -> Floats:
    return np.pad(image, [(0, _LARGE - n) for n in image.shape], mode="symmetric")


def volume(data: Path | None) -> Figures:
    """Measure the head in three dimensions: of the second source, the mean of four slices each."""
    head = head_volume(shape=_VOLUME)
    # Soft tissue as in MR, on the grid of CT.
    first, second = head.sources[0], head.truth
    config = CONFIG.replace(intensity=((0.0, 255.0),) * 2)
    slices = second.data.reshape(-1, _THICK, *second.data.shape[1:]).mean(axis=1)
    noise = np.random.default_rng(0).normal(0, 2, slices.shape)
    thick = np.rint(slices + noise).clip(0, 255).astype(np.uint8)
    affine = second.affine @ np.diag([_THICK, 1, 1, 1])
    affine[:, 3] += second.affine[:, 0] * (_THICK - 1) / 2
    seen = Source(thick, axes=second.axes, affine=affine, units=second.units, name="thick")
    plain = config.replace(restore="never", network="never")
    truth = fuse([first, second], plain).image
    figures = observed([first, seen], truth, config)
    return {**figures, "linear": score(fuse([first, seen], plain, reference=0).image, truth)}


RUNS: dict[str, Callable[[Path | None], Figures]] = {
    "256x256": small,
    "2048x2048, second 512x512": large,
    f"volume of {'x'.join(map(str, _VOLUME))}, slices of {_THICK}": volume,
}


def make_run(name: str, data: Path | None) -> Figures:
    """Return the figures of a run that is made in a process of its own."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, name, *([str(data)] if data else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def run_tables(get: Callable[[str], Figures | None]) -> Iterator[str]:
    """Yield time and memory of the runs that were made."""
    found = {name: figures for name in RUNS if (figures := get(name))}
    if not found:
        return
    yield "## Time and memory\n"
    yield "`auto` with all threads, and its PSNR beside that of linear interpolation.\n"
    lines = ["| | first image, s | whole run, s | memory grown by, GB | peak, GB | PSNR | linear |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    for name, f in found.items():
        memory = f"{f['grown'] / 1e9:.2f} | {f['peak'] / 1e9:.2f}"
        likeness = f"{f['psnr']:.2f} | {f['linear']['psnr']:.2f}"
        lines.append(f"| {name} | {f['first']:.1f} | {f['seconds']:.0f} | {memory} | {likeness} |")
    yield "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(json.dumps(RUNS[sys.argv[1]](Path(sys.argv[2]) if sys.argv[2:] else None)))
